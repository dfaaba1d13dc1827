"""`bench kv --quick` runs and names its figures."""

from __future__ import annotations

import json
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
    assert row["match_ratio_python_radix"] > 0
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
    before = len(tree._leaves())
    tree.insert([*path[:-1], forest.FRESH])
    assert tree.match([*path[:-1], forest.FRESH]) == len(path)
    assert len(tree._leaves()) == before + 1
    assert tree.evict_one() > 0
