"""Off-policy evaluation of a log: folds, models of outcomes, estimates, and policies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from off_policy_world import ARMS, World, make_world

from prompt_oirl.errors import BadLog, NotIdentified
from prompt_oirl.logs.log import Arm, Floats, Indices, PromptLog, Query
from prompt_oirl.off_policy import (
    ESTIMATORS,
    FixedArm,
    GivenProbabilities,
    LoggedDecisions,
    SelectorPolicy,
    estimate_value,
)
from prompt_oirl.off_policy.best_single import BestSingle
from prompt_oirl.off_policy.cross_fitting import cross_fitted_outcomes, grouped_folds
from prompt_oirl.off_policy.estimate import is_full_grid
from prompt_oirl.off_policy.outcome_models import ArmMeans, PerArmLogistic, ShrunkenRidge
from prompt_oirl.off_policy.policy import policy_table


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


class TestFolds:
    @given(st.lists(st.integers(0, 12), min_size=20, max_size=60), st.integers(0, 5))
    @settings(max_examples=50, deadline=None)
    def test_groups_stay_together_and_folds_are_even(self, groups: list[int], seed: int) -> None:
        group = np.array([*groups, *range(5)])
        fold = grouped_folds(group, 5, seed)
        by_group = {name: set(fold[group == name].tolist()) for name in set(group.tolist())}
        assert all(len(folds) == 1 for folds in by_group.values())
        sizes = np.bincount([folds.pop() for folds in by_group.values()], minlength=5)
        assert sizes.max() - sizes.min() <= 1

    def test_too_few_groups(self) -> None:
        with pytest.raises(NotIdentified, match=r"5 folds .* the log has 2"):
            grouped_folds(np.array([0, 1, 1, 0]), 5)


@dataclass(frozen=True)
class Remembers:
    """An outcome model that predicts 1 for feature values that it was fitted on, else 0."""

    def fit(self, features: Floats, arm: Indices, outcome: Floats, arms: int) -> Memory:
        return Memory(set(features[:, 0].tolist()), arms)


@dataclass(frozen=True)
class Memory:
    seen: set[float]
    arms: int

    def predict(self, features: Floats) -> Floats:
        known = [float(value in self.seen) for value in features[:, 0]]
        return np.repeat(np.array(known)[:, None], self.arms, axis=1)


def test_no_row_is_predicted_by_a_model_that_saw_its_group(world: World) -> None:
    decisions = LoggedDecisions.from_log(world.log)
    fold = grouped_folds(decisions.group, 5)
    marks = decisions.group[:, None] * 1.0
    assert (cross_fitted_outcomes(Remembers(), marks, decisions, fold) == 0).all()
    # Folds of single rows would have let it remember the other query of the pair.
    careless = np.arange(len(decisions)) % 5
    assert (cross_fitted_outcomes(Remembers(), marks, decisions, careless) == 1).all()


class TestOutcomeModels:
    def test_ridge_is_its_two_least_squares(self) -> None:
        """Against augmented least squares: the penalty as extra rows."""
        draw = np.random.default_rng(1)
        x, arm = draw.normal(size=(80, 3)), draw.integers(0, 2, 80)
        outcome = 0.5 + 0.1 * draw.normal(size=80)
        model = ShrunkenRidge(level_penalty=4.0, common_penalty=9.0, own_penalty=25.0)
        z = (x - x.mean(axis=0)) / x.std(axis=0)
        own = [arm == 0, arm == 1]
        level = [(outcome[o].sum() + 4 * outcome.mean()) / (o.sum() + 4) for o in own]
        centred, rest = np.zeros_like(z), np.zeros(80)
        for o, height in zip(own, level):
            centred[o], rest[o] = z[o] - z[o].mean(axis=0), outcome[o] - height

        def penalised(rows: Floats, wanted: Floats, penalty: float) -> Floats:
            more = np.vstack([rows, np.sqrt(penalty) * np.eye(3)])
            return np.linalg.lstsq(more, np.append(wanted, np.zeros(3)), rcond=None)[0]

        common = penalised(centred, rest, 9.0)
        rest = rest - centred @ common
        expected = np.empty((80, 2))
        for k, o in enumerate(own):
            slopes = common + penalised(centred[o], rest[o], 25.0)
            expected[:, k] = level[k] + (z - z[o].mean(axis=0)) @ slopes
        found = model.fit(x, arm, outcome, 2).predict(x)
        assert found == pytest.approx(np.clip(expected, 0, 1), abs=1e-10)

    @pytest.mark.parametrize("model", [ShrunkenRidge(), PerArmLogistic(), ArmMeans()])
    def test_an_arm_never_tried_is_predicted_by_the_others(self, model: Any) -> None:
        draw = np.random.default_rng(2)
        x, arm = draw.normal(size=(60, 2)), draw.integers(0, 2, 60)
        outcome = draw.integers(0, 2, 60) * 1.0
        found = model.fit(x, arm, outcome, 3).predict(x)
        assert found.shape == (60, 3)
        assert ((found >= 0) & (found <= 1)).all()
        assert found[:, 2].mean() == pytest.approx(outcome.mean(), abs=0.02)

    def test_logistic_reads_fractions_as_parts_of_successes(self) -> None:
        draw = np.random.default_rng(3)
        x = draw.normal(size=(400, 1))
        arm = np.zeros(400, dtype=np.int64)
        chance = 1 / (1 + np.exp(-x[:, 0]))
        found = PerArmLogistic(100.0).fit(x, arm, chance, 1).predict(x)
        assert found[:, 0] == pytest.approx(chance, abs=0.01)

    def test_one_class(self) -> None:
        arm = np.array([0, 0, 0, 1])
        found = PerArmLogistic().fit(np.zeros((4, 1)), arm, np.array([1.0, 1, 1, 0]), 2)
        assert found.predict(np.zeros((1, 1))) == pytest.approx(np.array([[3.75 / 4, 0.75 / 2]]))

    def test_models_tell_kinds_of_queries_apart(self, world: World) -> None:
        decisions = LoggedDecisions.from_log(world.log)
        fold = grouped_folds(decisions.group, 5)
        kind = world.features[:, 0] == 1
        for model in (ShrunkenRidge(own_penalty=5.0), PerArmLogistic()):
            found = cross_fitted_outcomes(model, world.features, decisions, fold)
            assert found[kind, 1].mean() == pytest.approx(0.8, abs=0.1)
            assert found[~kind, 1].mean() == pytest.approx(0.3, abs=0.15)


class TestEstimate:
    @pytest.mark.parametrize("name", ESTIMATORS)
    def test_near_the_truth(self, world: World, name: str) -> None:
        for arm in range(3):
            truth = world.outcomes[:, arm].mean()
            found = estimate_value(
                world.log, FixedArm(ARMS[arm]), estimator=ESTIMATORS[name], features=world.features
            )
            bias = 0.1 if name == "dm" else 0.0  # the direct method's interval ignores its bias
            assert found.value == pytest.approx(truth, abs=4 * found.interval.standard_error + bias)
            assert found.gain == pytest.approx(found.value - world.log.outcome.mean())

    def test_estimated_propensities_remove_the_confounding(self) -> None:
        """The logging policy used arms where they work: their plain means are too good."""
        made = make_world(4000, seed=6, propensities=False)
        truth = made.outcomes[:, 1].mean()
        plain = made.log.outcome[made.log.arm == 1].mean()
        found = estimate_value(made.log, FixedArm("steps"))
        assert plain - truth > 0.05
        assert found.value == pytest.approx(truth, abs=0.03)
        assert found.calibration is not None
        assert any("estimated from the texts" in text for text in found.warnings)

    def test_some_propensities_missing(self) -> None:
        made = make_world(400, seed=7)
        made.log.propensity[::2] = np.nan
        found = estimate_value(made.log, FixedArm("steps"))
        assert any("200 of 400 propensities are in the log" in text for text in found.warnings)

    def test_a_full_grid_gives_its_own_mean(self, world: World) -> None:
        log = PromptLog.from_grid("full", world.log.queries, world.log.arms, world.outcomes)
        for name in ("ips", "snips", "dr", "sndr"):
            found = estimate_value(log, FixedArm("plan"), estimator=ESTIMATORS[name])
            assert found.value == pytest.approx(world.outcomes[:, 2].mean(), abs=1e-9)
            assert found.propensities == "even"
            assert any("run under every arm" in text for text in found.warnings)

    def test_one_missing_cell_is_no_full_grid(self, world: World) -> None:
        outcomes = world.outcomes.copy()
        outcomes[-1, -1] = np.nan
        log = PromptLog.from_grid("nearly", world.log.queries, world.log.arms, outcomes)
        assert not is_full_grid(LoggedDecisions.from_log(log))
        assert is_full_grid(LoggedDecisions.from_log(log.only_queries(np.arange(899))))

    def test_the_logging_policy_gains_nothing(self, world: World) -> None:
        found = estimate_value(world.log, GivenProbabilities("same", world.logging))
        assert found.gain_interval.low < 0 < found.gain_interval.high
        assert found.overlap.effective_sample_size == pytest.approx(len(world.log.query))

    def test_queries_without_outcome_change_nothing(self, world: World) -> None:
        more = (*world.log.queries, Query("new", "how many more?", "g-new"))
        log = PromptLog("made", more, world.log.arms, world.log.query, world.log.arm,
                        world.log.outcome, propensity=world.log.propensity)  # fmt: skip
        features = np.vstack([world.features, [[1.0]]])
        with_it = estimate_value(log, FixedArm("steps"), features=features)
        without = estimate_value(world.log, FixedArm("steps"), features=world.features)
        assert with_it.value == pytest.approx(without.value, abs=0.01)
        assert with_it.decisions == without.decisions

    def test_seed_repeats(self, world: World) -> None:
        first = estimate_value(world.log, FixedArm("steps"), seed=3, interval="bootstrap")
        again = estimate_value(world.log, FixedArm("steps"), seed=3, interval="bootstrap")
        other = estimate_value(world.log, FixedArm("steps"), seed=4)
        assert first.as_record() == again.as_record()
        assert first.value != other.value

    def test_wrong_arguments(self, world: World) -> None:
        with pytest.raises(BadLog, match="not 'exact'"):
            estimate_value(world.log, FixedArm("steps"), interval="exact")
        with pytest.raises(BadLog, match="a row for each query"):
            estimate_value(world.log, FixedArm("steps"), features=np.zeros((3, 2)))
        with pytest.raises(BadLog, match="no outcome"):
            estimate_value(world.log.only_queries(np.empty(0, dtype=np.int64)), FixedArm("steps"))


class TestPolicies:
    def test_best_single_does_not_see_the_fold(self, world: World) -> None:
        """Outcomes of a fold turned round: the arm chosen for that fold stays."""
        policy = BestSingle(3, seed=1)
        before = policy.probabilities(world.log)
        fold = grouped_folds(world.log.groups, 3, 1)
        outcome = np.where(fold[world.log.query] == 0, 1 - world.log.outcome, world.log.outcome)
        log = PromptLog("turned", world.log.queries, world.log.arms, world.log.query,
                        world.log.arm, outcome, propensity=world.log.propensity)  # fmt: skip
        after = policy.probabilities(log)
        assert (before[fold == 0] == after[fold == 0]).all()

    def test_best_single_takes_no_credit_for_noise(self) -> None:
        """Twelve equal arms: the best on all queries looks better than it is, this does not."""
        draw, found, naive = np.random.default_rng(8), [], []
        for seed in range(60):
            outcomes = (draw.random((120, 12)) < 0.5) * 1.0
            queries = [Query(str(i), "", str(i)) for i in range(120)]
            log = PromptLog.from_grid("noise", queries, [Arm(str(k)) for k in range(12)], outcomes)
            table = BestSingle(5, seed).probabilities(log)
            found.append((table * outcomes).sum(axis=1).mean())
            naive.append(outcomes.mean(axis=0).max())
        assert np.mean(found) == pytest.approx(0.5, abs=0.02)
        assert np.mean(naive) > 0.55

    def test_best_single_weighs_by_propensity(self, world: World) -> None:
        """'direct' has the best plain mean only because it was used where it works."""
        kind, rows = world.features[:, 0].astype(np.int64), np.arange(900)
        outcomes = np.stack([1.0 - kind, np.full(900, 0.6), np.zeros(900)], axis=1)
        logging = np.stack([0.8 - 0.7 * kind, 0.1 + 0.7 * kind, np.full(900, 0.1)], axis=1)
        arm = (np.cumsum(logging, axis=1) < np.random.default_rng(9).random(900)[:, None]).sum(1)
        log = PromptLog("made", world.log.queries, world.log.arms, rows, arm, outcomes[rows, arm],
                        propensity=logging[rows, arm])  # fmt: skip
        assert outcomes[arm == 0, 0].mean() > 0.7
        assert (BestSingle().probabilities(log).argmax(axis=1) == 1).all()

    def test_selector_arms_in_another_order(self, world: World) -> None:
        @dataclass(frozen=True)
        class Backwards:
            arms: tuple[Arm, ...] = (Arm("plan"), Arm("direct"))

            def probabilities(self, texts: Any) -> Floats:
                return np.tile([0.25, 0.75], (len(texts), 1))

        table = policy_table(SelectorPolicy("backwards", Backwards()), world.log)
        assert (table == [0.75, 0.0, 0.25]).all()
        unknown = Backwards((Arm("other"), Arm("direct")))
        with pytest.raises(BadLog, match="chooses the arm 'other'"):
            policy_table(SelectorPolicy("backwards", unknown), world.log)

    def test_not_a_distribution(self, world: World) -> None:
        shape = world.logging.shape
        with pytest.raises(BadLog, match="not a distribution"):
            policy_table(GivenProbabilities("half", np.full(shape, 0.5)), world.log)
        with pytest.raises(BadLog, match="not a distribution"):
            policy_table(GivenProbabilities("nothing", np.full(shape, np.nan)), world.log)
        with pytest.raises(BadLog, match="for 900 queries and 3 arms"):
            policy_table(GivenProbabilities("short", np.ones((2, 3))), world.log)
