"""The calibrated lower bound: what it promises of the chosen arm is what happens on new rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted_logs import planted_log

from prompt_oirl.errors import BadLog
from prompt_oirl.evaluation.blind_ensemble import BlindEnsemble, blind_ensemble
from prompt_oirl.evaluation.calibrated_bound import (
    LARGEST,
    CalibratedBound,
    calibrated_bound,
    promise_gap,
)
from prompt_oirl.evaluation.over_optimisation import over_optimisation
from prompt_oirl.models.outcomes import Floats, Outcomes, averaged

NAN = float("nan")


def outcomes_of(value: Floats, weight: Floats | None = None) -> Outcomes:
    rows = len(value)
    known = np.where(np.isnan(value), 0.0, 1.0) if weight is None else weight
    return Outcomes(np.zeros((rows, 0)), value, known, np.arange(rows))


def world(
    rows: int, members: int, noise: float, shared: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Outcomes ``[R, 8]`` and what members predict of them: the truth, an error that they share,
    and one that each has to itself."""
    truth = np.clip(0.5 + 0.1 * rng.normal(size=(rows, 8)), 0.05, 0.95)
    outcome = (rng.random((rows, 8)) < truth).astype(float)
    common = shared * rng.normal(size=truth.shape)
    own = noise * rng.normal(size=(members, *truth.shape))
    return outcome, truth + common + own


class TestPromise:
    @pytest.mark.parametrize(("noise", "shared"), [(0.2, 0.0), (0.15, 0.1), (0.1, 0.15)])
    def test_is_kept_on_new_rows(self, noise: float, shared: float) -> None:
        rng = np.random.default_rng(0)
        logged, unseen = world(10_000, 4, noise, shared, rng)
        new, members = world(10_000, 4, noise, shared, rng)
        bound = calibrated_bound(outcomes_of(logged), unseen)
        gap = promise_gap(outcomes_of(new), bound.figure(members))
        by_mean = promise_gap(outcomes_of(new), np.clip(members.mean(axis=0), 0, 1))
        assert by_mean > 0.05
        assert abs(gap) < 0.25 * by_mean

    def test_candidates_decide_how_much_is_taken_off(self) -> None:
        logged, unseen = world(4000, 4, 0.2, 0.0, np.random.default_rng(2))
        found = [
            calibrated_bound(outcomes_of(logged[:, :size]), unseen[:, :, :size]).z
            for size in (1, 2, 8)
        ]
        assert found[0] < 0.1
        assert found[0] < found[1] < found[2]

    def test_nothing_is_taken_off_where_nothing_is_promised_too_much(self) -> None:
        logged, unseen = world(500, 4, 0.1, 0.0, np.random.default_rng(3))
        assert calibrated_bound(outcomes_of(logged), unseen - 0.4).z == 0

    def test_where_nothing_helps_the_most_is_taken_off(self) -> None:
        value = np.zeros((30, 2))
        found = calibrated_bound(outcomes_of(value), np.full((4, 30, 2), 0.7))
        assert (found.z, found.holds) == (LARGEST, False)

    def test_the_least_that_helps_is_taken_off(self) -> None:
        rng = np.random.default_rng(1)
        for _ in range(60):
            value = (rng.random((12, 3)) < 0.5).astype(float)
            unseen = rng.random((12, 3)) + rng.normal(0, 0.2, (3, 12, 3))
            found = calibrated_bound(outcomes_of(value), unseen)
            gap = [
                promise_gap(outcomes_of(value), replace(found, z=z).figure(unseen))
                for z in (found.z, *np.arange(0, found.z, 0.125))
            ]
            assert gap[0] <= 1e-9 or not found.holds
            assert all(one > 0 for one in gap[1:])

    def test_rows_that_were_not_run_do_not_count(self) -> None:
        logged, unseen = world(600, 4, 0.2, 0.0, np.random.default_rng(4))
        whole = calibrated_bound(outcomes_of(logged), unseen)
        more = np.vstack([logged, np.full((200, 8), NAN)])
        again = np.concatenate([unseen, unseen[:, :200]], axis=1)
        spread = np.sqrt(again.var(axis=0, ddof=1).mean(axis=0))
        found = calibrated_bound(outcomes_of(more), again)
        assert found.spread.tolist() == spread.tolist()
        assert found.z == pytest.approx(whole.z, abs=0.1)


class TestByHand:
    def test_figure(self) -> None:
        bound = CalibratedBound(np.array([0.1, 0.2]), 2.0)
        members = np.array([[[0.5, 0.9]], [[0.7, 0.1]]])
        assert bound.figure(members)[0].tolist() == pytest.approx([0.4, 0.1])
        far = CalibratedBound(np.array([0.1, 0.2]), 8.0).figure(members)[0]
        assert far.tolist() == pytest.approx([-0.2, -1.1])

    def test_arms_are_ordered_before_the_promise_is_cut(self) -> None:
        value = np.tile([0.0, 1.0], (10, 1))
        members = np.stack([np.tile([1.02, 1.30], (10, 1)), np.tile([1.04, 1.34], (10, 1))])
        assert promise_gap(outcomes_of(value), members.mean(axis=0)) == 0
        assert calibrated_bound(outcomes_of(value), members).z == 0

    def test_gap(self) -> None:
        value = np.array([[1.0, 0.0], [NAN, 1.0], [0.0, NAN]])
        weight = np.array([[1.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
        figure = np.array([[0.6, 0.5], [0.2, 0.9], [0.1, 0.3]])
        # Chosen are 0, 1 and, not known, 1: (0.6 − 1) once and (0.9 − 1) three times.
        assert promise_gap(outcomes_of(value, weight), figure) == pytest.approx(-0.7 / 4)
        assert promise_gap(outcomes_of(value[2:], weight[2:]), figure[2:]) == 0

    def test_one_member(self) -> None:
        logged, unseen = world(20, 4, 0.1, 0.0, np.random.default_rng(5))
        with pytest.raises(BadLog, match="one member"):
            calibrated_bound(outcomes_of(logged), unseen[:1])


class TestBlindEnsemble:
    def fitted(self, change: bool) -> tuple[BlindEnsemble, list[str], np.ndarray]:
        texts, value, weight, group = averaged(planted_log(60))
        changed = group == group[0]
        if change:
            value[changed] = 1 - value[changed]
        outcomes = Outcomes(np.zeros((len(texts), 0)), value, weight, group)
        return blind_ensemble(texts, outcomes, ("interaction",), 3, 4, seed=1), texts, changed

    def test_outcomes_of_a_group_leave_no_trace_in_its_own_predictions(self) -> None:
        (one, _, changed), (other, _, _) = self.fitted(False), self.fitted(True)
        assert (one.unseen[:, changed] == other.unseen[:, changed]).all()
        assert (one.unseen[:, ~changed] != other.unseen[:, ~changed]).any(axis=(1, 2)).all()

    def test_a_new_query_is_predicted_by_one_member_a_repeat(self) -> None:
        ensemble, texts, _ = self.fitted(False)
        assert len(ensemble.members) == len(ensemble.unseen) == 3
        found = ensemble.predict(texts)
        assert found.shape == ensemble.unseen.shape
        # A member of the half in which a row is not said of it then what it says now.
        same = (found == ensemble.unseen).all(axis=2).mean(axis=1)
        assert np.all((same > 0.2) & (same < 0.8))


def test_a_figure_may_depend_on_the_candidates() -> None:
    rng = np.random.default_rng(6)
    outcome, figure = rng.random((20, 4)), rng.random((20, 4))
    asked = []

    def of(some: np.ndarray) -> Floats:
        asked.append(some.tolist())
        return figure[:, some]

    assert over_optimisation(outcome, of, 5) == over_optimisation(outcome, figure, 5)
    assert all(some == sorted(set(some)) for some in asked)
    assert asked[-1] == [0, 1, 2, 3]
    assert sum(len(some) == 4 for some in asked) == 1
