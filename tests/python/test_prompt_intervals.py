"""Intervals and tests of means whose rows come in groups, and of several at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompt_oirl.evaluation.bootstrap import clustered_interval, two_sided_p
from prompt_oirl.evaluation.multiple import holm


class TestBootstrap:
    def test_groups_of_one_are_the_plain_bootstrap(self) -> None:
        values = np.random.default_rng(0).normal(size=50)
        rng = np.random.default_rng(7)
        means = [values[rng.integers(0, 50, 50)].mean() for _ in range(500)]
        expected = np.quantile(means, [0.025, 0.975])
        found = clustered_interval(values, np.arange(50), draws=500, seed=7)
        assert found == pytest.approx(tuple(expected), abs=1e-12)

    def test_groups_of_different_sizes_by_hand(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two groups: four equally likely draws, three possible means."""
        monkeypatch.setattr("prompt_oirl.evaluation.bootstrap.FEW_GROUPS", 1)
        values, groups = np.array([1.0, 1, 1, 0]), np.array([5, 5, 5, 2])
        low, high = clustered_interval(values, groups, draws=400)
        assert (low, high) == (0, 1)
        middle = clustered_interval(values, groups, level=0.2, draws=400)
        assert middle == (0.75, 0.75)

    def test_coverage_of_clustered_values(self) -> None:
        """Values that share most of their noise within groups; the true mean is 0."""
        honest = naive = 0
        rng = np.random.default_rng(3)
        groups = np.repeat(np.arange(40), 6)
        for seed in range(150):
            values = rng.normal(size=40)[groups] + 0.5 * rng.normal(size=240)
            low, high = clustered_interval(values, groups, draws=300, seed=seed)
            honest += low <= 0 <= high
            low, high = clustered_interval(values, np.arange(240), draws=300, seed=seed)
            naive += low <= 0 <= high
        assert 0.89 <= honest / 150 <= 0.99
        assert naive / 150 < 0.75

    def test_nothing_and_one_group(self) -> None:
        assert np.isnan(clustered_interval(np.zeros(0), np.zeros(0, dtype=np.int64))).all()
        assert np.isnan(clustered_interval(np.array([0.0, 1.0]), np.array([3, 3]))).all()

    def test_few_groups_are_as_a_test_of_their_sums(self) -> None:
        from scipy.stats import ttest_1samp

        values = np.array([0.5, -0.1, 0.3, 0.4, 0.2, 0.6])
        expected = ttest_1samp(values, 0).confidence_interval(0.9)
        found = clustered_interval(np.repeat(values, 3), np.repeat(np.arange(6), 3), 0.9)
        assert found == pytest.approx((expected.low, expected.high))

    @pytest.mark.parametrize("groups", [2, 4, 10, 39, 40])
    def test_intervals_of_few_groups_hold_the_truth(self, groups: int) -> None:
        rng = np.random.default_rng(groups)
        place = np.repeat(np.arange(groups), 6)
        held = 0
        for seed in range(300):
            values = rng.normal(size=groups)[place] + 0.5 * rng.normal(size=len(place))
            low, high = clustered_interval(values, place, draws=300, seed=seed)
            held += low <= 0 <= high
        assert 0.91 <= held / 300 <= 0.985

    @pytest.mark.parametrize("sizes", [[50] * 4 + [1] * 60, [30] * 6 + [1] * 60])
    def test_a_few_large_groups_are_few(self, sizes: list[int]) -> None:
        rng = np.random.default_rng(0)
        place = np.repeat(np.arange(len(sizes)), sizes)
        held = 0
        for seed in range(300):
            values = rng.normal(size=len(sizes))[place]
            low, high = clustered_interval(values, place, draws=200, seed=seed)
            held += low <= 0 <= high
        assert 0.92 <= held / 300 <= 0.985

    def test_one_group_that_is_nearly_all_still_has_an_interval(self) -> None:
        place = np.array([0] * 50 + [1, 2])
        low, high = clustered_interval(np.arange(52.0), place)
        assert low < 25.5 < high

    def test_p_values(self) -> None:
        values = np.array([0.5, -0.1, 0.3, 0.4, 0.2, 0.6])
        alone = np.arange(6)
        from scipy.stats import norm, ttest_1samp

        p = ttest_1samp(values, 0).pvalue
        assert two_sided_p(values, alone) == pytest.approx(p)
        assert two_sided_p(-values, alone) == pytest.approx(p)
        many = np.random.default_rng(0).normal(0.1, 1, 90)
        z = many.mean() / (many.std(ddof=1) / np.sqrt(90))
        assert two_sided_p(many, np.arange(90)) == pytest.approx(2 * norm.sf(z))
        assert two_sided_p(np.array([-0.2, 0.1, 0.1, 0.0]), np.array([0, 0, 0, 1])) == 1
        doubled, groups = np.repeat(values, 2), np.repeat(alone, 2)
        assert two_sided_p(doubled, groups) == pytest.approx(two_sided_p(values, alone))
        assert two_sided_p(doubled, np.arange(12)) < two_sided_p(values, alone)
        assert two_sided_p(values, np.zeros(6, dtype=np.int64)) == 1
        assert two_sided_p(np.zeros(6), alone) == 1
        assert two_sided_p(np.array([1.0, -1, 0, 0]), np.array([0, 0, 1, 2])) == 1
        assert two_sided_p(np.ones(8), np.arange(8)) == pytest.approx(2 * 0.5**8)


class TestHolm:
    def test_by_hand(self) -> None:
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
        assert holm([0.5, 0.9]) == [1, 1]
        assert holm([]) == []

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
    def test_between_no_correction_and_bonferroni(self, values: list[float]) -> None:
        found = holm(values)
        for p, adjusted in zip(values, found):
            assert p <= adjusted <= min(1, p * len(values)) + 1e-12 or adjusted == max(
                a for a, q in zip(found, values) if q <= p
            )
        order = np.argsort(values, kind="stable")
        assert (np.diff(np.array(found)[order]) >= 0).all()
