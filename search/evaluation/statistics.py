"""Intervals for accuracies and for paired differences."""

from __future__ import annotations

import math
import random
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
    ours: Sequence[bool], theirs: Sequence[bool], seed: int = 0, resamples: int = 4000
) -> tuple[float, float, float]:
    """Mean difference of two methods on the same problems, with a 95 % bootstrap interval.

    Args:
        ours: right or wrong, a problem.
        theirs: the same problems in the same order.
        seed: of the resampling.
        resamples: how many.

    Returns:
        (difference, lower end, upper end), as shares.

    Raises:
        ValueError: the two are not of one length.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"results of {len(ours)} and {len(theirs)} problems cannot be paired")
    differences = [int(a) - int(b) for a, b in zip(ours, theirs)]
    n = len(differences)
    if n == 0:
        return 0.0, 0.0, 0.0
    # Differences take three values, so a resample is three counts and not n draws.
    plus, minus = differences.count(1), differences.count(-1)
    generator = random.Random(seed)
    means = sorted(_resampled_mean(generator, n, plus, minus) for _ in range(resamples))
    low, high = means[int(0.025 * resamples)], means[int(0.975 * resamples) - 1]
    return (plus - minus) / n, low, high


def _resampled_mean(generator: random.Random, n: int, plus: int, minus: int) -> float:
    total = 0
    for _ in range(n):
        pick = generator.randrange(n)
        total += 1 if pick < plus else -1 if pick < plus + minus else 0
    return total / n
