"""Lockstep tree search on plain objects: the oracle for the native batched search.

The selection is that of the reference of the algorithm 'mcts'; a node is made when its edge is
visited for the first time.
"""

from __future__ import annotations

import numpy as np
from reference_search import F, Node, ReferenceMcts

MASK = 2**64 - 1


def mix(x: int) -> int:
    """One step of splitmix64."""
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


class ReferenceTree(ReferenceMcts):
    """One tree of the batch."""

    def __init__(self, seed: int, **options):
        super().__init__(**options)
        self.root.seed = mix(seed ^ mix(0))
        self.leaf = self.root

    def next_leaf(self):
        """(node, parent, action, depth, seed) of the next leaf, nodes by order of creation."""
        node = self.root
        while node.children:
            node = self.select(node)
            if node.visits == 0:
                break
        self.leaf = node
        if node.parent is None:
            return 0, -1, -1, 0, node.seed
        action = node.parent.children.index(node)
        node.seed = mix(node.parent.seed ^ mix(mix(1) ^ action))
        known = self.nodes.index(node) if node.visits else len(self.nodes)
        depth = len(list(node.up())) - 1
        return known, self.nodes.index(node.parent), action, depth, node.seed

    def expand_and_backup(self, priors, value):
        node = self.leaf
        if node.visits == 0:
            if node is not self.root:
                self.nodes.append(node)
            node.reward = float(value)
            node.children = [Node(node, (a,), prior=F(p)) for a, p in enumerate(priors)]
        self.backup(node, float(value))


def search(simulations, seeds, evaluate, **options):
    """Runs the batch; ``evaluate(rows) -> priors, values, widths`` for rows as in select()."""
    batch = [ReferenceTree(seed, **options) for seed in seeds]
    steps = []
    for _ in range(simulations + 1):
        rows = [tree.next_leaf() for tree in batch]
        priors, values, widths = evaluate(np.array([row[4] for row in rows], np.uint64))
        for t, tree in enumerate(batch):
            tree.expand_and_backup(priors[t, : widths[t]], values[t])
        steps.append(rows)
    return batch, steps
