"""Responses out of treeward's own traces: every finished path of a tree is a response."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prompt_oirl.errors import BadLog
from prompt_oirl.responses.response_set import ResponseSet, response_set
from search.interfaces import Verifier
from search.problem import Problem


def responses_of_trace(
    path: str | Path, verifier: Verifier | None = None, problems: Iterable[Problem] = ()
) -> ResponseSet:
    """The finished paths of each problem, in the order of their last step.

    Args:
        path: written by ``treeward solve --trace``.
        verifier: judges paths that the search did not; without one their correctness is unknown.
        problems: that were searched, for a verifier that needs their facts; a trace has none.

    Raises:
        BadLog: the file cannot be read, is no trace, or has no finished path.
    """
    rows: list[dict[str, Any]] = []
    known = {problem.id: problem for problem in problems}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadLog(f"{path}: cannot be read ({error})") from error
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            if record["format"] != "treeward-trace":
                raise ValueError("another format")
            rows += _finished_paths(record, verifier, known)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise BadLog(f"{path}, line {number}: no trace of treeward ({error})") from error
    if not rows:
        raise BadLog(f"{path}: no path of any problem is finished")
    return response_set(rows)


def _finished_paths(
    record: dict[str, Any], verifier: Verifier | None, known: dict[str, Problem]
) -> list[dict[str, Any]]:
    nodes = record["nodes"]
    name = str(record["id"])
    problem = known.get(name) or Problem(str(record["prompt"]), name)
    parents = {node["parent"] for node in nodes}
    rows = []
    for place, node in enumerate(nodes):
        if place == 0 or place in parents or node["finish"] == "length":
            continue
        steps: list[str] = []
        at = place
        while at > 0:
            steps.insert(0, nodes[at]["text"])
            at = nodes[at]["parent"]
        verdict, answer = node["verdict"], node["answer"]
        if verdict is None and verifier is not None:
            judged = verifier.check(problem, steps)
            verdict, answer = judged.right, judged.answer or answer
        rows.append(
            {
                "query_id": problem.id,
                "query": problem.prompt.strip(),
                "response": "".join(steps).strip(),
                "correct": None if verdict is None else int(verdict),
                "answer": answer or "".join(steps).strip(),
            }
        )
    return rows
