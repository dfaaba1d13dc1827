"""The published logs, read once each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from prompt_oirl.logs.log import PromptLog
from prompt_oirl.logs.read import read_log

LLAMA = ("oirl_llama2_gsm8k", "oirl_llama2_mawps", "oirl_llama2_svamp")


def every_log(data: Path) -> Iterator[PromptLog]:
    """All logs of a folder, by name."""
    for path in sorted(data.glob("*.jsonl.gz")):
        yield read_log(path).log


def log_named(data: Path, name: str) -> PromptLog:
    """One log."""
    return read_log(data / f"{name}.jsonl.gz").log


def fully_run(log: PromptLog, split: str = "") -> PromptLog:
    """The arms that were run on every query (of one split)."""
    if split:
        log = log.only_queries(np.array([query.split == split for query in log.queries]))
    missing = np.isnan(log.grid()).sum(axis=0)
    return log.only_arms([arm.name for arm, count in zip(log.arms, missing) if count == 0])
