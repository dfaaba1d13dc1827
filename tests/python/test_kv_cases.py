"""Named situations of the page pool and the span tree: full pools, eviction, sharing, depth."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from reference_kv import CheckedBatch, CheckedSpans

from search import _native

kv = _native.kv


def compute(spans: CheckedSpans, *wanted) -> None:
    batch = CheckedBatch(spans)
    for tree, at in wanted:
        assert batch.add(tree, at)
    batch.commit()


def resident(spans: CheckedSpans, tree, at) -> int:
    return spans.native.resident(tree.states[at])


# ---------------------------------------------------------------- arguments and life cycle


@pytest.mark.parametrize(("pages", "size"), [(0, 4), (4, 0), (-1, 4), (1 << 20, 1 << 20)])
def test_a_pool_refuses_impossible_sizes(pages: int, size: int) -> None:
    with pytest.raises(ValueError, match="page"):
        kv.SpanTree(pages, size)


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="token"):
        kv.SpanTree(4, 4).open_tree([])


@pytest.mark.parametrize("number", [-2, -1, 1, 1 << 30])
def test_only_open_trees_can_be_closed(number: int) -> None:
    spans = kv.SpanTree(40, 4)
    tree = spans.open_tree(list(range(70)))
    for call in (spans.close_tree, spans.root, spans.counts):
        with pytest.raises(_native.StaleHandle):
            call(number)
    spans.close_tree(tree)
    with pytest.raises(_native.StaleHandle):
        spans.close_tree(tree)
    spans.check_invariants()


def test_the_number_of_a_closed_tree_comes_back_with_new_states() -> None:
    spans = kv.SpanTree(4, 4)
    first = spans.open_tree([1, 2])
    old = spans.root(first)
    spans.close_tree(first)
    assert spans.open_tree([1, 2]) == first
    assert spans.root(first) != old
    with pytest.raises(_native.StaleHandle):
        spans.tokens(old)


def test_a_state_of_another_pool_is_stale() -> None:
    """Both number their spans from 0; that of the first is longer than the second's memory."""
    first, second = kv.SpanTree(4, 4), kv.SpanTree(4, 4)
    long = first.root(first.open_tree(list(range(14))))
    short = second.root(second.open_tree([5]))
    for spans, foreign in (second, long), (first, short):
        batch = kv.StepBatch(spans)
        for call in (spans.tokens, lambda state: spans.extend(state, [1]), batch.add):  # noqa: B023
            with pytest.raises(_native.StaleHandle, match="of another pool"):
                call(foreign)
        batch.abort()


def test_a_batch_goes_through_its_stages_in_order() -> None:
    spans = kv.SpanTree(4, 4)
    state = spans.root(spans.open_tree([1, 2]))
    batch = kv.StepBatch(spans)
    batch.add(state)
    with pytest.raises(_native.TreewardError, match="finish"):
        batch.commit()
    with pytest.raises(ValueError, match="pad_to"):
        batch.finish(0)
    batch.finish(1)
    with pytest.raises(_native.TreewardError, match="finished"):
        batch.finish(1)
    with pytest.raises(_native.TreewardError, match="finished"):
        batch.add(state)
    batch.commit()
    with pytest.raises(_native.TreewardError, match="closed"):
        batch.commit()
    batch.abort()  # nothing is left to take back
    assert spans.resident(state) == 2


def test_an_empty_batch_is_empty() -> None:
    spans = kv.SpanTree(4, 4)
    batch = kv.StepBatch(spans)
    batch.finish(16)
    assert batch.n_rows == batch.plan.n_rows == batch.plan.n_partials == 0
    batch.commit()


# ---------------------------------------------------------------- full pools


def test_a_pool_that_is_exactly_full_holds_the_path() -> None:
    spans = CheckedSpans(3, 4)
    tree = spans.open_tree(list(range(12)))
    compute(spans, (tree, tree.root))
    assert spans.native.free_pages == 0
    assert spans.native.evictions == 0


@pytest.mark.parametrize("size", [1, 4])
def test_one_page_short(size: int) -> None:
    spans = CheckedSpans(3, size)
    tree = spans.open_tree(list(range(3 * size + 1)))
    for _ in range(2):
        batch = CheckedBatch(spans)
        assert not batch.add(tree, tree.root)
        spans.native.evict_all()
        assert not batch.add(tree, tree.root)
        assert batch.native.n_states == batch.native.total_cost == 0
        batch.abort()
        assert spans.native.used_slots == 0


def test_a_full_batch_stays_as_it_was_when_one_more_does_not_fit() -> None:
    spans = CheckedSpans(2, 4)
    first = spans.open_tree([1, 2, 3])
    second = spans.open_tree([4, 5, 6, 7, 8])
    batch = CheckedBatch(spans)
    assert batch.add(first, first.root)
    assert not batch.add(second, second.root)  # fails in its second page
    assert not batch.add(second, second.root)
    batch.commit()
    assert resident(spans, first, first.root) == 3
    compute(spans, (second, second.root))  # now the first may go
    assert resident(spans, first, first.root) == 0


def test_a_path_that_fails_below_rows_of_the_batch_takes_back_only_its_own() -> None:
    spans = CheckedSpans(6, 1)
    tree = spans.open_tree([1, 2])
    left = spans.extend(tree, tree.root, [3, 4])
    right = spans.extend(tree, tree.root, [5, 6, 7])
    middle = spans.extend(tree, tree.root, [3, 9])
    batch = CheckedBatch(spans)
    assert batch.add(tree, left)
    assert not batch.add(tree, right)
    assert batch.add(tree, middle)
    batch.commit()
    assert resident(spans, tree, left) == 4
    assert resident(spans, tree, middle) == 4


def test_half_filled_pages_of_evicted_tokens_are_taken_back() -> None:
    spans = CheckedSpans(2, 4)
    trees = [spans.open_tree([i]) for i in range(2)]
    compute(spans, *((t, t.root) for t in trees))
    large = spans.open_tree(list(range(8)))
    batch = CheckedBatch(spans)
    assert batch.add(large, large.root)  # both trees still had a page open for writing
    batch.commit()


# ---------------------------------------------------------------- eviction


def test_eviction_takes_leaves_first_and_the_oldest_of_them() -> None:
    spans = CheckedSpans(7, 1)
    tree = spans.open_tree([0])
    leaves = [spans.extend(tree, tree.root, [i, i]) for i in (1, 2, 3)]
    for leaf in leaves:
        compute(spans, (tree, leaf))
    compute(spans, (tree, leaves[0]))  # used again: now the second is the oldest
    last = spans.extend(tree, tree.root, [4])
    compute(spans, (tree, last))
    assert [resident(spans, tree, leaf) for leaf in leaves] == [3, 1, 3]
    assert resident(spans, tree, tree.root) == 1


def test_discarded_spans_go_first() -> None:
    spans = CheckedSpans(7, 1)
    tree = spans.open_tree([0])
    leaves = [spans.extend(tree, tree.root, [i, i]) for i in (1, 2, 3)]
    for leaf in leaves:
        compute(spans, (tree, leaf))
    spans.native.discard(tree.states[leaves[2]])
    compute(spans, (tree, spans.extend(tree, tree.root, [4])))
    assert [resident(spans, tree, leaf) for leaf in leaves] == [3, 3, 1]


def test_a_discard_takes_only_what_lies_behind_the_kept_tokens() -> None:
    spans = CheckedSpans(8, 1)
    tree = spans.open_tree([0, 1])
    leaf = spans.extend(tree, tree.root, [2, 3, 4, 5])  # one span with the prompt
    compute(spans, (tree, leaf))
    spans.native.discard(tree.states[leaf], 4)
    other = spans.open_tree([7, 8, 9])
    compute(spans, (other, other.root))
    assert resident(spans, tree, leaf) == 4  # and not 0
    assert resident(spans, other, other.root) == 3
    compute(spans, (tree, tree.root))
    assert spans.native.counts(tree.number)["recomputed"] == 1  # its last token, read again


def test_the_kept_part_of_a_discarded_span_is_as_young_as_its_use() -> None:
    spans = CheckedSpans(6, 1)
    first, second = spans.open_tree([1, 2]), spans.open_tree([3, 4])
    compute(spans, (first, first.root))
    leaf = spans.extend(second, second.root, [5, 6])
    compute(spans, (second, leaf))
    spans.native.discard(second.states[leaf], 2)
    third = spans.open_tree([7, 8, 9])
    compute(spans, (third, third.root))
    # The discarded two went first, then the oldest; the kept two of the second tree stayed.
    assert [resident(spans, t, t.root) for t in (first, second, third)] == [0, 2, 3]


def test_discarded_tokens_that_are_computed_again_count_as_wanted() -> None:
    spans = CheckedSpans(6, 1)
    tree = spans.open_tree([0])
    leaf = spans.extend(tree, tree.root, [1, 2])
    compute(spans, (tree, leaf))
    spans.native.discard(tree.states[leaf], 1)
    assert spans.native.evict_one()
    spans.check()
    assert resident(spans, tree, leaf) == 1
    compute(spans, (tree, leaf))
    old = spans.open_tree([8, 9])
    compute(spans, (old, old.root))
    compute(spans, (tree, leaf))
    last = spans.open_tree([5, 6])
    compute(spans, (last, last.root))
    assert resident(spans, tree, leaf) == 3
    assert resident(spans, old, old.root) == 0


@pytest.mark.parametrize("kept", [0, 1, 63, 64, 70, 77])
def test_a_discard_never_marks_prompt_blocks(kept: int) -> None:
    spans = CheckedSpans(200, 4)
    tree = spans.open_tree(list(range(70)))
    leaf = spans.extend(tree, tree.root, [1] * 7)
    compute(spans, (tree, leaf))
    spans.native.discard(tree.states[leaf], kept)
    while resident(spans, tree, leaf) > max(kept, 64):
        assert spans.native.evict_one()
        spans.check()
    assert resident(spans, tree, leaf) == max(kept, 64)


@pytest.mark.parametrize("kept", [-1, 7])
def test_a_discard_keeps_no_more_than_there_is(kept: int) -> None:
    spans = kv.SpanTree(10, 4)
    state = spans.root(spans.open_tree([1, 2, 3, 4, 5, 6]))
    with pytest.raises(ValueError, match="keeps between 0 and 6"):
        spans.discard(state, kept)


def test_holes_of_evicted_tokens_are_filled_before_more_is_evicted() -> None:
    spans = CheckedSpans(4, 4)
    tree = spans.open_tree([0, 1])
    leaves = [spans.extend(tree, tree.root, [i, i]) for i in range(2, 8)]
    compute(spans, *((tree, leaf) for leaf in leaves))  # 14 of 16 slots, pages mix branches
    compute(spans, (tree, leaves[0]), (tree, leaves[2]), (tree, leaves[4]))
    new = spans.extend(tree, tree.root, [9, 9, 9, 9])
    compute(spans, (tree, new))
    assert spans.native.evictions == 1  # two slots were free, two more were needed
    assert spans.native.used_slots == 16
    assert [resident(spans, tree, leaf) for leaf in leaves] == [4, 2, 4, 4, 4, 4]


def test_arrays_are_read_as_lists_are() -> None:
    spans = kv.SpanTree(400, 16)
    prompt = [i * 11 % 97 for i in range(300)]
    root = spans.root(spans.open_tree(prompt))
    array = np.array(prompt, dtype=np.int32)
    assert spans.match(array) == spans.match(prompt) == 256
    assert spans.match(array.astype(np.int64)) == 256
    assert spans.match(array[::2].copy()) == 0
    more = np.array([5, 6, 7], dtype=np.int32)
    assert spans.extend(root, more) == spans.extend(root, [5, 6, 7])
    assert spans.extend(root, np.zeros(0, np.int32)) == root
    with pytest.raises(ValueError, match="one dimension"):
        spans.match(array.reshape(3, 100))


def test_measured_operations_are_the_ordinary_ones() -> None:
    spans = kv.SpanTree(64, 4)
    root = spans.root(spans.open_tree([0, 1]))
    rows = np.array([[2, 3], [2, 4], [5, 0]], dtype=np.int32)
    times, reached = kv.measure_extend(spans, [root] * 3, rows, [2, 2, 1])
    assert (times > 0).all()
    assert [spans.tokens(s)[2:] for s in reached] == [[2, 3], [2, 4], [5]]
    with pytest.raises(ValueError, match="lengths"):
        kv.measure_extend(spans, [root] * 3, rows, [2, 2, 3])
    assert kv.measure_match(spans, [[0, 1]] * 2, 3).shape == (6,)
    with pytest.raises(ValueError, match="evict"):
        kv.measure_evict(spans, [root])
    batch = kv.StepBatch(spans)
    batch.add(reached[0])
    batch.finish()
    batch.commit()
    assert (kv.measure_evict(spans, reached) > 0).all()
    assert spans.evictions == 3
    full = kv.SpanTree(1, 4)
    states = [full.root(full.open_tree([i, i, i])) for i in range(4)]
    assert len(kv.measure_allocate(full, states)) == full.evictions == 3
    spans.check_invariants()


def test_the_root_of_a_path_under_way_is_never_evicted() -> None:
    spans = CheckedSpans(6, 1)
    tree = spans.open_tree([0, 1])
    compute(spans, (tree, tree.root))
    other = spans.open_tree([5, 6])
    compute(spans, (other, other.root))
    leaf = spans.extend(tree, tree.root, [2, 3, 4, 5])
    batch = CheckedBatch(spans)
    assert batch.add(tree, leaf)  # needs all that there is
    batch.commit()
    assert resident(spans, tree, leaf) == 6
    assert resident(spans, other, other.root) == 0


def test_an_evicted_path_is_computed_again_and_counted_so() -> None:
    spans = CheckedSpans(10, 4)
    tree = spans.open_tree([1, 2, 3])
    leaf = spans.extend(tree, tree.root, [4, 5])
    compute(spans, (tree, leaf))
    spans.native.evict_all()
    spans.check()
    longer = spans.extend(tree, leaf, [6])
    compute(spans, (tree, longer))
    compute(spans, (tree, longer))  # reads its last token again
    assert spans.native.counts(tree.number) == {
        "unique": 6,
        "computed": 12,
        "recomputed": 6,
        "reused": 0,
    }


def test_a_rejected_step_leaves_everything_to_do() -> None:
    spans = CheckedSpans(10, 4)
    tree = spans.open_tree([1, 2, 3])
    compute(spans, (tree, tree.root))
    leaf = spans.extend(tree, tree.root, [4, 5])
    batch = CheckedBatch(spans)
    batch.add(tree, leaf)
    batch.finish()
    batch.abort()
    assert resident(spans, tree, leaf) == 3
    compute(spans, (tree, leaf))
    assert spans.native.counts(tree.number)["recomputed"] == 0


# ---------------------------------------------------------------- shared prompts


@pytest.mark.parametrize("size", [1, 5, 16, 64])
@pytest.mark.parametrize("length", [65, 70, 128, 129])
def test_two_trees_share_whole_blocks_of_their_prompt(size: int, length: int) -> None:
    shared = (length - 1) // 64 * 64
    for first_closed in (0, 1):
        spans = CheckedSpans(400 // size, size)
        prompt = [i * 7 % 50 for i in range(length)]
        assert spans.native.match(prompt) == 0
        trees = [spans.open_tree(prompt)]
        compute(spans, (trees[0], trees[0].root))
        assert spans.native.match(prompt) == shared
        assert spans.native.match([*prompt[:-1], 99]) == shared
        assert spans.native.match([99, *prompt[1:]]) == 0
        trees.append(spans.open_tree(prompt))
        compute(spans, (trees[1], trees[1].root))
        counts = [spans.native.counts(t.number) for t in trees]
        assert [c["unique"] for c in counts] == [length, length - shared]
        assert [c["reused"] for c in counts] == [0, shared]
        spans.close_tree(trees.pop(first_closed))
        assert resident(spans, trees[0], trees[0].root) == length
        spans.close_tree(trees.pop())
        assert spans.native.used_slots == shared  # stays for the next prompt
        again = spans.open_tree(prompt)
        assert spans.native.resident(again.states[again.root]) == shared
        spans.close_tree(again)
        spans.native.evict_all()
        spans.check()
        assert spans.native.used_slots == spans.native.live_spans == 0


def test_the_tree_that_computes_a_shared_block_pays_for_it() -> None:
    spans = CheckedSpans(300, 1)
    prompt = list(range(66))
    first, second = spans.open_tree(prompt), spans.open_tree(prompt)
    compute(spans, (second, second.root), (first, first.root))
    assert spans.native.counts(first.number)["reused"] == 64
    assert spans.native.counts(second.number)["reused"] == 0
    assert spans.native.counts(second.number)["unique"] == 66


def test_a_tree_that_computes_evicted_blocks_of_another_counts_them_as_its_first() -> None:
    spans = CheckedSpans(300, 1)
    prompt = list(range(66))
    first, second = spans.open_tree(prompt), spans.open_tree(prompt)
    compute(spans, (first, first.root))
    spans.native.evict_all()
    spans.check()
    compute(spans, (second, second.root))
    for tree in (first, second):
        counts = spans.native.counts(tree.number)
        assert (counts["unique"], counts["computed"]) == (66, 66)
        assert (counts["reused"], counts["recomputed"]) == (0, 0)


def test_short_prompts_share_nothing() -> None:
    spans = CheckedSpans(300, 4)
    prompt = list(range(64))  # its last token is the tree's own, so no whole block is left
    first, second = spans.open_tree(prompt), spans.open_tree(prompt)
    compute(spans, (first, first.root))
    assert resident(spans, second, second.root) == 0
    compute(spans, (second, second.root))
    assert spans.native.counts(second.number)["unique"] == 64


def test_new_weights_forget_the_blocks_of_the_old() -> None:
    spans = kv.SpanTree(300, 4)
    prompt = list(range(70))
    old = spans.open_tree(prompt)
    batch = kv.StepBatch(spans)
    batch.add(spans.root(old))
    batch.finish()
    batch.commit()
    spans.new_version()
    assert spans.match(prompt) == 0
    new = spans.open_tree(prompt)
    assert spans.resident(spans.root(new)) == 0
    assert spans.resident(spans.root(old)) == 70
    for tree in (old, new):
        spans.close_tree(tree)
    spans.evict_all()
    assert spans.used_slots == spans.live_spans == 0


# ---------------------------------------------------------------- shape


def test_a_fork_inside_a_span_keeps_every_older_state() -> None:
    spans = CheckedSpans(100, 4)
    tree = spans.open_tree([0, 1])
    states = [tree.root]
    for token in range(2, 9):
        states.append(spans.extend(tree, states[-1], [token]))
    compute(spans, (tree, states[-1]))
    for at in (states[3], states[1], states[5], tree.root, states[3]):
        branch = spans.extend(tree, at, [50 + at.position])  # check() reads every state again
        compute(spans, (tree, branch), (tree, at))
    assert spans.native.extend(tree.states[tree.root], [2]).length == 3
    # Nine tokens and four branches; six states were read again, one branch was there already.
    assert spans.native.counts(tree.number)["computed"] == 9 + 4 + 6


def test_a_tree_of_depth_ten_thousand() -> None:
    depth = 10_000
    spans = kv.SpanTree(3 * depth, 1)
    tree = spans.open_tree([0])
    states = [spans.root(tree)]
    started = time.perf_counter()
    for _ in range(depth):
        states.append(spans.extend(states[-1], [1]))
        spans.extend(states[-2], [2])  # every token is a span of its own
    assert spans.live_spans >= 2 * depth
    batch = kv.StepBatch(spans)
    assert batch.add(states[-1])
    batch.finish()
    assert batch.n_rows == depth + 1
    assert list(batch.plan.append_slots[:5]) == list(range(5))
    batch.commit()
    spans.discard(states[0])
    assert spans.tokens(states[-1]) == [0] + [1] * depth
    spans.check_invariants()
    spans.evict_all()
    spans.close_tree(tree)
    assert spans.live_spans == 0
    assert time.perf_counter() - started < 10


def test_many_children_of_one_state() -> None:
    spans = CheckedSpans(40, 16)
    tree = spans.open_tree([0])
    leaves = [spans.extend(tree, tree.root, [i, j]) for i, j in itertools.product(range(6), (1, 2))]
    compute(spans, *((tree, leaf) for leaf in leaves))
    assert spans.native.counts(tree.number)["unique"] == 1 + 6 + 12
