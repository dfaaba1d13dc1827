"""The batched search of the native core, evaluated by numpy."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.tree.evaluation import ROWS, Tables
from search._native.search import BatchedSearch
from search._native.tree import Arena

OPTIONS: dict[str, dict[str, Any]] = {
    # The search of mctx as it comes: evaluated alike, trees are equal node for node.
    "muzero": {"formula": "muzero", "backup": "mean"},
    # On the values as they are; an unvisited child is worth what its parent is.
    "puct": {"formula": "puct", "fpu": "reduction", "fpu_reduction": 0.0, "backup": "mean"},
}


class Ours:
    """Searches on one arena, as an engine keeps it."""

    def __init__(self, tables: Tables, formula: str, trees: int, simulations: int) -> None:
        self.tables = tables
        self.options = OPTIONS[formula]
        self.trees = trees
        self.simulations = simulations
        self.arena = Arena()
        self.depth = 0.0

    def run(self) -> float:
        """Seconds a simulation of one whole search: trees made, searched and freed."""
        began = time.perf_counter()
        search = self.search()
        seconds = time.perf_counter() - began
        self.depth = mean_depth(search)
        began = time.perf_counter()
        del search
        seconds += time.perf_counter() - began
        return seconds / (self.trees * self.simulations)

    def search(self) -> BatchedSearch:
        """One search to its end."""
        branching = self.tables.priors.shape[1]
        search = BatchedSearch(
            self.arena, self.trees, branching, self.simulations, options=self.options
        )
        leaves = search.select()
        seed = leaves.seed.view(np.int64)
        row = np.empty(self.trees, np.int64)
        priors = np.empty((self.trees, branching), np.float32)
        values = np.empty(self.trees, np.float32)

        def evaluate() -> None:
            np.bitwise_and(seed, ROWS - 1, out=row)
            # "clip" lets numpy write into `out` without a copy; every row is in range.
            self.tables.priors.take(row, axis=0, out=priors, mode="clip")
            self.tables.values.take(row, out=values, mode="clip")

        for _ in range(self.simulations):
            evaluate()
            search.advance(priors, values)
        evaluate()
        search.expand_and_backup(priors, values)
        return search


def mean_depth(search: BatchedSearch) -> float:
    """Mean depth of the nodes of the first trees."""
    depths = [search.export(tree)["depth"] for tree in range(min(search.trees, 8))]
    return float(np.concatenate(depths).mean())
