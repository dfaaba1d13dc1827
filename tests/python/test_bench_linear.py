"""`bench linear --quick` runs, names its figures, and all alternatives compute the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.linear import bench, layers
from search import _native
from search.errors import TreewardError

needs_pairs = pytest.mark.skipif(
    not _native.linear.available(), reason="this processor has no products of bfloat16 pairs"
)


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return list(bench.run(pairs=1, quick=True, seed=0))


@needs_pairs
def test_rows_have_every_key(rows: list[dict], tmp_path: Path) -> None:
    assert [row["rows"] for row in rows] == [1, 16]
    for row in rows:
        assert row["layers"] == 8
        assert row["native_ms"] > 0
        assert row["ratio_plain"] == pytest.approx(row["plain_ms"] / row["native_ms"])
        assert "rows" in bench.line(row)
    json.dumps(rows, allow_nan=False)
    pytest.importorskip("matplotlib")
    bench.plot(rows, tmp_path / "linear.png")
    assert (tmp_path / "linear.png").stat().st_size > 1000


@needs_pairs
def test_alternatives_compute_the_same() -> None:
    weights = layers.weights(True, 3)
    ours, packed, plain = layers.native(weights), layers.onednn(weights), layers.plain(weights)
    assert ours is not None
    for place, (size, _) in enumerate(layers.shapes(True)):
        x = torch.randn(5, size).bfloat16()
        expected = plain[place](x).float()
        limit = 0.02 * float(expected.abs().max())
        assert (ours[place](x).float() - expected).abs().max() < limit
        if packed is not None:
            assert (packed[place](x).float() - expected).abs().max() < limit


def test_without_pairs_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "native", lambda weights: None)
    with pytest.raises(TreewardError, match="need AVX-512 BF16"):
        list(bench.run(pairs=1, quick=True, seed=0))
