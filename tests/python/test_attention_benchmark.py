"""The attention benchmark runs and gives the rows that it promises; no timing is asserted."""

from __future__ import annotations

import json
import math

import pytest
from command_line import Run

bench = pytest.importorskip("benchmarks.attention.bench")
from benchmarks.attention import gather_folded, native, pool  # noqa: E402
from benchmarks.attention.cells import grid  # noqa: E402
from benchmarks.attention.floor import Rates  # noqa: E402
from benchmarks.attention.problem import Problem  # noqa: E402

SHAPE = ("batch", "prefix", "suffix", "depth", "q_heads", "kv_heads", "head_dim")
NUMBERS = ("native_ms", "floor_ms", "share_of_floor", "gflops", "gigabytes_per_second")


@pytest.fixture(scope="module")
def rows():
    return list(bench.run(pairs=1, quick=True, seed=3))


def test_quick_rows(rows):
    assert {row["sweep"] for row in rows} == {True, False}
    assert {row["dtype"] for row in rows} == {"float32", "bfloat16"}
    assert {row["depth"] for row in rows} >= {2, 3}
    for row in rows:
        assert all(isinstance(row[key], int) for key in SHAPE)
        assert all(row[key] > 0 and math.isfinite(row[key]) for key in NUMBERS)
        assert row["share_of_floor"] == pytest.approx(row["floor_ms"] / row["native_ms"])
        for name in bench.ALTERNATIVES:
            ratio = row[f"ratio_{name}"]
            assert (row[f"{name}_ms"] is None) == (ratio is None)
            if ratio is not None:
                assert row[f"{name}_rounds"] == 1
                assert row[f"ratio_{name}_spread"] is None
        if not row["sweep"]:
            assert row["ratio_gather_sdpa"] > 0
            assert row["ratio_gather_folded"] > 0
            assert row["ratio_two_level"] > 0
        assert str(row["batch"]) in bench.line(row)
    json.dumps(rows, allow_nan=False)


@pytest.mark.parametrize("cell", [cell for cell in grid(True) if cell.branches > 2], ids=str)
@pytest.mark.parametrize("slice_bytes", [1, 1 << 20])
def test_folded_heads_give_what_ours_gives(monkeypatch, cell, slice_bytes):
    monkeypatch.setattr(pool, "SLICE_BYTES", slice_bytes)
    problem = Problem.random(cell, seed=5, quick=True)
    other = gather_folded.make(problem)
    for layer in (0, 1, 0):  # the buffers hold what another call has left there
        expected = native.make(problem).attend(layer).float()
        assert (other.attend(layer).float() - expected).abs().max() < bench.TOLERANCE[cell.dtype]


def test_plot(rows, tmp_path):
    pytest.importorskip("matplotlib")
    bench.plot(rows, tmp_path / "attention.png")
    assert (tmp_path / "attention.png").stat().st_size > 1000


def test_the_floor_is_the_slower_of_products_and_reading() -> None:
    cell = next(iter(grid(True)))
    products, reading = Rates(cell.operations / 2, 1e18), Rates(1e18, cell.layer_bytes / 3)
    assert products.floor_seconds(cell) == pytest.approx(2)
    assert reading.floor_seconds(cell) == pytest.approx(3)
    both = Rates(cell.operations / 2, cell.layer_bytes / 3)
    assert both.floor_seconds(cell) == pytest.approx(3)


def test_a_seed_out_of_range(run: Run) -> None:
    code, out, err = run("bench", "attention", "--quick", "--seed", "-1")
    assert (code, out) == (2, "")
    assert "--seed" in err
