"""What choices are worth on a grid of known outcomes, beside the choices everyone could make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.evaluation.bootstrap import ROUNDED, clustered_interval, two_sided_p
from prompt_oirl.models.adjusted_means import adjusted_means

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Value:
    """Mean outcomes of the tested rows; differences are paired.

    Where cells are missing, rows whose choice is another arm need two of them, so fewer of these
    are known: they then stand for all of their kind (post-stratification). All are NaN where no
    row tells.

    Attributes:
        rows, rows_left_out: with and without the cells needed.
        value: of the choices, ``best_single_train`` + ``gain``.
        best_single_train: of the arm that was best on the training rows, wherever it was run.
        gain, gain_ci95, gain_p: of the choices over that arm; interval and test clustered by group.
        telling_groups: groups in which the choices and that arm fared differently; None where the
            gain is estimated.
        compared_groups: groups in which the choice is another arm, and both outcomes are known;
            None where the gain is estimated.
        deviates: share of all rows where the choice is another arm.
        random: an arm at random.
        worst_single, hindsight_best: the worst and the best single arm of these very rows; where
            arms were run on different ones, as if each had been run on all.
        lookup: the table of questions already seen, compared as ``value``; or None.
        oracle: the best arm of every row: what noise alone inflates; None where cells are missing.
        regret: oracle minus value, or None.
        headroom_captured: gain over (oracle − best single); None where there is none.
        estimated: how, where most queries were run under one prompt; empty where outcomes of the
            same queries are compared.
        refusal: why nothing can be said of the choices, where the log does not support them.
    """

    rows: int
    rows_left_out: int
    value: float
    best_single_train: float
    gain: float
    gain_ci95: tuple[float, float]
    gain_p: float
    deviates: float
    random: float
    worst_single: float
    hindsight_best: float
    lookup: float | None
    oracle: float | None
    regret: float | None
    headroom_captured: float | None
    estimated: str = ""
    refusal: str = ""
    telling_groups: int | None = None
    compared_groups: int | None = None


def value_of(
    outcome: Floats,
    groups: Indices,
    chosen: Indices,
    best_single: Indices,
    lookup: Indices | None = None,
    seed: int = 0,
) -> Value:
    """Values of choices.

    Args:
        outcome: ``[Q, K]``, NaN where not run.
        groups: ``[Q]``.
        chosen: the chosen arm of each row, ``[Q]``.
        best_single: the best single arm of the rows that row's selector was fitted on, ``[Q]``.
        lookup: what the table of questions chose, ``[Q]``.
        seed: of the bootstrap.
    """
    row = np.arange(len(outcome))
    mine, base = outcome[row, chosen], outcome[row, best_single]
    known = ~np.isnan(mine) & ~np.isnan(base)
    leaves = chosen != best_single
    if not known.any() or (leaves.any() and not (leaves & known).any()):
        return nothing_known(len(outcome))
    difference = (mine - base)[known]
    run = ~np.isnan(outcome)
    arm_means = adjusted_means(outcome, run.astype(float)).mean
    spread = _told_by(leaves, known, mine - base)
    gain = float(spread.mean())
    best = float(base[~np.isnan(base)].mean())
    oracle = float(outcome.max(axis=1).mean()) if run.all() else None
    table = None
    if lookup is not None:
        found = outcome[row, lookup]
        other = np.where(np.isnan(found), 0.0, found - base)[known]
        table = best + float(np.average(other, weights=_stands_for(leaves, known)[known]))
    _, place = np.unique(groups[known], return_inverse=True)
    differing = np.abs(np.bincount(place, difference)) > ROUNDED
    compared = len(np.unique(groups[known & leaves]))
    # Where some that leave are not known, rows that stay are no evidence of how those fare.
    told = compared if (leaves & ~known).any() else len(np.unique(groups))
    interval = clustered_interval(spread, groups, seed=seed, told=told)
    test = two_sided_p(spread, groups, told)
    apart = (mine - base)[known & leaves]
    if len(apart) and np.ptp(apart) < ROUNDED:
        interval = _interval_of_equals(float(apart[0]), compared, float(leaves.mean()))
        test = min(1.0, 2 * 0.5**compared) if abs(gain) > ROUNDED else 1.0
    return Value(
        rows=int(known.sum()),
        rows_left_out=int((~known).sum()),
        value=best + gain,
        best_single_train=best,
        gain=gain,
        gain_ci95=interval,
        gain_p=test,
        deviates=float(leaves.mean()),
        random=float(np.nanmean(arm_means)),
        worst_single=float(np.nanmin(arm_means)),
        hindsight_best=float(np.nanmax(arm_means)),
        lookup=table,
        oracle=oracle,
        regret=None if oracle is None else oracle - best - gain,
        headroom_captured=None if oracle is None or oracle <= best else gain / (oracle - best),
        telling_groups=int(differing.sum()),
        compared_groups=compared,
    )


def _interval_of_equals(difference: float, groups: int, share: float) -> tuple[float, float]:
    """The interval of a gain where all known differences are one, whose scatter says nothing.

    Others may still occur, in a share of groups so small that none came in ``groups`` of them with
    a chance of 2.5 % (the exact binomial bound of Clopper & Pearson, Biometrika 1934); they differ
    by -1 or 1 at most.
    """
    if groups < 2:
        return float("nan"), float("nan")
    unseen = 1 - 0.025 ** (1 / groups)
    low = difference - unseen * (1 + difference)
    high = difference + unseen * (1 - difference)
    return share * low, share * high


def _stands_for(leaves: NDArray[np.bool_], known: NDArray[np.bool_]) -> Floats:
    """How many rows each known one stands for, ``[Q]``: all of its kind, which leave or stay."""
    weight = np.zeros(len(leaves))
    for kind in (leaves, ~leaves):
        if (kind & known).any():
            weight[kind & known] = kind.sum() / (kind & known).sum()
    return weight


def _told_by(leaves: NDArray[np.bool_], known: NDArray[np.bool_], difference: Floats) -> Floats:
    """Values ``[Q]`` whose mean is the gain and whose spread is that of its estimate.

    The gain is the share of rows that leave times their mean difference, of those that are known;
    these are its linearisation, and the differences themselves where all are known.
    """
    told = np.zeros(len(leaves))
    some = leaves & known
    if some.any():
        mean = difference[some].mean()
        told[leaves] = mean
        told[some] = mean + (difference[some] - mean) * (leaves.sum() / some.sum())
    return told


def mean_of_known(grid: Floats, axis: int) -> Floats:
    """Means along an axis without NaN; NaN where there is nothing else."""
    count = (~np.isnan(grid)).sum(axis=axis)
    return np.where(count > 0, np.nansum(grid, axis=axis) / np.maximum(count, 1), np.nan)


def nothing_known(rows: int, refusal: str = "") -> Value:
    """The value of choices of which no row tells."""
    nan = float("nan")
    return Value(
        rows=0,
        rows_left_out=rows,
        value=nan,
        best_single_train=nan,
        gain=nan,
        gain_ci95=(nan, nan),
        gain_p=1.0,
        deviates=nan,
        random=nan,
        worst_single=nan,
        hindsight_best=nan,
        lookup=None,
        oracle=nan,
        regret=nan,
        headroom_captured=None,
        refusal=refusal,
    )
