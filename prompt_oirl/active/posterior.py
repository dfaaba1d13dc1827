"""A small Bayesian model of outcomes: what is known of every prompt, and how surely.

Logistic regression with a level that all prompts share, a deviation of each prompt from it, and a
difficulty of each query that its features do not explain:

    logit P(success of prompt k on query q) = z_q · (shared + own_k) + u_q,     z_q = [1, factors]

    block   0         1        2     …    K
            shared    own_0    own_1      own_{K−1}      each of d + 1 coefficients, prior N(0, ·)

The posterior is taken as normal around its mode (Laplace). Its precision is the prior's plus the
Fisher information ``Σ p(1−p) φ φᵀ`` of the cells that were run, the difficulties integrated out. φ
are the features of a cell: ``z_q`` in block 0 and in the block of its prompt, 0 elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Prior:
    """Standard deviations, in logits; factors have variance 1.

    Attributes:
        shared, shared_slope: intercept and slopes of the level.
        own, own_slope: intercept and slopes of each prompt's deviation.
        difficulty: of queries beyond their features.
    """

    shared: float = 2.0
    shared_slope: float = 0.3
    own: float = 1.0
    own_slope: float = 0.1
    difficulty: float = 1.5

    def precision(self, arms: int, width: int) -> Floats:
        """Of every coefficient, ``[(arms + 1) · width]``."""
        scale = np.full((arms + 1, width), self.own_slope)
        scale[:, 0] = self.own
        scale[0] = self.shared_slope
        scale[0, 0] = self.shared
        return 1 / scale.ravel() ** 2


@dataclass(frozen=True)
class Posterior:
    """Normal approximation of what is known.

    Attributes:
        mean: coefficients, ``[K + 1, d + 1]``.
        covariance: ``[D, D]`` with ``D = (K + 1)(d + 1)``, blocks in the order above.
        difficulty: mode of ``u_q``, ``[Q]``; 0 for a query that was not run.
        ran: ``Σ p(1−p)`` of the cells of each query and arm, ``[Q, K]``.
        prior: it started from.
    """

    mean: Floats
    covariance: Floats
    difficulty: Floats
    ran: Floats
    prior: Prior

    @property
    def arms(self) -> int:
        """Number of prompts."""
        return len(self.mean) - 1

    def logits(self, z: Floats) -> Floats:
        """Of queries of difficulty 0, ``[Q, K]`` for ``z`` of ``[Q, d + 1]``."""
        result: Floats = z @ (self.mean[0] + self.mean[1:]).T
        return result


def sigmoid(logit: Floats) -> Floats:
    """``1 / (1 + e^−logit)``."""
    result: Floats = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
    return result


def cell_features(z: Floats, arm: Indices, arms: int) -> Floats:
    """φ of cells, ``[N, (arms + 1)(d + 1)]``, for their queries ``[N, d + 1]`` and arms ``[N]``."""
    n, width = z.shape
    phi = np.zeros((n, arms + 1, width))
    phi[:, 0] = z
    phi[np.arange(n), 1 + arm] = z
    return phi.reshape(n, (arms + 1) * width)


def fit_posterior(
    z: Floats,
    query: Indices,
    arm: Indices,
    outcome: Floats,
    arms: int,
    prior: Prior | None = None,
    start: Posterior | None = None,
    steps: int = 50,
) -> Posterior:
    """The posterior after some cells, by Newton's method.

    Args:
        z: ``[1, factors]`` of every query, run or not, ``[Q, d + 1]``.
        query: of each cell, ``[N]``.
        arm: of each cell, ``[N]``.
        outcome: in 0..1, ``[N]``.
        arms: number of prompts, run or not.
        prior: the default otherwise.
        start: a fit on fewer cells of the same queries, for speed.
        steps: of Newton's method at most.
    """
    from scipy import sparse

    prior = prior or Prior()
    queries, width = z.shape
    penalty, ease = prior.precision(arms, width), 1 / prior.difficulty**2
    phi = cell_features(z[query], arm, arms)
    rows, row = np.unique(query, return_inverse=True)
    by_query = sparse.csr_matrix(
        (np.ones(len(row)), (row, np.arange(len(row)))), shape=(len(rows), len(row))
    )
    theta = np.zeros(len(penalty)) if start is None else start.mean.ravel().copy()
    u = np.zeros(len(rows)) if start is None else start.difficulty[rows]

    def loss(theta: Floats, u: Floats) -> float:
        logit = phi @ theta + u[row]
        fit = (np.logaddexp(0, logit) - outcome * logit).sum()
        return float(fit + (penalty * theta**2).sum() / 2 + ease * (u**2).sum() / 2)

    def curvature() -> tuple[Floats, Floats, Floats, Floats, Floats]:
        p = sigmoid(phi @ theta + u[row])
        weight = p * (1 - p)
        weighted = phi * weight[:, None]
        cross = by_query @ weighted
        own = ease + np.bincount(row, weight, minlength=len(rows))
        precision = phi.T @ weighted - (cross / own[:, None]).T @ cross
        precision[np.diag_indices_from(precision)] += penalty
        return p, weight, np.asarray(cross), np.asarray(own), np.asarray(precision)

    for _ in range(steps):
        p, _, cross, own, precision = curvature()
        slope = phi.T @ (p - outcome) + penalty * theta
        slope_u = np.bincount(row, p - outcome, minlength=len(rows)) + ease * u
        step = np.linalg.solve(precision, slope - cross.T @ (slope_u / own))
        step_u = (slope_u - cross @ step) / own
        decrement = float(slope @ step + slope_u @ step_u)
        if decrement < 1e-8:
            break
        size, now = 1.0, loss(theta, u)
        while size > 1e-6 and loss(theta - size * step, u - size * step_u) > (
            now - size * decrement / 4
        ):
            size /= 2
        theta, u = theta - size * step, u - size * step_u
    _, weight, _, _, precision = curvature()
    difficulty, ran = np.zeros(queries), np.zeros((queries, arms))
    difficulty[rows] = u
    np.add.at(ran, (query, arm), weight)
    mean = theta.reshape(arms + 1, width)
    return Posterior(mean, np.asarray(np.linalg.inv(precision)), difficulty, ran, prior)
