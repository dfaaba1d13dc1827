"""Arms that agree with the others too much, not at all, or in reverse."""

from __future__ import annotations

import numpy as np

from prompt_oirl.audit.arm_pairs import ArmPairs, arm_pairs
from prompt_oirl.audit.finding import Finding
from prompt_oirl.logs.log import Floats, PromptLog

CHECK = "arm-correlation"
FEWEST = 100  # shared queries of a pair that is judged
NEARLY_COPIED = 0.95
USUAL = 0.2  # median correlation of the other arms, for one to be judged against them
STANDARD_ERRORS = 3.5  # a correlation below so many is no sign of a relation
LAGS = range(1, 6)  # rows by which a column may be shifted


def arm_correlation(log: PromptLog, pairs: ArmPairs | None = None) -> list[Finding]:
    """Warnings of arms whose outcomes are implausibly related to those of the others.

    Hard queries are hard under every prompt, so outcomes correlate between arms, usually by 0.1 to
    0.7. An arm of which no correlation can be told from zero, while the others correlate by 0.2 or
    more, has its rows in another order or the labels of other queries; a negative correlation
    means that its labels are reversed; one of 0.95 or more, that it is nearly a copy.
    """
    grid = log.grid()
    pairs = pairs or arm_pairs(grid)
    related = np.where(pairs.shared >= FEWEST, pairs.correlation, np.nan)
    np.fill_diagonal(related, np.nan)
    return [*_nearly_copied(log, pairs, related), *_out_of_line(log, grid, pairs, related)]


def _nearly_copied(log: PromptLog, pairs: ArmPairs, related: Floats) -> list[Finding]:
    findings = []
    for i, j in np.argwhere(np.triu(np.nan_to_num(related), 1) >= NEARLY_COPIED):
        if pairs.agreement[i, j] == 1.0:
            continue  # told by the check of copies
        names = [log.arms[i].name, log.arms[j].name]
        findings.append(
            Finding(
                CHECK,
                "warning",
                f"Arms '{names[0]}' and '{names[1]}' correlate by {related[i, j]:.3f} on "
                f"{pairs.shared[i, j]:,} queries: one is nearly a copy of the other.",
                {"arms": names, "correlation": float(related[i, j]), "kind": "nearly copied"},
            )
        )
    return findings


def _out_of_line(log: PromptLog, grid: Floats, pairs: ArmPairs, related: Floats) -> list[Finding]:
    findings = []
    arms = len(log.arms)
    for i in range(arms):
        own = related[i][~np.isnan(related[i])]
        others = [k for k in range(arms) if k != i]
        rest = related[np.ix_(others, others)]
        if len(own) < 2 or np.isnan(rest).all():
            continue  # of two arms nobody can tell which one is out of line
        usual = float(np.nanmedian(rest))
        errors = 1 / np.sqrt(pairs.shared[i][~np.isnan(related[i])])
        if usual < USUAL or (own / errors).max() >= STANDARD_ERRORS:
            continue
        name, typical = log.arms[i].name, float(np.median(own))
        counts = {"arm": name, "correlation": typical, "others": usual}
        start = (
            f"Arm '{name}' correlates with the others by {typical:.2f} (median), while these "
            f"correlate among themselves by {usual:.2f}: "
        )
        if (own / errors).min() <= -STANDARD_ERRORS:
            kind, reason = "reversed", "its outcomes look reversed."
        elif (lag := _shift(grid, i, others)) != 0:
            kind = "shifted"
            counts["rows"] = lag
            direction = "down" if lag > 0 else "up"
            reason = f"its rows look shifted {direction} by {abs(lag)}."
        else:
            kind, reason = "unrelated", "its outcomes look like those of other queries."
        findings.append(Finding(CHECK, "warning", start + reason, {**counts, "kind": kind}))
    return findings


def _shift(grid: Floats, arm: int, others: list[int]) -> int:
    """By how many rows the arm must have been moved to fit the others; 0 if no shift fits."""
    with np.errstate(invalid="ignore"):
        counts = (~np.isnan(grid[:, others])).sum(axis=1)
        difficulty = np.nansum(grid[:, others], axis=1) / np.where(counts > 0, counts, np.nan)
    best, found = STANDARD_ERRORS + 1, 0
    for lag in [sign * size for size in LAGS for sign in (1, -1)]:
        moved = np.roll(grid[:, arm], -lag)
        both = ~np.isnan(moved) & ~np.isnan(difficulty)
        x, y = moved[both], difficulty[both]
        if both.sum() < FEWEST or x.std() == 0 or y.std() == 0:
            continue
        strength = float(np.corrcoef(x, y)[0, 1]) * np.sqrt(both.sum())
        if strength > best:
            best, found = strength, lag
    return found
