"""Timing of alternatives in turn, so that a machine that slows down slows all of them down."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Collection, Mapping
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
        rounds: rounds measured of each alternative; fewer than ours where it is slow.
    """

    ours: Spread
    others: dict[str, Spread | None] = field(default_factory=dict)
    ratios: dict[str, Spread | None] = field(default_factory=dict)
    rounds: dict[str, int] = field(default_factory=dict)

    def ratio(self, name: str) -> float | None:
        """Median ratio to an alternative."""
        spread = self.ratios.get(name)
        return None if spread is None else spread.median

    def ratio_spread(self, name: str) -> list[float] | None:
        """``[median, min, max]`` of the ratios; ``None`` where one round cannot tell."""
        spread = self.ratios.get(name)
        return None if spread is None or self.rounds[name] < 2 else spread.as_list()


def time_in_turn(
    ours: Callable[[], float],
    others: Mapping[str, Callable[[], float] | None],
    pairs: int = 5,
    warm_up: int = 1,
    slow: float = float("inf"),
    limit: float = float("inf"),
    every_round: Collection[str] = (),
) -> Timing:
    """Runs ours and each alternative one after the other, ``pairs`` times.

    A ratio is always one of seconds of the same round. Ours has a run more than the others before
    everything else, so that it is warm when their warm-up is measured as well.

    Args:
        ours: does the work once and returns its seconds.
        others: the same for each alternative; ``None`` where it is not installed.
        pairs: measured rounds.
        warm_up: rounds before them that are thrown away.
        slow: an alternative that takes more seconds than this is run once and not again; its
            warm-up then is its measurement, and its ratio that to ours of the same round.
        limit: an alternative that has taken more seconds than this on the clock, all its rounds
            together, has no more of them; at least one is measured, as with ``slow``.
        every_round: alternatives that have all their rounds, however slow.
    """
    ours()
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
            too_slow = theirs[name][-1] > slow or taken[name] > limit
            if too_slow and name not in every_round:
                done.add(name)
    timing = Timing(Spread.of(mine[warm_up:]))
    for name in others:
        found = theirs.get(name)
        if not found:
            timing.others[name] = timing.ratios[name] = None
            timing.rounds[name] = 0
            continue
        # An alternative that never came past its warm-up has the last round of that.
        first = min(warm_up, len(found) - 1)
        timing.rounds[name] = len(found) - first
        timing.others[name] = Spread.of(found[first:])
        timing.ratios[name] = Spread.of([b / a for a, b in zip(mine[first:], found[first:])])
    return timing


_told: set[str] = set()


def missing(name: str, how: str) -> None:
    """Says once on stderr that an alternative is not installed, and how to install it."""
    if name not in _told:
        _told.add(name)
        print(f"treeward: {name} is not installed, its numbers are null; {how}", file=sys.stderr)
