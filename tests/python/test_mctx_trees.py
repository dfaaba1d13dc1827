"""With formula 'muzero' the search grows the trees of mctx's muzero_policy, node for node."""

from __future__ import annotations

import json

import mctx_trees
import numpy as np
import pytest

from benchmarks.tree.evaluation import ROWS
from benchmarks.tree.mctx_policy import first_states, next_state
from benchmarks.tree.ours import OPTIONS
from search._native.search import BatchedSearch
from search._native.tree import Arena


def grow(branching: int) -> dict[str, list[list[int]]]:
    """What mctx_trees.grow gives, by the native search."""
    tables = mctx_trees.tables(branching)
    trees, simulations = mctx_trees.TREES, mctx_trees.SIMULATIONS
    search = BatchedSearch(Arena(), trees, branching, simulations, options=OPTIONS["muzero"])
    every = np.arange(trees)
    states = np.zeros((trees, simulations + 1), np.uint32)
    states[:, 0] = first_states(trees)
    leaves = search.select()
    for simulation in range(simulations + 1):
        if simulation > 0:
            parents = states[every, leaves.parent]
            states[:, simulation] = next_state(parents, leaves.action.astype(np.uint32))
        rows = states[:, simulation] % ROWS
        search.expand_and_backup(tables.priors[rows], tables.values[rows])
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
    pytest.importorskip("mctx", reason="mctx, which the kept trees come from: pip install mctx")
    assert grow(branching) == mctx_trees.grow(branching)
