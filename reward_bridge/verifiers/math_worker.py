"""The worker of the grader of mathematics: a JSON request a line in, a JSON reply a line out.

It is run on its own (see ``math.py``) and imports nothing of this project.
"""

from __future__ import annotations

import json
import sys
from typing import Any

MEMORY_BYTES = 4 * 2**30


def limit_memory() -> None:
    """Lets the process die of an answer rather than the machine; where the system can."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    except (ImportError, ValueError, OSError):
        pass


def parsed(text: str, known: bool) -> list[Any]:
    """What math-verify reads in a text; a known answer may be bare LaTeX."""
    from math_verify import parse

    marked = "$" in text or "\\boxed" in text
    forms = [text]
    if known and not marked:
        # Bare formulas are read as such only between dollars; plain numbers and words are not.
        formula = any(sign in text for sign in "\\^_{}()[]")
        forms = [f"${text}$", text] if formula else [text, f"${text}$"]
    for form in forms:
        # The caller ends what takes too long, so math-verify's own limits (signals) are off.
        if found := parse(form, parsing_timeout=None):
            return found
    return []


def reply(request: dict[str, str]) -> dict[str, Any]:
    """The canonical form of an answer, and whether it equals the known one where that is given.

    ``right`` is None where the known answer is not given, or cannot be read.
    """
    from math_verify import verify

    answer = parsed(request["answer"], known=False)
    key = str(answer[0]) if answer else None
    if "gold" not in request:
        return {"key": key, "right": None, "failed": False}
    gold = parsed(request["gold"], known=True)
    if not gold:
        return {"key": key, "right": None, "failed": False}
    right = bool(verify(gold, answer, timeout_seconds=None))
    return {"key": key, "right": right, "failed": False}


def main() -> None:
    """Answers requests until the input ends."""
    import math_verify  # noqa: F401

    limit_memory()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        try:
            result = reply(json.loads(line))
        except (Exception, RecursionError, MemoryError):  # an answer must not end the worker
            result = {"key": None, "right": None, "failed": True}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
