"""Choice by price and within a budget, against every price that changes a choice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prompt_oirl.choice.cost import choose_at_price, choose_within, frontier
from prompt_oirl.choice.rule import Rule
from prompt_oirl.errors import BadLog

COST = np.array([3.0, 1.0, 0.5])
MEANS = np.array([0.7, 0.65, 0.2])
SPREAD = np.zeros(3)


def rule_of(margin: float, default: int = 0) -> Rule:
    return Rule(default, "mean", 1.0, SPREAD, margin=margin)


def advantages(seed: int, rows: int = 9, default: int = 0, arms: int = 3) -> np.ndarray:
    found = np.random.default_rng(seed).normal(-0.05, 0.2, (rows, arms))
    found[:, default] = 0.0
    return found


def claims(advantage: np.ndarray, margin: float) -> np.ndarray:
    """Advantages above the margin count less it, those within it as nothing."""
    return np.where(advantage > margin, advantage - margin, np.minimum(advantage, 0))


def changes(claim: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Prices between those at which any query changes its arm, ascending."""
    found = {0.0}
    for row in claim:
        for i in range(len(cost)):
            for j in range(len(cost)):
                if cost[i] != cost[j]:
                    found.add(float((row[i] - row[j]) / (cost[i] - cost[j])))
    at = np.array(sorted(price for price in found if price >= 0))
    return np.concatenate([(at[:-1] + at[1:]) / 2, [at[-1] + 1]])


class TestPrice:
    def test_by_hand(self) -> None:
        advantage = np.array([[0, 0.3, -0.1], [0, -0.1, -0.5], [0, 0.05, -0.02]])
        rule = rule_of(0.1)
        assert choose_at_price(rule, advantage, MEANS, COST, 0.0).tolist() == [1, 0, 0]
        # Saved by arm 1: 2 · 0.04 = 0.08, by arm 2: 2.5 · 0.04 = 0.1.
        assert choose_at_price(rule, advantage, MEANS, COST, 0.04).tolist() == [1, 0, 1]
        assert choose_at_price(rule, advantage, MEANS, COST, 0.06).tolist() == [1, 1, 2]
        assert choose_at_price(rule, advantage, MEANS, COST, 9.0).tolist() == [2, 2, 2]

    @pytest.mark.parametrize("margin", [0.0, 0.05, 0.3, np.inf])
    @pytest.mark.parametrize("default", [0, 1, 2])
    def test_price_0_is_the_rule(self, margin: float, default: int) -> None:
        advantage = advantages(0, 200, default)
        rule = rule_of(margin, default)
        found = choose_at_price(rule, advantage, MEANS, COST, 0.0)
        assert np.array_equal(found, rule.choose(advantage))

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 10**6), st.sampled_from([0.0, 0.1]), st.floats(0, 1))
    def test_against_every_arm(self, seed: int, margin: float, price: float) -> None:
        advantage = advantages(seed)
        utility = claims(advantage, margin) - price * (COST - COST[0])
        found = choose_at_price(rule_of(margin), advantage, MEANS, COST, price)
        assert utility[np.arange(9), found] == pytest.approx(utility.max(axis=1))

    def test_a_small_advantage_is_no_drawback(self) -> None:
        """An arm that looks a little better is not taken later than one that looks worse."""
        advantage = np.array([[0, 0.02, -9], [0, -0.02, -9]])
        rule = rule_of(0.1)
        for price in np.linspace(0, 0.1, 21):
            better, worse = choose_at_price(rule, advantage, MEANS, COST, float(price))
            assert (better == 1) >= (worse == 1)

    def test_nothing_known_of_queries(self) -> None:
        """With an infinite margin the arms' means decide, for all queries alike."""
        rule, advantage = rule_of(np.inf), advantages(1) + 5.0
        assert set(choose_at_price(rule, advantage, MEANS, COST, 0.02)) == {0}
        assert set(choose_at_price(rule, advantage, MEANS, COST, 0.03)) == {1}
        assert set(choose_at_price(rule, advantage, MEANS, COST, 2.0)) == {2}

    @pytest.mark.parametrize("price", [-0.1, float("nan"), float("inf")])
    def test_no_price(self, price: float) -> None:
        with pytest.raises(BadLog, match="price of cost"):
            choose_at_price(rule_of(0.0), advantages(0), MEANS, COST, price)


class TestBudget:
    @pytest.mark.parametrize("margin", [0.0, 0.1, np.inf])
    @pytest.mark.parametrize("seed", range(5))
    def test_smallest_price_that_fits(self, margin: float, seed: int) -> None:
        rule, advantage = rule_of(margin, seed % 3), advantages(seed, 9, seed % 3)
        rows = (
            claims(advantage, margin)
            if np.isfinite(margin)
            else np.minimum(MEANS - MEANS[seed % 3], 0)[None]
        )
        prices = changes(rows, COST)
        for budget in (0.5, 0.6, 1.0, 1.7, 2.4, 3.0, 9.0):
            found = choose_within(rule, advantage, MEANS, COST, budget)
            assert COST[found].mean() <= budget
            choices = [
                choose_at_price(rule, advantage, MEANS, COST, float(p)) for p in (0, *prices)
            ]
            first = next(arms for arms in choices if COST[arms].mean() <= budget)
            assert np.array_equal(found, first)

    @pytest.mark.parametrize("size", [1, 3, 7, 1000])
    def test_a_budget_of_just_the_cheapest(self, size: int) -> None:
        """Means of equal costs are rounded; that must not look like too much."""
        cost = np.array([0.3, 0.1, 0.2])
        found = choose_within(rule_of(0.0), advantages(2, size), MEANS, cost, 0.1)
        assert set(found) == {1}

    def test_refusals(self) -> None:
        rule, advantage = rule_of(0.0), advantages(0)
        with pytest.raises(
            BadLog, match=r"a budget of 0.4 a query is below the cheapest prompt's 0.5"
        ):
            choose_within(rule, advantage, MEANS, COST, 0.4)
        with pytest.raises(BadLog, match="budget"):
            choose_within(rule, advantage, MEANS, COST, float("nan"))
        for call in (choose_within, frontier):
            with pytest.raises(BadLog, match="no cost"):
                call(rule, advantage, MEANS, np.array([1, np.nan, 2]), 5)

    def test_equal_costs(self) -> None:
        rule, advantage = rule_of(0.0), advantages(3)
        found = choose_within(rule, advantage, MEANS, np.full(3, 0.7), 0.7)
        assert np.array_equal(found, rule.choose(advantage))


class TestFrontier:
    @pytest.mark.parametrize("margin", [0.0, 0.1, np.inf])
    @pytest.mark.parametrize("seed", range(4))
    def test_dearer_is_never_bought_at_a_higher_price(self, margin: float, seed: int) -> None:
        points = frontier(rule_of(margin), advantages(seed, 60), MEANS, COST, 30)
        assert len(points) == 30
        assert points[0].price == 0
        costs, prices = ([getattr(point, key) for point in points] for key in ("cost", "price"))
        assert np.all(np.diff(prices) > 0)
        assert np.all(np.diff(costs) <= 1e-12)
        assert costs[-1] == pytest.approx(COST.min())
        if margin != 0.1:
            assert np.all(np.diff([point.advantage for point in points]) <= 1e-12)

    def test_points_are_the_choices(self) -> None:
        rule, advantage = rule_of(0.05), advantages(7, 30)
        for point in frontier(rule, advantage, MEANS, COST, 7):
            arms = choose_at_price(rule, advantage, MEANS, COST, point.price)
            assert point.cost == pytest.approx(COST[arms].mean())
            assert point.advantage == pytest.approx(advantage[np.arange(30), arms].mean())
