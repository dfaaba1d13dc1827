"""Propensities that cannot be the probabilities with which arms were chosen."""

from __future__ import annotations

import numpy as np

from prompt_oirl.audit.finding import Finding, Severity, share, shortened
from prompt_oirl.logs.log import PromptLog

CHECK = "propensities"
STANDARD_ERRORS = 5.0
DEVIATION = 0.05  # of a sum of inverse propensities from the number of decisions
SMALL = 0.01
ROUNDING = 1e-3  # of sums of logged probabilities


def propensities(log: PromptLog) -> list[Finding]:
    """Whether propensities are known for all cells, add up, and leave room for estimates.

    Where several arms of one query in one run have propensities, these add up to at most 1, and to
    1 over all arms, if they are of one decision. Where one arm a query was chosen, the inverse
    propensities of the cells of an arm have the number of decisions as their expected sum (Horvitz
    and Thompson, "A Generalization of Sampling Without Replacement From a Finite Universe", 1952):
    more is an error, less means that the arm could not be chosen everywhere.
    """
    known = ~np.isnan(log.propensity)
    if not known.any():
        return []
    findings = []
    if not known.all():
        findings.append(
            Finding(
                CHECK,
                "warning",
                f"{share(int((~known).sum()), len(known))} cells have no propensity.",
                {"cells": len(known), "without": int((~known).sum())},
            )
        )
    keys = np.stack([log.query[known], log.run[known]], axis=1)
    decisions, decision = np.unique(keys, axis=0, return_inverse=True)
    decision = decision.ravel()
    cells_of = np.bincount(decision)
    values = log.propensity[known]
    if (values == 1).all():
        if cells_of.max() == 1:
            sentence = "All propensities are 1: the log tells nothing of the arms not chosen."
            findings.append(Finding(CHECK, "warning", sentence, {"decisions": len(decisions)}))
        return findings
    findings += _sums(log, decisions, decision, values)
    single = _single(log, known, cells_of)
    if single.any():
        group = log.groups[log.query[known]]
        findings += _inverse_sums(log, values[single], log.arm[known][single], group[single])
    small = int((values < SMALL).sum())
    if small:
        findings.append(
            Finding(
                CHECK,
                "note",
                f"{share(small, len(values))} propensities are below {SMALL:g}; the smallest is "
                f"{values.min():.2g}. Estimates that divide by them vary much.",
                {"cells": len(values), "small": small, "smallest": float(values.min())},
            )
        )
    return findings


def _single(log: PromptLog, known: np.ndarray, cells_of: np.ndarray) -> np.ndarray:
    """Which cells with a propensity are surely a decision each, ``[N]``.

    Where cells look like several of one decision, those of queries with one cell are, if most
    queries are such. Two cells of one arm do not count there: other decisions on their query look
    different only because they drew another arm.
    """
    query = log.query[known]
    if cells_of.max() == 1:
        return np.ones(len(query), dtype=bool)
    cells_of_query = np.bincount(query)
    alone = cells_of_query == 1
    if 2 * alone.sum() < (cells_of_query > 0).sum():
        return np.zeros(len(query), dtype=bool)
    return alone[query]


def _sums(
    log: PromptLog, decisions: np.ndarray, decision: np.ndarray, values: np.ndarray
) -> list[Finding]:
    """Sums of the propensities of one query in one run.

    Where runs are not numbered in the file, decisions on one text that drew different arms look as
    one. But then others drew the same arm, or came alone: only where no decision has a single cell
    is a wrong sum an error.
    """
    totals = np.bincount(decision, weights=values)
    cells_of = np.bincount(decision)
    complete = cells_of == len(log.arms)
    several = cells_of > 1
    wrong = np.flatnonzero(
        several & ((totals > 1 + ROUNDING) | (complete & (totals < 1 - ROUNDING)))
    )
    if not len(wrong):
        return []
    examples = [f"{log.queries[decisions[i, 0]].id}: sum {totals[i]:.3f}" for i in wrong[:10]]
    sentence = (
        f"The propensities of the arms of {share(len(wrong), int(several.sum()))} queries do "
        "not add up to 1"
    )
    if several.all():
        severity: Severity = "error"
    else:
        severity = "note"
        sentence += ": right if these are decisions of their own, which a number of their run says"
    return [
        Finding(
            CHECK,
            severity,
            f"{sentence}.",
            {"decisions": int(several.sum()), "wrong": len(wrong)},
            shortened(examples),
        )
    ]


def _inverse_sums(
    log: PromptLog, values: np.ndarray, arms: np.ndarray, group: np.ndarray
) -> list[Finding]:
    """Sums over decisions; those of one group may have drawn their arm together."""
    findings = []
    count = len(values)
    for index, arm in enumerate(log.arms):
        mine = arms == index
        if not mine.any():
            continue
        with np.errstate(over="ignore", divide="ignore"):  # of one that is almost 0
            inverse = np.where(mine, 1 / values, 0.0)
            total = float(inverse.sum())
            error = float(np.sqrt((np.bincount(group, inverse - 1) ** 2).sum()))
        away = total - count
        if abs(away) < max(STANDARD_ERRORS * error, DEVIATION * count):
            continue
        severity: Severity = "error" if away > 0 else "warning"
        reason = (
            "the propensities are too small"
            if away > 0
            else "they are too large, or the arm could not be chosen everywhere"
        )
        findings.append(
            Finding(
                CHECK,
                severity,
                f"The inverse propensities of '{arm.name}' add up to {total:,.0f} over {count:,} "
                f"decisions (± {error:,.0f}): {reason}.",
                {"arm": arm.name, "sum": total, "decisions": count, "standard_error": error},
            )
        )
    return findings
