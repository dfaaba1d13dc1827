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

ROUNDING = 1e-9
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
    single queries: then arms differ by their mean outcomes alone, and none counts as better than
    the default. At price 0 the choice is that of the rule.

    Args:
        rule: of the selector.
        advantage: cautious advantages over the default, ``[Q, K]``.
        means: mean outcome of each arm on the log, ``[K]``.
        cost: of each arm, ``[K]``.
        price: outcomes that a unit of cost is worth, at least 0.

    Raises:
        BadLog: the price is below 0 or no number.
    """
    if not 0 <= price < np.inf:
        raise BadLog(f"a price of cost is a number from 0 on, not {price:g}")
    if np.isinf(rule.margin):
        advantage = np.tile(means - means[rule.default], (len(advantage), 1))
    # Cost is known and needs no margin; a claim of quality does. Within the margin nothing is
    # claimed, so that an arm that looks better never counts less than one that looks worse.
    claim = np.minimum(advantage, 0.0)
    clear = advantage > rule.margin
    claim[clear] = advantage[clear] - rule.margin
    claim[:, rule.default] = 0.0
    with np.errstate(over="ignore"):  # any price is one
        utility = claim - price * (cost - cost[rule.default])
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
    if np.isnan(budget):
        raise BadLog("a budget of cost is a number, not nan")
    if budget < cost.min():
        raise BadLog(
            f"a budget of {budget:g} a query is below the cheapest prompt's {cost.min():g}"
        )

    def chosen(price: float) -> NDArray[np.int64]:
        return choose_at_price(rule, advantage, means, cost, price)

    def fits(price: float) -> bool:
        # A mean of equal costs may be rounded up.
        return bool(cost[chosen(price)].mean() <= budget + ROUNDING * abs(budget))

    if fits(0.0):
        return chosen(0.0)
    low, high = 0.0, 1.0 / max(float(np.ptp(cost)), 1e-12)
    while not fits(high):
        high *= 2
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return chosen(high)


def frontier(
    rule: Rule, advantage: Floats, means: Floats, cost: Floats, points: int = 20
) -> list[FrontierPoint]:
    """The quality–cost frontier, from no price to one of four outcomes for the least step of cost,
    at which only claims of more than that still buy a dearer arm."""
    check_costs(cost)
    widest = max(float(np.ptp(cost)), 1e-12)
    gaps = cost - cost.min()
    narrowest = float(gaps[gaps > 0].min(initial=widest))
    prices = np.concatenate([[0.0], np.geomspace(0.001 / widest, 4.0 / narrowest, points - 1)])
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
