"""Predicted against realised value for 1…K candidates: by the mean, and by lower bounds.

Every log of at least six prompts that were run on all its test rows, five folds of groups. The
calibrated bound is fitted anew for each set of candidates, on the training rows of each fold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.prompts.logs import every_log, fully_run
from prompt_oirl.audit import merged_groups
from prompt_oirl.choice.cross_fit import cross_fit, group_folds
from prompt_oirl.choice.selector import Settings
from prompt_oirl.evaluation.bootstrap import clustered_interval
from prompt_oirl.evaluation.calibrated_bound import calibrated_bound
from prompt_oirl.evaluation.over_optimisation import CurvePoint, over_optimisation
from prompt_oirl.evaluation.protocols import with_groups
from prompt_oirl.features import QueryFeatures
from prompt_oirl.logs.log import PromptLog
from prompt_oirl.models.blend import as_probabilities
from prompt_oirl.models.outcomes import Floats, Indices, Outcomes, averaged

FOLDS = 5
LEAST_ARMS = 6
SUBSETS = 10
# Members that see half of the queries differ more: the noise that a maximum would pick is seen.
SETTINGS = Settings(models=("boosting", "logistic"), folds=2, repeats=4, ensemble=True)


@dataclass(frozen=True)
class Fold:
    """One part held out: which rows, their predictions, and what the members were fitted on."""

    inside: np.ndarray
    members: Floats
    outcomes: Outcomes
    unseen: Floats


def rows(data: Path, seed: int) -> Iterator[dict[str, Any]]:
    """One row a log, with the curves of the figures."""
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
        middle = fold.members.mean(axis=0)
        mean[fold.inside] = as_probabilities(middle)
        lower[fold.inside] = as_probabilities(middle - fold.members.std(axis=0, ddof=1))
    used: list[float] = []

    def bound(some: Indices) -> Floats:
        figure = np.zeros((len(grid), len(some)))
        for fold in folds:
            found = calibrated_bound(
                of_arms(fold.outcomes, some), fold.unseen[:, :, some], len(fold.members)
            )
            figure[fold.inside] = found.figure(fold.members[:, :, some])
            used.append(found.z)
        return figure

    calibrated = bound(np.arange(size))
    row = np.arange(len(grid))
    change = grid[row, calibrated.argmax(axis=1)] - grid[row, mean.argmax(axis=1)]
    z = float(np.mean(used))
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
        features = QueryFeatures(SETTINGS.text_size, seed=seed + number).fit(texts)
        outcomes = Outcomes(features.transform(texts), value, weight, group)
        fitted = cross_fit(
            outcomes, SETTINGS.models, SETTINGS.folds, SETTINGS.repeats, seed + number
        )
        x = features.transform(log.only_queries(inside).texts)
        members = np.stack([member.predict(x) for member in fitted.members])
        found.append(Fold(inside, members, outcomes, fitted.unseen))
    return found


def of_arms(outcomes: Outcomes, some: Indices) -> Outcomes:
    """The outcomes under some arms."""
    return Outcomes(outcomes.x, outcomes.value[:, some], outcomes.weight[:, some], outcomes.group)
