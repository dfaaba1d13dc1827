"""A plain Python tree: the formulas on objects, as they are written first."""

from __future__ import annotations

import math
import time

from benchmarks.tree.evaluation import ROWS, Tables

TREES = 4  # they share nothing, so few stand for many


class Node:
    """A state and its statistics."""

    __slots__ = ("children", "parent", "prior", "state", "total", "visits")

    def __init__(self, parent: Node | None, prior: float, state: int) -> None:
        self.parent = parent
        self.prior = prior
        self.state = state
        self.visits = 0
        self.total = 0.0
        self.children: list[Node] = []


class PythonTree:
    """Some trees, searched one after the other."""

    def __init__(self, tables: Tables, formula: str, trees: int, simulations: int) -> None:
        self.formula = formula
        self.priors = tables.priors.tolist()
        self.values = tables.values.tolist()
        self.trees = min(trees, TREES)
        self.simulations = simulations

    def run(self) -> float:
        """Seconds a simulation."""
        began = time.perf_counter()
        for tree in range(self.trees):
            root = Node(None, 1.0, tree)
            for _ in range(self.simulations + 1):
                leaf = self.descend(root)
                self.expand(leaf)
                self.backup(leaf, self.values[leaf.state])
        return (time.perf_counter() - began) / (self.trees * self.simulations)

    def descend(self, node: Node) -> Node:
        """The first node on the best path that was never visited."""
        while node.children:
            weight = 1.25 + math.log((node.visits + 19653.0) / 19652.0)
            if self.formula == "muzero":
                weight *= math.sqrt(node.visits)
                low, spread, first_play = values_around(node)
            else:
                weight *= math.sqrt(max(node.visits - 1, 1))
                low, spread, first_play = 0.0, 1.0, node.total / node.visits
            best, best_score = node, -math.inf
            for child in node.children:
                value = first_play
                if child.visits:
                    value = (child.total / child.visits - low) / spread
                score = value + weight * child.prior / (1 + child.visits)
                if score > best_score:
                    best, best_score = child, score
            node = best
        return node

    def expand(self, node: Node) -> None:
        """Gives a leaf its children."""
        base = node.state * 31 + 1
        node.children = [
            Node(node, prior, (base + action * 17) % ROWS)
            for action, prior in enumerate(self.priors[node.state])
        ]

    def backup(self, leaf: Node, value: float) -> None:
        """Counts a visit from the leaf to the root."""
        node: Node | None = leaf
        while node is not None:
            node.visits += 1
            node.total += value
            node = node.parent


def values_around(node: Node) -> tuple[float, float, float]:
    """Smallest of the values of a node and its visited children, their range, and first play."""
    values = [n.total / n.visits for n in (node, *node.children) if n.visits]
    low = min(values)
    return low, max(max(values) - low, 1e-8), 0.0
