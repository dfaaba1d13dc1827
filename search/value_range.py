"""Which values a search meets: what the aggregator makes of the reward's scores."""

from __future__ import annotations

import contextlib
from math import isfinite, isnan

from search.interfaces import Aggregator, RewardSpec

PROBABILITIES = (0.0, 1.0)
ROUNDING = 1e-6  # an average of ones may come out a little above 1


def value_range(aggregate: Aggregator, spec: RewardSpec) -> tuple[float, float]:
    """Lowest and highest value that the aggregator makes of the ends of the reward's range.

    An infinite end is tried a step beyond 0 or 1, which tells on which side values leave these.

    Raises:
        ValueError: the aggregator does not take the scores.
    """
    lowest, highest = spec.range
    low = lowest if isfinite(lowest) else min(-1.0, highest)
    high = highest if isfinite(highest) else max(2.0, low)
    found: list[float] = []
    for scores in ((low,), (high,), (low, high), (high, low)):
        try:
            value = aggregate(scores)
        except Exception as error:  # any function may be given
            raise ValueError(
                f"the reward {spec.name} gives scores from {lowest:g} to {highest:g}, which the "
                f"aggregator does not take: {error}"
            ) from error
        with contextlib.suppress(TypeError, ValueError):  # no number: told when a step gets it
            found += [] if value is None or isnan(float(value)) else [float(value)]
    return min(found, default=0.0), max(found, default=1.0)


def are_probabilities(values: tuple[float, float]) -> bool:
    """Whether values of that range can be read as probabilities."""
    return values[0] >= -ROUNDING and values[1] <= 1 + ROUNDING
