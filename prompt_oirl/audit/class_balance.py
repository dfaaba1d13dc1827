"""How often outcomes are good, overall and per arm."""

from __future__ import annotations

import numpy as np

from prompt_oirl.audit.finding import Finding
from prompt_oirl.logs.log import PromptLog

CHECK = "class-balance"
RARE = 0.02


def class_balance(log: PromptLog) -> list[Finding]:
    """Means of the outcomes; an error where all are equal, a warning where nearly all are."""
    if not len(log.outcome):
        return []
    if (log.outcome == log.outcome[0]).all():
        return [
            Finding(
                CHECK,
                "error",
                f"All {len(log.outcome):,} outcomes are {log.outcome[0]:g}: there is nothing to "
                "learn from one class.",
                {"mean": float(log.outcome.mean()), "outcomes": len(log.outcome)},
            )
        ]
    counts = np.bincount(log.arm, minlength=len(log.arms))
    sums = np.bincount(log.arm, weights=log.outcome, minlength=len(log.arms))
    means = {
        arm.name: float(total / count) for arm, total, count in zip(log.arms, sums, counts) if count
    }
    best = max(means, key=lambda name: means[name])
    worst = min(means, key=lambda name: means[name])
    mean = float(log.outcome.mean())
    rare = min(mean, 1 - mean) < RARE
    constant = ""
    if np.isin(log.outcome, (0.0, 1.0)).all():
        constant = f"; a constant guess is right on {100 * max(mean, 1 - mean):.1f} %"
    return [
        Finding(
            CHECK,
            "warning" if rare else "note",
            f"The mean outcome is {mean:.3f}, from {means[worst]:.3f} ('{worst}') to "
            f"{means[best]:.3f} ('{best}'){constant}.",
            {"mean": mean, "outcomes": len(log.outcome), "mean_of_arm": means},
        )
    ]
