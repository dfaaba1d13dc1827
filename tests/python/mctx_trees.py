"""Trees that the benchmark's mctx grows, for the native search to be compared with.

Run as a script from the root of the project this writes fixtures/mctx_trees.json again:
``PYTHONPATH=. python tests/python/mctx_trees.py``, with ``pip install mctx``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.tree.evaluation import Tables
from benchmarks.tree.mctx_policy import Mctx

GOLDEN = Path(__file__).parent / "fixtures" / "mctx_trees.json"
TREES = 6
SIMULATIONS = 96
BRANCHINGS = (2, 5, 16, 40)


def tables(branching: int) -> Tables:
    """What the states of both searches are looked up in."""
    return Tables.random(branching, seed=branching)


def grow(branching: int) -> dict[str, list[list[int]]]:
    """``parents``, ``actions`` and ``visits`` of the nodes of every tree, in order of creation."""
    search = Mctx(tables(branching), "muzero", TREES, SIMULATIONS, seed=0)
    search.run()
    return {
        "parents": np.asarray(search.tree.parents).tolist(),
        "actions": np.asarray(search.tree.action_from_parent).tolist(),
        "visits": np.asarray(search.tree.node_visits).tolist(),
    }


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({str(b): grow(b) for b in BRANCHINGS}, separators=(",", ":")))
