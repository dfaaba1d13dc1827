"""A radix tree of prefixes as engines write it in Python: dict children, leaves in a heap."""

from __future__ import annotations

import heapq
import time
from itertools import count
from typing import Any

from benchmarks.kv.forest import Forest


class RadixNode:
    """A run of tokens that all its continuations share."""

    def __init__(self, parent: RadixNode | None, tokens: list[int], slots: range) -> None:
        self.parent = parent
        self.tokens = tokens
        self.slots = slots
        self.children: dict[int, RadixNode] = {}
        self.last_use = 0


class PythonRadix:
    """Prefixes and their slots; what was used least recently is evicted first.

    The heap has an entry for every leaf, and others that no longer hold: of nodes that are gone,
    have children now, or were used since. They are told apart when they come to the top.
    """

    name = "python_radix"
    hint = ""

    def __init__(self) -> None:
        self.root = RadixNode(None, [], range(0))
        self._clock = count(1)
        self._used_slots = 0
        self._leaves: list[tuple[int, int, RadixNode]] = []
        self._entries = count()  # so that nodes are never compared

    def match(self, tokens: list[int]) -> int:
        """How many leading tokens are there; touches every node on the way."""
        return self._descend(tokens)[1]

    def insert(self, tokens: list[int]) -> RadixNode:
        """Adds what is missing of a sequence, splitting a node where it parts from it."""
        node, found, inside = self._descend(tokens)
        if inside < len(node.tokens):
            node = self._split(node, inside)
        if found == len(tokens):
            return node
        return self.add_child(node, tokens[found:])

    def add_child(self, parent: RadixNode, tokens: list[int]) -> RadixNode:
        """Hangs new tokens below a node."""
        first = self._used_slots
        self._used_slots += len(tokens)
        child = RadixNode(parent, tokens, range(first, self._used_slots))
        child.last_use = next(self._clock)
        parent.children[tokens[0]] = child
        self._push(child)
        return child

    def evict_one(self) -> int:
        """Drops the least recently used leaf; returns how many slots that freed."""
        while True:
            pushed_at, _, victim = heapq.heappop(self._leaves)
            parent = victim.parent
            if parent is None or victim.children:
                continue
            if victim.last_use != pushed_at:
                self._push(victim)
                continue
            del parent.children[victim.tokens[0]]
            victim.parent = None
            if parent is not self.root and not parent.children:
                self._push(parent)
            return len(victim.slots)

    def _push(self, leaf: RadixNode) -> None:
        heapq.heappush(self._leaves, (leaf.last_use, next(self._entries), leaf))

    def _descend(self, tokens: list[int]) -> tuple[RadixNode, int, int]:
        """The last node reached, the tokens found, and how many of the node's own they reach."""
        node, found = self.root, 0
        while found < len(tokens):
            child = node.children.get(tokens[found])
            if child is None:
                break
            child.last_use = next(self._clock)
            same = 0
            for ours, theirs in zip(child.tokens, tokens[found : found + len(child.tokens)]):
                if ours != theirs:
                    break
                same += 1
            node = child
            found += same
            if same < len(child.tokens):
                return node, found, same
        return node, found, len(node.tokens)

    def _split(self, node: RadixNode, at: int) -> RadixNode:
        assert node.parent is not None
        head = RadixNode(node.parent, node.tokens[:at], node.slots[:at])
        head.last_use = node.last_use
        node.parent.children[head.tokens[0]] = head
        node.parent, node.tokens, node.slots = head, node.tokens[at:], node.slots[at:]
        head.children[node.tokens[0]] = node
        return head


class Loaded:
    """The forest's sequences in the Python tree, and its operations timed one by one."""

    def __init__(self, forest: Forest) -> None:
        self.tree = PythonRadix()
        self.nodes = nodes = list[RadixNode]()
        for node in forest.nodes:
            if node.parent >= 0:
                nodes.append(self.tree.add_child(nodes[node.parent], node.tokens))
            else:
                # Two trees of one prompt are one path here.
                nodes.append(self.tree.insert(node.tokens))

    def match(self, prompts: list[list[int]]) -> float:
        """Seconds a match."""
        started = time.perf_counter()
        for prompt in prompts:
            self.tree.match(prompt)
        return (time.perf_counter() - started) / len(prompts)

    def insert(self, numbers: list[int], new: list[list[int]]) -> float:
        """Seconds an insertion of new tokens below a known node of the forest."""
        nodes = [self.nodes[number] for number in numbers]
        started = time.perf_counter()
        for node, tokens in zip(nodes, new):
            self.tree.add_child(node, tokens)
        return (time.perf_counter() - started) / len(nodes)

    def evict(self, times: int) -> float:
        """Seconds an eviction."""
        started = time.perf_counter()
        for _ in range(times):
            self.tree.evict_one()
        return (time.perf_counter() - started) / times


def load(forest: Forest) -> Any:
    """The forest in this alternative; it needs nothing installed."""
    return Loaded(forest)
