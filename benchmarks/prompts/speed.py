"""Seconds of fitting and scoring: 90,000 cells, 10,000 queries × 16 prompts, and one query."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.prompts.logs import fully_run, log_named
from prompt_oirl.choice.selector import fit_selector

SCORED = 10_000


def rows(data: Path, seed: int) -> Iterator[dict[str, Any]]:
    """Fitting on the 90,000 published training cells of SVAMP; scoring with 16 prompts."""
    log = fully_run(log_named(data, "oirl_llama2_svamp"), "train")
    started = time.perf_counter()
    fit_selector(log, seed=seed)
    yield {
        "log": log.name,
        "protocol": "speed of fitting",
        "arms": len(log.arms),
        "cells": len(log.outcome),
        "seconds": time.perf_counter() - started,
    }
    grid = fully_run(log_named(data, "oirl_llama2_svamp"), "test")
    selector = fit_selector(grid, seed=seed)
    texts = (log.texts * 2)[:SCORED]
    started = time.perf_counter()
    selector.choose(texts)
    seconds = time.perf_counter() - started
    single = []
    for text in texts[:200]:
        started = time.perf_counter()
        selector.choose([text])
        single.append(time.perf_counter() - started)
    yield {
        "log": grid.name,
        "protocol": "speed of scoring",
        "arms": len(grid.arms),
        "queries": len(texts),
        "seconds": seconds,
        "milliseconds_a_query": 1000 * seconds / len(texts),
        "milliseconds_one_at_a_time": 1000 * float(np.median(single)),
    }
