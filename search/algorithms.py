"""The algorithms, their options, and how a budget shapes the options that a user leaves open."""

from __future__ import annotations

import math
from typing import Any

from search import _native
from search.budget import Budget

# A step of this many tokens is assumed where a width must follow from a budget.
TOKENS_PER_STEP = 8
STEPS_PER_PATH = 3


def names() -> list[str]:
    """Names of the algorithms."""
    return list(_native.search.algorithms())


def describe(algorithm: str) -> dict[str, Any]:
    """Every option of an algorithm with its default.

    Raises:
        ValueError: the algorithm is unknown.
    """
    return dict(_native.search.options(algorithm))


def options_for(
    algorithm: str, given: dict[str, Any] | None, budget: Budget | None, has_reward: bool
) -> dict[str, Any]:
    """The user's options over the engine's defaults.

    With a budget of tokens the algorithms run until it is spent: best-of-n draws without end,
    beam search starts again with twice the width, and its first width follows from the budget.
    """
    given = dict(given or {})
    limited = budget is not None and any(
        limit is not None for limit in (budget.policy_tokens, budget.nodes, budget.seconds)
    )
    chosen: dict[str, Any] = {}
    if algorithm == "best_of_n" and limited:
        chosen["n"] = 0
    if algorithm == "best_of_n" and not has_reward:
        chosen["selection"] = "majority"
    if algorithm == "beam" and limited:
        chosen["rounds"] = 0
        if budget is not None and budget.policy_tokens is not None:
            # Three levels of width x branching steps, with as many children as parents.
            side = math.sqrt(budget.policy_tokens / (TOKENS_PER_STEP * STEPS_PER_PATH))
            chosen["width"] = chosen["branching"] = max(2, int(side))
    if algorithm == "mcts":
        chosen.update(MCTS_DEFAULTS)
    return {**chosen, **given}


# Measured on held-out Countdown puzzles, not on those that the reports use.
MCTS_DEFAULTS: dict[str, Any] = {"backup": "max", "widen_initial": 8, "widen_batch": 4}
