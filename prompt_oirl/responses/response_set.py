"""Responses to queries: [query, thoughts, correctness], the last step of reward learning from logs.

One JSON object a line: {"query_id", "query", "response", "correct": 0 or 1, and if known "answer"
(the final answer in canonical form) and "group" (queries to keep on one side of a split)}.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.errors import BadLog

if TYPE_CHECKING:
    from reward_bridge.verifiers.grader import Grader


@dataclass(frozen=True)
class ResponseSet:
    """Responses, those of one query in the order in which they were drawn.

    Attributes:
        query_text: of each query, ``[Q]``.
        group: number of the group of each query, ``[Q]``.
        query: index of the query of each response, ``[N]``.
        text: of each response, ``[N]``.
        answer: final answer in canonical form, ``[N]``; None where there is none.
        correct: in 0..1, ``[N]``; NaN where unknown.
    """

    query_text: tuple[str, ...]
    group: NDArray[np.int64]
    query: NDArray[np.int64]
    text: tuple[str, ...]
    answer: tuple[str | None, ...]
    correct: NDArray[np.float64]

    def only_queries(self, keep: NDArray[np.bool_]) -> ResponseSet:
        """The responses of some queries, ``[Q]``."""
        place = np.cumsum(keep) - 1
        rows = np.flatnonzero(keep[self.query])
        return ResponseSet(
            tuple(text for text, kept in zip(self.query_text, keep) if kept),
            self.group[keep],
            place[self.query[rows]],
            tuple(self.text[row] for row in rows),
            tuple(self.answer[row] for row in rows),
            self.correct[rows],
        )


def response_set(rows: list[dict[str, Any]], grader: Grader | None = None) -> ResponseSet:
    """Responses from rows with the keys above.

    Args:
        rows: one a response.
        grader: finds the final answer where a row has none; a numeric one by default.

    Raises:
        BadLog: a key is missing, ``correct`` is out of range, a query has two texts, or no rows.
    """
    from reward_bridge.verifiers.numeric import NumericGrader

    grader = grader or NumericGrader()
    if not rows:
        raise BadLog("there are no responses")
    ids: dict[str, int] = {}
    texts: list[str] = []
    groups: list[str] = []
    query, correct, answers = [], [], []
    for number, row in enumerate(rows, 1):
        for key in ("query_id", "query", "response"):
            if not isinstance(row.get(key), str):
                raise BadLog(f"response {number}: '{key}' is missing or no text")
        known = row.get("correct")
        value = np.nan if known is None else known
        if not isinstance(value, (int, float)) or value < 0 or value > 1:
            raise BadLog(f"response {number}: 'correct' is {known!r}, not in 0..1")
        place = ids.setdefault(row["query_id"], len(ids))
        if place == len(texts):
            texts.append(row["query"])
            groups.append(str(row.get("group", row["query_id"])))
        elif texts[place] != row["query"]:
            raise BadLog(f"response {number}: query '{row['query_id']}' has two texts")
        query.append(place)
        correct.append(float(value))
        found = row.get("answer")
        answers.append(
            str(found) if found is not None else grader.canonical_key(row["response"], row["query"])
        )
    return ResponseSet(
        tuple(texts),
        np.unique(groups, return_inverse=True)[1].astype(np.int64),
        np.array(query, dtype=np.int64),
        tuple(row["response"] for row in rows),
        tuple(answers),
        np.array(correct),
    )


def read_responses(path: str | Path, grader: Grader | None = None) -> ResponseSet:
    """Responses of a JSONL file, compressed by gzip or not.

    Raises:
        BadLog: as :func:`response_set`, or a line is no JSON object, or the file cannot be read.
    """
    from prompt_oirl.logs.read import open_bytes

    rows = []
    try:
        with open_bytes(Path(path)) as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError:
                    row = None
                if not isinstance(row, dict):
                    raise BadLog(f"{path}, line {number}: no JSON object")
                rows.append(row)
    except OSError as error:
        raise BadLog(f"cannot read {path}: {error.strerror or error}") from error
    return response_set(rows, grader)
