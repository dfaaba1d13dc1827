"""What the log of a selector was like on average, and how far such averages are off.

    features   structural features of the queries
    errors     realised minus predicted outcome of each arm, by models that did not see the query

What comes later is compared with these (:mod:`prompt_oirl.operation.drift`). Errors of predictions,
unlike plain means, do not depend on which queries an arm was run on, as far as models can tell
queries apart; where propensities are known, weights see to the rest. A mean over unseen rows has
the sampling error of the log in it, and so tells how far predictions may be off elsewhere.

Rows are distinct texts, each once however often it was asked; with propensities, errors count a
text as often as it was run. What is compared with a baseline must count in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.logs.log import PromptLog
from prompt_oirl.models.outcomes import Floats, Indices

ALL_IN_ONE = 1e-12  # part of a column outside of a group that is nothing but rounding


@dataclass(frozen=True)
class ClusteredMeans:
    """Means of columns whose rows come in groups.

    Attributes:
        mean: ``[C]``; NaN for a column without values.
        covariance: of the means, rows of a group counted together, ``[C, C]``; 0 where a column has
            no values, or all of them in one group, from which nothing is known of others.
        rows, groups: with a value in each column, ``[C]``; fewer where weights are uneven (Kish).
    """

    mean: Floats
    covariance: Floats
    rows: Floats
    groups: Floats

    def columns(self, wanted: Indices) -> ClusteredMeans:
        """Some of the columns, in the order wanted."""
        covariance = self.covariance[np.ix_(wanted, wanted)]
        return ClusteredMeans(self.mean[wanted], covariance, self.rows[wanted], self.groups[wanted])

    def blended(self, share: Floats) -> ClusteredMeans:
        """One column: the mean of the columns by ``share`` ``[C]``, which sums to 1."""
        used = share > 0
        weight = share[used]
        return ClusteredMeans(
            np.array([weight @ self.mean[used]]),
            np.array([[weight @ self.covariance[np.ix_(used, used)] @ weight]]),
            np.array([self.rows[used].sum()]),
            np.array([self.groups[used].max()]),
        )

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

    Covariances are those of the jackknife, which leaves out a group at a time: with groups of one
    size the usual ones, and right too where one of them has a large part of a column (MacKinnon,
    Nielsen and Webb, Journal of Econometrics 2023).

    Args:
        values: ``[R, C]``.
        group: of each row, ``[R]``.
        weight: of each value, ``[R, C]``; 1 by default.
    """
    share, mean = _shares(values, weight)
    _, place = np.unique(group, return_inverse=True)
    count = int(place.max()) + 1 if len(place) else 0
    sums, inside = np.zeros((2, count, values.shape[1]))
    np.add.at(sums, place, share * np.where(share > 0, values - mean, 0.0))
    np.add.at(inside, place, share)
    rest = 1 - inside
    alone = rest < ALL_IN_ONE
    moved = np.where(alone, 0.0, sums / np.where(alone, 1.0, rest))
    left_out = np.maximum((inside > 0).sum(axis=0), 1)
    scale = np.sqrt((left_out - 1) / left_out)
    covariance = moved.T @ moved * np.outer(scale, scale)
    return ClusteredMeans(mean, covariance, _effective(share), _effective(inside))


def blended_means(values: Floats, group: Indices, weight: Floats, share: Floats) -> ClusteredMeans:
    """As ``clustered_means(…).blended(share)``, with the rows and groups of the blend itself, which
    only the values tell: columns may lie in the same groups or in others.

    Args:
        values: ``[R, C]``, NaN where unknown.
        group: of each row, ``[R]``.
        weight: of each value, ``[R, C]``.
        share: of each column, ``[C]``; sums to 1, and is 0 for a column without values.
    """
    used = share > 0
    part, mean = _shares(values[:, used], weight[:, used])
    # Columns differ in their means, which is no chance of a row.
    level = float(share[used] @ mean)
    flat = (values[:, used] - mean + level).ravel()[:, None]
    parts = (part * share[used]).ravel()[:, None]
    return clustered_means(flat, np.repeat(group, int(used.sum())), parts)


def _shares(values: Floats, weight: Floats | None) -> tuple[Floats, Floats]:
    """Part of each value in its column, ``[R, C]``, and the means that it makes, ``[C]``."""
    weight = np.where(np.isnan(values), 0.0, 1.0 if weight is None else weight)
    total = weight.sum(axis=0)
    share = weight / np.where(total > 0, total, 1.0)
    return share, np.where(total > 0, (share * np.nan_to_num(values)).sum(axis=0), np.nan)


def inverse_propensities(log: PromptLog, row: Indices, rows: int) -> Floats:
    """One over the propensity, summed over the runs of each cell, ``[rows, K]``; 1 in a log where
    any is unknown.

    A row that was run n times is expected to weigh n under every arm, though a cell without runs
    weighs nothing: means with these weights are those over all runs, whichever arm the log's policy
    gave them to. The mean over a cell's runs would count it twice: the more runs, the surer it is
    to be there at all.

    Args:
        log: with or without propensities.
        row: of each query, ``[Q]``.
        rows: how many.
    """
    shape = rows, len(log.arms)
    if not np.isfinite(log.propensity).all():
        return np.ones(shape)
    flat = row[log.query] * shape[1] + log.arm
    return np.asarray(
        np.bincount(flat, 1 / log.propensity, rows * shape[1]).reshape(shape), dtype=np.float64
    )


def _effective(share: Floats) -> Floats:
    """How many equal shares tell as much, by Kish's formula, of columns that sum to 1."""
    squares = (share**2).sum(axis=0)
    return np.where(squares > 0, 1 / np.where(squares > 0, squares, 1.0), 0.0)
