"""Arms with the outcomes of another arm: a column that was copied."""

from __future__ import annotations

import math

import numpy as np

from prompt_oirl.audit.arm_pairs import ArmPairs, arm_pairs
from prompt_oirl.audit.finding import Finding, Severity
from prompt_oirl.audit.normalise import normalised
from prompt_oirl.logs.log import PromptLog

CHECK = "copied-arms"
FEWEST = 30  # shared queries
IMPLAUSIBLE = 1e-6
USUAL_AGREEMENT = 0.98  # taken where no other pair of arms shows how far arms agree


def copied_arms(log: PromptLog, pairs: ArmPairs | None = None) -> list[Finding]:
    """Pairs of arms with equal outcomes on every shared query, while both vary.

    A copy is an error if two arms that agree as often as the most agreeing other pair that varies
    would be equal everywhere with a probability below one in a million, else a warning. Arms with
    the same text of the prompt may be equal: that is a warning.
    """
    grid = log.grid()
    pairs = pairs or arm_pairs(grid)
    arms = len(log.arms)
    identical = [
        (i, j)
        for i in range(arms)
        for j in range(i + 1, arms)
        if pairs.shared[i, j] >= FEWEST
        and pairs.agreement[i, j] == 1.0
        and not np.isnan(pairs.correlation[i, j])
    ]
    others = [
        float(pairs.agreement[i, j])
        for i in range(arms)
        for j in range(i + 1, arms)
        if (i, j) not in identical
        and pairs.shared[i, j] >= FEWEST
        and not np.isnan(pairs.correlation[i, j])  # a constant arm agrees by being so
    ]
    usual = max([*others, USUAL_AGREEMENT]) if others else USUAL_AGREEMENT
    findings = []
    for i, j in identical:
        first, second = log.arms[i], log.arms[j]
        shared = int(pairs.shared[i, j])
        log10_probability = shared * math.log10(usual)
        same_prompt = bool(first.text) and normalised(first.text) == normalised(second.text)
        severity: Severity = "warning"
        if log10_probability < math.log10(IMPLAUSIBLE) and not same_prompt:
            severity = "error"
        reason = "; their prompts are the same text" if same_prompt else ""
        findings.append(
            Finding(
                CHECK,
                severity,
                f"Arms '{first.name}' and '{second.name}' have the same outcome on all {shared:,} "
                f"queries that both were run on: one looks like a copy of the other{reason}.",
                {
                    "arms": [first.name, second.name],
                    "queries": shared,
                    "log10_probability": log10_probability,
                    "same_prompt": same_prompt,
                },
            )
        )
    return findings
