"""The benchmark of prompt selection starts as a file, and its rows have the promised keys."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import Run
from planted_logs import planted_log

from benchmarks.prompts import over_optimisation

ROOT = Path(__file__).resolve().parents[2]
WORDS = [
    "ant",
    "bee",
    "cow",
    "dog",
    "eel",
    "fox",
    "gnu",
    "hen",
    "ibis",
    "jay",
    "kite",
    "lynx",
    "mole",
    "newt",
    "owl",
    "pug",
    "ram",
    "seal",
    "tern",
]


def log_lines(n: int, copies: bool) -> list[dict[str, object]]:
    """Queries whose outcomes are noise; with copies each comes again, one number written anew."""
    rng = np.random.default_rng(0)
    lines: list[dict[str, object]] = []
    for i in range(n):
        some = " ".join(rng.choice(WORDS, 12))
        y = {arm: int(rng.random() < 0.5) for arm in ("a", "b", "c")}
        for copy, number in enumerate(("7", "7.0") if copies else ("7",)):
            text = f"how many of {number} {some} are left?"
            name = f"{i}-{copy}"
            lines.append({"id": name, "query": text, "group": name, "split": "train", "y": y})
    return lines


def test_rows_have_the_promised_keys(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "made.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(line) + "\n" for line in log_lines(80, copies=False))
    script = ROOT / "benchmarks" / "prompt_oirl.py"
    words = [sys.executable, str(script), "--data", str(tmp_path), "--only", "audit,grouped"]
    done = subprocess.run(
        [*words, "--json"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    rows = json.loads(done.stdout)["rows"]
    assert [row["protocol"] for row in rows][:2] == ["audit", "grouped"]
    for key in [
        "log",
        "protocol",
        "arms",
        "value",
        "best_single_train",
        "gain",
        "gain_ci95",
        "lookup",
        "oracle",
        "auc",
    ]:
        assert all(key in row for row in rows)
    assert rows[1]["brier_skill"] < 0.2
    assert 0.3 < rows[1]["value"] < 0.7


def test_copies_of_a_query_do_not_vouch_for_each_other(run: Run, tmp_path: Path) -> None:
    """Each query's copy has its outcomes: only if they were apart would a gain be seen."""
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in log_lines(150, copies=True)))
    code, out, _ = run("prompt", "fit", path, "--out", tmp_path / "selector", "--json")
    assert code == 0
    assert json.loads(out)["margin"] is None


def test_bounds_that_hold_are_counted_among_all_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_optimisation, "MODELS", ("logistic",))
    monkeypatch.setattr(over_optimisation, "SUBSETS", 2)
    row = over_optimisation._row(planted_log(90), 0)
    # Three folds: once for all three arms, and for subsets of one, two and three of them.
    assert row["bounds"] > 3
    assert row["bounds_held"] > row["bounds"] / 2
