"""What choices are worth, how sure that is, and that tested groups are never learned from."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from planted_logs import planted_log, text_log
from rich.console import Console

from prompt_oirl.choice import Settings, fit_selector
from prompt_oirl.choice.cross_fit import group_folds
from prompt_oirl.errors import BadLog, NotIdentified
from prompt_oirl.evaluation.lookup import lookup_choice, seen_before
from prompt_oirl.evaluation.over_optimisation import over_optimisation
from prompt_oirl.evaluation.protocols import grouped_trial, split_trial, with_groups
from prompt_oirl.evaluation.row import report_row, trial_value
from prompt_oirl.evaluation.value import Value, value_of
from prompt_oirl.evaluation.verdict import EXIT_CODES, verdict
from prompt_oirl.logs.log import Arm, PromptLog, Query
from prompt_oirl.models.adjusted_means import adjusted_means
from search.cli.prompt.tables import evaluation_table

QUICK = Settings(models=("interaction",), folds=3, repeats=2, text_size=8)
NAN = np.nan


class TestValue:
    def test_by_hand(self) -> None:
        outcome = np.array(
            [[1, 0, 0.5], [0, 1, NAN], [NAN, 1, 0], [1, NAN, 0], [0, 1, 1], [1, 1, NAN]]
        )
        chosen, best = np.array([0, 1, 0, 0, 2, 2]), np.array([1, 1, 1, 1, 1, 1])
        lookup = np.array([2, 0, 1, 0, 2, 0])
        found = value_of(outcome, np.arange(6), chosen, best, lookup)
        # Known under both arms: rows 0, 1, 4. Rows 0 and 4 stand for the five that leave arm 1,
        # which was run in all rows but 3.
        assert (found.rows, found.rows_left_out) == (3, 3)
        assert found.best_single_train == pytest.approx(4 / 5)
        assert found.gain == pytest.approx(5 / 6 * (1 + 0) / 2)
        assert found.value == pytest.approx(4 / 5 + found.gain)
        assert found.deviates == pytest.approx(5 / 6)
        means = adjusted_means(outcome, (~np.isnan(outcome)).astype(float)).mean
        assert found.random == pytest.approx(means.mean())
        assert (found.worst_single, found.hindsight_best) == (means.min(), means.max())
        assert found.lookup == pytest.approx(4 / 5 + (2.5 * 0.5 - 1 + 2.5 * 0) / 6)
        assert (found.oracle, found.regret, found.headroom_captured) == (None, None, None)

    def test_a_full_grid_by_hand(self) -> None:
        outcome = np.array([[1, 0, 0.5], [0, 1, 0], [1, 1, 0], [1, 0, 0]])
        found = value_of(
            outcome,
            np.arange(4),
            np.array([0, 1, 0, 1]),
            np.ones(4, dtype=np.int64),
            np.arange(4) % 3,
        )
        assert (found.value, found.best_single_train, found.gain) == (0.75, 0.5, 0.25)
        assert (found.oracle, found.regret, found.headroom_captured) == (1, 0.25, 0.5)
        assert (found.worst_single, found.hindsight_best) == (0.125, 0.75)
        assert found.random == pytest.approx(outcome.mean())
        assert found.lookup == pytest.approx((1 + 1 + 0 + 1) / 4)

    def test_unknown_cells_of_the_lookup_count_as_the_default(self) -> None:
        outcome = np.array([[0.2, NAN], [0.4, 1.0]])
        zero = np.zeros(2, dtype=np.int64)
        found = value_of(outcome, np.arange(2), zero, zero, np.array([1, 1]))
        assert found.lookup == pytest.approx((0.2 + 1) / 2)
        assert found.gain_p == 1
        assert found.headroom_captured is None

    def test_no_headroom(self) -> None:
        zero = np.zeros(4, dtype=np.int64)
        found = value_of(np.ones((4, 2)), np.arange(4), zero, zero)
        assert found.headroom_captured is None
        assert found.lookup is None

    @pytest.mark.filterwarnings("error")
    def test_nothing_known(self) -> None:
        outcome = np.array([[1, NAN], [0, NAN]])
        found = value_of(outcome, np.arange(2), np.array([1, 1]), np.array([0, 0]))
        assert (found.rows, found.rows_left_out) == (0, 2)
        assert np.isnan(
            [found.value, found.gain, found.oracle, found.random, *found.gain_ci95]
        ).all()

    @pytest.mark.filterwarnings("error")
    def test_an_arm_never_run(self) -> None:
        outcome = np.array([[1, NAN, 0.5], [0, NAN, 0.5]])
        zero = np.zeros(2, dtype=np.int64)
        found = value_of(outcome, np.arange(2), zero, zero)
        assert (found.worst_single, found.hindsight_best) == (0.5, 0.5)

    def test_cells_missing_at_random_change_no_mean(self) -> None:
        """Rows that leave the best single arm need two cells, and so are known more seldom."""
        rng = np.random.default_rng(0)
        size = 20_000
        best = rng.integers(0, 4, size)
        full = np.where(np.arange(4) == best[:, None], 0.9, 0.2) > rng.random((size, 1))
        holed = np.where(rng.random(full.shape) < 0.5, np.nan, full)
        zero = np.zeros(size, dtype=np.int64)
        whole = value_of(full.astype(float), np.arange(size), best, zero, seed=1)
        found = value_of(holed, np.arange(size), best, zero, seed=1)
        for name in ("gain", "value", "best_single_train", "deviates"):
            assert getattr(found, name) == pytest.approx(getattr(whole, name), abs=0.015), name
        assert found.value - found.best_single_train == pytest.approx(found.gain)
        wide = np.diff(found.gain_ci95) / np.diff(whole.gain_ci95)
        assert 1.2 < wide < 3

    @pytest.mark.parametrize("telling", [6, 10, 40])
    def test_filled_in_groups_narrow_no_interval(self, telling: int) -> None:
        """Every row leaves, the truth is 0, and few of 60 groups are known."""
        rng = np.random.default_rng(telling)
        groups, held = np.repeat(np.arange(60), 4), 0
        chosen = np.ones(240, dtype=np.int64)
        for seed in range(200):
            outcome = (rng.random((240, 2)) < 0.5).astype(float)
            outcome[groups >= telling, 1] = np.nan
            low, high = value_of(outcome, groups, chosen, chosen * 0, seed=seed).gain_ci95
            held += low <= 0 <= high
        assert held / 200 >= 0.9

    def test_rows_that_stay_are_no_evidence_of_those_that_leave(self) -> None:
        """A third leaves, eight of these are known, the truth is 0."""
        rng = np.random.default_rng(8)
        held, chosen = 0, (np.arange(300) < 100).astype(np.int64)
        for seed in range(300):
            outcome = np.full((300, 2), np.nan)
            outcome[:, 0] = rng.random(300) < 0.5
            outcome[:8, 1] = rng.random(8) < 0.5
            low, high = value_of(outcome, np.arange(300), chosen, chosen * 0, seed=seed).gain_ci95
            held += low <= 0 <= high
        assert held / 300 >= 0.925

    @pytest.mark.parametrize(
        ("known", "difference", "low", "high", "word"),
        [
            (3, 0.0, -0.0531, 0.0531, "insufficient evidence"),
            (3, 1.0, -0.0312, 0.075, "insufficient evidence"),
            (30, 0.0, -0.0867, 0.0867, "insufficient evidence"),
            (30, 1.0, 0.5764, 0.75, "deploy"),
            (30, -1.0, -0.75, -0.5764, "hold"),
        ],
    )
    def test_differences_that_are_all_alike_rule_nothing_out(
        self, known: int, difference: float, low: float, high: float, word: str
    ) -> None:
        outcome = np.full((40, 2), 0.5)
        outcome[:known] = [(1 - difference) / 2, (1 + difference) / 2]
        chosen = (np.arange(40) < known).astype(np.int64)
        found = value_of(outcome, np.arange(40), chosen, chosen * 0)
        assert found.gain_ci95 == pytest.approx((low, high), abs=1e-4)
        assert found.gain_p == pytest.approx(2 * 0.5**known if difference else 1)
        assert verdict(found, False).word == word

    def test_one_row_that_leaves_among_many_that_stay(self) -> None:
        outcome = np.tile([0.0, 1.0], (30, 1))
        chosen = (np.arange(30) < 1).astype(np.int64)
        found = verdict(value_of(outcome, np.arange(30), chosen, chosen * 0), False)
        assert found.word == "insufficient evidence"
        assert found.reason == "only one group of queries tells of leaving the best single prompt"

    def test_choices_that_leave_for_unknown_cells_only(self) -> None:
        outcome = np.array([[1.0, np.nan], [0.0, np.nan], [1.0, 1.0]])
        chosen = np.array([1, 1, 0])
        found = value_of(outcome, np.arange(3), chosen, np.zeros(3, dtype=np.int64))
        assert found.rows == 0
        assert verdict(found, False).word == "insufficient evidence"


class TestLookup:
    def test_by_hand(self) -> None:
        train = text_log(
            np.array([[0, 1, 0], [0, 1, 1], [1, 1, NAN], [0, 0, 0.5], [0, NAN, NAN], [1, 0, 0]]),
            ["What is two?", "what  is two ?", "B", "C", "D", "E"],
        )
        asked = ["WHAT is two?", "B", "C", "D", "E", "F", "what is 2?"]
        test = text_log(np.zeros((7, 3)), asked, [f"test{i}" for i in range(7)])
        # Two logged rows of the first question: 0, 1, 0.5 under the arms.
        assert lookup_choice(train, test, 0).tolist() == [1, 0, 2, 0, 0, 0, 0]
        assert lookup_choice(train, test, 1).tolist() == [1, 1, 2, 0, 0, 1, 1]
        assert seen_before(train, test).tolist() == [True, True, True, True, True, False, False]
        test = text_log(np.zeros((2, 3)), ["F", "what is 2?"], ["test", "g0"])
        assert seen_before(train, test).tolist() == [False, True]


class TestOverOptimisation:
    def test_against_all_subsets(self) -> None:
        rng = np.random.default_rng(0)
        outcome, figure = rng.random((20, 4)), rng.random((20, 4))
        points = over_optimisation(outcome, figure, subsets=3000)
        for n, point in enumerate(points, 1):
            exact = []
            for some in combinations(range(4), n):
                best = np.array(some)[figure[:, some].argmax(axis=1)]
                row = np.arange(20)
                exact.append((figure[row, best].mean(), outcome[row, best].mean()))
            predicted, realised = np.mean(exact, axis=0)
            assert point.candidates == n
            assert point.predicted == pytest.approx(predicted, abs=0.01)
            assert point.realised == pytest.approx(realised, abs=0.01)
            assert point.gap == pytest.approx(point.predicted - point.realised)
        best = figure.argmax(axis=1)
        assert points[3].predicted == pytest.approx(figure.max(axis=1).mean())
        assert points[3].realised == pytest.approx(outcome[np.arange(20), best].mean())

    def test_noise_promises_more_with_more_candidates(self) -> None:
        rng = np.random.default_rng(1)
        outcome = (rng.random((300, 6)) < 0.5).astype(float)
        gaps = [point.gap for point in over_optimisation(outcome, rng.random((300, 6)))]
        assert abs(gaps[0]) < 0.05
        assert np.all(np.diff(gaps) > 0)


def value_with(
    low: float,
    gain: float,
    high: float,
    deviates: float = 0.3,
    rows: int = 9,
    telling: int | None = 6,
    compared: int | None = 6,
) -> Value:
    zero = np.zeros(4, dtype=np.int64)
    some = value_of(np.ones((4, 2)), np.arange(4), zero, zero)
    return replace(
        some,
        gain_ci95=(low, high),
        gain=gain,
        deviates=deviates,
        rows=rows,
        telling_groups=telling,
        compared_groups=compared,
    )


class TestVerdict:
    @pytest.mark.parametrize(
        ("value", "leaks", "word"),
        [
            (value_with(0.01, 0.05, 0.09), False, "deploy"),
            (value_with(0.01, 0.05, 0.09, telling=5), False, "insufficient evidence"),
            (value_with(0.01, 0.05, 0.09, telling=None), False, "deploy"),
            (value_with(NAN, 0.05, NAN), False, "insufficient evidence"),
            (value_with(0.01, 0.05, 0.09), True, "hold"),
            (value_with(-0.01, 0.05, 0.09), False, "insufficient evidence"),
            (value_with(-0.09, -0.05, -0.01), False, "hold"),
            (value_with(-0.01, 0.0, 0.004), False, "hold"),
            (value_with(-0.01, 0.0, 0.004, compared=5), False, "insufficient evidence"),
            (value_with(0.0, 0.0, 0.0, deviates=0), False, "hold"),
            (value_with(NAN, NAN, NAN, deviates=NAN, rows=0), False, "insufficient evidence"),
        ],
    )
    def test_words_and_exit_codes(self, value: Value, leaks: bool, word: str) -> None:
        found = verdict(value, leaks)
        assert found.word == word
        assert found.exit_code == {"deploy": 0, "hold": 3, "insufficient evidence": 4}[word]
        assert ("nan" in found.reason) is False
        assert EXIT_CODES[word] == found.exit_code

    def test_reasons(self) -> None:
        assert "+5.00 points [+1.00, +9.00]" in verdict(value_with(0.01, 0.05, 0.09), False).reason
        assert "always taken" in verdict(value_with(0, 0, 0, deviates=0), False).reason
        assert "among the training queries" in verdict(value_with(0.1, 0.2, 0.3), True).reason
        few = verdict(value_with(0.01, 0.05, 0.09, telling=5), False).reason
        assert "differently in 5 groups of queries only, and fewer than 6" in few
        assert "no tested query" in verdict(value_with(NAN, NAN, NAN, NAN, 0), False).reason

    def test_what_is_worthwhile(self) -> None:
        some = value_with(-0.01, 0.005, 0.02)
        assert verdict(some, False, worthwhile=0.03).word == "hold"
        assert verdict(some, False, worthwhile=0.01).word == "insufficient evidence"


def memorable_log(groups: int = 20, size: int = 12) -> PromptLog:
    """Texts of a group share words of their own; the group decides by a coin which arm succeeds."""
    rng = np.random.default_rng(0)
    better = np.arange(groups) % 2
    rng.shuffle(better)
    names = [
        " ".join("".join(rng.choice(list("bcdfgaeiou"), 7)) for _ in range(5))
        for _ in range(groups)
    ]
    texts = [f"{names[g]} {'abcdefghijkl'[i]}" for g in range(groups) for i in range(size)]
    outcome = np.eye(2)[np.repeat(better, size)]
    return text_log(outcome, texts, [f"g{g}" for g in range(groups) for _ in range(size)])


class TestProtocols:
    def test_tested_groups_are_never_learned_from(self) -> None:
        """Memory of a group is worth much where folds split it and nothing where they do not."""
        log = memorable_log()
        settings = Settings(models=("neighbours",), folds=4, repeats=1, text_size=32, kind="mean")
        honest = trial_value(grouped_trial(log, settings, 5))
        alone = with_groups(log, np.arange(len(log.queries)))
        leaking = trial_value(grouped_trial(alone, settings, 5))
        assert abs(honest.gain) < 0.1
        assert leaking.gain > 0.3

    def test_each_fold_by_hand(self) -> None:
        log = planted_log(90)
        trial = grouped_trial(log, QUICK, 3, seed=4)
        fold = group_folds(log.groups, 3, 4)
        for number in range(3):
            inside = fold == number
            train, test = log.only_queries(~inside), log.only_queries(inside)
            choice = fit_selector(train, QUICK, 4 + number).choose(test.texts)
            assert np.array_equal(trial.chosen[inside], choice.arms)
            assert np.array_equal(trial.predicted[inside], choice.value)
            assert np.array_equal(trial.cautious[inside], choice.advantage)
            assert np.array_equal(trial.greedy[inside], choice.value.argmax(axis=1))
            rate = train.grid().mean(axis=0)
            assert trial.base_rate[inside] == pytest.approx(np.tile(rate, (inside.sum(), 1)))
            assert (trial.best_single[inside] == rate.argmax()).all()
        assert np.array_equal(trial.outcome, log.grid())
        assert np.array_equal(trial.lookup, trial.best_single)

    def test_a_planted_gain_and_its_report(self) -> None:
        ticks: list[int] = []
        trial = grouped_trial(planted_log(150), QUICK, 3, progress=lambda: ticks.append(1))
        assert len(ticks) == 3
        row = report_row(trial, "grouped")
        assert row["gain"] > 0.2
        assert row["gain_ci95"][0] > 0.1
        assert row["greedy_gain"] > 0.2
        assert row["brier_skill"] > 0.2
        assert row["auc"] > row["auc_within_arm"] > 0.6
        assert row["value"] - row["best_single_train"] == pytest.approx(row["gain"])
        assert (row["log"], row["protocol"], row["arms"], row["groups"]) == (
            "planted", "grouped", 3, 75)  # fmt: skip
        assert verdict(trial_value(trial), False).word == "deploy"

    def test_no_gain(self) -> None:
        trial = grouped_trial(planted_log(150, better=0.5, worse=0.5), QUICK, 3)
        assert abs(trial_value(trial).gain) < 0.05

    def test_split(self) -> None:
        log = planted_log(160, splits=True)
        log = with_groups(log, np.arange(160))
        trial = split_trial(log, QUICK)
        assert len(trial.log.queries) == 40
        assert all(query.split == "test" for query in trial.log.queries)
        train = log.only_queries(np.array([query.split == "train" for query in log.queries]))
        choice = fit_selector(train, QUICK).choose(trial.log.texts)
        assert np.array_equal(trial.chosen, choice.arms)
        assert not trial.seen.any()

    def test_split_with_an_arm_on_one_side_only(self) -> None:
        log = planted_log(160, splits=True)
        train = np.array([query.split == "train" for query in log.queries])[log.query]
        for keep in (train | (log.arm != 0), ~train | (log.arm != 0)):
            columns = {
                name: getattr(log, name)[keep]
                for name in ("query", "arm", "outcome", "run", "cost")
            }
            part = replace(
                log, **columns, tokens=np.empty(0), latency=np.empty(0), propensity=np.empty(0)
            )
            assert split_trial(part, QUICK).log.arm_names == ["short", "poor"]

    def test_a_leaking_split_is_seen(self) -> None:
        """One tested question that was trained on, whether or not a table gains by it."""
        log = planted_log(160, splits=True)
        assert split_trial(log, QUICK).seen.all()  # each has a variant among the training queries
        log = with_groups(log, np.arange(160))
        test = next(i for i, query in enumerate(log.queries) if query.split == "test")
        train = next(i for i, query in enumerate(log.queries) if query.split == "train")
        queries = list(log.queries)
        queries[test] = replace(queries[test], text=queries[train].text.upper())
        trial = split_trial(replace(log, queries=tuple(queries)), QUICK)
        assert trial.seen.sum() == 1

    def test_refusals(self) -> None:
        log = planted_log(60)
        with pytest.raises(BadLog, match="30 groups cannot make 31 folds"):
            grouped_trial(log, QUICK, 31)
        small = planted_log(24)
        left = "planted: without a held-out fold 18 of 24 queries are left: 18 different"
        with pytest.raises(BadLog, match=left):
            grouped_trial(small, QUICK, 4)
        other = np.where(np.arange(60) == 0, 1, 0)  # one query is the only one of its prompt
        seldom = replace(log, query=np.arange(60), arm=other, outcome=other * 1.0, run=0 * other,
                         cost=0.0 * other, tokens=np.empty(0), latency=np.empty(0),
                         propensity=np.empty(0))  # fmt: skip
        with pytest.raises(NotIdentified, match="of 60 queries are left: all outcomes"):
            grouped_trial(seldom, QUICK, 3)
        with pytest.raises(BadLog, match="no query is in the split 'train'"):
            split_trial(log, QUICK)
        split = planted_log(60, splits=True)
        with pytest.raises(BadLog, match="no query is in the split 'dev'"):
            split_trial(split, QUICK, test="dev")
        with pytest.raises(NotIdentified):
            grouped_trial(log.only_arms(["steps"]), QUICK, 3)
        with pytest.raises(NotIdentified):
            split_trial(split.only_arms(["steps"]), QUICK)

    @pytest.mark.filterwarnings("error")
    def test_an_arm_that_was_never_run(self) -> None:
        log = planted_log(90)
        keep = log.arm != 0
        columns = {
            name: getattr(log, name)[keep] for name in ("query", "arm", "outcome", "run", "cost")
        }
        part = replace(
            log, **columns, tokens=np.empty(0), latency=np.empty(0), propensity=np.empty(0)
        )
        trial = grouped_trial(part, QUICK, 3)
        assert set(trial.chosen) <= {1, 2}
        assert set(trial.best_single) == {1}
        assert trial_value(trial).rows == 90

    def test_a_selector_that_never_leaves_its_default_deviates_nowhere(self) -> None:
        """Half of the queries were run six times, and there the other prompt is better."""
        rng = np.random.default_rng(0)
        cells = []
        for query in range(200):
            chances = (0.6, 0.4) if query % 2 else (0.3, 0.7)
            for run in range(6 if query % 2 else 1):
                cells += [(query, k, float(rng.random() < chances[k]), run) for k in (0, 1)]
        query, arm, outcome, run = (np.array(column) for column in zip(*cells))
        queries = tuple(Query(f"q{i}", f"text {i}", f"g{i}") for i in range(200))
        log = PromptLog("uneven", queries, (Arm("a"), Arm("b")), query, arm, outcome, run)
        trial = grouped_trial(log, QUICK, 4)
        assert (trial.chosen == trial.best_single).all()
        assert trial_value(trial).deviates == 0


def test_the_table_of_one_group_shows_no_interval() -> None:
    trial = replace(grouped_trial(planted_log(60), QUICK, 3), groups=np.zeros(60, dtype=np.int64))
    shown = io.StringIO()
    Console(width=100, file=shown).print(evaluation_table(report_row(trial, "grouped")))
    assert "best single" in shown.getvalue()
    assert "nan" not in shown.getvalue()
