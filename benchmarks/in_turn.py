"""Timing of alternatives in turn, so that a machine that slows down slows all of them down."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some numbers."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: list[float]) -> Spread:
        """The spread of at least one number."""
        return cls(statistics.median(numbers), min(numbers), max(numbers))

    def as_list(self) -> list[float]:
        """``[median, min, max]``, for JSON."""
        return [self.median, self.low, self.high]


@dataclass
class Timing:
    """Seconds of ours and of the others.

    Attributes:
        ours: seconds of our runs.
        others: seconds by alternative; ``None`` where one cannot run here.
        ratios: theirs ÷ ours, pair by pair: above 1 we are faster.
        rounds: measured rounds by alternative; fewer than ours where it is slow.
    """

    ours: Spread
    others: dict[str, Spread | None] = field(default_factory=dict)
    ratios: dict[str, Spread | None] = field(default_factory=dict)
    rounds: dict[str, int] = field(default_factory=dict)

    def ratio(self, name: str) -> float | None:
        """Median ratio to an alternative."""
        spread = self.ratios.get(name)
        return None if spread is None else spread.median


def time_in_turn(
    ours: Callable[[], float],
    others: Mapping[str, Callable[[], float] | None],
    pairs: int = 5,
    warm_up: int = 1,
    slow: float = float("inf"),
    limit: float = float("inf"),
) -> Timing:
    """Runs ours and each alternative one after the other, ``pairs`` times.

    Args:
        ours: does the work once and returns its seconds.
        others: the same for each alternative; ``None`` where it is not installed.
        pairs: measured rounds.
        warm_up: rounds before them that are thrown away.
        slow: an alternative that takes more seconds than this is run once and not again; its
            warm-up then is its measurement.
        limit: an alternative that has taken more seconds than this on the clock, all its rounds
            together, has no more of them; at least one is measured, as with ``slow``.
    """
    mine: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name, run in others.items() if run}
    taken = dict.fromkeys(theirs, 0.0)
    done: set[str] = set()
    for _ in range(warm_up + pairs):
        mine.append(ours())
        for name, run in others.items():
            if run is None or name in done:
                continue
            started = time.perf_counter()
            theirs[name].append(run())
            taken[name] += time.perf_counter() - started
            if theirs[name][-1] > slow or taken[name] > limit:
                done.add(name)
    measured = mine[warm_up:]
    timing = Timing(Spread.of(measured))
    for name in others:
        found = theirs.get(name)
        if not found:
            timing.others[name] = timing.ratios[name] = None
            timing.rounds[name] = 0
            continue
        if len(found) > warm_up:
            found = found[warm_up:]
            pairwise = [b / a for a, b in zip(measured, found, strict=False)]
        else:
            found = found[-1:]
            pairwise = [found[0] / a for a in measured]
        timing.rounds[name] = len(found)
        timing.others[name] = Spread.of(found)
        timing.ratios[name] = Spread.of(pairwise)
    return timing


_told: set[str] = set()


def missing(name: str, how: str) -> None:
    """Says once on stderr that an alternative is not installed, and how to install it."""
    if name not in _told:
        _told.add(name)
        print(f"treeward: {name} is not installed, its numbers are null; {how}", file=sys.stderr)
