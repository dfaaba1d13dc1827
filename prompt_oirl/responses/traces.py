"""Responses out of treeward's own traces: every whole answer of a tree is a response.

A whole answer ends with an end of sequence ("eos"). What ends with a step ("stop") was not gone on
with: pruned, not reached, or a step that the verifier does not allow. "length" was cut off.

A search that a verifier ends stops at the first right path, so a right path is then always the last
one and says little of others: draw responses to learn from with ``treeward solve --no-verifier``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prompt_oirl.apply import query_of_trace
from prompt_oirl.errors import BadLog
from prompt_oirl.responses.response_set import ResponseSet, Row, response_set
from search.interfaces import Verifier
from search.json_text import parse_json
from search.problem import Problem

FORMAT = "treeward-trace"


def responses_of_trace(
    path: str | Path, verifier: Verifier | None = None, problems: Iterable[Problem] = ()
) -> ResponseSet:
    """The whole answers to each problem, in the order of their last step.

    Args:
        path: written by ``treeward solve --trace``.
        verifier: judges paths that the search did not; without one their correctness is unknown.
        problems: that were searched, for a verifier that needs more facts than a puzzle's prompt.

    Raises:
        BadLog: the file cannot be read, is no trace, or has no whole answer.
    """
    rows: list[Row] = []
    known = {problem.id: problem for problem in problems}
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadLog(f"{path}: cannot be read ({error})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = parse_json(line)
            if not is_trace(record):
                raise ValueError("another format")
            rows += _paths(record, verifier, known)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise BadLog(f"{path}, line {number}: no trace of treeward ({error})") from error
    if not rows:
        raise BadLog(f"{path}: no path of any problem is finished")
    return response_set(rows)


def is_trace(record: Any) -> bool:
    """Whether a line's object is a search that ``treeward solve --trace`` wrote down."""
    return isinstance(record, dict) and record.get("format") == FORMAT


def finished_paths(record: Mapping[str, Any], verifier: Verifier | None = None) -> list[Row]:
    """The finished paths of one search, as rows of responses.

    Args:
        record: the line of a trace.
        verifier: judges paths that the search did not; without one their correctness is unknown.

    Raises:
        BadLog: the record is damaged, or no path is finished.
    """
    try:
        rows = _paths(record, verifier, {})
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BadLog(f"a damaged trace ({error})") from error
    if not rows:
        raise BadLog("no path is finished")
    return rows


def _paths(
    record: Mapping[str, Any], verifier: Verifier | None, known: dict[str, Problem]
) -> list[Row]:
    nodes = record["nodes"]
    name = str(record["id"])
    problem = known.get(name) or _problem(str(record["prompt"]), name)
    rows = []
    for place, node in enumerate(nodes):
        if node["finish"] != "eos":
            continue
        steps: list[str] = []
        at = place
        while at > 0:
            if not 0 <= nodes[at]["parent"] < at:
                raise ValueError(f"the parent of node {at} does not stand before it")
            steps.insert(0, nodes[at]["text"])
            at = nodes[at]["parent"]
        verdict, key = node["verdict"], node["answer"]
        if verdict is None and verifier is not None:
            judged = verifier.check(problem, steps)
            verdict, key = judged.right, judged.key
        # An answer that nobody could judge is what stands last: the grader finds it better.
        vote = {} if verdict is None else {"key": key}
        rows.append(
            {
                "query_id": problem.id,
                "query": problem.prompt.strip() or query_of_trace(record),
                "response": "".join(steps).strip(),
                "correct": None if verdict is None else int(verdict),
                **vote,
            }
        )
    return rows


def _problem(prompt: str, name: str) -> Problem:
    """The problem of a prompt; a puzzle's prompt states all that there is to know of it."""
    from search.puzzles.format import parse_prompt

    try:
        puzzle = parse_prompt(prompt)
    except ValueError:
        return Problem(prompt, name)
    return Problem(prompt, name, {"numbers": list(puzzle.numbers), "target": puzzle.target})
