"""The batched search: equal to its reference, to itself on any threads and instruction set."""

from __future__ import annotations

import numpy as np
import pytest
import reference_batched

from search import _native
from search._native.search import BatchedSearch
from search._native.tree import EDGES, TERMINAL, Arena, Child

OPTIONS = [
    {},
    {"fpu": "absolute", "fpu_value": 0.3},
    {"fpu_reduction": 0.0, "normalise": True},
    {"formula": "uct", "exploration": 0.7, "backup": "max"},
    {"backup": "min_path", "c_init": 0.4, "c_base": 50.0},
    {"formula": "muzero"},
]


def evaluator(branching: int, ends: float = 0.0):
    """Priors, values and widths that are functions of the state's seed alone."""

    def evaluate(seeds: np.ndarray):
        rows = []
        for seed in seeds.tolist():
            random = np.random.default_rng(seed)
            priors = random.exponential(size=branching).astype(np.float32)
            width = 0 if random.random() < ends else int(random.integers(1, branching + 1))
            if ends == 0.0:
                width = branching
            priors[width:] = np.nan
            if width:
                priors[:width] /= priors[:width].sum()
            rows.append((priors, np.float32(random.random()), width))
        priors, values, widths = zip(*rows)
        return np.array(priors), np.array(values), np.array(widths, np.int32)

    return evaluate


def run(search: BatchedSearch, evaluate) -> list[list[tuple[int, ...]]]:
    steps = []
    leaves = search.select()
    for step in range(search.simulations + 1):
        columns = (leaves.node, leaves.parent, leaves.action, leaves.depth, leaves.seed)
        steps.append(list(zip(*(column.tolist() for column in columns))))
        evaluation = evaluate(leaves.seed)
        # The two ways to go on, which are one.
        if step % 3 != 0 and step < search.simulations:
            leaves = search.advance(*evaluation)
        else:
            search.expand_and_backup(*evaluation)
            if step < search.simulations:
                leaves = search.select()
    return steps


def levels() -> list[str]:
    return list(_native.attention.simd_levels())


@pytest.fixture(autouse=True)
def _settings():
    level, threads = _native.attention.simd_level(), _native.attention.num_threads()
    yield
    _native.attention.set_simd_level(level)
    _native.attention.set_num_threads(threads)


@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("ends", [0.0, 0.4])
@pytest.mark.parametrize("branching", [1, 4, 8, 16, 37])
@pytest.mark.parametrize("variant", range(len(OPTIONS)))
def test_equals_reference(variant: int, branching: int, ends: float, level: str) -> None:
    _native.attention.set_simd_level(level)
    options = OPTIONS[variant]
    seeds = [variant, 2**63 + branching, 5]
    simulations = 40
    evaluate = evaluator(branching, ends)
    arena = Arena()
    search = BatchedSearch(
        arena, len(seeds), branching, simulations, np.array(seeds, np.uint64), options
    )
    steps = run(search, evaluate)
    batch, expected = reference_batched.search(simulations, seeds, evaluate, **options)
    assert steps == expected
    arena.check()
    for t, tree in enumerate(batch):
        rows = search.export(t)
        assert rows["visits"].tolist() == [node.visits for node in tree.nodes]
        np.testing.assert_array_equal(rows["q"], [tree.q(node) for node in tree.nodes])
        np.testing.assert_array_equal(rows["prior"][1:], [node.prior for node in tree.nodes[1:]])
        assert rows["tokens"].tolist() == [node.tokens[0] for node in tree.nodes[1:]]
        ends_here = [not node.children for node in tree.nodes]
        assert ((rows["flags"] & TERMINAL) != 0).tolist() == ends_here
        assert ((rows["flags"] & EDGES) == 0).tolist() == ends_here
        visits = [child.visits for child in tree.root.children]
        visits += [0] * (branching - len(visits))
        assert search.root_visits()[t].tolist() == visits


@pytest.mark.parametrize("branching", [8, 64])
def test_threads_and_levels_change_nothing(branching: int) -> None:
    evaluate = evaluator(branching)
    found = []
    for threads, level in [(1, "scalar"), (2, levels()[-1]), (5, levels()[0])]:
        _native.attention.set_num_threads(threads)
        _native.attention.set_simd_level(level)
        search = BatchedSearch(Arena(), 300, branching, 12)
        found.append((run(search, evaluate), search.root_visits().tolist()))
        search.arena.check()
    assert found[0] == found[1] == found[2]


def test_memory_goes_back_and_is_used_again() -> None:
    arena = Arena()
    other = arena.add_tree()
    arena.add_child(other, Child([1], -1.0))
    held = 0
    for round_ in range(4):
        search = BatchedSearch(arena, 20, 8, 30)
        arena.check()
        run(search, evaluator(8))
        arena.check()
        assert arena.trees == 21
        assert arena.nodes == 2 + 20 * 31
        held = held or arena.bytes
        assert arena.bytes <= 1.1 * held, round_
        del search
        arena.check()
        assert arena.nodes == 2


def test_a_select_changes_nothing() -> None:
    search = BatchedSearch(Arena(), 3, 4, 5)
    evaluate = evaluator(4)
    for _ in range(3):
        first = search.select().seed.copy()
        again = search.select()
        assert again.seed.tolist() == first.tolist()
        search.expand_and_backup(*evaluate(first))
    assert search.done == 2


def test_refusals() -> None:
    arena = Arena()
    for numbers in [(0, 1, 1), (1, 0, 1), (1, 1, 0)]:
        with pytest.raises(ValueError, match="must be 1 or more"):
            BatchedSearch(arena, *numbers)
    with pytest.raises(ValueError, match="one number a tree"):
        BatchedSearch(arena, 2, 2, 2, np.zeros(3, np.uint64))
    with pytest.raises(ValueError, match="virtual_loss"):
        BatchedSearch(arena, 2, 2, 2, options={"virtual_loss": "visits"})
    assert arena.nodes == 0
    search = BatchedSearch(arena, 2, 2, 1)
    priors, values = np.full((2, 2), 0.5, np.float32), np.zeros(2, np.float32)
    with pytest.raises(ValueError, match="must follow a select"):
        search.expand_and_backup(priors, values)
    search.select()
    for bad in (priors * 0.9, np.float32([[1.5, -0.5], [1, 0]]), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match="priors of tree"):
            search.expand_and_backup(bad, values)
    with pytest.raises(ValueError, match="shape"):
        search.expand_and_backup(priors[:, :1], values)
    with pytest.raises(_native.NotFinite):
        search.expand_and_backup(priors, np.float32([0, np.inf]))
    with pytest.raises(ValueError, match="width of tree 1"):
        search.expand_and_backup(priors, values, np.int32([2, 3]))
    assert arena.nodes == 2
    search.expand_and_backup(priors, values)
    with pytest.raises(ValueError, match="must follow a select"):
        search.advance(priors, values)
    search.select()
    with pytest.raises(ValueError, match="has made its 1 simulations"):
        search.advance(priors, values)
    assert arena.nodes == 2
    search.expand_and_backup(priors, values)
    with pytest.raises(ValueError, match="has made its 1 simulations"):
        search.select()
    with pytest.raises(ValueError, match="has edges"):
        arena.add_child(int(search.roots[0]), Child([0], -1.0))
    arena.drop_tree(int(search.roots[1]))
    with pytest.raises(_native.StaleHandle):
        search.root_visits()
