"""The commands next, explain, drift and report on one small log: exit codes, JSON, messages."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from command_line import Run
from test_prompt_drift import asked, fitted, log_of

from prompt_oirl.audit.report import FORMAT
from prompt_oirl.logs.log import PromptLog


@pytest.fixture
def run(run: Run) -> Run:
    """Runs ``treeward prompt``; returns (exit code, stdout, stderr)."""
    return partial(run, "prompt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A selector, the log it was fitted on, a new log, and a log that has changed."""
    place = tmp_path_factory.mktemp("operation")
    log, selector = fitted()
    selector.save(place / "selector")
    write(log, place / "old.jsonl")
    write(log_of(asked(100, 2), 2), place / "new.jsonl")
    write(log_of(asked(200, 3), 3, (0.1, 0.1)), place / "changed.jsonl")
    write(log_of(asked(60, 4), 4), place / "partial.jsonl", every=2)
    together = [replace(query, group="one") for query in asked(60, 5)]
    write(log_of(together, 5), place / "one_group.jsonl")
    return place


def write(log: PromptLog, path: Path, every: int = 1) -> None:
    cells = list(zip(log.query, log.arm, log.outcome))[::every]
    rows = [
        {
            "id": log.queries[query].id,
            "query": log.queries[query].text,
            "group": log.queries[query].group,
            "arm": log.arms[arm].name,
            "outcome": outcome,
        }
        for query, arm, outcome in cells
    ]
    if every > 1:  # so that both prompts are in the log
        rows.append({**rows[0], "arm": "short"})
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")


def test_next(run: Run, folder: Path, tmp_path: Path) -> None:
    options = ("--selector", folder / "selector", "--count", 3)
    code, out, _ = run("next", folder / "partial.jsonl", *options, "--json")
    cells = json.loads(out)["cells"]
    assert code == 0
    assert len(cells) == 3
    assert {cell["arm"] for cell in cells} == {"short"}
    assert run("next", folder / "partial.jsonl", *options)[0] == 0
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_text((folder / "partial.jsonl").read_text() + "{\n")
    code, _, err = run("next", damaged, *options)
    assert code == 0
    assert "1 faults in" in err
    code, _, err = run("next", folder / "old.jsonl", *options)
    assert code == 2
    assert "nothing is left to run" in err


def test_next_of_the_example(run: Run) -> None:
    code, out, err = run("next", "--count", 5, "--json")
    assert (code, len(json.loads(out)["cells"])) == (0, 5)
    assert err.startswith("treeward: the example was run in full; taken as if ")
    assert len(err.splitlines()) == 1
    assert run("next", "--count", 5, "--json")[1] == out


def test_next_of_queries_that_were_never_run(run: Run, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "queries"
    known = json.loads((folder / "old.jsonl").read_text().splitlines()[0])["query"]
    path.write_text(f'How many are 7 and 8?\n{{"query": "Which colour?"}}\n{known}\n')
    words = ("next", folder / "old.jsonl", "--queries", path, "--count", 9, "--json")
    code, out, _ = run(*words)
    cells = json.loads(out)["cells"]
    assert code == 0
    assert {cell["query"] for cell in cells} == {"How many are 7 and 8?", "Which colour?"}
    assert len(cells) == len({(cell["query"], cell["arm"]) for cell in cells})
    path.write_text("{}\n")
    code, _, err = run(*words)
    assert code == 2
    assert "line 1: no JSON object with a 'query'" in err


def test_explain(run: Run, folder: Path) -> None:
    options = ("--selector", folder / "selector", "--log", folder / "old.jsonl")
    code, out, _ = run("explain", "How many of 3 cats are left?", *options, "--json")
    found = json.loads(out)
    assert code == 0
    assert {view["arm"] for view in found["arms"]} == {"long", "short"}
    assert len(found["similar"]) == 5
    code, out, _ = run("explain", "Où sont 3 cats?", *options, "--json")
    assert (code, out.isascii()) == (0, True)  # whatever the encoding of stdout
    code, _, err = run("explain", " ", *options)
    assert code == 2
    assert "empty" in err
    assert run("explain", "a", "--selector", folder / "none")[0] == 2


def test_drift(run: Run, folder: Path) -> None:
    options = ("--selector", folder / "selector")
    code, out, _ = run("drift", *options, "--log", folder / "new.jsonl", "--json")
    assert code == 0
    assert json.loads(out)["drift"] is False
    code, out, _ = run("drift", *options, "--log", folder / "changed.jsonl")
    assert code == 3
    assert out.rstrip().endswith("Drift.")
    code, out, _ = run("drift", *options, "--log", folder / "one_group.jsonl")
    assert code == 4
    assert "not tested: feature, all: 1 effective groups" in out
    assert "Cannot be judged" in out
    code, out, _ = run("drift", *options, "--log", folder / "one_group.jsonl", "--json")
    assert (code, json.loads(out)["judged"], json.loads(out)["drift"]) == (4, False, False)


@pytest.mark.parametrize("command", ["next", "drift", "audit", "ope"])
@pytest.mark.parametrize("seed", [-1, 2**31, 10**30])
def test_seeds(run: Run, folder: Path, command: str, seed: int) -> None:
    log = ["--log"] if command == "drift" else []
    code, out, err = run(command, *log, folder / "partial.jsonl", "--seed", seed)
    assert (code, out) == (2, "")
    assert "--seed" in err


def test_report(run: Run, folder: Path, tmp_path: Path) -> None:
    page, evaluation = tmp_path / "page.html", tmp_path / "evaluation.json"
    evaluation.write_text(json.dumps({"rows": [{}], "verdict": "hold", "reason": "a test"}))
    words = (folder / "old.jsonl", "--evaluation", evaluation, "--selector", folder / "selector")
    code, out, _ = run("report", *words, "--out", page, "--json")
    assert code == 0
    found = json.loads(out)
    text = page.read_text(encoding="utf-8")
    assert found["sha256"]["old.jsonl"] in text
    assert "<h2>Audit" in text
    assert "hold" in text
    code, _, err = run("report", *words, "--out", tmp_path / "no" / "page.html")
    assert code == 2
    assert "cannot write" in err


def test_a_report_of_another_logs_results(run: Run, folder: Path, tmp_path: Path) -> None:
    audit = {"format": FORMAT, "log": "new"}
    for what, record in (("audit", audit), ("evaluation", {"rows": [{"log": "new"}]})):
        path, page = tmp_path / f"{what}.json", tmp_path / "page.html"
        path.write_text(json.dumps(record))
        code, _, err = run("report", folder / "old.jsonl", f"--{what}", path, "--out", page)
        assert code == 2
        assert f"{path} is of the log 'new', not of 'old'" in err
        assert not page.exists()


def test_a_report_of_other_commands_results(run: Run, folder: Path, tmp_path: Path) -> None:
    audit, evaluation = tmp_path / "audit.json", tmp_path / "evaluation.json"
    log, page = folder / "old.jsonl", tmp_path / "page.html"
    audit.write_text(run("audit", log, "--json")[1])
    evaluation.write_text(json.dumps({"rows": [{"log": "old"}], "verdict": "hold"}))
    assert run("report", log, "--audit", audit, "--evaluation", evaluation, "--out", page)[0] == 0
    page.unlink()
    for words, fault in (
        (["--audit", evaluation], f"{evaluation} is not what 'prompt audit --json' printed"),
        (["--evaluation", audit], f"{audit} is not what 'prompt evaluate --json' printed"),
    ):
        code, _, err = run("report", log, *words, "--out", page)
        assert code == 2
        assert err.count("\n") == 1
        assert fault in err
        assert not page.exists()


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"reliability": 5}, "'reliability' of row 1 is no list of [predicted, outcome, cells]"),
        ({"reliability": [[0.1, None, 3]]}, "'reliability' of row 1 is no list"),
        ({"curve": [{}]}, "'curve' of row 1 is no list of objects with the numbers 'candidates'"),
        ({"over_optimisation": {"candidates": 1}}, "'over_optimisation' of row 1 is no list"),
        (5, "'rows' is no list of objects"),
    ],
)
def test_a_report_of_damaged_results(
    run: Run, folder: Path, tmp_path: Path, row: object, fault: str
) -> None:
    path, page = tmp_path / "evaluation.json", tmp_path / "page.html"
    path.write_text(json.dumps({"rows": [row]}))
    code, out, err = run("report", folder / "old.jsonl", "--evaluation", path, "--out", page)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"treeward: {path}: {fault}")
    assert not page.exists()


def test_a_report_of_a_damaged_audit(run: Run, folder: Path, tmp_path: Path) -> None:
    path, page = tmp_path / "audit.json", tmp_path / "page.html"
    for findings in (5, [5]):
        path.write_text(json.dumps({"format": FORMAT, "log": "old", "findings": findings}))
        code, out, err = run("report", folder / "old.jsonl", "--audit", path, "--out", page)
        assert (code, out) == (2, "")
        assert err == f"treeward: {path}: 'findings' is no list of objects\n"
        assert not page.exists()


def test_a_reports_own_audit_is_that_of_the_command(run: Run, folder: Path, tmp_path: Path) -> None:
    """With lines that cannot be used, a column that is no field, and contradicting answers."""
    rows = [json.loads(line) for line in (folder / "old.jsonl").read_text().splitlines()]
    rows = [{**row, "gold": row["query"], "colour": "red"} for row in rows]
    rows[2]["query"] = rows[0]["query"]
    rows[3]["query"] = rows[0]["query"]
    log, page, evaluation = (tmp_path / name for name in ("old.jsonl", "page.html", "e.json"))
    log.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {**rows[0], "outcome": 7}]))
    evaluation.write_text(json.dumps({"rows": [{}], "verdict": "hold", "reason": "a test"}))
    assert run("report", log, "--evaluation", evaluation, "--out", page)[0] == 0
    text = html.unescape(page.read_text(encoding="utf-8"))
    found = json.loads(run("audit", log, "--json")[1])["findings"]
    assert {"malformed-lines", "unused-columns", "gold-answers"} <= {one["check"] for one in found}
    assert all(one["sentence"] in text for one in found)
