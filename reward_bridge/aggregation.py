"""From the step scores of a path to one value.

Every function takes scores in order, drops abstentions (``None``), and returns ``None`` when
nothing is left. Products are taken in log space; a score of exactly zero is a number like any
other and makes them zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Scores = Sequence[float | None]


def _present(scores: Scores) -> list[float]:
    return [s for s in scores if s is not None]


def _log(score: float) -> float:
    if score < 0:
        raise ValueError(f"a product of scores needs scores of at least 0, got {score}")
    return math.log(score) if score > 0 else -math.inf


def last(scores: Scores) -> float | None:
    """The newest score."""
    present = _present(scores)
    return present[-1] if present else None


def minimum(scores: Scores) -> float | None:
    """The worst score: a chain is as good as its weakest step (Math-Shepherd, 2312.08935)."""
    return min(_present(scores), default=None)


def maximum(scores: Scores) -> float | None:
    """The best score."""
    return max(_present(scores), default=None)


def mean(scores: Scores) -> float | None:
    """The average score."""
    present = _present(scores)
    return math.fsum(present) / len(present) if present else None


def product(scores: Scores) -> float | None:
    """Probability that every step is right, if scores are independent probabilities."""
    present = _present(scores)
    return math.exp(math.fsum(map(_log, present))) if present else None


def geometric_mean(scores: Scores) -> float | None:
    """The product without its bias towards short paths."""
    present = _present(scores)
    return math.exp(math.fsum(map(_log, present)) / len(present)) if present else None


def soft_minimum(scores: Scores, sharpness: float = 10.0) -> float | None:
    """Average that weighs low scores by ``exp(-sharpness * score)``."""
    present = _present(scores)
    if not present:
        return None
    low = min(present)
    weights = [math.exp(-sharpness * (s - low)) for s in present]
    return math.fsum(w * s for w, s in zip(weights, present)) / math.fsum(weights)


def discounted(scores: Scores, discount: float = 0.9) -> float | None:
    """Weighted average in which newer steps weigh more, by ``1 / discount`` a step."""
    present = _present(scores)
    if not present:
        return None
    weights = [discount ** (len(present) - 1 - i) for i in range(len(present))]
    return math.fsum(w * s for w, s in zip(weights, present)) / math.fsum(weights)


def delta(scores: Scores) -> float | None:
    """How much the newest step changed the score (the first one counts as it is)."""
    present = _present(scores)
    if not present:
        return None
    return present[-1] - (present[-2] if len(present) > 1 else 0.0)


AGGREGATORS: dict[str, Callable[[Scores], float | None]] = {
    "last": last,
    "min": minimum,
    "max": maximum,
    "mean": mean,
    "product": product,
    "geometric_mean": geometric_mean,
    "soft_min": soft_minimum,
    "discounted": discounted,
    "delta": delta,
}


def aggregator(name: str) -> Callable[[Scores], float | None]:
    """The aggregator of that name.

    Raises:
        ValueError: the name is unknown; the message lists the known ones.
    """
    if name not in AGGREGATORS:
        raise ValueError(f"unknown aggregator '{name}'; known: {', '.join(AGGREGATORS)}")
    return AGGREGATORS[name]
