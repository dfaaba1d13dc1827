"""JSON that is nested too deeply for Python's reader: one sentence, wherever a file is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Run

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.importers.importing import import_log
from prompt_oirl.logs.read import read_log
from prompt_oirl.responses.traces import responses_of_trace
from search.json_text import parse_json
from search.problem import read_problems

DEEP = "[" * 100_000 + "]" * 100_000
CELL = {"id": "q1", "query": "How many?", "arm": "a", "outcome": 1}


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A file with one line that is too deep."""
    path = tmp_path / "deep.jsonl"
    path.write_text(f'{{"query": {DEEP}}}\n')
    return path


@pytest.mark.parametrize("text", [DEEP, "1" * 5000])
def test_what_json_cannot_read(text: str) -> None:
    with pytest.raises(ValueError, match="too deep, or a number too long"):
        parse_json(text)


@pytest.mark.parametrize(
    "words",
    [
        "prompt grade deep.jsonl",
        "prompt select --file deep.jsonl",
        "prompt select x --prompts deep.jsonl",
        "prompt report log.jsonl --audit deep.jsonl",
        "prompt import deep.jsonl --from promptfoo --out out.jsonl",
        "prompt import deep.jsonl --from lm-eval --out out.jsonl",
        "prompt import deep.jsonl --from inspect --out out.jsonl",
        "prompt import deep.jsonl --from treeward --out out.jsonl",
        "prompt import log.jsonl --from treeward --queries deep.jsonl --out out.jsonl",
        "prompt import log.jsonl --from lm-eval --prompts deep.jsonl --out out.jsonl",
        "prompt responses evaluate deep.jsonl",
        "prompt audit beside.jsonl",
        "solve --file deep.jsonl --model none",
    ],
)
def test_commands(
    run: Run, deep: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("log.jsonl", "beside.jsonl"):
        Path(name).write_text(json.dumps(CELL) + "\n")
    if "beside" in words:
        deep.rename("beside.meta.json")
    code, out, err = run(*words.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "deep.jsonl" in err or "beside.meta.json" in err


def test_importers_leave_out_the_line(tmp_path: Path) -> None:
    good = {"doc_id": 0, "doc": {"question": "How many?"}, "exact_match": 1, "filter": "none"}
    path = tmp_path / "samples_plain_2025-01-01T00-00-00.jsonl"
    path.write_text(f"{DEEP}\n{json.dumps(good)}\n")
    found = import_log("lm-eval", [path])
    assert [problem.line for problem in found.problems] == [1]
    assert len(found.log.queries) == 1


def test_traces(deep: Path) -> None:
    with pytest.raises(BadLog, match=r"deep.jsonl, line 1: no trace of treeward \(too deep"):
        responses_of_trace(deep)


@pytest.mark.parametrize("field", ["query", "arm", "outcome"])
def test_as_deep_as_can_be_read(tmp_path: Path, field: str) -> None:
    """What is just readable may be too deep to be shown."""
    path = tmp_path / "log.jsonl"
    for depth in range(850, 1000):
        line = json.dumps(CELL | {"id": "q2", field: "@"})
        line = line.replace('"@"', '{"a":' * depth + "1" + "}" * depth)
        path.write_text(f"{json.dumps(CELL)}\n{line}\n")
        found = read_log(path)
        assert {problem.line for problem in found.problems} == {2}


def test_problems_as_deep_as_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    for depth in range(850, 1000):
        path.write_text(f'{{"prompt": "x"}}\n{{"id": {"[" * depth}{"]" * depth}}}\n')
        problems, bad = read_problems(path)
        assert [len(problems), [line.line for line in bad]] == [1, [2]]
