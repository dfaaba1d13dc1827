"""Traces: one JSON line a problem, with its whole tree, and the settings of its search as ``run``.

Nodes are in the order of creation; ``parent`` is a row number. Row 0 is the prompt: its tokens are
those that the policy read, its text is in ``prompt`` or, of a chat, in ``messages``.

Within a version of the format keys are added only. Traces written earlier may lack ``run``,
``messages`` and the tokens of row 0.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
from dataclasses import asdict
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from search import algorithms
from search.errors import TreewardError
from search.result import SearchResult

if TYPE_CHECKING:
    from search.session import Setting

FORMAT = "treeward-trace"
VERSION = 1
FINISH = ("stop", "eos", "length")


def trace_record(result: SearchResult) -> dict[str, Any]:
    """The trace of one search as plain data."""
    tree = result.tree
    nodes = []
    for row in range(len(tree.get("parent", ()))):
        begin, end = int(tree["token_offset"][row]), int(tree["token_offset"][row + 1])
        tokens = tree["tokens"][begin:end] if row else tree.get("prompt_tokens", ())
        answer = int(tree["answer"][row])
        nodes.append(
            {
                "parent": int(tree["parent"][row]),
                "tokens": [int(token) for token in tokens],
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
    head = {"format": FORMAT, "version": VERSION, "run": result.run}
    return {**head, **result_record(result), "nodes": nodes}


def run_record(setting: Setting) -> dict[str, Any]:
    """What decides a search beside its problem, as plain data."""
    reward, verifier = setting.reward, setting.verifier
    record = {
        "model": _name(setting.model),
        "reward": None if reward is None else reward.spec.name,
        "verifier": None if verifier is None else _name(verifier),
        "judge": setting.judge,
        "algorithm": setting.algorithm,
        "options": {**algorithms.describe(setting.algorithm), **setting.options},
        "seed": setting.seed,
        "budget": asdict(setting.budget),
        "rules": asdict(setting.rules),
        "sampling": asdict(setting.sampling),
    }
    return {name: _plain(value) for name, value in record.items()}


def _name(part: Any) -> Any:
    return getattr(part, "name", type(part).__name__)


def _plain(value: Any) -> Any:
    """Data that JSON knows, whatever numbers and names somebody's parts brought."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Integral):
        return int(value)
    return _number(value) if isinstance(value, Real) else str(value)


def result_record(result: SearchResult) -> dict[str, Any]:
    """A result as plain data, without the tree."""
    ledger, messages = result.ledger, result.problem.messages
    return {
        "id": result.problem.id,
        "prompt": result.problem.prompt,
        "messages": None if messages is None else list(messages),
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
