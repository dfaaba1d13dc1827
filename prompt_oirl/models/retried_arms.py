"""Arms that were run only where another one had failed: retries, or a cascade of dear models.

    arm A   1 1 0 1 0 0 1        B was run on just those queries on which A was 0: where both are
    arm B   . . 1 . 0 1 .        known B cannot lose, whatever it is worth

Which queries such an arm was run on depends on the other's outcome, so no comparison of the two is
fair, within rows or between them, and nothing in the log makes it so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_oirl.models.outcomes import Floats

FEW = 10  # shared rows from which one may speak of a rule
LEAST_SHARE = 0.5  # of the rows at or below the threshold that were run again
CHANCE = 1e-6  # that rows at random all lie on one side


@dataclass(frozen=True)
class Retried:
    """An arm that was run where the outcome of another was at most, or at least, some value.

    Attributes:
        arm, after: numbers of the two arms.
        rows: run under both.
        bound: the largest outcome of ``after`` on those rows, or the smallest.
        failed: whether it is the largest.
    """

    arm: int
    after: int
    rows: int
    bound: float
    failed: bool

    def sentence(self, names: list[str]) -> str:
        """What was found, with the names of the arms ``[K]``."""
        side = "more" if self.failed else "less"
        return (
            f"'{names[self.arm]}' was run only where '{names[self.after]}' had no {side} than "
            f"{self.bound:g} ({self.rows} queries), so the two cannot be compared"
        )


def retried_arms(value: Floats) -> list[Retried]:
    """The pairs of a table of outcomes ``[R, K]``, NaN where not run, of which one arm was run by
    the outcome of the other; the clearest pair of each arm."""
    run = ~np.isnan(value)
    found = []
    for arm in range(value.shape[1]):
        pairs = [
            pair
            for after in range(value.shape[1])
            if after != arm and run[:, after].sum() > run[:, arm].sum()
            for pair in (_pair(value, run, arm, after, True), _pair(value, run, arm, after, False))
            if pair is not None
        ]
        if pairs:
            found.append(max(pairs, key=lambda pair: pair.rows))
    return found


def _pair(value: Floats, run: np.ndarray, arm: int, after: int, failed: bool) -> Retried | None:
    shared = run[:, arm] & run[:, after]
    rows = int(shared.sum())
    if rows < FEW:
        return None
    outcome = value[:, after] if failed else -value[:, after]
    bound = outcome[shared].max()
    below = run[:, after] & (outcome <= bound)
    within = below.sum() / run[:, after].sum()
    if within**rows > CHANCE or rows < LEAST_SHARE * below.sum():
        return None
    return Retried(arm, after, rows, float(bound if failed else -bound), failed)
