"""``treeward prompt audit``: exit codes, JSON, the table, and malformed files."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from command_line import Run


@pytest.fixture
def run(run: Run) -> Run:
    """Runs ``treeward prompt audit``; returns (exit code, stdout, stderr)."""
    return partial(run, "prompt", "audit")


def rows(leak: bool) -> list[dict[str, Any]]:
    words = ["ant", "bee", "cow", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay"]
    made = [
        {
            "id": f"q{i}",
            "query": f"Tell me [everything] about the {word} and what it eats.",
            "split": "train" if i < 7 else "test",
            "gold": word,
            "y": {"short": i % 2, "long": (i // 2) % 2},
        }
        for i, word in enumerate(words)
    ]
    if leak:
        made[9]["query"], made[9]["gold"] = made[0]["query"], "another"
    return made


def written(path: Path, records: list[Any]) -> Path:
    lines = [one if isinstance(one, str) else json.dumps(one) for one in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_clean_log_passes(run: Run, tmp_path: Path) -> None:
    code, out, err = run(written(tmp_path / "log.jsonl", rows(leak=False)))
    assert (code, err) == (0, "")
    assert "Passed" in out
    assert "exact-duplicates" in out


def test_leakage_fails_unless_allowed(run: Run, tmp_path: Path) -> None:
    path = written(tmp_path / "log.jsonl", rows(leak=True))
    code, out, _ = run(path)
    assert code == 2
    assert "1 of 3 (33.3 %) queries of 'test' occur word for word in 'train'" in out
    assert "Failed" in out
    assert "[everything]" in out  # no markup
    code, out, _ = run(path, "--allow-leakage")
    assert code == 0
    assert "Passed" in out


def test_allowed_leakage_does_not_excuse_other_errors(run: Run, tmp_path: Path) -> None:
    path = written(
        tmp_path / "log.jsonl", [{**row, "y": {"short": 0, "long": 0}} for row in rows(True)]
    )
    assert run(path, "--allow-leakage")[0] == 2


def test_json(run: Run, tmp_path: Path) -> None:
    code, out, err = run(written(tmp_path / "log.jsonl", rows(leak=True)), "--json")
    record = json.loads(out)
    assert (code, err) == (2, "")
    assert record["failed"] is True
    assert record["leaks"] == [{"split": "test", "queries": 3, "leaking": 1, "share": 1 / 3}]
    assert record["severities"]["error"] >= 1
    found = [one for one in record["findings"] if one["check"] == "exact-duplicates"]
    assert found[0]["severity"] == "error"
    assert found[0]["counts"] == {"split": "test", "queries": 3, "leaking": 1}
    gold = [one for one in record["findings"] if one["check"] == "gold-answers"]
    assert gold[0]["counts"] == {"texts": 1, "queries": 2}
    assert "q0 = ant, q9 = another" in gold[0]["examples"][0]


def test_malformed_lines_are_named_and_counted(run: Run, tmp_path: Path) -> None:
    records = [*rows(leak=False), "{not json", {**rows(False)[0], "id": "x", "y": {"short": 7}}]
    code, out, _ = run(written(tmp_path / "log.jsonl", records), "--json")
    (found,) = [f for f in json.loads(out)["findings"] if f["check"] == "malformed-lines"]
    assert code == 0
    assert found["severity"] == "warning"
    assert found["counts"]["lines"] == 2
    assert any("line 11" in example for example in found["examples"])
    assert any("line 12" in example for example in found["examples"])


def test_columns_without_use_are_named(run: Run, tmp_path: Path) -> None:
    records = [{**row, "price_paid": 3} for row in rows(leak=False)]
    path = written(tmp_path / "log.jsonl", records)
    (found,) = [
        one for one in json.loads(run(path, "--json")[1])["findings"] if "columns" in one["counts"]
    ]
    assert (found["severity"], found["counts"]["columns"]) == ("note", ["price_paid"])
    found = json.loads(run(path, "--column", "cost=price_paid", "--json")[1])["findings"]
    assert "unused-columns" not in {one["check"] for one in found}
    many = [{**row, **{f"c{i}": 0 for i in range(12)}} for row in rows(leak=False)]
    assert "and 4 more" in run(written(tmp_path / "log.jsonl", many))[1]


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_unusual_columns_of_a_table(run: Run, tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "log.csv"
    lines = [["number", "asked", "part", "prompt_id", "score", "target"]]
    for row in rows(leak=True):
        for arm, outcome in row["y"].items():
            lines.append([row["id"], row["query"], row["split"], arm, str(outcome), row["gold"]])
    path.write_text("\n".join(delimiter.join(line) for line in lines) + "\n")
    words = ["--column", "id=number", "--column", "query=asked", "--split-column", "part"]
    code, out, _ = run(path, *words, "--json")
    record = json.loads(out)
    assert code == 2
    assert record["leaks"][0]["leaking"] == 1
    assert "gold-answers" in {found["check"] for found in record["findings"]}


def test_odd_texts_can_be_printed(run: Run, tmp_path: Path) -> None:
    records = rows(leak=False)
    records[0]["query"] = records[9]["query"] = "\ud800 \x1b[1m [bold] 日本語 " + "9" * 400
    path = written(tmp_path / "log.jsonl", records)
    assert run(path)[0] == 2
    assert json.loads(run(path, "--json")[1])["leaks"][0]["leaking"] == 1


def test_near_threshold(run: Run, tmp_path: Path) -> None:
    path = written(tmp_path / "log.jsonl", rows(leak=False))
    code, out, _ = run(path, "--near-threshold", "0.3", "--json")
    assert code == 2
    assert json.loads(out)["near_threshold"] == 0.3
    assert json.loads(out)["leaks"][0]["leaking"] == 3


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["nowhere.jsonl"], "cannot read nowhere.jsonl"),
        (["--near-threshold", "1.5"], "must be in (0, 1]"),
        (["--split-column", "nosuch"], "no column 'nosuch'"),
        (["--column", "split"], "field=column"),
    ],
)
def test_bad_words(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], part: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "log.jsonl", rows(leak=False))
    code, out, err = run(*([path] if words[0].startswith("--") else []), *words)
    assert (code, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("treeward: ")
    assert part in err


def test_the_bundled_log_passes(run: Run) -> None:
    code, out, _ = run("--json")
    record = json.loads(out)
    assert code == 0
    assert record["severities"]["error"] == 0
    assert record["arms"] >= 2


def test_help_has_an_example(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert "treeward prompt audit log.jsonl" in out
