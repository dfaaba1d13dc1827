"""Which cells to run next: the ones that add the most information.

A cell of query q and prompt k adds Fisher information of rank one. With the query's own difficulty
integrated out, and ``S`` its precision and ``b`` its cross term after the cells of that query so
far, it is

    w S / (S + w) · φ̃ φ̃ᵀ,    φ̃ = φ − b / S,    w = p(1−p)

so a first cell of a query tells of levels, and a second one mostly of the difference of two
prompts. The gain of a cell is that of the log determinant of the whole information M, cells already
run included: ``log(1 + w S / (S + w) · φ̃ᵀ M⁻¹ φ̃)`` (past-aware D-optimality: Shen, Sun and Ton,
Active Reward Modelling, ICML 2025). A batch is chosen greedily, each cell counted in before the
next is chosen; M⁻¹ is updated by rank one (Sherman and Morrison, 1950).

Rules differ in the cells that may be chosen:

    contenders   prompts that may still be the best; as many queries as these prompts can all be
                 run on, so that they are compared on the same ones
    d-optimal    all prompts; as many queries as cells

Queries come in random order, new ones first, and are not chosen for their information: those that
tell the most are strange ones, and what is best on them is not what is best.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.active.contenders import LEAST_PROBABILITY, contenders
from prompt_oirl.active.posterior import Floats, Indices, Posterior, sigmoid
from prompt_oirl.errors import BadLog

RULES = ("contenders", "d-optimal")
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Design:
    """Chosen cells, in the order of choice.

    Attributes:
        query, arm: of each cell, ``[N]``.
        information: log det gained by each when it was chosen, in nats, ``[N]``.
    """

    query: Indices
    arm: Indices
    information: Floats


def choose_cells(
    posterior: Posterior,
    z: Floats,
    open_cells: Mask,
    count: int,
    rule: str = "contenders",
    least_probability: float = LEAST_PROBABILITY,
    seed: int = 0,
) -> Design:
    """A batch of cells.

    Args:
        posterior: what is known after the cells already run.
        z: ``[1, factors]`` of all queries, ``[Q, d + 1]``.
        open_cells: ``[Q, K]``, True where a cell may be chosen.
        count: cells wanted; fewer where fewer are open.
        rule: of :data:`RULES`.
        least_probability: below which a prompt is no contender.
        seed: of the order of queries.

    Raises:
        BadLog: the rule is unknown.
    """
    if rule not in RULES:
        raise BadLog(f"unknown rule '{rule}' of what to run next; known: {', '.join(RULES)}")
    order = np.random.default_rng(seed).permutation(len(z))
    left = open_cells.copy()
    parts: list[Design] = []
    counted = posterior  # with the cells of earlier parts
    while count > 0 and left.any():
        arms = np.arange(posterior.arms)
        if rule == "contenders":
            arms = contenders(posterior, z, least_probability, seed)
            if not left[:, arms].any():  # all is known of these
                arms = np.flatnonzero(left.any(axis=0))
        queries = -(-count // len(arms)) if rule == "contenders" else count
        allowed = np.zeros_like(left)
        rows = _next_queries(left[:, arms], order, queries)
        allowed[np.ix_(rows, arms)] = left[np.ix_(rows, arms)]
        part, counted = greedy_d_optimal(counted, z, allowed, count)
        left[part.query, part.arm] = False
        count -= len(part.query)
        parts.append(part)
    return Design(
        np.concatenate([part.query for part in parts] or [np.zeros(0, dtype=np.int64)]),
        np.concatenate([part.arm for part in parts] or [np.zeros(0, dtype=np.int64)]),
        np.concatenate([part.information for part in parts] or [np.zeros(0)]),
    )


def _next_queries(left: Mask, order: Indices, count: int) -> Indices:
    """Queries with most cells left, in the given order where they have as many."""
    cells = left[order].sum(axis=1)
    ranked = order[np.argsort(-cells, kind="stable")]
    return ranked[: min(count, int((cells > 0).sum()))]


def greedy_d_optimal(
    posterior: Posterior, z: Floats, open_cells: Mask, count: int
) -> tuple[Design, Posterior]:
    """The cells of greatest gain in log det, one after the other; arguments as above.

    Returns:
        The cells, and the posterior with their information counted in, whatever they may turn out.
    """
    rows = np.flatnonzero(open_cells.any(axis=1))
    z, left, ran = z[rows], open_cells[rows], posterior.ran[rows]
    p = sigmoid(posterior.logits(z) + posterior.difficulty[rows, None])
    weight = p * (1 - p)
    covariance = posterior.covariance.copy()
    arms = posterior.arms
    ease = 1 / posterior.prior.difficulty**2
    block = np.hstack([np.ones((arms, 1)), np.eye(arms)])  # φ = block ⊗ z
    so_far = np.hstack([ran.sum(axis=1, keepdims=True), ran])  # b = so_far ⊗ z
    chosen: list[tuple[int, int, float]] = []
    for _ in range(min(count, int(left.sum()))):
        precision = ease + so_far[:, :1]
        side = block - (so_far / precision)[:, None, :]  # φ̃ = side ⊗ z, [Q, K, K + 1]
        w = weight * precision / (precision + weight)
        leverage = w * quadratic(covariance, z, side)
        gain = np.where(left, np.log1p(leverage), -np.inf)
        query, arm = np.unravel_index(int(gain.argmax()), gain.shape)
        chosen.append((int(rows[query]), int(arm), float(gain[query, arm])))
        moved = covariance @ np.outer(side[query, arm], z[query]).ravel()
        covariance -= np.outer(moved, moved) * (w[query, arm] / (1 + leverage[query, arm]))
        left[query, arm] = False
        so_far[query, [0, 1 + arm]] += weight[query, arm]
    columns = list(zip(*chosen)) or [(), (), ()]
    design = Design(
        np.array(columns[0], dtype=np.int64),
        np.array(columns[1], dtype=np.int64),
        np.array(columns[2], dtype=np.float64),
    )
    ran = posterior.ran.copy()
    ran[rows] = so_far[:, 1:]
    return design, replace(posterior, covariance=covariance, ran=ran)


def quadratic(matrix: Floats, z: Floats, side: Floats) -> Floats:
    """``φᵀ matrix φ`` for ``φ = side ⊗ z``, ``[Q, K]``, without making any φ.

    Args:
        matrix: ``[(K + 1)(d + 1), (K + 1)(d + 1)]``.
        z: ``[Q, d + 1]``.
        side: ``[Q, K, K + 1]``.
    """
    queries, width = z.shape
    blocks = len(matrix) // width
    turned = matrix.reshape(blocks, width, blocks, width).transpose(1, 0, 2, 3)
    half = (z @ turned.reshape(width, -1)).reshape(queries, blocks * blocks, width)
    inner = (half @ z[:, :, None]).reshape(queries, blocks, blocks)
    result: Floats = ((side @ inner) * side).sum(axis=2)
    return result
