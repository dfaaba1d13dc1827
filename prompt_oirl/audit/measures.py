"""Costs, tokens and latencies that cannot be."""

from __future__ import annotations

import numpy as np

from prompt_oirl.audit.finding import Finding, share, shortened
from prompt_oirl.logs.log import PromptLog

CHECK = "out-of-range"


def measures(log: PromptLog) -> list[Finding]:
    """A warning for each of cost, tokens and latency with negative or infinite values.

    Outcomes and propensities out of their range are refused before a log exists.
    """
    findings = []
    for name in ("cost", "tokens", "latency"):
        values = getattr(log, name)
        wrong = np.flatnonzero((values < 0) | np.isinf(values))
        if len(wrong):
            examples = [
                f"{log.queries[log.query[i]].id} under '{log.arms[log.arm[i]].name}': {values[i]:g}"
                for i in wrong[:10]
            ]
            findings.append(
                Finding(
                    CHECK,
                    "warning",
                    f"{share(len(wrong), len(values))} values of '{name}' are negative or "
                    "infinite.",
                    {"measure": name, "cells": len(values), "wrong": len(wrong)},
                    shortened(examples),
                )
            )
    return findings
