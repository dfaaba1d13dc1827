"""The benchmark of the tree core runs and its rows have their keys. Nothing is timed here."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.tree import bench

RATES = ["sims_per_second", "python_sims_per_second", "ratio_python"]
OPTIONAL = ["mctx_sims_per_second", "treequest_sims_per_second", "ratio_mctx", "ratio_treequest"]


@pytest.fixture
def _no_alternatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mctx", None)
    monkeypatch.setitem(sys.modules, "treequest", None)


@pytest.mark.usefixtures("_no_alternatives")
def test_rows_have_their_keys(tmp_path: Path) -> None:
    rows = list(bench.run(pairs=2, quick=True, seed=0))
    assert [row["formula"] for row in rows] == ["muzero", "puct"]
    for row in rows:
        assert all(isinstance(row[key], int) for key in ("branching", "trees", "simulations"))
        assert all(row[key] > 0 for key in RATES)
        assert all(row[key] is None for key in OPTIONAL)
        assert len(row["ratio_python_spread"]) == 3
        assert "mctx not installed" in bench.line(row)
    json.dumps(rows, allow_nan=False)
    pytest.importorskip("matplotlib")
    bench.plot(rows, tmp_path / "tree.png")
    assert (tmp_path / "tree.png").stat().st_size > 0


def test_an_interrupted_run_keeps_its_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from search.cli import main

    def run(**_: object) -> Iterator[dict[str, object]]:
        yield {"branching": 8}
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "run", run)
    monkeypatch.setattr(bench, "line", str)
    monkeypatch.setattr(sys, "argv", ["treeward", "bench", "tree", "--json"])
    with pytest.raises(SystemExit):
        main()
    assert json.loads(capsys.readouterr().out)["rows"] == [{"branching": 8}]
