"""What the audit says of each log: leakage of the published split, corrupt arms, rerun ceiling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.prompts.logs import every_log
from prompt_oirl.audit import audit, rerun_ceiling


def rows(data: Path, seed: int) -> Iterator[dict[str, Any]]:
    """One row a log."""
    for log in every_log(data):
        report = audit(log, seed=seed)
        ceiling = rerun_ceiling(log, seed=seed)
        yield {
            "log": log.name,
            "arms": len(log.arms),
            "fails": report.fails(),
            "errors": [finding.sentence for finding in report.of("error")],
            "leaks": [[leak.split, leak.leaking, leak.queries] for leak in report.leaks],
            "ceiling_gain": ceiling.gain if ceiling else None,
            "ceiling_gain_ci95": list(ceiling.gain_ci95) if ceiling else None,
        }
