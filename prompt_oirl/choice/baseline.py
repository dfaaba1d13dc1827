"""What the log of a selector was like on average, and how far such averages are off.

    features   structural features of the queries
    errors     realised minus predicted outcome of each arm, by models that did not see the query

What comes later is compared with these (:mod:`prompt_oirl.operation.drift`). Errors of predictions,
unlike plain means, do not depend on which queries an arm was run on, as far as models can tell
queries apart; where propensities are known, weights see to the rest. A mean over unseen rows has
the sampling error of the log in it, and so tells how far predictions may be off elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.logs.log import PromptLog
from prompt_oirl.models.outcomes import Floats, Indices


@dataclass(frozen=True)
class ClusteredMeans:
    """Means of columns whose rows come in groups.

    Attributes:
        mean: ``[C]``; NaN for a column without values.
        covariance: of the means, rows of a group counted together, ``[C, C]``; 0 where a column has
            no values.
        rows, groups: with a value in each column, ``[C]``; fewer where weights are uneven.
    """

    mean: Floats
    covariance: Floats
    rows: Floats
    groups: Floats

    def columns(self, wanted: Indices) -> ClusteredMeans:
        """Some of the columns, in the order wanted."""
        covariance = self.covariance[np.ix_(wanted, wanted)]
        return ClusteredMeans(self.mean[wanted], covariance, self.rows[wanted], self.groups[wanted])

    def arrays(self) -> dict[str, NDArray]:
        """The fields by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class Baseline:
    """Of the log that a selector was fitted on; see the layout above."""

    features: ClusteredMeans
    errors: ClusteredMeans

    def arrays(self) -> dict[str, NDArray]:
        """What :meth:`from_arrays` needs."""
        parts = {"features": self.features, "errors": self.errors}
        return {f"{part}/{key}": a for part, of in parts.items() for key, a in of.arrays().items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray]) -> Baseline:
        """The baseline that gave these arrays."""
        names = ("mean", "covariance", "rows", "groups")
        features, errors = (
            ClusteredMeans(*(arrays[f"{part}/{name}"] for name in names))
            for part in ("features", "errors")
        )
        return cls(features, errors)


def clustered_means(values: Floats, group: Indices, weight: Floats | None = None) -> ClusteredMeans:
    """Means of the columns of ``values`` ``[R, C]``, NaN where unknown, over groups ``[R]``.

    Args:
        values: ``[R, C]``.
        group: of each row, ``[R]``.
        weight: of each value, ``[R, C]``; 1 by default.
    """
    known = ~np.isnan(values)
    weight = np.where(known, 1.0 if weight is None else weight, 0.0)
    total = weight.sum(axis=0)
    share = weight / np.where(total > 0, total, 1.0)
    mean = np.where(total > 0, (share * np.nan_to_num(values)).sum(axis=0), np.nan)
    _, place = np.unique(group, return_inverse=True)
    count = int(place.max()) + 1 if len(place) else 0
    sums, inside = np.zeros((2, count, values.shape[1]))
    np.add.at(sums, place, share * np.where(known, values - mean, 0.0))
    np.add.at(inside, place, share)
    groups = _effective(inside)
    unbiased = np.sqrt(groups / np.maximum(groups - 1, 1))  # as n / (n − 1) of single rows
    covariance = sums.T @ sums * np.outer(unbiased, unbiased)
    return ClusteredMeans(mean, covariance, _effective(share), groups)


def inverse_propensities(log: PromptLog, row: Indices, rows: int) -> Floats:
    """One over the propensity of each cell, mean over its runs, ``[rows, K]``; 1 in a log where
    any is unknown.

    Means with these weights are those over all queries, whichever the log's policy gave to an arm.

    Args:
        log: with or without propensities.
        row: of each query, ``[Q]``.
        rows: how many.
    """
    shape = rows, len(log.arms)
    if not np.isfinite(log.propensity).all():
        return np.ones(shape)
    flat = row[log.query] * shape[1] + log.arm
    count = np.bincount(flat, minlength=rows * shape[1])
    total = np.bincount(flat, 1 / log.propensity, minlength=rows * shape[1])
    return (total / np.maximum(count, 1)).reshape(shape)


def _effective(share: Floats) -> Floats:
    """How many equal shares tell as much, by Kish's formula, of columns that sum to 1."""
    squares = (share**2).sum(axis=0)
    return np.where(squares > 0, 1 / np.where(squares > 0, squares, 1.0), 0.0)
