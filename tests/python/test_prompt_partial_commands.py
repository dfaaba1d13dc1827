"""``treeward prompt fit`` and ``evaluate`` on a log with one prompt a query."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from command_line import Run
from planted_logs import planted_log

QUICK = ["--models", "logistic", "--folds", "3", "--repeats", "1", "--kind", "mean"]


@pytest.fixture
def run(run: Run) -> Run:
    return partial(run, "prompt")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each query under one prompt, drawn evenly; the truth is that of the planted log."""
    full = planted_log(450)
    one = np.random.default_rng(0).integers(0, 3, 450)
    path = tmp_path_factory.mktemp("logs") / "partial.jsonl"
    lines = [
        json.dumps(
            {
                "query_id": full.queries[query].id,
                "query": full.queries[query].text,
                "group": full.queries[query].id,
                "arm": full.arms[arm].name,
                "outcome": outcome,
                "propensity": 1 / 3,
            }
        )
        for query, arm, outcome in zip(full.query, full.arm, full.outcome.tolist())
        if arm == one[query]
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_fit_says_how_it_is_calibrated(run: Run, log: Path, tmp_path: Path) -> None:
    code, out, err = run("fit", log, "--out", tmp_path / "s", *QUICK, "--json")
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert record["calibrated_by"] == "doubly robust estimates, propensities logged"
    assert record["margin"] is not None
    assert record["default"] in ("steps", "short")
    assert record["gain_unseen"] > 0.15
    code, out, _ = run("fit", log, "--out", tmp_path / "s", *QUICK)
    assert "calibrated by doubly robust estimates, propensities logged" in out
    head = json.loads((tmp_path / "s" / "selector.json").read_text(encoding="utf-8"))
    assert head["about"]["calibrated by"] == record["calibrated_by"]


def test_evaluate_estimates_the_gain(run: Run, log: Path) -> None:
    options = [*QUICK, "--outer-folds", "3"]
    code, out, err = run("evaluate", log, *options, "--json")
    assert (code, err) == (0, "")
    record = json.loads(out, parse_constant=pytest.fail)
    assert record["verdict"] == "deploy"
    assert "estimated: doubly robust, propensities logged" in record["reason"]
    row = record["rows"][0]
    assert row["gain_ci95"][0] > 0.05
    assert (row["oracle"], row["lookup"], row["rows"]) == (None, None, 450)
    code, out, _ = run("evaluate", log, *options)
    assert code == 0
    assert "oracle" not in out
    assert "deploy: gain over the best single prompt" in out


@pytest.mark.parametrize("known", [True, False])
def test_a_test_split_of_one_group(run: Run, log: Path, tmp_path: Path, known: bool) -> None:
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    for i, row in enumerate(rows):
        row["split"] = "train" if i % 4 else "test"
        if row["split"] == "test":
            row["group"] = "one"
        if not known:
            del row["propensity"]
    path = tmp_path / "one.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = run("evaluate", path, *QUICK, "--protocol", "split", "--json")
    assert (code, err) == (4, "")
    assert "the tested queries are of one group" in json.loads(out)["reason"]


def test_a_log_without_support_gives_a_sentence_instead_of_numbers(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "sharp.jsonl"
    rng = np.random.default_rng(3)
    rows = []
    for i in range(200):
        kind = i % 2  # decides the prompt
        text = f"{('Briefly', 'Please tell me at length')[kind]}: {rng.integers(999)} and {i}?"
        outcome = int(rng.random() < (0.7, 0.4)[kind])
        rows.append({"id": f"q{i}", "query": text, "arm": "ab"[kind], "outcome": outcome})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, _ = run("evaluate", str(path), *QUICK)
    assert code == 4
    assert "nan" not in out.replace("\n", " ").split("insufficient evidence")[0]
    assert "sharp, grouped, 200 queries: what choosing a prompt" in " ".join(out.split())
    assert "'treeward prompt next' says what to run" in " ".join(out.split())
    code, out, _ = run("evaluate", str(path), *QUICK, "--json")
    assert code == 4
    assert json.loads(out)["rows"][0]["gain"] is None
