"""Draws of segments: steps that fail or stop at a limit, and segments that are let go."""

from __future__ import annotations

import numpy as np
import pytest
from reference_draws import Driver, segments, toy_logits

from search import _native

RULES = {"delimiters": [[3], [1, 1]]}
EXACT = segments(toy_logits, delimiters=[(3,), (1, 1)])


# ---------------------------------------------------------------- steps and failures


def test_a_row_that_is_not_finite_names_its_tree() -> None:
    def broken(path: tuple[int, ...]) -> np.ndarray:
        row = toy_logits(path)
        if path[0] == 1:
            row[2] = np.nan
        return row

    driver = Driver(broken)
    good, bad = driver.open(prompt=[0]), driver.open(prompt=[1])
    for tree in (bad, good):
        driver.draws.expand(tree, 1, 0, "sample", 1, 0)
    found = driver.finish(good, bad)
    assert [f.tree for f in found] == [good]
    ((tree, message),) = driver.failures
    assert tree == bad
    assert "entry 2 is NaN" in message
    driver.draws.close(bad)


def test_cancel_drops_what_is_under_way_and_keeps_what_is_known() -> None:
    driver = Driver()
    tree = driver.open(**RULES)
    driver.draws.expand(tree, 1, 0, "distinct", 4, 0)
    driver.step([tree])
    driver.draws.begin_step(tree)
    batch = _native.kv.StepBatch(driver.spans)
    driver.draws.collect(tree, batch, 100, 100)
    batch.abort()  # the model failed: what was collected never gets its logits
    driver.draws.cancel(tree)
    assert not driver.draws.waiting(tree)
    driver.draws.take_finished()
    found = driver.expand(tree, "distinct", 200)
    ended = {tuple(f.tokens) for f in found if f.prefix >= 0}
    assert ended <= set(EXACT)
    assert len(ended) >= len(EXACT) - 4
    assert set(driver.asked.values()) == {1}


def test_a_closed_tree_leaves_nothing_behind() -> None:
    driver = Driver(ends=lambda tokens: False)
    tree = driver.open()
    driver.draws.expand(tree, 1, 0, "top", 2, 0)
    driver.step([tree])
    driver.draws.expand(tree, 1, 0, "sample", 1, 0)  # asks at once: the prompt is known
    batch = _native.kv.StepBatch(driver.spans)
    with pytest.raises(_native.TreewardError, match="batch is open"):
        driver.draws.close(tree)
    batch.abort()
    driver.draws.close(tree)
    assert not driver.draws.take_finished()
    assert not driver.draws.take_questions()
    assert driver.spans.used_slots == driver.spans.live_spans == 0
    with pytest.raises(_native.StaleHandle):
        driver.draws.expand(tree, 1, 0, "sample", 1, 0)


def test_a_step_stops_at_the_limits_of_tree_batch_and_pool() -> None:
    driver = Driver(pages=6, page_size=1)
    tree = driver.open(prompt=[0, 1], eos=[])
    driver.draws.expand(tree, 1, 0, "top", 5, 0)
    found = driver.finish(tree)
    for f in found:
        driver.draws.expand(tree, 1, f.prefix, "greedy", 1, 0)
    driver.draws.begin_step(tree)
    assert driver.draws.next_length(tree) == 3
    order = [f.prefix for f in found]

    def collect(batch, limit: int, batch_rows: int) -> tuple[str, list[int]]:
        status, added, left = driver.draws.collect(tree, batch, limit, batch_rows)
        assert left == limit - len(added)
        return status, added

    batch = _native.kv.StepBatch(driver.spans)
    assert collect(batch, 0, 100) == ("row_limit", [])
    assert collect(batch, 1, 100) == ("row_limit", order[:1])
    assert collect(batch, 100, 2) == ("batch_full", order[1:2])
    assert collect(batch, 100, 100) == ("pool_full", order[2:4])
    batch.finish()
    batch.commit()
    driver.supply([(tree, prefix) for prefix in order[:4]])
    assert not driver.draws.take_finished()  # walkers move once the whole step is there
    driver.spans.evict_all()
    batch = _native.kv.StepBatch(driver.spans)
    # Now the prompt is evicted as well. The first state of a batch may exceed the batch, and what
    # is computed again is not charged.
    assert collect(batch, 0, 100) == ("row_limit", [])
    assert collect(batch, 1, 1) == ("all", order[4:])
    assert batch.total_cost == 3
    batch.finish()
    batch.commit()
    driver.supply([(tree, order[4])])
    driver.draws.end_step(tree)
    assert not driver.draws.take_finished()
    assert driver.draws.waiting(tree)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_step_tokens": 0}, "max_step_tokens"),
        ({"max_path_tokens": 1}, "no room"),
        ({"delimiters": [[1], []]}, "delimiter"),
        ({"texts": ["a", ""]}, "empty"),
        ({"texts": ["a"]}, "texts of tokens are not known"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
    ],
)
def test_open_refuses_what_cannot_be(changes: dict, message: str) -> None:
    driver = Driver()
    with pytest.raises(ValueError, match=message):
        driver.open(**changes)
    assert driver.spans.live_spans == 0


def test_expand_refuses_what_cannot_be() -> None:
    driver = Driver()
    tree = driver.open()
    for mode, count, prefix in (("best", 1, 0), ("sample", 0, 0), ("sample", 1, 3)):
        with pytest.raises(ValueError, match=r"mode|count|prefix"):
            driver.draws.expand(tree, 1, prefix, mode, count, 0)
    with pytest.raises(ValueError, match="prefix"):
        driver.draws.supply([(tree, 9)], toy_logits((0,)).ctypes.data, 5, 5)


# ---------------------------------------------------------------- discards


def resident(driver: Driver, tree: int, prefix: int) -> int:
    return driver.spans.resident(driver.draws.state(tree, prefix))


def evict_discarded(driver: Driver, times: int) -> None:
    for _ in range(times):
        assert driver.spans.evict_one()
    driver.spans.check_invariants()


def test_a_discarded_segment_leaves_the_one_before_it() -> None:
    driver = Driver(page_size=1)
    tree = driver.open(max_step_tokens=4, eos=[99])
    (first,) = driver.expand(tree, "greedy", 1)
    (second,) = driver.expand(tree, "greedy", 1, prefix=first.prefix)
    other = driver.open(prompt=(3,))
    driver.expand(other, "sample", 1)
    assert driver.draws.state(tree, second.prefix).length == 9
    driver.draws.discard(tree, second.prefix)  # one span holds the prompt and both segments
    evict_discarded(driver, 1)
    assert resident(driver, tree, second.prefix) == 5
    assert resident(driver, tree, first.prefix) == 5
    assert resident(driver, other, 0) == 1


def test_a_discarded_segment_leaves_the_tokens_that_others_share() -> None:
    driver = Driver(lambda path: np.zeros(200, dtype=np.float32), page_size=1)
    tree = driver.open(max_step_tokens=3, eos=[199], top_k=2)
    found = driver.expand(tree, "distinct", 8)
    by_tokens = {tuple(f.tokens): f.prefix for f in found}
    assert len(by_tokens) == 8
    gone = by_tokens[0, 0, 0]
    driver.draws.discard(tree, gone)
    kept = driver.spans.resident(driver.draws.state(tree, by_tokens[0, 0, 1]))
    while resident(driver, tree, gone) > 3:
        evict_discarded(driver, 1)
    assert driver.spans.resident(driver.draws.state(tree, by_tokens[0, 0, 1])) == kept
    assert resident(driver, tree, 0) == 1


def test_the_prompt_is_never_discarded() -> None:
    driver = Driver(page_size=1)
    tree = driver.open(prompt=(0, 1, 2))
    driver.expand(tree, "greedy", 1)
    other = driver.open(prompt=(3, 3))
    driver.expand(other, "greedy", 1)
    driver.draws.discard(other, 0)
    evict_discarded(driver, 1)
    assert resident(driver, other, 0) == 2
