"""The algorithms, their options, and how a budget shapes the options that a user leaves open."""

from __future__ import annotations

import math
from typing import Any

from search import _native
from search.budget import Budget
from search.ranges import INT32_MAX
from search.value_range import ROUNDING, are_probabilities

# A step of this many tokens is assumed where a width must follow from a budget.
TOKENS_PER_STEP = 10
STEPS_PER_PATH = 3
TOKENS_PER_PATH_IN_FLIGHT = 2000
# However large the budget: a wider search would fill the memory before it spends its tokens.
WIDEST = 1024


def names() -> list[str]:
    """Names of the algorithms."""
    return list(_native.search.algorithms())


def describe(algorithm: str) -> dict[str, Any]:
    """Every option of an algorithm with its default.

    Raises:
        ValueError: the algorithm is unknown.
    """
    return dict(_native.search.options(algorithm))


def check(algorithm: str, options: dict[str, Any]) -> None:
    """Makes a machine of an algorithm that is never used: wrong options are told before a search.

    Raises:
        ValueError: an unknown algorithm or option, or a value out of range.
    """
    _native.search.Machine(_native.tree.Arena(), algorithm, options, 0)


def options_for(
    algorithm: str,
    given: dict[str, Any] | None,
    budget: Budget | None,
    values: tuple[float, float] | None,
    judged: bool,
) -> dict[str, Any]:
    """The user's options over the engine's defaults.

    With a budget of tokens the algorithms run until it is spent: best-of-n draws without end,
    beam search starts again with twice the width, and its first width follows from the budget.
    Where the reward model alone selects (not ``judged``), searches that go where no sample would
    weigh its score against the policy's own probability, if it is a probability too.

    Args:
        algorithm: its name.
        given: the user's options.
        budget: limits of each problem.
        values: lowest and highest value of a path; ``None`` without a reward model.
        judged: whether a verifier's verdicts end the search.

    Raises:
        ValueError: an option, or the algorithm itself, has no meaning for such values.
    """
    given = dict(given or {})
    has_reward = values is not None
    probable = values is not None and are_probabilities(values)
    if values is not None and not probable:
        _check_use(algorithm, given, values)
    tokens = None if budget is None else budget.policy_tokens
    limited = budget is not None and any(
        limit is not None for limit in (tokens, budget.nodes, budget.seconds)
    )
    chosen: dict[str, Any] = {}
    if tokens is not None and algorithm in ("best_of_n", "best_first", "mcts"):
        # What is under way when the tokens end is lost, so a small budget goes to one path at a
        # time. Batches are filled by other problems.
        chosen["max_in_flight"] = min(max(1, tokens // TOKENS_PER_PATH_IN_FLIGHT), WIDEST)
    if algorithm == "best_of_n" and limited:
        chosen["n"] = 0
    if algorithm == "best_of_n" and not has_reward:
        chosen["selection"] = "majority"
    if algorithm == "beam" and limited:
        chosen["rounds"] = 0
        if tokens is not None:
            # Three levels of width x branching steps, with as many children as parents.
            side = math.sqrt(tokens / (TOKENS_PER_STEP * STEPS_PER_PATH))
            chosen["width"] = chosen["branching"] = min(max(2, int(side)), WIDEST)
    if probable and not judged and algorithm in ("beam", "best_first", "mcts"):
        chosen["selection"] = "posterior"
    if algorithm == "mcts" and has_reward:
        chosen.update(MCTS_WITH_REWARD)
        if not probable:
            del chosen["widen_below"]
    wanted = given.get("max_in_flight")
    if algorithm == "best_of_n" and tokens is not None and isinstance(wanted, int):
        # A sample costs one at least.
        given["max_in_flight"] = min(wanted, tokens) if wanted <= INT32_MAX else wanted
    return {**chosen, **{name: _native_number(value) for name, value in given.items()}}


def _check_use(algorithm: str, given: dict[str, Any], values: tuple[float, float]) -> None:
    """Refuses what reads values as probabilities, or as weights, where they are neither."""
    below = values[0] < -ROUNDING
    goes = f"with this reward and aggregator they go {'below 0' if below else 'above 1'}"
    if algorithm == "best_first":
        raise ValueError(f"best_first reads values as probabilities, and {goes}")
    selection = given.get("selection")
    if selection == "posterior":
        raise ValueError(f"selection 'posterior' reads values as probabilities, and {goes}")
    if selection == "weighted" and below:
        raise ValueError(f"selection 'weighted' adds values up as weights, and {goes}")
    if "widen_below" in given:
        raise ValueError(f"option 'widen_below' is for values from 0 to 1, and {goes}")


def _native_number(value: Any) -> Any:
    """The value; a whole number beyond 64 bits as a float, so that the core tells its range."""
    if not isinstance(value, int) or -(2**63) <= value < 2**63:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


# Measured on held-out Countdown puzzles, not on those that the reports use.
MCTS_WITH_REWARD: dict[str, Any] = {
    "c_init": 0.5,
    "widen_initial": 1,
    "widen_batch": 1,
    "widen_below": 0.2,
    "widen_most": 16,
    "mass_left": 0.05,
}
