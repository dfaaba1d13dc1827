"""Predicted against realised value for 1…K candidates: by the mean, and by lower bounds.

Every log of sixteen prompts that were run on all its test rows, three folds of groups. The
bound is one usual spread below the mean, or as many as the training rows of the fold ask for
(calibrated anew for each set of candidates).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.prompts.logs import every_log, fully_run
from prompt_oirl.audit import merged_groups
from prompt_oirl.choice.cross_fit import group_folds
from prompt_oirl.evaluation.blind_ensemble import blind_ensemble
from prompt_oirl.evaluation.bootstrap import clustered_interval
from prompt_oirl.evaluation.calibrated_bound import CalibratedBound, calibrated_bound
from prompt_oirl.evaluation.over_optimisation import CurvePoint, over_optimisation
from prompt_oirl.evaluation.protocols import with_groups
from prompt_oirl.logs.log import PromptLog
from prompt_oirl.models.outcomes import Floats, Indices, Outcomes, averaged

FOLDS = 3
LEAST_ARMS = 16
SUBSETS = 10
REPEATS = 4
MODELS = ("boosting", "logistic")


@dataclass(frozen=True)
class Fold:
    """One part held out: which rows, their predictions, and what the members were fitted on."""

    inside: np.ndarray
    members: Floats
    outcomes: Outcomes
    unseen: Floats


def rows(data: Path, seed: int) -> Iterator[dict[str, Any]]:
    """One row a log, with the curves of the figures; ``z`` is that of all arms, ``bounds`` counts
    those of the curves too."""
    for found in every_log(data):
        log = fully_run(found, "test") if _has_test(found) else fully_run(found)
        if len(log.arms) >= LEAST_ARMS:
            yield _row(with_groups(log, merged_groups(log)), seed)


def _has_test(log: PromptLog) -> bool:
    return any(query.split == "test" for query in log.queries)


def _row(log: PromptLog, seed: int) -> dict[str, Any]:
    folds = fitted_folds(log, seed)
    grid, size = log.grid(), len(log.arms)
    mean, lower = np.zeros_like(grid), np.zeros_like(grid)
    for fold in folds:
        spread = calibrated_bound(fold.outcomes, fold.unseen).spread
        mean[fold.inside] = CalibratedBound(spread, 0.0).figure(fold.members)
        lower[fold.inside] = CalibratedBound(spread, 1.0).figure(fold.members)
    used: list[CalibratedBound] = []

    def bound(some: Indices) -> Floats:
        figure = np.zeros((len(grid), len(some)))
        for fold in folds:
            found = calibrated_bound(of_arms(fold.outcomes, some), fold.unseen[:, :, some])
            figure[fold.inside] = found.figure(fold.members[:, :, some])
            used.append(found)
        return figure

    calibrated = bound(np.arange(size))
    row = np.arange(len(grid))
    change = grid[row, calibrated.argmax(axis=1)] - grid[row, mean.argmax(axis=1)]
    z = float(np.mean([found.z for found in used]))
    curves = {
        name: over_optimisation(grid, figure, SUBSETS, seed)
        for name, figure in (("mean", mean), ("lower", lower), ("calibrated", bound))
    }
    last = {name: points[-1] for name, points in curves.items()}
    return {
        "log": log.name,
        "arms": size,
        "rows": len(grid),
        "value": last["calibrated"].realised,
        "gain": float(change.mean()),
        "gain_ci95": clustered_interval(change, log.groups, seed=seed),
        "z": z,
        "bounds": len(used),
        "bounds_held": sum(found.holds for found in used),
        **{f"gap_{name}": point.gap for name, point in last.items()},
        "removed_lower": removed(last["mean"], last["lower"]),
        "removed_calibrated": removed(last["mean"], last["calibrated"]),
        "value_by_mean": last["mean"].realised,
        "value_by_lower": last["lower"].realised,
        **{
            f"curve_{name}": [[p.candidates, p.predicted, p.realised] for p in points]
            for name, points in curves.items()
        },
    }


def removed(mean: CurvePoint, other: CurvePoint) -> float | None:
    """Share of the size of the gap of the mean that another figure has not; negative where it has
    more. None where the mean promises nothing too much."""
    return 1 - abs(other.gap) / mean.gap if mean.gap > 0 else None


def fitted_folds(log: PromptLog, seed: int) -> list[Fold]:
    """Members fitted without each fold, and what they predict of it."""
    fold = group_folds(log.groups, FOLDS, seed)
    found = []
    for number in range(FOLDS):
        inside = fold == number
        texts, value, weight, group = averaged(log.only_queries(~inside))
        outcomes = Outcomes(np.zeros((len(texts), 0)), value, weight, group)
        ensemble = blind_ensemble(texts, outcomes, MODELS, REPEATS, seed=seed + number)
        members = ensemble.predict(log.only_queries(inside).texts)
        found.append(Fold(inside, members, outcomes, ensemble.unseen))
    return found


def of_arms(outcomes: Outcomes, some: Indices) -> Outcomes:
    """The outcomes under some arms."""
    return Outcomes(outcomes.x, outcomes.value[:, some], outcomes.weight[:, some], outcomes.group)
