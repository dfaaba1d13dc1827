"""When to leave the default prompt: only if a better one is likely enough to be better.

The members of an ensemble predict the advantage of each arm over the default. What counts is a
cautious figure of it:

    mean     the mean of the members
    worst    the least of the members (worst-case optimisation: Coste et al., ICLR 2024)
    lower    mean − z · spread, the spread of a query drawn towards the arm's usual one; with a
             single model, the arm's usual one

Spreads and worst cases need at least two predictions of each unseen row.

The arm of the highest cautious advantage is chosen if that exceeds a margin, else the default. The
margin is chosen on predictions of unseen rows; where no margin shows a gain that is clear of
noise, it is infinite: the default prompt for every query. A gain is measured on rows that were run
under both arms, or, where these are few, estimated (:mod:`prompt_oirl.choice.partial_evidence`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.errors import BadLog
from prompt_oirl.models.outcomes import Floats, Outcomes

KINDS = ("mean", "worst", "lower")
MARGINS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12)
Measure = Callable[[NDArray[np.int64], int], tuple[float, float]]
LEAST_LEAVING = 10  # groups that tell of leaving the default
PRIOR_MEMBERS = 4.0  # a query's own spread counts as its members, the arm's usual one as so many


@dataclass(frozen=True)
class Rule:
    """How predictions become choices.

    Attributes:
        default: index of the arm to fall back to.
        kind: ``mean``, ``worst`` or ``lower``.
        z: spreads below the mean, for ``lower``.
        spread: the usual spread of each arm's advantage over the members, ``[K]``.
        own_spread: whether a query's own spread over the members counts, for ``lower``.
        margin: least cautious advantage, in outcomes; ``inf`` to stay with the default.
        gain: mean gain of this rule over the default on unseen rows, in outcomes.
        gain_error: its standard error, rows of a group counted as one.
    """

    default: int
    kind: str
    z: float
    spread: Floats
    own_spread: bool = False
    margin: float = np.inf
    gain: float = 0.0
    gain_error: float = 0.0

    def cautious(self, predictions: Floats) -> Floats:
        """Cautious advantages ``[Q, K]`` of member predictions ``[members, Q, K]``."""
        advantage = predictions - predictions[:, :, [self.default]]
        if self.kind == "mean":
            return np.asarray(advantage.mean(axis=0))
        if self.kind == "worst":
            return np.asarray(advantage.min(axis=0))
        variance = np.broadcast_to(self.spread**2, advantage.shape[1:])
        if self.own_spread:
            members = len(advantage)
            own = advantage.var(axis=0, ddof=1)
            variance = (members * own + PRIOR_MEMBERS * variance) / (members + PRIOR_MEMBERS)
        return np.asarray(advantage.mean(axis=0) - self.z * np.sqrt(variance))

    def choose(self, cautious: Floats) -> NDArray[np.int64]:
        """The chosen arm of each query, ``[Q]``."""
        best = cautious.argmax(axis=1)
        clear = cautious[np.arange(len(best)), best] > self.margin
        return np.where(clear, best, self.default)


def calibrated_rule(
    outcomes: Outcomes,
    unseen: Floats,
    kind: str = "lower",
    z: float = 1.0,
    clear_of_noise: float = 2.5,
    margins: Sequence[float] = MARGINS,
    default: int | None = None,
    own_spread: bool = False,
    measure: Measure | None = None,
) -> Rule:
    """The rule whose margin did best on unseen rows.

    Args:
        outcomes: the log.
        unseen: predictions of :func:`prompt_oirl.choice.cross_fit.cross_fit`.
        kind: of :data:`KINDS`.
        z: for ``lower``.
        clear_of_noise: a margin is used only if its gain is so many standard errors above 0.
        margins: to choose from.
        default: the arm to fall back to; the best single one by default.
        own_spread: of the rule; needs several predictions of each row.
        measure: the gain of choices ``[R]`` over a default arm and its standard error; by default
            that of :func:`gain_over_default`.

    Raises:
        BadLog: ``kind`` is unknown, ``z`` is no number, or one prediction of each row is too few.
    """
    check_kind(kind, z, len(unseen))
    if default is None:
        default = outcomes.best_single
    advantage = unseen - unseen[:, :, [default]]
    if len(unseen) > 1:
        spread = np.sqrt(advantage.var(axis=0, ddof=1).mean(axis=0))
    else:
        spread = np.zeros(unseen.shape[2])  # which no rule of one repeat reads
    rule = Rule(default, kind, z, spread, own_spread)
    cautious = rule.cautious(unseen)
    measure = measure or partial(gain_over_default, outcomes)
    best, best_bound = rule, -np.inf
    for margin in margins:
        trial = replace(rule, margin=margin)
        gain, error = measure(trial.choose(cautious), default)
        if gain - clear_of_noise * error > 0 and gain - error > best_bound:
            best, best_bound = replace(trial, gain=gain, gain_error=error), gain - error
    return best


def check_kind(kind: str, z: float, repeats: int) -> None:
    """Whether there is such a rule, and whether so many predictions of each row can calibrate it.

    Raises:
        BadLog: ``kind`` is unknown, ``z`` is no number, or one prediction of each row, which has
            neither a spread nor a worst case, is all there is of them.
    """
    if kind not in KINDS:
        raise BadLog(f"unknown kind of choice '{kind}'; known: {', '.join(KINDS)}")
    if not np.isfinite(z):
        raise BadLog(f"z of the rule must be a number, not {z:g}")
    if repeats < 2 and kind == "lower" and z > 0:
        raise BadLog(
            "one repeat of the cross-fit has no spread: 'lower' needs two repeats or more, or z 0"
        )
    if repeats < 2 and kind == "worst":
        raise BadLog(
            "one repeat of the cross-fit has no worst case: 'worst' needs two repeats or more"
        )


def gain_over_default(
    outcomes: Outcomes, chosen: NDArray[np.int64], default: int
) -> tuple[float, float]:
    """Mean gain of choices over the default arm and its standard error, clustered by group.

    Rows that leave the default need both outcomes; those of which both are known stand for all that
    leave. Where fewer than :data:`LEAST_LEAVING` groups tell of leaving, the error is infinite: so
    few may agree by chance.
    """
    row = np.arange(len(chosen))
    weight = outcomes.weight.max(axis=1)
    leaves = (chosen != default) & (weight > 0)
    if not leaves.any():
        return 0.0, 0.0
    known = leaves & (outcomes.weight[row, chosen] > 0) & (outcomes.weight[:, default] > 0)
    if len(np.unique(outcomes.group[known])) < LEAST_LEAVING:
        return 0.0, float("inf")
    difference = outcomes.value[row, chosen] - outcomes.value[:, default]
    mean = float(np.average(difference[known], weights=weight[known]))
    # Rows that stay differ by nothing; the scatter of the known ones is that of their mean.
    told = np.where(leaves, mean, 0.0)
    told[known] += (difference[known] - mean) * (weight[leaves].sum() / weight[known].sum())
    gain = float(np.average(told, weights=weight))
    _, place = np.unique(outcomes.group[weight > 0], return_inverse=True)
    sums = np.bincount(place, (weight * (told - gain))[weight > 0])
    n = len(sums)
    error = float(np.sqrt((sums**2).sum() * n / (n - 1)) / weight.sum())
    return gain, error
