"""Random trees of spans, as searches over several prompts leave them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from search import _native

kv = _native.kv

PAGE_SIZE = 16
PROMPT_TOKENS = 4096 + 1  # 64 whole blocks and the token that is the tree's own
SPAN_TOKENS = (8, 64)
VOCABULARY = 32_000
FRESH = 1 << 20  # first of the token ids that no forest contains


@dataclass
class Node:
    """A place where the forest branches or ends.

    Attributes:
        state: the state after its last token.
        middle: a state inside its tokens.
        parent: number of its parent node; -1 for a prompt.
        tokens: its own tokens.
        tree: number of its tree.
        has_children: whether it branches.
    """

    state: Any
    middle: Any
    parent: int
    tokens: list[int]
    tree: int
    has_children: bool = False


@dataclass
class Forest:
    """Trees of spans, every token of which has keys and values.

    Attributes:
        spans: the native tree.
        prompts: token ids, ``PROMPT_TOKENS`` each.
        nodes: all nodes; the first ones are the prompts, one a tree.
    """

    spans: Any
    prompts: list[list[int]]
    nodes: list[Node] = field(default_factory=list)

    def path(self, number: int) -> list[int]:
        """All tokens from the start of the prompt to the end of a node."""
        pieces: list[list[int]] = []
        while number >= 0:
            pieces.append(self.nodes[number].tokens)
            number = self.nodes[number].parent
        return [token for piece in reversed(pieces) for token in piece]

    def leaves(self) -> list[int]:
        """Numbers of the nodes without children."""
        return [i for i, node in enumerate(self.nodes) if not node.has_children]


def grow(n_spans: int, seed: int) -> Forest:
    """A forest of ``n_spans`` live spans in a pool that it fills.

    Two trees a prompt; a leaf chosen at random gets two to four children of 8–64 tokens, until
    there are enough spans.
    """
    rng = np.random.default_rng(seed)
    n_prompts = 4 if n_spans < 5_000 else 8
    prompts = [rng.integers(VOCABULARY, size=PROMPT_TOKENS).tolist() for _ in range(n_prompts)]
    mean = sum(SPAN_TOKENS) / 2
    pool_tokens = int(n_spans * mean * 1.2) + n_prompts * PROMPT_TOKENS * 2
    spans = kv.SpanTree(-(-pool_tokens // PAGE_SIZE), PAGE_SIZE)
    forest = Forest(spans, prompts)
    for prompt in prompts * 2:
        tree = spans.open_tree(prompt)
        root = spans.root(tree)
        forest.nodes.append(Node(root, root, -1, prompt, tree))
    leaves = list(range(len(forest.nodes)))
    while spans.live_spans < n_spans:
        place = int(rng.integers(len(leaves)))
        leaves[place], leaves[-1] = leaves[-1], leaves[place]
        number = leaves.pop()
        parent = forest.nodes[number]
        parent.has_children = True
        for _ in range(int(rng.integers(2, 5))):
            length = int(rng.integers(SPAN_TOKENS[0], SPAN_TOKENS[1] + 1))
            tokens = rng.integers(VOCABULARY, size=length).astype(np.int32)
            cut = int(rng.integers(1, length))
            middle = spans.extend(parent.state, tokens[:cut])
            end = spans.extend(middle, tokens[cut:])
            leaves.append(len(forest.nodes))
            forest.nodes.append(Node(end, middle, number, tokens.tolist(), parent.tree))
    compute(spans, [forest.nodes[i].state for i in forest.leaves()])
    return forest


def compute(spans: Any, states: list[Any], at_once: int = 256) -> None:
    """Gives the states' tokens their slots, as a model's steps would."""
    for first in range(0, len(states), at_once):
        batch = kv.StepBatch(spans)
        for state in states[first : first + at_once]:
            if not batch.add(state):
                raise RuntimeError("the pool of the benchmark is too small")
        batch.finish(1)
        batch.commit()
