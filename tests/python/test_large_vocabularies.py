"""Draws where not every token is ranked at once, and rows of logits that were let go meanwhile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference_draws import Driver, toy_logits

from search import _native


def wide_logits(path: tuple[int, ...]) -> np.ndarray:
    return toy_logits(tuple(t % 251 for t in path), vocabulary=3000, scale=2.0)


def segments_of(driver: Driver, tree: int, mode: str, count: int, first: int = 0) -> list:
    found = driver.expand(tree, mode, count, first)
    return [(tuple(f.tokens), f.logprob) for f in sorted(found, key=lambda f: f.draw)]


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.5])
@pytest.mark.parametrize("mode", ["sample", "distinct", "greedy", "top"])
def test_candidates_sorted_on_demand_are_those_sorted_at_once(
    mode: str, temperature: float
) -> None:
    """A min_p that keeps everything sorts the whole row first; without it only what draws reach."""
    found = []
    for min_p in (0.0, 1e-20):
        driver = Driver(wide_logits)
        tree = driver.open(temperature=temperature, min_p=min_p, seed=5)
        draws = segments_of(driver, tree, mode, 40)
        draws += segments_of(driver, tree, mode, 3, first=2995)
        found.append(draws)
    assert [tokens for tokens, _ in found[0]] == [tokens for tokens, _ in found[1]]
    assert [p for _, p in found[0]] == pytest.approx([p for _, p in found[1]], abs=1e-5)


def test_masked_tokens_of_a_large_vocabulary_are_never_drawn() -> None:
    row = np.full(3000, -np.inf, np.float32)
    row[[5, 1999, 2999]] = [0.0, 1.0, -200.0]  # the last has no probability in a float
    driver = Driver(lambda path: row)
    tree = driver.open(max_step_tokens=1)
    tokens = [t for (t,), _ in segments_of(driver, tree, "top", 3)]
    assert tokens == [1999, 5, 2999]
    other = driver.open(max_step_tokens=1)
    found = driver.expand(other, "distinct", 4)
    assert {f.tokens[0] for f in found if f.prefix >= 0} == {5, 1999}
    assert sum(f.prefix < 0 for f in found) == 2


# ---------------------------------------------------------------- rows that were let go


def draws_of(driver: Driver, trees: int = 1) -> list:
    """Many draws from some prefixes of each tree, in two rounds."""
    opened = [driver.open(seed=i, temperature=1.5) for i in range(trees)]
    found = []
    for first in (0, 30):
        for tree in opened:
            for mode in ("sample", "distinct", "top", "greedy"):
                driver.draws.expand(tree, 7, 0, mode, 30, first)
        found += driver.finish(*opened)
        starts = {(f.tree, f.prefix) for f in found if f.end == "length" and len(f.tokens) == 1}
        for tree, prefix in sorted(starts)[::7]:
            driver.draws.expand(tree, 8, prefix, "distinct", 20, first)
        found += driver.finish(*opened)
    return sorted((f.tree, f.request, f.draw, tuple(f.tokens), f.end, f.logprob) for f in found)


@pytest.mark.parametrize("ends", [None, lambda tokens: sum(tokens) % 3 == 0])
def test_draws_are_the_same_whichever_rows_are_kept(ends: Any) -> None:
    everything = Driver(wide_logits, pages=1 << 14, ends=ends)
    expected = draws_of(everything)
    assert max(everything.asked.values()) == 1
    for row_bytes in (0, 20 * 3000 * 4):
        driver = Driver(wide_logits, pages=1 << 14, ends=ends, row_bytes=row_bytes)
        assert draws_of(driver) == expected
        assert 1 < max(driver.asked.values()) < 8
        if ends is None:  # draws that wait for an answer walk ahead in vain elsewhere
            assert set(driver.asked) == set(everything.asked)
            assert driver.charged == everything.charged


def test_rows_that_a_tree_asks_for_again_depend_on_no_batch_and_no_neighbour() -> None:
    alone = Driver(wide_logits, pages=1 << 14, row_bytes=5 * 3000 * 4)
    expected = draws_of(alone)
    assert max(alone.asked.values()) > 1
    for trees, batch_rows in ((1, 1), (3, 1 << 20), (3, 7)):
        driver = Driver(wide_logits, pages=1 << 14, batch_rows=batch_rows, row_bytes=5 * 3000 * 4)
        assert [draw for draw in draws_of(driver, trees) if draw[0] == 0] == expected
        mine = {path: n for (tree, path), n in driver.asked.items() if tree == 0}
        assert mine == {path: n for (_, path), n in alone.asked.items()}


def test_a_row_that_comes_back_rounded_otherwise_gives_every_token_once() -> None:
    rng = np.random.default_rng(3)
    driver = Driver(row_bytes=0)
    driver.row = lambda path: wide_logits(path) + rng.normal(scale=0.01, size=3000).astype("f4")
    tree = driver.open(max_step_tokens=1)
    tokens = []
    for first in range(0, 3000, 50):
        found = driver.expand(tree, "top", 50, first)
        tokens += [f.tokens[0] for f in sorted(found, key=lambda f: f.draw)]
        driver.expand(tree, "sample", 1, first, prefix=found[0].prefix)  # another row comes
    assert sorted(tokens) == list(range(3000))
    assert driver.asked[tree, (0,)] > 1


@pytest.mark.parametrize(
    ("value", "message"), [(-np.inf, "masks other tokens"), (np.nan, "entry 7 is NaN")]
)
def test_a_row_that_comes_back_broken_stops_its_tree_alone(value: float, message: str) -> None:
    driver = Driver(wide_logits, row_bytes=0)
    trees = [driver.open(max_step_tokens=1) for _ in range(2)]
    for tree in trees:
        (found,) = driver.expand(tree, "top", 1)
        driver.expand(tree, "sample", 1, prefix=found.prefix)
    good = driver.row
    driver.row = lambda path: np.where(np.arange(3000) == 7, value, good(path)).astype("f4")
    broken = trees[0]
    driver.draws.expand(broken, 7, 0, "top", 100, 0)
    driver.step([broken])
    assert [(tree, message in reason) for tree, reason in driver.failures] == [(broken, True)]
    driver.draws.close(broken)
    driver.row = good
    assert len(driver.expand(trees[1], "top", 100)) == 100


def test_who_waits_for_a_row_again_can_be_cancelled_and_needs_no_budget() -> None:
    driver = Driver(wide_logits, row_bytes=0)
    tree = driver.open(max_step_tokens=1)
    found = driver.expand(tree, "top", 1)
    driver.expand(tree, "sample", 1, prefix=found[0].prefix)
    for _ in range(2):
        driver.draws.expand(tree, 7, 0, "top", 100, 0)
        assert driver.draws.waiting(tree)
        driver.draws.cancel(tree)
        assert not driver.draws.waiting(tree)
    driver.draws.expand(tree, 7, 0, "top", 100, 0)
    driver.draws.begin_step(tree)
    batch = _native.kv.StepBatch(driver.spans)
    assert driver.draws.collect(tree, batch, 0, 1 << 20) == ("all", [0], 0)
    batch.finish()
    batch.commit()
    driver.supply([(tree, 0)])
    driver.draws.end_step(tree)
    assert len({f.tokens[0] for f in driver.draws.take_finished()}) == 100


@pytest.mark.parametrize("mode", ["sample", "distinct"])
def test_draws_do_not_depend_on_the_threads_that_read_their_rows(mode: str) -> None:
    before = _native.attention.num_threads()
    found = []
    try:
        for threads in (1, 4):
            _native.attention.set_num_threads(threads)
            driver = Driver(wide_logits, pages=1 << 14)
            trees = [driver.open(seed=i) for i in range(60)]
            for tree in trees:
                driver.draws.expand(tree, 7, 0, mode, 2, 0)
            found.append(
                [(f.tree, f.draw, tuple(f.tokens), f.logprob) for f in driver.finish(*trees)]
            )
    finally:
        _native.attention.set_num_threads(before)
    assert found[0] == found[1]


def test_one_bad_row_of_a_batch_stops_its_tree_alone() -> None:
    def broken(path: tuple[int, ...]) -> np.ndarray:
        row = wide_logits(path)
        if path[0] == 1:
            row = row.copy()
            row[77] = np.nan
        return row

    driver = Driver(broken)
    trees = [driver.open(prompt=(i,)) for i in range(3)]
    for tree in trees:
        driver.draws.expand(tree, 7, 0, "sample", 1, 0)
    driver.step(trees)
    ((tree, message),) = driver.failures
    assert tree == trees[1]
    assert "entry 77 is NaN" in message
    assert [driver.draws.waiting(t) for t in trees] == [True, False, True]
