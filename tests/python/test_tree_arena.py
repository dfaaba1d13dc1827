"""The arena by itself: merging, handles, walks, reuse of memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from search import _native
from search._native.tree import CLOSED, DEAD, TERMINAL, Arena, Child


def test_fields_of_a_node() -> None:
    arena = Arena()
    root = arena.add_tree(seed=3, tokens=[9, 8])
    node, created = arena.add_child(root, Child([1, 2], -0.5, "length", value=0.25, verdict=0))
    assert created
    leaf, _ = arena.add_child(node, Child([3], -0.25, "eos", terminal=True, answer=7))
    fields = arena.node(node)
    assert fields["parent"] == root
    assert fields["tokens"] == [1, 2]
    assert (fields["finish"], fields["verdict"], fields["answer"]) == ("length", 0, -1)
    assert (fields["value"], fields["q"], fields["visits"]) == (0.25, None, 0)
    assert arena.node(root)["parent"] is None
    assert arena.node(leaf)["logprob_sum"] == pytest.approx(-0.75)
    assert arena.node(leaf)["terminal"]
    assert not arena.node(leaf)["dead"]
    assert arena.path(leaf) == [root, node, leaf]
    assert arena.path_tokens(leaf) == [9, 8, 1, 2, 3]
    assert arena.tokens(leaf) == [3]
    assert arena.bytes > 0
    with pytest.raises(ValueError, match="is terminal"):
        arena.add_child(leaf, Child([1], -1.0))


def test_equal_segments_merge_under_one_parent_only() -> None:
    arena = Arena()
    root = arena.add_tree()
    first, _ = arena.add_child(root, Child([1, 2], -0.5))
    again, created = arena.add_child(root, Child([1, 2], -0.5, value=0.5, verdict=1))
    assert (again, created) == (first, False)
    assert arena.node(first)["draws"] == 2
    assert arena.node(first)["value"] == 0.5  # what was missing is filled in
    assert arena.node(first)["verdict"] == 1
    below, created = arena.add_child(first, Child([1, 2], -0.5))
    assert created
    assert below != first
    assert arena.add_child(root, Child([1], -0.5))[1]
    assert arena.add_child(root, Child([1, 2, 0], -0.5))[1]
    assert arena.children(root)[0] == first
    assert len(arena.children(root)) == 3
    arena.check()


def test_many_children_keep_their_order_and_priors() -> None:
    arena = Arena()
    root = arena.add_tree()
    handles = [arena.add_child(root, Child([i], -0.1 * i - 800))[0] for i in range(100)]
    assert arena.children(root) == handles
    rows = arena.export(root)
    weights = np.exp(-0.1 * np.arange(100))
    np.testing.assert_allclose(rows["prior"][1:], weights / weights.sum(), rtol=1e-4)
    arena.check()


def test_backup_modes() -> None:
    def q_of_path(mode: str) -> list[float]:
        arena = Arena()
        root = arena.add_tree()
        a, _ = arena.add_child(root, Child([1], -1.0, value=0.4))
        b, _ = arena.add_child(a, Child([2], -1.0, value=0.9))
        arena.backup(b, 0.9, mode)
        arena.backup(a, 0.1, mode)
        rows = arena.export(root)
        assert rows["visits"].tolist() == [2, 2, 1]
        arena.check()
        return rows["q"].tolist()

    assert q_of_path("mean") == pytest.approx([0.5, 0.5, 0.9])
    assert q_of_path("min_path") == pytest.approx([0.25, 0.25, 0.4])
    arena = Arena()
    root = arena.add_tree()
    with pytest.raises(_native.NotFinite):
        arena.backup(root, float("nan"))
    with pytest.raises(ValueError, match="mode must be"):
        arena.backup(root, 1.0, "median")
    arena.backup(root, 1.0, "max")
    assert arena.node(root)["value_max"] == 1.0


def test_select_and_backup_of_many_trees() -> None:
    arena = Arena()
    roots = np.array([arena.add_tree(i) for i in range(3)], dtype=np.uint64)
    assert arena.select_leaves(roots).tolist() == roots.tolist()
    for root in roots.tolist():
        for lane in range(4):
            arena.add_child(root, Child([lane], -1.0))
    for step in range(60):
        leaves = arena.select_leaves(roots, formula="uct", exploration=0.3)
        # The third child of every tree is worth most.
        values = [1.0 if arena.tokens(leaf) == [2] else 0.1 for leaf in leaves.tolist()]
        arena.backup_many(leaves, values)
        assert arena.node(int(roots[0]))["visits"] == step + 1
    for root in roots.tolist():
        visits = [arena.node(child)["visits"] for child in arena.children(root)]
        assert int(np.argmax(visits)) == 2
    with pytest.raises(ValueError, match="one length"):
        arena.backup_many(roots, [1.0])
    with pytest.raises(_native.NotFinite):
        arena.backup_many(roots, [1.0, 1.0, float("inf")])
    with pytest.raises(ValueError, match="formula"):
        arena.select_leaves(roots, formula="best")
    arena.check()


def test_stale_handles() -> None:
    arena = Arena()
    root = arena.add_tree()
    node, _ = arena.add_child(root, Child([1], -1.0))
    with pytest.raises(ValueError, match="root of a tree"):
        arena.drop_tree(node)
    arena.drop_tree(root)
    assert not arena.alive(node)
    fresh = arena.add_tree()  # takes the freed entry, under a new generation
    for call in (arena.node, arena.children, arena.path, arena.tokens, arena.drop_tree):
        for handle in (root, node, 0, 2**64 - 1):
            with pytest.raises(_native.StaleHandle):
                call(handle)
    assert arena.alive(fresh)
    assert arena.nodes == arena.trees == 1


def test_memory_is_reused() -> None:
    arena = Arena()

    def grow() -> None:
        root = arena.add_tree()
        for i in range(200):
            arena.add_child(root, Child([i] * 10, -1.0))
        arena.drop_tree(root)

    grow()
    held = arena.bytes
    for _ in range(20):
        grow()
    assert arena.bytes <= held * 2
    arena.check()


def test_export_rows() -> None:
    arena = Arena()
    other = arena.add_tree()
    root = arena.add_tree(tokens=[5])
    a, _ = arena.add_child(root, Child([1, 2], -1.0, value=0.5))
    arena.add_child(other, Child([1], -1.0))
    b, _ = arena.add_child(root, Child([3], -2.0, "eos", terminal=True, verdict=1, answer=4))
    c, _ = arena.add_child(a, Child([4], -1.0, "length", terminal=True))
    rows = arena.export(c)
    assert rows["handle"].tolist() == [root, a, b, c]
    assert rows["parent"].tolist() == [-1, 0, 0, 1]
    assert rows["depth"].tolist() == [0, 1, 1, 2]
    assert rows["finish"].tolist() == [0, 0, 1, 2]
    assert rows["verdict"].tolist() == [-1, -1, 1, -1]
    assert rows["answer"].tolist() == [-1, -1, 4, -1]
    assert rows["flags"].tolist() == [0, 0, TERMINAL, TERMINAL | DEAD]
    assert rows["token_offset"].tolist() == [0, 1, 3, 4, 5]
    assert rows["tokens"].tolist() == [5, 1, 2, 3, 4]
    np.testing.assert_array_equal(rows["value"], np.float32([np.nan, 0.5, np.nan, np.nan]))
    assert not (rows["flags"] & CLOSED).any()


class ArenaMachine(RuleBasedStateMachine):
    """Random growth of several trees beside a plain model of them."""

    roots = Bundle("roots")
    nodes = Bundle("nodes")

    def __init__(self) -> None:
        super().__init__()
        self.arena = Arena()
        self.model: dict[int, dict] = {}

    def alive(self, node: int) -> bool:
        return node in self.model

    @rule(target=roots, seed=st.integers(0, 2**64 - 1))
    def add_tree(self, seed: int) -> int:
        root = self.arena.add_tree(seed)
        self.model[root] = {"root": root, "children": {}, "visits": 0, "draws": 1, "end": False}
        return root

    @rule(
        target=nodes,
        parent=st.one_of(roots, nodes),
        tokens=st.lists(st.integers(0, 2), min_size=1, max_size=3),
        terminal=st.booleans(),
        answer=st.integers(-1, 3),
    )
    def add_child(self, parent: int, tokens: list[int], terminal: bool, answer: int) -> int:
        if not self.alive(parent) or self.model[parent]["end"]:
            return parent
        child = Child(tokens, -0.5, terminal=terminal, answer=answer)
        node, created = self.arena.add_child(parent, child)
        known = self.model[parent]["children"]
        assert created == (tuple(tokens) not in known)
        if created:
            known[tuple(tokens)] = node
            root = self.model[parent]["root"]
            self.model[node] = {
                "root": root, "children": {}, "visits": 0, "draws": 0,
                "end": terminal, "parent": parent,
            }  # fmt: skip
        assert known[tuple(tokens)] == node
        self.model[node]["draws"] += 1
        return node

    @rule(node=nodes, value=st.floats(-10, 10), mode=st.sampled_from(["mean", "max", "min_path"]))
    def backup(self, node: int, value: float, mode: str) -> None:
        if not self.alive(node):
            return
        self.arena.backup(node, value, mode)
        step: int | None = node
        while step is not None:
            self.model[step]["visits"] += 1
            step = self.model[step].get("parent")

    @rule(root=consumes(roots))
    def drop_tree(self, root: int) -> None:
        if self.alive(root):
            self.arena.drop_tree(root)
            gone = [n for n, fields in self.model.items() if fields["root"] == root]
            for node in gone:
                del self.model[node]
                assert not self.arena.alive(node)

    @invariant()
    def same_as_the_model(self) -> None:
        self.arena.check()
        assert self.arena.nodes == len(self.model)
        for node, fields in self.model.items():
            assert self.arena.children(node) == list(fields["children"].values())
            now = self.arena.node(node)
            assert (now["visits"], now["draws"]) == (fields["visits"], fields["draws"])


TestArenaProperties = ArenaMachine.TestCase
TestArenaProperties.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
