"""Logs with one prompt a query: scores by hand, refusals, and what a fitted selector then gains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted_logs import planted_log, query_text

from prompt_oirl.choice import selector as selectors
from prompt_oirl.choice.partial_evidence import PartialEvidence, partial_evidence
from prompt_oirl.choice.rule import calibrated_rule
from prompt_oirl.choice.selector import BEST_SINGLE, CALIBRATED_BY, Settings, fit_selector
from prompt_oirl.errors import NoSupport
from prompt_oirl.evaluation.protocols import grouped_trial
from prompt_oirl.evaluation.row import report_row, trial_value
from prompt_oirl.evaluation.verdict import verdict
from prompt_oirl.logs.log import Arm, PromptLog, Query
from prompt_oirl.models.outcomes import Floats

QUICK = Settings(models=("logistic", "neighbours"), folds=3, repeats=1, text_size=8, kind="mean")
NUMERIC = "At the market there are 12 books. How many books are left of 12?"
IN_WORDS = "Which colour have the hats of the garden with the name bhats?"


def drawn_log(
    chance: Floats, numeric: np.ndarray, policy: Floats, seed: int, given: bool = True
) -> PromptLog:
    """One prompt a query, drawn by ``policy`` [Q, K], with outcomes of ``chance`` [Q, K]."""
    rng = np.random.default_rng(seed)
    size, arms = chance.shape
    arm = np.array([rng.choice(arms, p=row) for row in policy])
    row = np.arange(size)
    outcome = (rng.random(size) < chance[row, arm]).astype(float)
    queries = tuple(
        Query(f"q{i}", f"{query_text(bool(kind), 10 + i, rng)} ({i})", f"g{i // 2}")
        for i, kind in enumerate(numeric)
    )
    propensity = policy[row, arm] if given else np.full(size, np.nan)
    names = tuple(Arm(f"arm{k}", f"prompt {k}") for k in range(arms))
    return PromptLog("partial", queries, names, row, arm, outcome, propensity=propensity)


def kinds(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, 1]).integers(0, 2, size)


def evidence_by_hand() -> PartialEvidence:
    """Rows 0 and 1 have one decision, row 2 both arms, row 3 two decisions of one arm."""
    queries = tuple(Query(f"q{i}", f"text {i}", f"g{i}") for i in range(4))
    log = PromptLog(
        "hand",
        queries,
        (Arm("a"), Arm("b")),
        np.array([0, 1, 2, 2, 3, 3]),
        np.array([0, 1, 0, 1, 1, 1]),
        np.array([1.0, 0.0, 1.0, 0.25, 1.0, 0.0]),
        run=np.array([0, 0, 0, 0, 0, 1]),
        propensity=np.array([0.5, 0.25, 1.0, 1.0, 0.5, 0.8]),
    )
    predicted = np.array([[0.6, 0.2], [0.5, 0.4], [0.0, 0.0], [1.3, 0.5]])
    return partial_evidence(log, np.arange(4), np.arange(4), predicted, np.zeros((4, 1)))


def drawn_twice(chance_of_b: float, seed: int, texts: int = 600) -> PromptLog:
    """Each text under two prompts drawn at random, maybe the same; a succeeds in .9, b in .3."""
    rng = np.random.default_rng(seed)
    query = np.repeat(np.arange(texts), 2)
    arm = (rng.random(len(query)) < chance_of_b).astype(int)
    outcome = (rng.random(len(query)) < np.array([0.9, 0.3])[arm]).astype(float)
    return PromptLog(
        "twice",
        tuple(Query(f"q{i}", f"text {i}", f"g{i}") for i in range(texts)),
        (Arm("a"), Arm("b")),
        query,
        arm,
        outcome,
        run=np.tile([0, 1], texts),
        propensity=np.where(arm == 1, chance_of_b, 1 - chance_of_b),
    )


class TestScores:
    @pytest.mark.parametrize("chance_of_b", [0.5, 0.8])
    def test_texts_that_came_under_every_arm_by_chance(self, chance_of_b: float) -> None:
        rows, q = np.arange(600), np.full((600, 2), 0.5)
        found = []
        for seed in range(12):
            log = drawn_twice(chance_of_b, seed)
            evidence = partial_evidence(log, rows, rows, q, np.zeros((600, 1)))
            assert len(evidence.decisions) == 1200
            found.append([evidence.value(np.full(600, arm)).estimate for arm in (0, 1)])
        assert np.mean(found, axis=0) == pytest.approx([0.9, 0.3], abs=0.03)

    def test_texts_run_under_every_arm_by_design_need_no_propensities(self) -> None:
        log = drawn_twice(0.5, 0, 40)
        queries = (*log.queries, Query("d", "designed", "d"))
        missing = np.concatenate([log.propensity, [np.nan, np.nan]])
        both = PromptLog(
            "both",
            queries,
            log.arms,
            np.append(log.query, [40, 40]),
            np.append(log.arm, [0, 1]),
            np.append(log.outcome, [1.0, 0.0]),
            run=np.append(log.run, [0, 0]),
            propensity=missing,
        )
        rows = np.arange(41)
        evidence = partial_evidence(both, rows, rows, np.full((41, 2), 0.5), np.zeros((41, 1)))
        assert evidence.propensities == "logged"
        assert evidence.row.tolist() == [*log.query.tolist(), 40]
        assert evidence.score[-1].tolist() == [1, 0]

    def test_by_hand(self) -> None:
        found = evidence_by_hand()
        assert found.propensities == "logged"
        assert found.row.tolist() == [0, 1, 3, 3, 2]
        assert found.weight.tolist() == [1, 1, 1, 1, 1]
        assert found.score == pytest.approx(
            np.array(
                [
                    [0.6 + 0.4 / 0.5, 0.2],
                    [0.5, 0.4 - 0.4 / 0.25],
                    [1.0, 0.5 + 0.5 / 0.5],  # predictions are cut to 0..1
                    [1.0, 0.5 - 0.5 / 0.8],
                    [1.0, 0.25],  # run under both arms: the outcomes themselves
                ]
            )
        )
        value = found.value(np.array([0, 1, 1, 0]))
        assert value.estimate == pytest.approx((1.4 - 1.2 + 1.0 + 1.0 + 0.25) / 5)

    def test_unbiased_whatever_is_predicted(self) -> None:
        """Over many draws the estimated gain is the true one, also from a confounded log."""
        numeric = kinds(400)
        chance = np.where(numeric[:, None] == 1, [[0.8, 0.6]], [[0.3, 0.4]])
        policy = np.where(numeric[:, None] == 1, [[0.2, 0.8]], [[0.7, 0.3]])
        chosen = numeric.copy()
        truth = (chance[np.arange(400), chosen] - chance[:, 0]).mean()
        rng = np.random.default_rng(3)
        wrong = rng.random((400, 2))
        gains = []
        for seed in range(60):
            log = drawn_log(chance, numeric, policy, seed)
            some = partial_evidence(log, np.arange(400), log.groups, wrong, np.zeros((400, 1)))
            gains.append(some.gain(chosen, 0).estimate)
        assert np.mean(gains) == pytest.approx(truth, abs=4 * np.std(gains) / np.sqrt(60))

    def test_estimated_propensities_find_the_logging_policy(self) -> None:
        numeric = kinds(600)
        policy = np.where(numeric[:, None] == 1, [[0.2, 0.8]], [[0.7, 0.3]])
        log = drawn_log(np.full((600, 2), 0.5), numeric, policy, 0, given=False)
        x = numeric[:, None].astype(float)
        some = partial_evidence(log, np.arange(600), log.groups, np.full((600, 2), 0.5), x)
        assert some.propensities == "estimated"
        assert np.abs(np.asarray(some.probabilities) - policy).max() < 0.1


class TestDefault:
    def test_a_confounded_mean_does_not_decide(self) -> None:
        """The second arm is worse everywhere, but was run on the easy queries."""
        numeric = kinds(1500)
        chance = np.where(numeric[:, None] == 1, [[0.9, 0.8]], [[0.3, 0.2]])
        policy = np.where(numeric[:, None] == 1, [[0.15, 0.85]], [[0.85, 0.15]])
        for given in (True, False):
            log = drawn_log(chance, numeric, policy, 0, given)
            means = [log.outcome[log.arm == arm].mean() for arm in (0, 1)]
            assert means[1] > means[0] + 0.2
            made = fit_selector(log, QUICK)
            assert made.default.name == made.about[BEST_SINGLE] == "arm0"
            assert made.means == pytest.approx(chance.mean(axis=0), abs=0.06)

    def test_luck_of_a_rare_arm_does_not_decide(self) -> None:
        """A few outcomes of an arm, all good, say less than hundreds that are good mostly."""
        log = drawn_log(np.full((600, 2), 0.7), kinds(600), np.tile([0.99, 0.01], (600, 1)), 0)
        log = replace(log, outcome=np.where(log.arm == 1, 1.0, log.outcome))
        assert fit_selector(log, QUICK).default.name == "arm0"


class TestSupport:
    def test_an_arm_that_was_never_run_there(self) -> None:
        numeric = kinds(400)
        policy = np.where(numeric[:, None] == 1, [[0.5, 0.5]], [[1.0, 0.0]])
        log = drawn_log(np.full((400, 2), 0.5), numeric, policy, 0)
        half = np.full((400, 2), 0.5)
        some = partial_evidence(log, np.arange(400), log.groups, half, np.zeros((400, 1)))
        assert np.isfinite(some.gain(numeric, 0).estimate)
        with pytest.raises(NoSupport, match="the log never tries on such queries"):
            some.gain(1 - numeric, 0)
        assert some.gain_over_default(1 - numeric, 0) == (0, np.inf)
        assert some.best_single == 0

    def test_few_decisions_where_the_default_is_left(self) -> None:
        log = drawn_log(np.full((400, 2), 0.5), kinds(400), np.tile([0.97, 0.03], (400, 1)), 0)
        half = np.full((400, 2), 0.5)
        some = partial_evidence(log, np.arange(400), log.groups, half, np.zeros((400, 1)))
        chosen = (np.arange(400) < 40).astype(np.int64)
        with pytest.raises(NoSupport, match="of the 40 queries where the default would be left"):
            some.gain(chosen, 0)

    def test_a_selector_without_support_stays(self) -> None:
        numeric = kinds(600)
        chance = np.where(numeric[:, None] == 1, [[0.2, 0.9]], [[0.9, 0.2]])
        never = np.where(numeric[:, None] == 1, [[1.0, 0.0]], [[0.0, 1.0]])
        made = fit_selector(drawn_log(chance, numeric, never, 0), QUICK)
        assert np.isinf(made.rule.margin)


class TestLearning:
    @pytest.mark.parametrize("given", [True, False])
    @pytest.mark.parametrize("greedy", [0.25, 0.8])
    def test_a_strong_interaction_is_used(self, given: bool, greedy: float) -> None:
        """Uniform draws, and an ε-greedy policy that prefers the worse arm of each kind."""
        numeric = kinds(900)
        chance = np.where(numeric[:, None] == 1, [[0.9, 0.2, 0.5]], [[0.2, 0.9, 0.5]])
        rest = (1 - greedy) / 2
        policy = np.full((900, 3), rest)
        policy[np.arange(900), np.where(numeric == 1, 1, 0)] = greedy
        if greedy == 0.25:
            policy[:] = 1 / 3
        made = fit_selector(drawn_log(chance, numeric, policy, 2, given), QUICK)
        source = "logged" if given else "estimated"
        assert made.about[CALIBRATED_BY] == f"doubly robust estimates, propensities {source}"
        names = [made.arms[k].name for k in made.choose([NUMERIC, IN_WORDS]).arms]
        assert names == ["arm0", "arm1"]
        assert made.rule.gain == pytest.approx(0.35, abs=0.12)
        assert 0 < made.rule.gain_error < 0.1

    def test_the_default_models_learn_it_too(self) -> None:
        numeric = kinds(900)
        chance = np.where(numeric[:, None] == 1, [[0.9, 0.2, 0.5]], [[0.2, 0.9, 0.5]])
        made = fit_selector(
            drawn_log(chance, numeric, np.full((900, 3), 1 / 3), 0),
            Settings(folds=3, repeats=1, kind="mean"),
        )
        assert [made.arms[k].name for k in made.choose([NUMERIC, IN_WORDS]).arms] == [
            "arm0",
            "arm1",
        ]

    def test_no_interaction_no_deployment(self) -> None:
        """Arms and queries differ in level, and the log runs a worse arm on the easy queries."""
        left = 0
        for seed in range(12):
            numeric = kinds(300, seed)
            chance = np.where(numeric[:, None] == 1, [[0.8, 0.7, 0.6]], [[0.4, 0.3, 0.2]])
            policy = np.where(numeric[:, None] == 1, [[0.2, 0.6, 0.2]], [[0.4, 0.2, 0.4]])
            log = drawn_log(chance, numeric, policy, seed, given=bool(seed % 2))
            made = fit_selector(log, replace(QUICK, models=("logistic",), text_size=0))
            left += not made.choose(log.texts).fell_back.all()
        assert left == 0

    def test_some_pairs(self) -> None:
        """A third of the queries has every arm: outcomes there count as they are."""
        log = planted_log(300)
        rng = np.random.default_rng(0)
        one = rng.integers(0, 3, 300)
        keep = (log.query % 3 == 0) | (log.arm == one[log.query])
        columns = {name: getattr(log, name)[keep] for name in ("query", "arm", "outcome", "run")}
        mixed = PromptLog("mixed", log.queries, log.arms, **columns)
        made = fit_selector(mixed, QUICK)
        assert str(made.about[CALIBRATED_BY]).startswith("doubly robust")
        assert [made.arms[k].name for k in made.choose([NUMERIC, IN_WORDS]).arms] == [
            "steps",
            "short",
        ]


class TestPairs:
    @pytest.mark.parametrize("missing", [0.0, 0.2])
    def test_logs_of_pairs_are_fitted_as_ever(
        self, missing: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing of partial logs is reached, and the rule is that of the pairs, to the bit."""
        log = planted_log(150)
        keep = np.random.default_rng(0).random(len(log.query)) >= missing
        columns = {name: getattr(log, name)[keep] for name in ("query", "arm", "outcome", "run")}
        log = PromptLog("pairs", log.queries, log.arms, **columns)
        seen = []

        def spied(outcomes, unseen, kind, z, clear, **options):  # type: ignore[no-untyped-def]
            seen.append((options.pop("measure"), options["default"]))
            rule = calibrated_rule(outcomes, unseen, kind, z, clear, **options)
            assert rule.default == outcomes.best_single
            return rule

        def unreachable(*_: object) -> PartialEvidence:
            raise AssertionError("a log of pairs was taken for a partial one")

        monkeypatch.setattr(selectors, "calibrated_rule", spied)
        monkeypatch.setattr(selectors, "partial_evidence", unreachable)
        made = fit_selector(log, Settings(folds=3, repeats=1, text_size=8, kind="mean"))
        assert seen == [(None, None)]
        assert made.about[CALIBRATED_BY] == "pairs of outcomes"
        assert BEST_SINGLE not in made.about


class TestEvaluation:
    def test_gain_and_verdict(self) -> None:
        numeric = kinds(900)
        chance = np.where(numeric[:, None] == 1, [[0.9, 0.2, 0.5]], [[0.2, 0.9, 0.5]])
        log = drawn_log(chance, numeric, np.full((900, 3), 1 / 3), 0)
        trial = grouped_trial(log, QUICK, folds=3)
        value = trial_value(trial)
        truth = chance[np.arange(900), trial.chosen] - chance[np.arange(900), trial.best_single]
        assert value.gain_ci95[0] < truth.mean() < value.gain_ci95[1]
        assert value.gain_ci95[0] > 0.1
        assert value.estimated == "doubly robust, propensities logged"
        assert value.gain_p < 1e-4
        assert (value.rows, value.rows_left_out, value.oracle) == (900, 0, None)
        decision = verdict(value, leaks=False)
        assert decision.word == "deploy"
        assert "(estimated: doubly robust, propensities logged)" in decision.reason
        row = report_row(trial, "grouped")
        assert row["oracle"] is None
        assert row["greedy_gain"] > 0.1

    def test_without_support(self) -> None:
        numeric = kinds(300)
        never = np.where(numeric[:, None] == 1, [[1.0, 0.0]], [[0.0, 1.0]])
        log = drawn_log(np.full((300, 2), 0.5), numeric, never, 0)
        trial = grouped_trial(log, QUICK, folds=3)
        decision = verdict(trial_value(trial), leaks=False)
        assert decision.word == "insufficient evidence"
        assert "'treeward prompt next' says what to run" in decision.reason
        assert "where the log supports that" in decision.reason
