"""TreeQuest: its standard MCTS, asked and told one simulation at a time."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.in_turn import missing
from benchmarks.tree.evaluation import ROWS, Tables

# Its trees share nothing and take one simulation at a time, so few stand for many.
TREES = 2


class TreeQuest:
    """Some trees of ``StandardMCTS``; a node gets ``branching`` children."""

    def __init__(self, tables: Tables, trees: int, simulations: int) -> None:
        self.branching = tables.priors.shape[1]
        self.values = tables.values.tolist()
        self.trees = min(trees, TREES)
        self.simulations = simulations

    def run(self) -> float:
        """Seconds a simulation."""
        from treequest.algos.standard_mcts import StandardMCTS

        made = 0

        def generate(state: int | None) -> tuple[int, float]:
            nonlocal made
            made += 1
            child = ((state or 0) * 31 + made) % ROWS
            return child, self.values[child]

        began = time.perf_counter()
        for _ in range(self.trees):
            algorithm: Any = StandardMCTS(samples_per_action=self.branching)
            state = algorithm.init_tree()
            for _ in range(self.simulations):
                state = algorithm.step(state, {"extend": generate}, inplace=True)
        return (time.perf_counter() - began) / (self.trees * self.simulations)


def make(tables: Tables, trees: int, simulations: int) -> TreeQuest | None:
    """The search; ``None`` without TreeQuest."""
    try:
        import treequest  # noqa: F401
    except ImportError:
        missing("treequest", "pip install treequest")
        return None
    return TreeQuest(tables, trees, simulations)
