"""The honest protocol on every log, with the share of the rerun ceiling that is captured."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.prompts.logs import every_log, fully_run
from prompt_oirl.audit import merged_groups, rerun_ceiling
from prompt_oirl.evaluation.multiple import holm
from prompt_oirl.evaluation.protocols import grouped_trial, with_groups
from prompt_oirl.evaluation.row import report_row


def rows(data: Path, seed: int) -> Iterator[dict[str, Any]]:
    """One row a log, then one with p-values adjusted for the number of logs."""
    p_values = {}
    for found in every_log(data):
        log = fully_run(found)
        log = with_groups(log, merged_groups(log))
        started = time.perf_counter()
        row = report_row(grouped_trial(log, seed=seed), "grouped", seed)
        ceiling = rerun_ceiling(log, seed=seed)
        if ceiling is not None:
            row["ceiling_gain"] = ceiling.gain
            row["ceiling_captured"] = row["gain"] / ceiling.gain if ceiling.gain > 0 else None
        row["seconds"] = time.perf_counter() - started
        p_values[log.name] = row["gain_p"]
        yield row
    adjusted = holm(list(p_values.values()))
    yield {
        "log": "all",
        "protocol": "grouped, p-values by Holm",
        "p_values": dict(zip(p_values, adjusted)),
    }
