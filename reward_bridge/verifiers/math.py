"""Grader of mathematics through the package math-verify, in a process that can be killed.

Symbolic comparison can take forever or all memory (``9^{9^{9^9}}``). So it runs in a worker with
limited memory; an answer that takes longer than the limit is wrong, and the worker is replaced.
Where the known answer is what fails or takes too long, nothing is known of the answers to it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from search.errors import MissingExtra, TreewardError
from search.interfaces import Verdict

WORKER = Path(__file__).with_name("math_worker.py")
START_SECONDS = 120.0
HARMLESS = "$1$"  # an answer with which only the known one can fail


class MathGrader:
    """Compares formulas: ``1/2``, ``0.5`` and ``\\frac{1}{2}`` are the same answer.

    Verdicts are kept: one that depends on the time it took is the same when it is asked for again.

    Attributes:
        timeouts: how many answers took too long, or ended the worker; none counts twice.

    Raises:
        MissingExtra: math-verify is not installed.
    """

    name = "math"

    def __init__(self, seconds: float = 5.0) -> None:
        """Takes the most seconds that one answer may take."""
        self._worker: _Worker | None = None
        self._seconds = seconds
        self._verdicts: dict[bytes, Verdict] = {}
        self._sound_golds: dict[str, bool] = {}
        self.timeouts = 0
        if find_spec("math_verify") is None:
            raise MissingExtra("math-verify is not installed; pip install 'treeward[math]'")

    def canonical_key(self, answer: str, question: str = "") -> str | None:
        """The final formula as math-verify reads it; equal formulas may be written differently."""
        reply = self._ask({"answer": answer})
        if reply is None:
            self.timeouts += 1
            return None
        return reply["key"]

    def check(self, answer: str, gold: str, question: str = "") -> Verdict:
        """Whether the formulas are equal; wrong when that takes too long.

        ``None`` where the known answer cannot be read, or is itself what fails or takes too long.
        """
        pair = _digest(answer, gold)
        if pair not in self._verdicts:
            self._verdicts[pair] = self._verdict(answer, gold)
        return self._verdicts[pair]

    def _verdict(self, answer: str, gold: str) -> Verdict:
        if self._sound_golds.get(gold) is False:
            return Verdict(None, None, None)
        reply = self._ask({"answer": answer, "gold": gold})
        if reply is None:
            self.timeouts += 1
        if reply is None or reply["failed"]:
            return Verdict(False if self._is_sound(gold) else None, None, None)
        return Verdict(reply["right"], reply["key"], reply["key"])

    def _is_sound(self, gold: str) -> bool:
        """Whether a known answer can be read and compared with a harmless one."""
        if gold not in self._sound_golds:
            reply = self._ask({"answer": HARMLESS, "gold": gold})
            self._sound_golds[gold] = reply is not None and reply["right"] is not None
        return self._sound_golds[gold]

    def close(self) -> None:
        """Ends the worker; the next answer starts another."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def __enter__(self) -> MathGrader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _ask(self, request: dict[str, str]) -> dict[str, Any] | None:
        """The worker's reply; ``None`` when it took too long, or died of the answer."""
        if self._worker is None:
            self._worker = _Worker()
        reply = self._worker.ask(request, self._seconds)
        if reply is None:
            self.close()
        return reply


def _digest(answer: str, gold: str) -> bytes:
    """A pair in few bytes: answers are long, and there are many."""
    texts = json.dumps([answer, gold])
    return hashlib.sha256(texts.encode()).digest()


class _Worker:
    """A process that reads a request a line and writes a reply a line."""

    def __init__(self) -> None:
        # The code is given as text: run as a file, its folder would hide the standard 'math'.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER.read_text(encoding="utf-8")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
            encoding="utf-8",
        )
        self._replies: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        if self._next(START_SECONDS) is None:
            self.kill()
            raise TreewardError("the worker of math-verify did not start")

    def ask(self, request: dict[str, str], seconds: float) -> dict[str, Any] | None:
        """Sends a request and waits for its reply; ``None`` without one in time."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError:
            return None
        return self._next(seconds)

    def kill(self) -> None:
        """Ends the process at once."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _next(self, seconds: float) -> dict[str, Any] | None:
        try:
            line = self._replies.get(timeout=seconds)
        except queue.Empty:
            return None
        return json.loads(line) if line else None

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout:
            for line in self._process.stdout:
                self._replies.put(line)
        self._replies.put("")
