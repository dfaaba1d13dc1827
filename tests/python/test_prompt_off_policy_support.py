"""Propensities, overlap, and where a log has no support for a policy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from off_policy_world import World, make_world
from scipy.stats import norm, t

from prompt_oirl.errors import NoSupport
from prompt_oirl.logs.log import Arm, PromptLog, Query
from prompt_oirl.off_policy import (
    ESTIMATORS,
    FixedArm,
    GivenProbabilities,
    LoggedDecisions,
    SupportLimits,
    estimate_value,
)
from prompt_oirl.off_policy.cross_fitting import grouped_folds
from prompt_oirl.off_policy.overlap import check_support, measure_overlap
from prompt_oirl.off_policy.propensity import LogisticPropensity, calibration


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


class TestPropensity:
    def test_estimated_near_the_truth(self, world: World) -> None:
        decisions = LoggedDecisions.from_log(world.log)
        fold = grouped_folds(decisions.group, 5)
        found = LogisticPropensity().cross_fitted(world.features, decisions, fold)
        assert found.sum(axis=1) == pytest.approx(np.ones(len(found)))
        assert np.abs(found - world.logging).mean() < 0.03

    def test_calibration_tells_right_from_wrong(self, world: World) -> None:
        decisions = LoggedDecisions.from_log(world.log)
        right = calibration(world.logging, decisions)
        assert right.adequate
        wrong = calibration(world.logging[:, [1, 0, 2]], decisions)
        assert not wrong.adequate
        assert wrong.worst_arm in (0, 1)
        assert wrong.error > 4 * right.error

    def test_few_groups_that_agree_tell_as_well(self) -> None:
        """Ten groups of a hundred, a chance of one half predicted, always the same arm chosen."""
        half = np.full((1000, 2), 0.5)
        decisions = LoggedDecisions(
            2,
            np.arange(1000),
            np.zeros(1000, dtype=np.int64),
            np.zeros(1000),
            np.full(1000, np.nan),
            np.repeat(np.arange(10), 100),
        )
        assert not calibration(half, decisions).adequate

    def test_a_rounded_error_is_no_reason_to_doubt(self) -> None:
        """Weights of a full grid sum to 1 in every query but for rounding."""
        draw = np.random.default_rng(0)
        queries = [Query(f"q{i}", f"text {i}", f"g{i}") for i in range(60)]
        arms = [Arm(f"a{k}") for k in range(3)]
        log = PromptLog.from_grid("full", queries, arms, (draw.random((60, 3)) < 0.5).astype(float))
        for _ in range(10):
            target = draw.dirichlet(np.ones(3), 60)
            found = estimate_value(log, GivenProbabilities("some", target))
            assert not [text for text in found.warnings if "mean weight" in text]

    def test_calibrated_propensities_are_rarely_called_wrong(self) -> None:
        called = []
        for seed in range(100):
            made = make_world(300, seed=seed)
            called.append(calibration(made.logging, LoggedDecisions.from_log(made.log)).adequate)
        assert np.mean(called) >= 0.97

    def test_clipped_and_zero_for_arms_never_chosen(self) -> None:
        draw = np.random.default_rng(4)
        x = draw.normal(size=(300, 1))
        arm = (x[:, 0] > 0).astype(np.int64)
        rows = np.arange(300)
        decisions = LoggedDecisions(3, rows, arm, arm * 1.0, np.full(300, np.nan), rows)
        model = LogisticPropensity(least=0.05, inverse_penalty=100.0)
        found = model.cross_fitted(x, decisions, grouped_folds(rows, 5))
        assert (found[:, 2] == 0).all()
        assert found[:, :2].min() == pytest.approx(0.05 / 1.05, rel=0.05)


class TestOverlap:
    def overlap_of(self, weight: list[float]) -> Any:
        rows = np.arange(len(weight))
        decisions = LoggedDecisions(
            2, rows, 0 * rows, 1.0 * rows * 0, np.full(len(rows), 0.1), rows
        )
        target = np.stack([np.array(weight) * 0.1, 1 - np.array(weight) * 0.1], axis=1)
        return measure_overlap(decisions, target, SupportLimits())

    @given(st.integers(1, 50), st.floats(0.01, 10))
    @settings(max_examples=30, deadline=None)
    def test_equal_weights_count_in_full(self, rows: int, weight: float) -> None:
        assert self.overlap_of([weight] * rows).effective_sample_size == pytest.approx(rows)

    def test_by_hand(self) -> None:
        found = self.overlap_of([3.0, 1.0, 0.0, 0.0])
        assert found.effective_sample_size == pytest.approx(16 / 10)
        assert found.agreeing == 2
        assert found.mean_weight == pytest.approx(1.0)
        assert found.largest_share == pytest.approx(0.75)
        assert any("effective sample size is 2 of 4" in text for text in found.warnings())
        assert any("one decision has 75%" in text for text in found.warnings())

    def test_plain_overlap_has_no_warning(self, world: World) -> None:
        found = estimate_value(world.log, FixedArm("steps"), features=world.features)
        assert found.warnings == ()


class TestSupport:
    def test_an_arm_never_chosen(self, world: World) -> None:
        log = world.log.only_arms(["direct", "steps"])
        log = PromptLog("made", log.queries, (*log.arms, Arm("plan")), log.query, log.arm,
                        log.outcome, propensity=log.propensity)  # fmt: skip
        for name in ESTIMATORS:
            with pytest.raises(NoSupport, match=r"chooses 'plan' with probability 1\.000"):
                estimate_value(log, FixedArm("plan"), estimator=ESTIMATORS[name])
        mixed = np.tile([0.5, 0.45, 0.05], (len(log.queries), 1))
        with pytest.raises(NoSupport, match=r"probability 0\.050"):
            estimate_value(log, GivenProbabilities("mixed", mixed))
        estimate_value(log, GivenProbabilities("mixed", mixed), limits=SupportLimits(0.005, 0.1))

    def test_rarely_chosen(self, world: World) -> None:
        with pytest.raises(NoSupport, match=r"propensity below 0\.3"):
            estimate_value(world.log, FixedArm("plan"), limits=SupportLimits(0.3, 0.01))
        estimate_value(world.log, FixedArm("plan"), limits=SupportLimits(0.2, 0.01))

    def test_never_tried_on_such_queries(self, world: World) -> None:
        """The arm is in the log, with certain propensities, but never where the target wants it."""
        kind = world.features[:, 0].astype(np.int64)
        rows = np.arange(len(kind))
        log = PromptLog("split", world.log.queries, world.log.arms, rows, kind,
                        world.outcomes[rows, kind], propensity=np.ones(len(kind)))  # fmt: skip
        with pytest.raises(NoSupport, match="never tries on such queries"):
            estimate_value(log, FixedArm("steps"))
        with pytest.raises(NoSupport, match="none of the 900"):
            estimate_value(log, GivenProbabilities("other", np.eye(3)[1 - kind]))

    def test_chance_alone_hardly_refuses(self) -> None:
        """A target that few decisions agree with, on logs that do support it."""
        draw, refused = np.random.default_rng(5), 0
        for _ in range(300):
            arm = (draw.random(400) < 0.02).astype(np.int64)
            arm[0] = 1
            rows = np.arange(400)
            chosen = np.where(arm == 1, 0.02, 0.98)
            decisions = LoggedDecisions(2, rows, arm, 1.0 * arm, chosen, rows)
            target = np.tile([0.0, 1.0], (400, 1))
            limits = SupportLimits()
            try:
                check_support(measure_overlap(decisions, target, limits), limits, ["a", "b"])
            except NoSupport:
                refused += 1
        assert refused <= 3

    @pytest.mark.parametrize("groups", [1, 2, 3, 5])
    @pytest.mark.parametrize("by_group", [False, True])
    def test_few_groups_hardly_refuse(self, groups: int, by_group: bool) -> None:
        """Arms drawn evenly, for each decision or for a whole group; the target mixes them."""
        draw, limits, refused, warned = np.random.default_rng(6), SupportLimits(), 0, 0
        rows = np.arange(400)
        for _ in range(300):
            drawn = draw.integers(0, 2, groups if by_group else 400)
            arm = drawn[rows % groups] if by_group else drawn
            even = np.full(400, 0.5)
            decisions = LoggedDecisions(2, rows, arm, 1.0 * arm, even, rows % groups)
            overlap = measure_overlap(decisions, np.tile([0.6, 0.4], (400, 1)), limits)
            warned += any("propensities are wrong" in text for text in overlap.warnings())
            try:
                check_support(overlap, limits, ["a", "b"])
            except NoSupport as error:  # an arm that no group drew is rightly refused
                refused += "on such queries" in str(error)
        assert refused <= 1
        assert warned <= 3

    def test_one_group_is_not_tested(self) -> None:
        rows = np.arange(4)
        decisions = LoggedDecisions(2, rows, rows % 2, 1.0 * rows * 0, np.full(4, 0.5), 0 * rows)
        overlap = measure_overlap(decisions, np.tile([0.1, 0.9], (4, 1)), SupportLimits())
        assert np.isnan(overlap.mean_weight_deviation)
        assert overlap.as_record(["a", "b"])["mean_weight_error"] is None

    @pytest.mark.parametrize("groups", [2, 20])
    def test_the_deviation_by_hand(self, groups: int) -> None:
        """Of weights 2 and 0, more of these, in groups of one kind each but the first."""
        group = np.arange(groups).repeat(10)
        arm = np.where(group % 4 == 0, 0, 1)
        arm[0] = 1
        rows = np.arange(len(arm))
        decisions = LoggedDecisions(2, rows, arm, 1.0 * arm, np.full(len(arm), 0.5), group)
        found = measure_overlap(decisions, np.tile([1.0, 0.0], (len(arm), 1)), SupportLimits())
        weight = 2.0 * (arm == 0)
        sums = np.array([(weight - weight.mean())[group == one].sum() for one in range(groups)])
        error = np.sqrt(groups / (groups - 1) * (sums**2).sum()) / len(arm)
        assert found.mean_weight_error == pytest.approx(error)
        score = (weight.mean() - 1) / (error / np.sqrt(weight.mean()))
        assert norm.cdf(found.mean_weight_deviation) == pytest.approx(t.cdf(score, groups - 1))
