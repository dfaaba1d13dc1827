"""Folds of whole groups, and predictions by models that saw none of a row's group."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.errors import NotIdentified
from prompt_oirl.logs.log import Floats, Indices
from prompt_oirl.off_policy.decisions import LoggedDecisions
from prompt_oirl.off_policy.outcome_models.outcome_model import OutcomeModel

Mask = NDArray[np.bool_]


def grouped_folds(group: Indices, folds: int, seed: int = 0) -> Indices:
    """The fold of every row, ``[N]``, in 0..folds-1; the rows of a group share one.

    Groups are shuffled, then dealt out in turn, so that folds hold equally many groups.

    Raises:
        NotIdentified: fewer groups than folds, or fewer than two folds.
    """
    names, number = np.unique(group, return_inverse=True)
    if folds < 2:
        raise NotIdentified(f"cross-fitting needs at least 2 folds, not {folds}")
    if len(names) < folds:
        raise NotIdentified(
            f"cross-fitting in {folds} folds needs queries of at least as many groups, "
            f"but the log has {len(names)}"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    return (order % folds)[number].astype(np.int64)


def splits(fold: Indices) -> Iterator[tuple[Mask, Mask]]:
    """For each fold: which rows to fit on, and which to predict, both ``[N]``."""
    for number in np.unique(fold):
        held_out = fold == number
        yield ~held_out, held_out


def cross_fitted_outcomes(
    model: OutcomeModel, features: Floats, decisions: LoggedDecisions, fold: Indices
) -> Floats:
    """The predicted outcome of every arm at every decision, ``[N, K]``.

    Source: Chernozhukov et al., "Double/debiased machine learning", Econometrics Journal 2018,
    definition 3.1; folds of whole groups, since rows of one group are not independent.

    Args:
        model: of outcomes; fitted anew for each fold.
        features: of the query of each decision, ``[N, D]``.
        decisions: ``N`` of them.
        fold: of each decision, ``[N]``.
    """
    predictions = np.empty((len(decisions), decisions.arms))
    for rest, held_out in splits(fold):
        fitted = model.fit(
            features[rest], decisions.arm[rest], decisions.outcome[rest], decisions.arms
        )
        predictions[held_out] = fitted.predict(features[held_out])
    return predictions
