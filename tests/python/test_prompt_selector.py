"""Selectors: what they learn, refuse, rank, and that every seed gives one selector."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted_logs import planted_log, text_log

from prompt_oirl.choice import Selector, Settings, fit_selector
from prompt_oirl.choice.selector import LEAST_QUERIES, check_identified, mean_costs
from prompt_oirl.errors import BadLog, NotIdentified, TreewardError
from prompt_oirl.features.structure import NAMES
from prompt_oirl.logs.log import PromptLog

QUICK = Settings(models=("interaction",), folds=3, repeats=2, text_size=8)
LOG = planted_log(200)
NEW = planted_log(60, seed=9)
NUMERIC = "At the market there are 12 books. How many books are left of 12?"
IN_WORDS = "Which colour have the hats of the garden with the name bhats?"


@pytest.fixture(scope="module")
def selector() -> Selector:
    return fit_selector(LOG, QUICK)


class TestLearning:
    @pytest.mark.parametrize(
        "models", [("interaction",), ("logistic", "neighbours"), ("boosting",)]
    )
    @pytest.mark.parametrize("ensemble", [False, True])
    def test_the_better_prompt_of_each_kind(self, models: tuple[str, ...], ensemble: bool) -> None:
        made = fit_selector(LOG, replace(QUICK, models=models, ensemble=ensemble))
        assert len(made.members) == (6 if ensemble else 1)
        assert [made.arms[k].name for k in made.choose([NUMERIC, IN_WORDS]).arms] == [
            "steps",
            "short",
        ]
        gained = NEW.grid()[np.arange(60), made.choose(NEW.texts).arms].mean()
        assert gained > NEW.grid().mean(axis=0).max() + 0.2

    def test_no_gain_means_the_default_for_every_query(self) -> None:
        made = fit_selector(planted_log(200, better=0.5, worse=0.5), QUICK)
        choice = made.choose(NEW.texts)
        assert choice.fell_back.all()
        assert set(choice.arms) == {made.rule.default}

    def test_what_a_choice_says(self, selector: Selector) -> None:
        choice = selector.choose([NUMERIC, IN_WORDS])
        assert choice.value.shape == choice.advantage.shape == (2, 3)
        assert ((choice.value >= 0) & (choice.value <= 1)).all()
        assert (choice.advantage[:, selector.rule.default] == 0).all()
        claimed = selector.predictions([NUMERIC, IN_WORDS]).mean(axis=0) - selector.means
        believed = np.clip(selector.means + selector.trust * claimed, 0, 1)
        assert choice.value == pytest.approx(believed, abs=1e-12)
        assert (choice.fell_back == (choice.arms == selector.rule.default)).all()
        assert selector.probabilities([NUMERIC, IN_WORDS]).tolist() == [[1, 0, 0], [0, 1, 0]]

    def test_same_seed_same_selector(self, selector: Selector) -> None:
        again = fit_selector(LOG, QUICK)
        assert np.array_equal(again.choose(NEW.texts).value, selector.choose(NEW.texts).value)
        other = fit_selector(LOG, QUICK, seed=1)
        assert not np.array_equal(other.rule.spread, selector.rule.spread)

    def test_the_default_can_be_named(self) -> None:
        made = fit_selector(LOG, replace(QUICK, default="poor"))
        assert made.default.name == "poor"
        noise = planted_log(200, better=0.5, worse=0.5)
        stays = fit_selector(noise, replace(QUICK, default="short", clear_of_noise=50.0))
        assert set(stays.choose(NEW.texts).arms) == {1}

    def test_vectors_of_texts(self) -> None:
        """Where texts say nothing, vectors do."""
        rng = np.random.default_rng(0)
        side = rng.integers(0, 2, 200)
        chance = np.where(side[:, None] == [0, 1], 0.9, 0.2)
        texts = [f"query {i}" for i in range(200)]
        log = text_log((rng.random((200, 2)) < chance).astype(float), texts)

        def vectors(some):  # type: ignore[no-untyped-def]
            return np.array([[side[int(text.split()[1])]] for text in some], dtype=float)

        found = fit_selector(log, QUICK, vectors=vectors).choose(texts).arms
        assert (found == side).mean() > 0.8
        assert fit_selector(log, QUICK).choose(texts).fell_back.mean() > 0.5

    def test_reruns_are_remembered(self) -> None:
        log = planted_log(100, better=0.5, worse=0.5, runs=3)
        steady = replace(log, outcome=((log.query + log.arm) % 2).astype(float))
        made = fit_selector(steady, QUICK)
        value = made.choose(steady.texts).value
        assert np.abs(value - steady.grid()).max() < 0.25
        unseen = made.choose(NEW.texts).value
        claimed = made.members[0].predict(made.features.transform(NEW.texts)) - made.means
        assert np.allclose(unseen, np.clip(made.means + made.trust * claimed, 0, 1), atol=1e-12)


class TestTop:
    def test_chosen_first_and_distinct(self, selector: Selector) -> None:
        choice = selector.choose(NEW.texts)
        for count in (1, 2, 3):
            order = selector.top(NEW.texts, count)
            assert order.shape == (60, count)
            assert (order[:, 0] == choice.arms).all()
            assert all(len(set(row)) == count for row in order.tolist())
        rest = np.take_along_axis(choice.advantage, selector.top(NEW.texts, 3)[:, 1:], axis=1)
        assert (np.diff(rest, axis=1) <= 0).all()

    def test_by_price(self, selector: Selector) -> None:
        order = selector.top(NEW.texts, 2, price=9.0)
        assert (order[:, 0] == 2).all()
        assert (order[:, 0] == selector.choose(NEW.texts, price=9.0).arms).all()
        assert (selector.top(NEW.texts, 2, budget=1.0)[:, 0] == selector.choose(
            NEW.texts, budget=1.0).arms).all()  # fmt: skip

    @pytest.mark.parametrize("count", [0, 4, -1])
    def test_counts_that_do_not_exist(self, selector: Selector, count: int) -> None:
        with pytest.raises(BadLog, match=f"top {count} of 3 prompts does not exist"):
            selector.top(NEW.texts, count)

    def test_no_texts(self, selector: Selector) -> None:
        choice = selector.choose([])
        assert choice.arms.shape == choice.fell_back.shape == (0,)
        assert choice.value.shape == choice.advantage.shape == (0, 3)
        assert selector.top([], 2).shape == (0, 2)
        assert selector.probabilities([]).shape == (0, 3)

    def test_strange_texts(self, selector: Selector) -> None:
        texts = ["", "\0", "\ud800", "9" * 400, "ß" * 5000, "\n\n", "?"]
        assert np.isfinite(selector.choose(texts).advantage).all()


class TestCost:
    def test_price_0_changes_nothing(self, selector: Selector) -> None:
        assert np.array_equal(
            selector.choose(NEW.texts, price=0.0).arms, selector.choose(NEW.texts).arms
        )

    def test_budget_is_kept(self, selector: Selector) -> None:
        for budget in (0.5, 0.8, 1.5, 2.5):
            arms = selector.choose(NEW.texts, budget=budget).arms
            assert selector.costs[arms].mean() <= budget + 1e-12
        rich = selector.choose(NEW.texts, budget=float("inf"))
        assert np.array_equal(rich.arms, selector.choose(NEW.texts).arms)

    def test_refusals(self, selector: Selector) -> None:
        with pytest.raises(BadLog, match="not both"):
            selector.choose(NEW.texts, price=1.0, budget=1.0)
        with pytest.raises(BadLog, match="below the cheapest"):
            selector.choose(NEW.texts, budget=0.4)
        unknown = replace(selector, costs=np.array([1, np.nan, 2]))
        for words in ({"price": 0.1}, {"budget": 5.0}):
            with pytest.raises(BadLog, match="no cost"):
                unknown.choose(NEW.texts, **words)

    def test_mean_costs(self) -> None:
        assert mean_costs(LOG).tolist() == [3, 1, 0.5]
        nothing = np.full(len(LOG.query), np.nan)
        tokens = replace(LOG, cost=nothing, tokens=10.0 * (LOG.arm + 1))
        assert mean_costs(tokens).tolist() == [10, 20, 30]
        assert np.isnan(mean_costs(replace(LOG, cost=nothing))).all()
        some = replace(LOG, cost=np.where(LOG.arm == 1, np.nan, 2.0))
        assert mean_costs(some) == pytest.approx([2, np.nan, 2], nan_ok=True)


def texts_of(count: int) -> list[str]:
    return [f"Is {i} more than {3 * i}?" for i in range(count)]


class TestRefusals:
    def test_one_arm(self) -> None:
        message = "texts: all outcomes are of one prompt .'arm0'.; which prompt is better on which"
        outcomes = np.random.default_rng(0).integers(0, 2, (40, 1)).astype(float)
        with pytest.raises(NotIdentified, match=message):
            fit_selector(text_log(outcomes, texts_of(40)), QUICK)
        second = np.hstack([outcomes, np.full((40, 1), np.nan)])
        with pytest.raises(NotIdentified, match=message):
            fit_selector(text_log(second, texts_of(40)), QUICK)

    @pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
    def test_one_class(self, value: float) -> None:
        with pytest.raises(BadLog, match=f"every outcome is {value:g}; there is nothing to learn"):
            fit_selector(text_log(np.full((40, 2), value), texts_of(40)), QUICK)

    def test_few_queries(self) -> None:
        outcomes = np.random.default_rng(0).integers(0, 2, (19, 2)).astype(float)
        with pytest.raises(
            BadLog, match=f"19 different queries are too few; {LEAST_QUERIES} needed"
        ):
            fit_selector(text_log(outcomes, texts_of(19)), QUICK)

    def test_one_group(self) -> None:
        outcomes = np.random.default_rng(0).integers(0, 2, (40, 2)).astype(float)
        with pytest.raises(BadLog, match="all queries are in one group"):
            fit_selector(text_log(outcomes, texts_of(40), ["g"] * 40), QUICK)

    def test_one_text_however_often(self) -> None:
        outcomes = np.random.default_rng(0).integers(0, 2, (40, 2)).astype(float)
        with pytest.raises(BadLog, match="too few"):
            fit_selector(text_log(outcomes, ["the same"] * 40), QUICK)

    def test_groups_that_only_repeat_texts_of_another(self) -> None:
        outcomes = np.random.default_rng(0).integers(0, 2, (35, 2)).astype(float)
        texts = texts_of(25) + texts_of(10)
        with pytest.raises(BadLog, match="one group"):
            fit_selector(text_log(outcomes, texts, ["a"] * 25 + ["b"] * 10), QUICK)

    def test_no_cells(self) -> None:
        with pytest.raises(TreewardError, match="outcomes"):
            check_identified(text_log(np.full((40, 2), np.nan), texts_of(40)))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"models": ("crystal ball",)}, "unknown model 'crystal ball'; known: logistic"),
            ({"models": ()}, "no model"),
            ({"kind": "best"}, "unknown kind of choice 'best'"),
            ({"default": "polite"}, "no arm 'polite'; there are steps, short, poor"),
            ({"kind": "worst"}, "'worst' needs an ensemble"),
            ({"z": float("nan")}, "z of the rule"),
            ({"repeats": 1}, "'lower' needs two repeats or more, or z 0"),
            ({"repeats": 1, "kind": "worst", "ensemble": True}, "'worst' needs two repeats"),
        ],
    )
    def test_settings(self, change: dict, message: str) -> None:
        with pytest.raises(BadLog, match=message):
            fit_selector(LOG, replace(QUICK, **change))

    def test_queries_that_were_never_run(self) -> None:
        log = planted_log(120)
        keep = log.query < 60
        columns = {
            name: getattr(log, name)[keep] for name in ("query", "arm", "outcome", "run", "cost")
        }
        bare = PromptLog("bare", log.queries, log.arms, **columns)
        made = fit_selector(bare, QUICK)
        assert made.features.transform([""]).shape[1] == len(NAMES) + 8
        assert np.isfinite(made.choose(NEW.texts).value).all()


def test_worst_needs_an_ensemble_and_then_works() -> None:
    made = fit_selector(LOG, replace(QUICK, kind="worst", ensemble=True))
    predictions = made.predictions([NUMERIC])
    advantage = predictions - predictions[:, :, [made.rule.default]]
    assert made.choose([NUMERIC]).advantage[0] == pytest.approx(advantage.min(axis=0)[0])
