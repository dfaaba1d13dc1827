"""Random sequences of operations on small pools, native trees beside the model of reference_kv."""

from __future__ import annotations

import gc

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from reference_kv import CheckedBatch, CheckedSpans, Tree

from search import _native

TOKENS = st.integers(0, 2)
LONG = [i % 5 for i in range(140)]
PROMPTS = st.one_of(
    st.lists(TOKENS, min_size=1, max_size=4),
    st.sampled_from([64, 65, 67, 128, 129, 131]).map(lambda n: LONG[:n]),
    st.sampled_from([66, 130]).map(lambda n: [*LONG[: n - 2], 9, 9]),
    st.just([7, *LONG[:64]]),
)


class SpanMachine(RuleBasedStateMachine):
    """Opens, grows, steps, evicts and closes trees in any order."""

    @initialize(pages=st.sampled_from([4, 9, 30, 200]), page_size=st.sampled_from([1, 3, 5, 16]))
    def start(self, pages: int, page_size: int) -> None:
        self.spans = CheckedSpans(pages, page_size)
        self.stale: list = []

    def pick(self, data, tree: Tree | None = None):
        number = data.draw(st.sampled_from(sorted(self.spans.trees)))
        tree = self.spans.trees[number]
        # Early and late states alike: the older ones have been split since.
        states = list(tree.states)
        return tree, states[data.draw(st.integers(0, len(states) - 1))]

    @precondition(lambda self: len(self.spans.trees) < 4)
    @rule(prompt=PROMPTS)
    def open_tree(self, prompt: list[int]) -> None:
        self.spans.open_tree(prompt)

    @precondition(lambda self: self.spans.trees and not self.spans.batch)
    @rule(data=st.data(), tokens=st.lists(TOKENS, min_size=1, max_size=4))
    def extend(self, data, tokens: list[int]) -> None:
        self.spans.extend(*self.pick(data), tokens)

    @precondition(lambda self: self.spans.trees and self.spans.batch)
    @rule(data=st.data())
    def extend_is_refused_while_a_batch_is_open(self, data) -> None:
        tree, at = self.pick(data)
        with pytest.raises(_native.TreewardError, match="batch is open"):
            self.spans.native.extend(tree.states[at], [77])
        with pytest.raises(_native.TreewardError, match="batch is open"):
            self.spans.native.close_tree(tree.number)
        with pytest.raises(_native.TreewardError, match="batch is open"):
            _native.kv.StepBatch(self.spans.native)
        for token in at.children:  # what is there already may be looked up
            self.spans.extend(tree, at, [token])

    @precondition(lambda self: self.spans.trees)
    @rule(data=st.data())
    def add(self, data) -> None:
        batch = self.spans.batch or CheckedBatch(self.spans)
        batch.add(*self.pick(data))

    @precondition(lambda self: self.spans.batch)
    @rule(pad_to=st.sampled_from([1, 4, 16]))
    def commit(self, pad_to: int) -> None:
        self.spans.batch.commit(pad_to)

    @precondition(lambda self: self.spans.batch)
    @rule(finish=st.booleans())
    def abort(self, finish: bool) -> None:
        if finish:
            self.spans.batch.finish()
        self.spans.batch.abort()

    @precondition(lambda self: self.spans.batch)
    @rule()
    def drop_the_batch(self) -> None:
        batch, self.spans.batch = self.spans.batch, None
        del batch
        gc.collect()
        self.spans.check()

    @rule()
    def evict_all(self) -> None:
        self.spans.native.evict_all()
        self.spans.check()
        if not self.spans.batch:
            assert self.spans.native.used_slots == 0
            assert self.spans.native.free_pages == self.spans.native.n_pages

    @precondition(lambda self: self.spans.trees)
    @rule(data=st.data(), share=st.none() | st.floats(0, 1))
    def discard(self, data, share: float | None) -> None:
        tree, at = self.pick(data)
        state = tree.states[at]
        if share is None:
            self.spans.native.discard(state)
        else:
            self.spans.native.discard(state, round(share * state.length))
        self.spans.check()

    @precondition(lambda self: self.spans.trees)
    @rule()
    def evict_one(self) -> None:
        before = self.spans.native.used_slots
        if self.spans.native.evict_one():
            assert self.spans.native.used_slots < before
        self.spans.check()

    @precondition(lambda self: self.spans.trees and not self.spans.batch)
    @rule(data=st.data())
    def close_tree(self, data) -> None:
        tree, _ = self.pick(data)
        self.stale += tree.states.values()
        self.spans.close_tree(tree)

    @invariant()
    def closed_states_are_stale(self) -> None:
        for state in getattr(self, "stale", [])[-5:]:
            with pytest.raises(_native.StaleHandle):
                self.spans.native.tokens(state)

    def teardown(self) -> None:
        if not hasattr(self, "spans"):
            return
        if self.spans.batch:
            self.spans.batch.abort()
        for tree in list(self.spans.trees.values()):
            self.spans.close_tree(tree)
        self.spans.native.evict_all()
        assert self.spans.native.used_slots == self.spans.native.live_spans == 0
        assert self.spans.native.free_pages == self.spans.native.n_pages


SpanMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestSpans = SpanMachine.TestCase
