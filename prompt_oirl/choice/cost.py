"""Choice where prompts differ in cost: the best value for a price, or within a budget.

With a price ``λ`` of a unit of cost in outcomes, a query's utility under an arm is its advantage
minus ``λ`` times the arm's extra cost. Every ``λ`` gives one point of the quality–cost frontier;
a budget picks the smallest ``λ`` whose mean cost fits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.choice.rule import Rule
from prompt_oirl.errors import BadLog
from prompt_oirl.models.outcomes import Floats

STEPS = 60  # halvings of the price: more than floats can tell apart


@dataclass(frozen=True)
class FrontierPoint:
    """Mean cost and mean expected advantage over the default of the choices at one price."""

    price: float
    cost: float
    advantage: float


def choose_at_price(
    rule: Rule, advantage: Floats, means: Floats, cost: Floats, price: float
) -> NDArray[np.int64]:
    """The arm of the highest utility of each query, ``[Q]``.

    Where the rule never leaves its default (no margin was clear of noise), nothing is known of
    single queries: then arms differ by their mean outcomes alone.

    Args:
        rule: of the selector.
        advantage: cautious advantages over the default, ``[Q, K]``.
        means: mean outcome of each arm on the log, ``[K]``.
        cost: of each arm, ``[K]``.
        price: outcomes that a unit of cost is worth, at least 0.
    """
    extra = price * (cost - cost[rule.default])
    if np.isinf(rule.margin):
        return np.full(len(advantage), int(np.argmax(means - means[rule.default] - extra)))
    # Cost is known and needs no margin; a claim of quality does.
    claim = advantage - np.where(advantage > 0, rule.margin, 0.0)
    claim[:, rule.default] = 0.0
    utility = claim - extra
    best = utility.argmax(axis=1)
    better = utility[np.arange(len(best)), best] > 0
    return np.where(better, best, rule.default)


def choose_within(
    rule: Rule, advantage: Floats, means: Floats, cost: Floats, budget: float
) -> NDArray[np.int64]:
    """The choices of the smallest price whose mean cost is within a budget, ``[Q]``.

    Raises:
        BadLog: costs are unknown, or the budget is below the cheapest arm's cost.
    """
    check_costs(cost)
    if budget < cost.min():
        raise BadLog(
            f"a budget of {budget:g} a query is below the cheapest prompt's {cost.min():g}"
        )

    def chosen(price: float) -> NDArray[np.int64]:
        return choose_at_price(rule, advantage, means, cost, price)

    if cost[chosen(0.0)].mean() <= budget:
        return chosen(0.0)
    low, high = 0.0, 1.0 / max(float(np.ptp(cost)), 1e-12)
    while cost[chosen(high)].mean() > budget:
        high *= 2
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if cost[chosen(middle)].mean() <= budget else (middle, high)
    return chosen(high)


def frontier(
    rule: Rule, advantage: Floats, means: Floats, cost: Floats, points: int = 20
) -> list[FrontierPoint]:
    """The quality–cost frontier, from no price to one that buys the cheapest arm only."""
    check_costs(cost)
    widest = max(float(np.ptp(cost)), 1e-12)
    prices = np.concatenate([[0.0], np.geomspace(0.001, 2.0, points - 1) / widest])
    row = np.arange(len(advantage))
    found = []
    for price in prices:
        arms = choose_at_price(rule, advantage, means, cost, float(price))
        gained = (
            advantage[row, arms]
            if np.isfinite(rule.margin)
            else (means - means[rule.default])[arms]
        )
        found.append(FrontierPoint(float(price), float(cost[arms].mean()), float(gained.mean())))
    return found


def check_costs(cost: Floats) -> None:
    """Whether every arm's cost is known.

    Raises:
        BadLog: it is not.
    """
    if np.isnan(cost).any():
        raise BadLog("the log has no cost (or tokens) of every prompt, so cost cannot be weighed")
