"""A lower bound of predicted outcomes that promises what happens, calibrated on the log alone.

The arm of the highest ``mean − z · spread`` is chosen, and that figure is what is promised. With
``z = 0`` the promise is too high, since the maximum over arms picks what was overrated; with ``z``
taken from nowhere it may as well be too low. Here ``z`` is the least one at which, on rows that the
members did not see, the chosen arms did as well as promised. It needs no row beside those that the
members were fitted on.

The spread is the usual one of an arm, not that of a query: a few members tell the latter badly, and
a maximum over arms would pick those whose spread was underrated. The members must predict new
queries as they predicted the rows of the log, see :mod:`prompt_oirl.evaluation.blind_ensemble`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_oirl.errors import BadLog
from prompt_oirl.models.blend import as_probabilities
from prompt_oirl.models.outcomes import Floats, Outcomes

LARGEST = 8.0  # spreads; beyond them a bound says nothing of the outcome
STRIDE = 0.125  # spreads, of the first search
STEPS = 7  # halvings of a stride, to a thousandth of a spread


@dataclass(frozen=True)
class CalibratedBound:
    """How many spreads to take off.

    Attributes:
        spread: the usual spread of each arm's predictions over the members, ``[K]``.
        z: spreads below the mean, in 0..:data:`LARGEST`.
        holds: whether the promise held at that ``z``; where the spread is 0, nothing may help. Look
            at it before you trust what is promised.
    """

    spread: Floats
    z: float
    holds: bool = True

    def figure(self, members: Floats) -> Floats:
        """By which an arm is chosen, ``[Q, K]``, of ``[members, Q, K]``. The promise is this, cut
        to 0..1: cut before, it would make equals of arms that are not."""
        return np.asarray(members.mean(axis=0) - self.z * self.spread)


def calibrated_bound(outcomes: Outcomes, unseen: Floats) -> CalibratedBound:
    """The bound whose promise of the chosen arm held on unseen rows.

    Args:
        outcomes: the log; of its arms one is chosen.
        unseen: predictions of each row by members that did not see it, ``[members, R, K]``.

    Raises:
        BadLog: there is one member, which has no spread.
    """
    if len(unseen) < 2:
        raise BadLog("one member has no spread; the bound needs at least two")
    spread = np.sqrt(unseen.var(axis=0, ddof=1).mean(axis=0))

    def gap(z: float) -> float:
        return promise_gap(outcomes, CalibratedBound(spread, z).figure(unseen))

    # The gap need not fall everywhere: upwards to where it closes first, then closer.
    high = next((z for z in np.arange(0.0, LARGEST + STRIDE, STRIDE) if gap(z) <= 0), None)
    if high is None:
        return CalibratedBound(spread, LARGEST, holds=False)
    low = max(high - STRIDE, 0.0)
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if gap(middle) > 0 else (low, middle)
    return CalibratedBound(spread, float(high))


def promise_gap(outcomes: Outcomes, figure: Floats) -> float:
    """Mean promise of the chosen arms less their mean outcome, over the rows where that is known.

    Args:
        outcomes: what happened.
        figure: the arm of the highest is chosen, and promised to do as well, ``[R, K]``; cut to
            0..1 for the promise.
    """
    row = np.arange(len(figure))
    best = figure.argmax(axis=1)
    weight = outcomes.weight[row, best]
    total = weight.sum()
    if total == 0:
        return 0.0
    happened = np.where(weight > 0, outcomes.value[row, best], 0.0)
    promised = as_probabilities(figure[row, best])
    return float((weight * (promised - happened)).sum() / total)
