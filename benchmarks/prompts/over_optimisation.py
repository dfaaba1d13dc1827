"""Predicted against realised value for 1…16 candidates: by the mean, and by a lower bound.

The 16-prompt grids of the published test rows, five folds of groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.prompts.logs import LLAMA, fully_run, log_named
from prompt_oirl.audit import merged_groups
from prompt_oirl.choice.cross_fit import group_folds
from prompt_oirl.choice.selector import Settings, fit_selector
from prompt_oirl.evaluation.over_optimisation import over_optimisation
from prompt_oirl.evaluation.protocols import with_groups
from prompt_oirl.models.blend import as_probabilities

FOLDS = 5
# Members that see half of the queries differ more: the noise that a maximum would pick is seen.
SETTINGS = Settings(models=("boosting", "logistic"), folds=2, repeats=4, ensemble=True)


def rows(data: Path, seed: int) -> Iterator[dict[str, Any]]:
    """One row a log, with the curves of both figures."""
    for name in LLAMA:
        log = fully_run(log_named(data, name), "test")
        log = with_groups(log, merged_groups(log))
        mean, lower = _figures(log, seed)
        grid = log.grid()
        by_mean = over_optimisation(grid, mean, seed=seed)
        by_lower = over_optimisation(grid, lower, seed=seed)
        last, bound = by_mean[-1], by_lower[-1]
        yield {
            "log": log.name,
            "arms": len(log.arms),
            "value": bound.realised,
            "gap_mean": last.gap,
            "gap_lower": bound.gap,
            "gap_removed": 1 - max(bound.gap, 0) / last.gap if last.gap > 0 else None,
            "value_by_mean": last.realised,
            "curve_mean": [[p.candidates, p.predicted, p.realised] for p in by_mean],
            "curve_lower": [[p.candidates, p.predicted, p.realised] for p in by_lower],
        }


def _figures(log: Any, seed: int) -> tuple[np.ndarray, np.ndarray]:
    fold = group_folds(log.groups, FOLDS, seed)
    mean = np.zeros((len(log.queries), len(log.arms)))
    lower = np.zeros_like(mean)
    for number in range(FOLDS):
        inside = fold == number
        selector = fit_selector(log.only_queries(~inside), SETTINGS, seed + number)
        members = selector.predictions(log.only_queries(inside).texts)
        mean[inside] = as_probabilities(members.mean(axis=0))
        lower[inside] = as_probabilities(members.mean(axis=0) - members.std(axis=0, ddof=1))
    return mean, lower
