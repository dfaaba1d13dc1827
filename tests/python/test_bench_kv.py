"""`bench kv --quick` runs and names its figures."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from benchmarks.kv import bench, forest, python_radix

FIGURES = (
    "fork_ns",
    "match_4k_us",
    "insert_us",
    "evict_p50_us",
    "evict_p99_us",
)


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return list(bench.run(pairs=1, quick=True, seed=0))


def test_rows_have_every_key(rows: list[dict]) -> None:
    assert len(rows) == 1
    (row,) = rows
    for name in FIGURES:
        assert isinstance(row[name], float)
        low, high = row[f"{name}_spread"][1:]
        assert 0 < low <= row[name] <= high
    assert 1_000 <= row["spans"] < 1_100
    assert row["fork_bytes_copied"] == 0
    assert row["forks"] > 0
    assert 1 <= row["pool_bytes_ratio"] < 1.5
    assert row["pool_evictions"] == 0
    assert row["pool_evictions_evicting"] > 0
    for operation in ("match", "insert", "evict"):
        assert row[f"{operation}_ratio_python_radix"] > 0
    json.dumps(rows, allow_nan=False)
    assert "1,0" in bench.line(row)


def test_the_plot_is_written(rows: list[dict], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    bench.plot(rows, tmp_path / "kv.png")
    assert (tmp_path / "kv.png").stat().st_size > 0


def test_the_python_tree_holds_what_ours_holds() -> None:
    grown = forest.grow(700, seed=3)
    grown.spans.check_invariants()
    tree = python_radix.Loaded(grown).tree
    for number in grown.leaves()[::40]:
        path = grown.path(number)
        assert tree.match([*path, forest.FRESH]) == len(path)
        assert grown.spans.tokens(grown.nodes[number].state) == path
    before = len(leaves_of(tree))
    tree.insert([*path[:-1], forest.FRESH])
    assert tree.match([*path[:-1], forest.FRESH]) == len(path)
    assert len(leaves_of(tree)) == before + 1


def test_the_python_tree_grows_where_ours_does() -> None:
    grown = forest.grow(300, seed=5)
    loaded = python_radix.Loaded(grown)
    numbers = [grown.leaves()[0], grown.leaves()[-1]]
    new = [[forest.FRESH + i] * 32 for i in range(2)]
    paths = [[*grown.path(number), *tokens] for number, tokens in zip(numbers, new)]
    assert loaded.insert(numbers, new) > 0
    for number, tokens, path in zip(numbers, new, paths):
        assert loaded.tree.match([*path, forest.FRESH]) == len(path)
        assert grown.spans.tokens(grown.spans.extend(grown.nodes[number].state, tokens)) == path


def test_the_python_tree_evicts_the_leaf_used_least_recently() -> None:
    rng = random.Random(0)
    tree = python_radix.PythonRadix()
    for step in range(600):
        tokens = [rng.randrange(3) for _ in range(rng.randint(1, 9))]
        kind = rng.randrange(3)
        if kind == 0:
            tree.insert(tokens)
        elif kind == 1:
            tree.match(tokens)
        elif leaves := leaves_of(tree):
            victim = min(leaves, key=lambda leaf: leaf.last_use)
            assert tree.evict_one() == len(victim.tokens)
            assert victim not in leaves_of(tree), step
    while leaves_of(tree):
        tree.evict_one()
    assert not tree.root.children


def leaves_of(tree: python_radix.PythonRadix) -> list[python_radix.RadixNode]:
    found, stack = [], list(tree.root.children.values())
    while stack:
        node = stack.pop()
        stack.extend(node.children.values())
        if not node.children:
            found.append(node)
    return found
