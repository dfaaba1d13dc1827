"""Quality of predictions: areas, Brier skill and calibration error against short references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from prompt_oirl.evaluation.calibration import area_under_curve, calibration


def brute_force_area(outcome: np.ndarray, predicted: np.ndarray) -> float:
    """Every cell is a success by its outcome and a failure by the rest; all pairs are compared."""
    total = won = 0.0
    for y, p in zip(outcome, predicted):
        for other, q in zip(outcome, predicted):
            total += y * (1 - other)
            won += y * (1 - other) * ((p > q) + 0.5 * (p == q))
    return won / total


class TestArea:
    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("levels", [2, 5, 1000])
    def test_against_scikit_learn(self, seed: int, levels: int) -> None:
        rng = np.random.default_rng(seed)
        predicted = rng.integers(0, levels, 80) / levels
        outcome = (rng.random(80) < 0.2 + 0.6 * predicted).astype(float)
        assert area_under_curve(outcome, predicted) == pytest.approx(
            roc_auc_score(outcome, predicted)
        )

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=12).filter(
            lambda cells: 0 < sum(y for y, _ in cells) < 4 * len(cells)
        )
    )
    def test_fractions_and_ties(self, cells: list[tuple[int, int]]) -> None:
        outcome = np.array([y / 4 for y, _ in cells])
        predicted = np.array([p / 3 for _, p in cells])
        expected = brute_force_area(outcome, predicted)
        assert area_under_curve(outcome, predicted) == pytest.approx(expected, abs=1e-12)

    def test_one_class_or_nothing(self) -> None:
        for outcome in ([], [1.0, 1.0], [0.0, 0.0]):
            assert np.isnan(area_under_curve(np.array(outcome), np.arange(float(len(outcome)))))


class TestCalibration:
    def test_by_hand(self) -> None:
        outcome = np.array([[1.0, 0.0], [0.0, np.nan], [1.0, 1.0]])
        predicted = np.array([[0.85, 0.15], [0.12, 0.5], [0.99, 1.0]])
        base = np.full((3, 2), 0.5)
        found = calibration(outcome, predicted, base)
        squares = [0.15**2, 0.15**2, 0.12**2, 0.01**2, 0]
        assert found.brier == pytest.approx(sum(squares) / 5)
        assert found.brier_skill == pytest.approx(1 - sum(squares) / 5 / 0.25)
        # Bins: 0.1..0.2 has two cells, 0.8..0.9 one, 0.9..1 two; the unknown cell is in none.
        assert [count for _, _, count in found.bins] == [2, 1, 2]
        assert [mean for mean, _, _ in found.bins] == pytest.approx([0.135, 0.85, 0.995])
        assert [rate for _, rate, _ in found.bins] == [0, 1, 1]
        assert found.ece == pytest.approx((2 * 0.135 + 0.15 + 2 * 0.005) / 5)
        assert (found.auc, found.auc_within_arm) == (1, 1)

    def test_the_base_rate_has_no_skill(self) -> None:
        rng = np.random.default_rng(0)
        base = np.tile([0.2, 0.5, 0.7], (100, 1))
        outcome = (rng.random((100, 3)) < base).astype(float)
        outcome[rng.random((100, 3)) < 0.2] = np.nan
        found = calibration(outcome, base, base)
        assert found.brier_skill == 0
        assert found.auc_within_arm == 0.5
        known = ~np.isnan(outcome)
        assert found.brier == pytest.approx(brier_score_loss(outcome[known], base[known]))
        assert calibration(outcome, 1 - base, base).brier_skill < 0

    def test_knowing_prompts_is_not_knowing_queries(self) -> None:
        """Arms of very different rates: a high area without any knowledge within them."""
        rng = np.random.default_rng(1)
        rate = np.tile([0.1, 0.9], (400, 1))
        outcome = (rng.random((400, 2)) < rate).astype(float)
        found = calibration(outcome, rate, rate)
        assert found.auc > 0.85
        assert found.auc_within_arm == 0.5

    def test_true_chances_are_calibrated(self) -> None:
        rng = np.random.default_rng(2)
        chance = rng.random((4000, 2))
        outcome = (rng.random((4000, 2)) < chance).astype(float)
        assert calibration(outcome, chance, np.full_like(chance, 0.5)).ece < 0.03
        overconfident = np.clip(2 * chance - 0.5, 0, 1)
        assert calibration(outcome, overconfident, np.full_like(chance, 0.5)).ece > 0.1

    def test_a_base_that_is_always_right(self) -> None:
        outcome = np.ones((4, 1))
        found = calibration(outcome, outcome, outcome)
        assert np.isnan(found.brier_skill)
        assert np.isnan(found.auc_within_arm)
