"""Traces: one JSON line a problem, with its whole tree.

Nodes are in the order of creation; row 0 is the prompt. ``parent`` is a row number.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
from pathlib import Path
from typing import Any, NoReturn, TextIO

from search.errors import TreewardError
from search.result import SearchResult

FORMAT = "treeward-trace"
VERSION = 1
FINISH = ("stop", "eos", "length")


def trace_record(result: SearchResult) -> dict[str, Any]:
    """The trace of one search as plain data."""
    tree = result.tree
    nodes = []
    for row in range(len(tree.get("parent", ()))):
        begin, end = int(tree["token_offset"][row]), int(tree["token_offset"][row + 1])
        answer = int(tree["answer"][row])
        nodes.append(
            {
                "parent": int(tree["parent"][row]),
                "tokens": [int(token) for token in tree["tokens"][begin:end]],
                "text": tree["text"][row],
                "logprob": _number(tree["logprob"][row]),
                "score": _number(tree["score"][row]),
                "value": _number(tree["value"][row]),
                "q": _number(tree["q"][row]),
                "visits": int(tree["visits"][row]),
                "draws": int(tree["draws"][row]),
                "finish": FINISH[int(tree["finish"][row])] if row else None,
                "verdict": {1: True, 0: False}.get(int(tree["verdict"][row])),
                "answer": tree["answers"][answer] if answer >= 0 else None,
            }
        )
    return {"format": FORMAT, "version": VERSION, **result_record(result), "nodes": nodes}


def result_record(result: SearchResult) -> dict[str, Any]:
    """A result as plain data, without the tree."""
    ledger = result.ledger
    return {
        "id": result.problem.id,
        "prompt": result.problem.prompt,
        "status": result.status,
        "limit": result.limit,
        "answer": result.answer,
        "finished": result.finished,
        "right": result.right,
        "score": _number(result.score),
        "text": result.text,
        "steps": [
            {
                "text": step.text.strip(),
                "logprob": _number(step.logprob),
                "score": _number(step.score),
                "value": _number(step.value),
                "visits": step.visits,
            }
            for step in result.steps
        ],
        "votes": [[answer, _number(weight)] for answer, weight in result.votes],
        "usage": {
            "policy_tokens": ledger.policy.computed,
            "policy_unique_tokens": ledger.policy.unique,
            "policy_reused_tokens": ledger.policy.reused,
            "policy_wasted_tokens": ledger.policy.wasted,
            "reward_tokens": ledger.reward.computed,
            "reward_unique_tokens": ledger.reward.unique,
            "reward_reused_tokens": ledger.reward.reused,
            "nodes": ledger.nodes,
            "segments": ledger.segments,
            "steps": ledger.steps,
            "seconds": ledger.seconds,
        },
        "error": result.error,
    }


def _number(value: Any) -> float | None:
    if value is None or not math.isfinite(float(value)):
        return None
    return float(value)


class TraceWriter:
    """Writes traces line by line, so that what is done is kept if a run breaks off.

    The file is opened by the first result: until then it keeps what it held.

    Raises:
        TreewardError: the file cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._file: TextIO | None = None
        if self._path.is_dir():
            self._refuse(errno.EISDIR)
        if not self._path.parent.is_dir():
            self._refuse(errno.ENOENT)
        if not os.access(self._path if self._path.exists() else self._path.parent, os.W_OK):
            self._refuse(errno.EACCES)

    def write(self, result: SearchResult) -> None:
        """Adds one problem's trace.

        Raises:
            TreewardError: the file cannot be written.
        """
        line = json.dumps(trace_record(result), allow_nan=False) + "\n"
        try:
            if self._file is None:
                self._file = open(self._path, "w", encoding="utf-8")  # noqa: SIM115
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            if self._file is not None:
                with contextlib.suppress(OSError):  # closing tries to write the line again
                    self._file.close()
            self._refuse(error.errno or errno.EIO)

    def _refuse(self, code: int) -> NoReturn:
        raise TreewardError(f"cannot write {self._path}: {os.strerror(code)}")

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not None:
            self._file.close()
