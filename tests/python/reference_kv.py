"""A slow model of the paged span tree: one object a token, and checks against the native one.

The model knows which tokens exist, which of them have a slot, and what every tree has paid. What
is evicted is the native side's choice; the model learns it and checks that it was allowed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from search import _native

BLOCK = 64


@dataclass(eq=False)
class Token:
    """One token of a tree, or of a prompt block that trees share (``tree`` is None)."""

    tree: Tree | None
    parent: Token | None
    token: int
    position: int
    slot: int | None = None
    ever: bool = False
    users: int = 0  # of prompt blocks
    children: dict[int, Token] = field(default_factory=dict)

    def path(self) -> list[Token]:
        out: list[Token] = []
        here: Token | None = self
        while here is not None:
            out.append(here)
            here = here.parent
        return out[::-1]


@dataclass(eq=False)
class Tree:
    number: int
    prompt: list[int]
    root: Token | None = None
    states: dict[Token, Any] = field(default_factory=dict)
    counted: bool = False
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("unique", "computed", "recomputed", "reused"), 0)
    )


class CheckedSpans:
    """Drives the native trees and the model side by side; every method checks what it can."""

    def __init__(self, n_pages: int, page_size: int) -> None:
        self.native = _native.kv.SpanTree(n_pages, page_size)
        self.trees: dict[int, Tree] = {}
        self.blocks: dict[tuple[Token | None, tuple[int, ...]], list[Token]] = {}
        self.batch: CheckedBatch | None = None
        self.evictions = 0

    # ---- trees

    def open_tree(self, prompt: list[int]) -> Tree:
        tree = Tree(self.native.open_tree(prompt), list(prompt))
        assert tree.number not in self.trees
        last: Token | None = None
        shared = (len(prompt) - 1) // BLOCK * BLOCK
        for start in range(0, shared, BLOCK):
            key = (last, tuple(prompt[start : start + BLOCK]))
            if key not in self.blocks:
                chain: list[Token] = []
                for i, token in enumerate(key[1]):
                    chain.append(Token(None, chain[-1] if chain else last, token, start + i))
                self.blocks[key] = chain
            for token in self.blocks[key]:
                token.users += 1
            last = self.blocks[key][-1]
        for position in range(shared, len(prompt)):
            here = Token(tree, last, prompt[position], position)
            if last is not None and last.tree is tree:
                last.children[here.token] = here
            last = here
        tree.root = last
        tree.states[last] = self.native.root(tree.number)
        self.trees[tree.number] = tree
        self.check()
        return tree

    def close_tree(self, tree: Tree) -> None:
        self.native.close_tree(tree.number)
        del self.trees[tree.number]
        for chain in self.blocks.values():
            if chain[-1] in tree.root.path():
                for token in chain:
                    token.users -= 1
        self.forget_blocks()
        self.check()

    def forget_blocks(self) -> None:
        for key, chain in list(self.blocks.items()):
            if chain[0].users == 0 and chain[0].slot is None:
                del self.blocks[key]

    def extend(self, tree: Tree, at: Token, tokens: list[int]) -> Token:
        state = self.native.extend(tree.states[at], tokens)
        for token in tokens:
            below = at.children.get(token)
            if below is None:
                below = at.children[token] = Token(tree, at, token, at.position + 1)
            at = below
        assert state.length == at.position + 1
        tree.states.setdefault(at, state)
        self.check()
        return at

    # ---- what must hold at any time

    def live_tokens(self) -> list[Token]:
        found: dict[Token, None] = {}
        for tree in self.trees.values():
            for leaf in tree.states:
                found.update(dict.fromkeys(leaf.path()))
        for chain in self.blocks.values():
            found.update(dict.fromkeys(chain))
        return list(found)

    def learn_evictions(self) -> None:
        """Takes over what the native side has evicted, and checks that it might."""
        gone: set[Token] = set()
        for tree in self.trees.values():
            for leaf, state in tree.states.items():
                path = leaf.path()
                n = self.native.resident(state)
                assert all(t.slot is not None or self.in_batch(t) for t in path[:n])
                gone.update(t for t in path[n:] if t.slot is not None and not self.in_batch(t))
        for (_, _), chain in self.blocks.items():
            if chain[0].users == 0 and chain[0].slot is not None:
                prompt = [t.token for t in chain[-1].path()]
                if self.native.match(prompt) < len(prompt):
                    gone.update(chain)
        if self.native.evictions == self.evictions:
            assert not gone
        self.evictions = self.native.evictions
        if self.batch:
            assert not gone & self.batch.locked
        for token in gone:
            token.slot = None
        self.forget_blocks()

    def in_batch(self, token: Token) -> bool:
        return self.batch is not None and token in self.batch.rows

    def check(self) -> None:
        self.native.check_invariants()
        self.learn_evictions()
        for tree in self.trees.values():
            assert self.native.counts(tree.number) == tree.counts
            for leaf, state in tree.states.items():
                assert self.native.tokens(state) == [t.token for t in leaf.path()]
        slots = [t.slot for t in self.live_tokens() if t.slot is not None]
        assert len(set(slots)) == len(slots)
        waiting = len(self.batch.rows) if self.batch else 0
        assert self.native.used_slots == len(slots) + waiting
        if self.native.used_slots == 0 and not self.trees:
            self.native.evict_all()  # the page that prompt blocks are written to
            assert self.native.free_pages == self.native.n_pages


class CheckedBatch:
    """One step over a CheckedSpans."""

    def __init__(self, spans: CheckedSpans) -> None:
        self.spans = spans
        self.native = _native.kv.StepBatch(spans.native)
        self.wanted: list[tuple[Tree, Token]] = []
        self.rows: dict[Token, Tree] = {}  # with the tree that pays
        self.again: dict[Token, None] = {}
        self.locked: set[Token] = set()
        spans.batch = self

    def cost(self, at: Token) -> int:
        missing = [t for t in at.path() if t.slot is None and t not in self.rows]
        if missing:
            return len(missing)
        return 0 if at in self.rows or at in self.again else 1

    def add(self, tree: Tree, at: Token) -> bool:
        cost = self.cost(at)
        before = (self.native.total_cost, self.native.n_states)
        assert self.native.cost(tree.states[at]) == cost
        added = self.native.add(tree.states[at])
        path = at.path()
        if added:
            self.locked.update(path)
            self.rows.update((t, tree) for t in path if t.slot is None and t not in self.rows)
            if at not in self.rows:
                self.again[at] = None
            self.wanted.append((tree, at))
            assert self.native.total_cost == before[0] + cost
            assert self.native.total_cost == len(self.rows) + len(self.again)
        else:
            assert (self.native.total_cost, self.native.n_states) == before
        self.spans.check()
        if not added:
            # Only then is there no room: all that is left is held.
            held = self.locked | set(path)
            assert all(t in held for t in self.spans.live_tokens() if t.slot is not None)
        return added

    def finish(self, pad_to: int = 4) -> dict[Token, int]:
        """Builds the plan and checks it; returns the slots of all tokens on the paths."""
        self.native.finish(pad_to)
        return check_plan(self, pad_to)

    def commit(self, pad_to: int = 4) -> None:
        slots = self.finish(pad_to)
        self.native.commit()
        for token, payer in self.rows.items():
            payer.counts["computed"] += 1
            # A prompt that only others had computed is new to a tree.
            before = token.ever and (token.tree is not None or payer.counted)
            payer.counts["recomputed" if before else "unique"] += 1
            token.slot, token.ever = slots[token], True
        for token in self.again:
            token.tree.counts["computed"] += 1
            token.tree.counts["recomputed"] += 1
        for tree, at in self.wanted:
            if not tree.counted:
                tree.counted = True
                shared = [t for t in at.path() if t.tree is None]
                tree.counts["reused"] += sum(self.rows.get(t) is not tree for t in shared)
        self.close()

    def abort(self) -> None:
        self.native.abort()
        self.close()

    def close(self) -> None:
        self.spans.batch = None
        self.spans.check()


def reach(plan: Any, items: np.ndarray, owner: np.ndarray, row: int) -> list[tuple[int, int]]:
    """(position, slot) of every key that a row sees, in the order of its merge."""
    seen = []
    for partial in plan.reduce_partials[plan.reduce_begin[row] : plan.reduce_begin[row + 1]]:
        query_begin, query_end, slot_begin, n_tokens, position, partial_begin = items[
            owner[partial]
        ]
        assert query_begin <= row < query_end
        assert partial == partial_begin + row - query_begin
        keys = plan.slots[slot_begin : slot_begin + n_tokens]
        visible = [(position + i, int(s)) for i, s in enumerate(keys)]
        seen += [(p, s) for p, s in visible if p <= plan.query_position[row]]
        assert seen
        assert visible[0][0] <= plan.query_position[row]  # no partial without a key
    return seen


def check_plan(batch: CheckedBatch, pad_to: int) -> dict[Token, int]:
    """Every row sees exactly the tokens of its own path, root to leaf, each once."""
    native, plan = batch.native, batch.native.plan
    n_rows = native.n_rows
    assert n_rows == len(batch.rows) + len(batch.again) == native.total_cost
    assert plan.n_rows % pad_to == 0
    assert 0 <= plan.n_rows - n_rows < pad_to
    items = plan.items
    owner = np.full(plan.n_partials, -1)
    for i, item in enumerate(items):
        query_begin, query_end, _, n_tokens, position, partial_begin = item
        assert 0 <= query_begin < query_end <= n_rows
        assert n_tokens > 0
        assert position // BLOCK == (position + n_tokens - 1) // BLOCK
        mine = owner[partial_begin : partial_begin + query_end - query_begin]
        assert (mine == -1).all()
        mine[:] = i
    assert (owner >= 0).all()
    assert sorted(plan.reduce_partials) == list(range(plan.n_partials))

    slots: dict[Token, int] = {}
    for (_, at), row in zip(batch.wanted, native.state_rows, strict=True):
        path = at.path()
        seen = reach(plan, items, owner, row)
        assert [p for p, _ in seen] == list(range(len(path)))
        for token, (_, slot) in zip(path, seen, strict=True):
            assert slots.setdefault(token, slot) == slot
            assert token.slot in (None, slot)
        assert native.row_tokens[row] == at.token
        assert (plan.append_slots[row] == -1) == (at in batch.again)
    by_slot = {slot: token for token, slot in slots.items()}
    assert len(by_slot) == len(slots)

    written: list[Token] = []
    for row in range(n_rows):
        seen = reach(plan, items, owner, row)
        token = by_slot[seen[-1][1]]
        assert [s for _, s in seen] == [slots[t] for t in token.path()]
        assert native.row_positions[row] == plan.query_position[row] == token.position
        assert native.row_tokens[row] == token.token
        check_cuts(plan, items, owner, row, token)
        if plan.append_slots[row] >= 0:
            assert plan.append_slots[row] == slots[token]
            written.append(token)
        else:
            assert token in batch.again
    assert set(written) == set(batch.rows)
    assert len(written) == len(batch.rows)
    for row in range(n_rows, plan.n_rows):
        assert plan.query_position[row] == plan.append_slots[row] == -1
        assert plan.reduce_begin[row] == plan.reduce_begin[row + 1]
    others = {t.slot for t in batch.spans.live_tokens()} - {None} - set(by_slot)
    assert not others & {slots[t] for t in batch.rows}
    return slots


def check_cuts(plan: Any, items: np.ndarray, owner: np.ndarray, row: int, leaf: Token) -> None:
    """Keys are cut at multiples of 64 and where branches part, nowhere else."""
    path = leaf.path()
    for partial in plan.reduce_partials[plan.reduce_begin[row] : plan.reduce_begin[row + 1]]:
        end = int(items[owner[partial]][3] + items[owner[partial]][4])
        if end <= leaf.position and end % BLOCK:
            assert len(path[end - 1].children) > 1
