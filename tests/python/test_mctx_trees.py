"""With formula 'muzero' the search grows the trees of mctx's muzero_policy, node for node."""

from __future__ import annotations

import json

import mctx_trees
import numpy as np
import pytest

from search._native.search import BatchedSearch
from search._native.tree import Arena


def grow(branching: int) -> dict[str, list[list[int]]]:
    """What mctx_trees.grow gives, by the native search."""
    logits, values = mctx_trees.tables(branching)
    priors = np.exp(logits.astype(np.float64))
    priors = (priors / priors.sum(axis=1, keepdims=True)).astype(np.float32)
    trees, simulations = mctx_trees.TREES, mctx_trees.SIMULATIONS
    search = BatchedSearch(Arena(), trees, branching, simulations, options={"formula": "muzero"})
    every = np.arange(trees)
    states = np.zeros((trees, simulations + 1), np.uint32)
    states[:, 0] = mctx_trees.first_states()
    leaves = search.select()
    for simulation in range(simulations + 1):
        if simulation > 0:
            parents = states[every, leaves.parent]
            states[:, simulation] = mctx_trees.next_state(parents, leaves.action.astype(np.uint32))
        rows = states[:, simulation] % mctx_trees.ROWS
        search.expand_and_backup(priors[rows], values[rows])
        if simulation < simulations:
            leaves = search.select()
    exports = [search.export(tree) for tree in range(trees)]
    return {
        "parents": [rows["parent"].tolist() for rows in exports],
        "actions": [[-1, *rows["tokens"].tolist()] for rows in exports],
        "visits": [rows["visits"].tolist() for rows in exports],
    }


@pytest.mark.parametrize("branching", mctx_trees.BRANCHINGS)
def test_equals_trees_of_mctx_that_were_kept(branching: int) -> None:
    assert grow(branching) == json.loads(mctx_trees.GOLDEN.read_text())[str(branching)]


@pytest.mark.parametrize("branching", mctx_trees.BRANCHINGS)
def test_equals_mctx(branching: int) -> None:
    pytest.importorskip("mctx", reason="pip install mctx")
    assert grow(branching) == mctx_trees.grow(branching)
