"""Arms whose outcomes are all equal, and whether that can be the arm's own doing."""

from __future__ import annotations

import math

import numpy as np

from prompt_oirl.audit.finding import Finding, Severity
from prompt_oirl.audit.splits import ordered_splits
from prompt_oirl.logs.log import Floats, PromptLog

CHECK = "constant-arms"
FEWEST = 30  # cells of an arm before its being constant means anything
WORSE = 10.0  # times less often than the most similar other arm
IMPLAUSIBLE = 1e-6


def constant_arms(log: PromptLog) -> list[Finding]:
    """Arms with one outcome on all their queries, in all or in one split, while others vary.

    Such an arm is corrupt (an error) if even an arm that leaves this outcome ten times less often
    than the most similar varying arm would show it with a probability below one in a million; the
    cells are taken as independent given the arm. Otherwise it is a warning, with fewer than 30
    cells a note.
    """
    # An arm that is constant everywhere is said once, not for every split again.
    cells = np.ones(len(log.outcome), dtype=bool)
    findings = _constant_in(log, cells, "")
    known = {str(finding.counts["arm"]) for finding in findings}
    splits = ordered_splits(log)
    if len(splits) > 1:
        split_of = np.array([query.split for query in log.queries], dtype=object)
        for split in splits:
            for finding in _constant_in(log, (split_of == split)[log.query], split):
                if finding.counts["arm"] not in known:
                    findings.append(finding)
    return findings


def _constant_in(log: PromptLog, cells: np.ndarray, split: str) -> list[Finding]:
    outcomes = [log.outcome[cells & (log.arm == arm)] for arm in range(len(log.arms))]
    constant = [len(values) > 1 and bool((values == values[0]).all()) for values in outcomes]
    varying = [
        (log.arms[i].name, values)
        for i, values in enumerate(outcomes)
        if len(values) >= FEWEST and not constant[i]
    ]
    if not varying:
        return []  # nothing varies: that is a matter of the classes, not of an arm
    findings = []
    for index, values in enumerate(outcomes):
        if constant[index]:
            findings.append(_judged(log.arms[index].name, values, varying, split))
    return findings


def _judged(name: str, values: Floats, varying: list[tuple[str, Floats]], split: str) -> Finding:
    value, count = float(values[0]), len(values)
    other, share = max(
        ((other, float((known == value).mean())) for other, known in varying),
        key=lambda pair: pair[1],
    )
    log10_probability = count * math.log10(1 - (1 - share) / WORSE)
    severity: Severity = "warning"
    if count < FEWEST:
        severity = "note"
    elif log10_probability < math.log10(IMPLAUSIBLE):
        severity = "error"
    where = f" in '{split}'" if split else ""
    word = "is corrupt" if severity == "error" else "is constant"
    sentence = (
        f"Arm '{name}' {word}: its outcome is {value:g} on all {count:,} cells{where}, while the "
        f"arm most like it, '{other}', has that on {100 * share:.1f} %. If '{name}' left it even "
        f"{WORSE:g} times less often, this had a probability of {_power(log10_probability)}."
    )
    counts = {
        "arm": name,
        "split": split,
        "cells": count,
        "outcome": value,
        "nearest_arm": other,
        "nearest_share": share,
        "log10_probability": log10_probability,
        "corrupt": severity == "error",
    }
    return Finding(CHECK, severity, sentence, counts)


def _power(log10: float) -> str:
    return f"{10**log10:.2g}" if log10 > -4 else f"10^{log10:.0f}"
