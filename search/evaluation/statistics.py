"""Intervals for accuracies and for paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence


def wilson_interval(hits: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927); (0, 1) when there is nothing to count."""
    if total == 0:
        return 0.0, 1.0
    share = hits / total
    scale = 1 + z * z / total
    centre = (share + z * z / (2 * total)) / scale
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / scale
    low = 0.0 if hits == 0 else centre - half
    high = 1.0 if hits == total else centre + half
    return low, high


def paired_difference(
    ours: Sequence[bool], theirs: Sequence[bool], z: float = 1.959964
) -> tuple[float, float, float]:
    """Difference of two methods' shares on the same problems, with a 95 % interval.

    The interval is that of Bonett and Price (2012): Wald's, with one problem more that only one
    method solves and one that only the other does. Without them, methods that never differed would
    have an interval of no width, however few the problems.

    Args:
        ours: right or wrong, a problem.
        theirs: the same problems in the same order.
        z: quantile of the normal distribution.

    Returns:
        (difference, lower end, upper end), as shares; (0, -1, 1) when there is nothing to count.

    Raises:
        ValueError: the two are not of one length.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"results of {len(ours)} and {len(theirs)} problems cannot be paired")
    total = len(ours)
    wins = sum(bool(a) and not b for a, b in zip(ours, theirs))
    losses = sum(bool(b) and not a for a, b in zip(ours, theirs))
    won, lost = (wins + 1) / (total + 2), (losses + 1) / (total + 2)
    centre = won - lost
    half = z * math.sqrt((won + lost - centre * centre) / (total + 2))
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    return (wins - losses) / max(total, 1), low, high
