"""``treeward prompt grade``: texts of answers in, a log and a report out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Run

from prompt_oirl.logs.grade import grade_answers
from prompt_oirl.logs.read import read_log
from reward_bridge.verifiers import MultipleChoiceGrader, load_grader

LINES = [
    {
        "id": "q1",
        "query": "How many?",
        "arm": "cot",
        "answer": "It is 1,200.",
        "gold": "#### 1,200",
    },
    {
        "id": "q1",
        "query": "How many?",
        "arm": "tot",
        "answer": "First we count all the",
        "gold": 1200,
    },
    {"id": "q2", "query": "Loss?", "arm": "cot", "answer": "so -7", "gold": "7", "cost": 0.5},
    {"id": "q2", "query": "Loss?", "arm": "cot", "answer": "so 7", "gold": "7", "split": "test"},
    {"id": "q2", "query": "Loss?", "arm": "cot", "answer": "so 7"},
    {"id": "q2", "query": "Loss?", "arm": "cot", "answer": "so 7", "gold": "seven"},
    {"id": "q2", "query": "Loss?", "arm": "cot", "answer": None, "gold": "7"},
    {"id": "q2", "query": "Loss?", "answer": "so 7", "gold": "7"},
]


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES) + "broken\n")
    return path


def test_grading(answers: Path) -> None:
    graded = grade_answers(answers, load_grader("gsm8k"))
    log = graded.reading.log
    np.testing.assert_array_equal(log.grid(), [[1, 0], [0.5, np.nan]])
    assert log.tokens.tolist() == [3, 22 / 4, 5 / 4, 1]
    assert log.cost[2] == 0.5
    assert [query.split for query in log.queries] == ["", "test"]
    assert {problem.line: problem.reason.split(" (")[0] for problem in graded.reading.problems} == {
        5: "no known answer",
        6: "the gold 'seven' cannot be read by gsm8k",
        7: "no text of an answer",
        8: "no arm",
        9: "answers.jsonl: not JSON",
    }
    assert graded.lines == [1, 2, 3, 4]
    assert graded.by_arm == {"cot": (3, 0), "tot": (1, 1)}


def test_measures_that_are_no_numbers(tmp_path: Path) -> None:
    """As in a log that is read: a propensity that is lost would be estimated."""
    path = tmp_path / "answers.jsonl"
    cell = {"query": "How many?", "arm": "a", "answer": "18", "gold": "18", "run": 0}
    rows = [
        json.dumps(cell | {"cost": 0.5, "propensity": 0.25}),
        json.dumps(cell | {"run": 1, "cost": "0.5"}),
        json.dumps(cell | {"run": 2, "tokens": float("nan")}),
        json.dumps(cell | {"run": 3, "propensity": "0.25"}),
        json.dumps(cell | {"run": 4, "cost": None}),
    ]
    path.write_text("\n".join(rows))
    reading = grade_answers(path, load_grader("numeric")).reading
    assert reading.log.propensity.tolist()[0] == 0.25
    assert reading.log.run.tolist() == [0, 4]
    assert reading.problems == [
        (2, 'the cost is not a number: "0.5"'),
        (3, "the tokens is not a number (NaN)"),
        (4, 'the propensity is not a number: "0.25"'),
    ]


def test_options_come_from_the_query(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    row = {"query": "Sky? (A) red (B) blue", "arm": "a", "response": "It is blue", "target": "B"}
    path.write_text(json.dumps(row))
    assert grade_answers(path, MultipleChoiceGrader()).reading.log.outcome.tolist() == [1]


def test_an_answer_that_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    cell = {"query": "How many?", "arm": "a", "gold": 7}
    rows = [cell | {"answer": 7}, cell | {"answer": 7.5}, cell | {"answer": 8, "response": "7"}]
    rows += [cell | {"answer": True}, cell | {"answer": float("nan")}, cell | {"answer": "7"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    reading = grade_answers(path, load_grader("numeric")).reading
    assert reading.log.outcome.tolist() == [1, 0, 1, 1]
    assert [problem.line for problem in reading.problems] == [4, 5]


def test_two_texts_that_may_be_the_answer(tmp_path: Path) -> None:
    """The known answer under the name `answer` would be graded against itself."""
    path = tmp_path / "answers.jsonl"
    cell = {"query": "How many?", "arm": "a", "gold": "18"}
    rows = [
        cell | {"answer": "18", "response": "it is 17"},
        cell | {"query": "And?", "answer": None, "response": "it is 18"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    reading = grade_answers(path, load_grader("numeric")).reading
    assert reading.log.outcome.tolist() == [1]
    assert [problem.line for problem in reading.problems] == [1]
    assert reading.problems[0].reason.startswith("'answer' and 'response' may both be the answer")
    reading = grade_answers(path, load_grader("numeric"), answer_field="response").reading
    assert (reading.log.outcome.tolist(), reading.problems) == ([0, 1], [])


def test_the_field_of_the_answer_from_the_command_line(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    row = {"query": "How many?", "arm": "a", "gold": "18", "answer": "18", "response": "it is 17"}
    path.write_text(json.dumps(row))
    code, _, err = run("prompt", "grade", str(path))
    assert code == 2
    assert "--answer-field" in err
    code, out, _ = run("prompt", "grade", str(path), "--answer-field", "response", "--json")
    assert code == 0
    assert json.loads(out)["accuracy"]["numeric"] == 0


def test_command(run: Run, answers: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "log.jsonl", tmp_path / "report.json"
    words = [str(answers), "--grader", "gsm8k", "--out", str(out), "--report", str(report)]
    code, text, err = run("prompt", "grade", *words, "--json")
    assert (code, err) == (0, "")
    record = json.loads(text)
    assert record == json.loads(report.read_text())
    assert record["accuracy"] == {"gsm8k": 0.5, "numeric": 0.5, "oirl-released": 0.75}
    assert record["unread"] == {"gsm8k": 1, "numeric": 1, "oirl-released": 1}
    assert [entry["line"] for entry in record["disagreements"]] == [3]
    assert record["truncated_examples"][0]["line"] == 2
    assert (record["cells"], record["problems"]) == (4, 5)
    np.testing.assert_array_equal(read_log(out).log.grid(), [[1, 0], [0.5, np.nan]])
    code, text, err = run("prompt", "grade", *words, "--compare", "exact", "--length-cap", "12")
    assert code == 0
    assert "gsm8k and exact disagree on 2 answers" in text
    assert "as long as the cap 2" in text
    assert "5 could not be used" in err


def test_half_of_a_surrogate_pair_in_the_report(run: Run, tmp_path: Path) -> None:
    path, report = tmp_path / "answers.jsonl", tmp_path / "report.json"
    path.write_text(json.dumps({"query": "é?", "arm": "a\ud83d", "answer": "18", "gold": "18"}))
    words = ("--out", str(tmp_path / "log.jsonl"), "--report", str(report))
    code, _, err = run("prompt", "grade", str(path), *words, "--json")
    assert (code, err) == (0, "")
    assert json.loads(report.read_bytes())["arms"] == ["a\ud83d"]
    assert read_log(tmp_path / "log.jsonl").log.arm_names == ["a\ud83d"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["{answers}", "--grader", "best"], "unknown grader 'best'"),
        (["missing.jsonl"], "cannot read missing.jsonl"),
        (["{answers}", "--compare", "numeric"], "an extractor is named twice"),
        (["{answers}", "--out", "log.csv"], "not to log.csv"),
        (
            ["{answers}", "--report", "{empty}/r.json"],
            "r.json: there is no folder {empty}",
        ),
        (["{empty}"], "holds nothing that can be used"),
    ],
)
def test_errors(run: Run, answers: Path, tmp_path: Path, words: list[str], reason: str) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    places = {"answers": answers, "empty": tmp_path / "empty.jsonl"}
    code, out, err = run("prompt", "grade", *(word.format(**places) for word in words))
    assert (code, out) == (2, "")
    assert err.startswith("treeward: ")
    assert reason.format(**places) in err
