"""Lines of a file that could not be read."""

from __future__ import annotations

from collections.abc import Sequence

from prompt_oirl.audit.finding import MOST_EXAMPLES, Finding, shortened

CHECK = "malformed-lines"


def malformed_lines(problems: Sequence[object]) -> list[Finding]:
    """A warning that names and counts what the reader had to leave out.

    Args:
        problems: why a line, or a cell of it, was left out; its text says where. Problems with an
            equal ``line`` are of one line.
    """
    if not problems:
        return []
    lines = len({getattr(problem, "line", place) for place, problem in enumerate(problems)})
    return [
        Finding(
            CHECK,
            "warning",
            f"{_lines_are(lines)} malformed, with {len(problems):,} "
            f"{'value' if len(problems) == 1 else 'values'} left out; the rest was read.",
            {"lines": lines, "problems": len(problems)},
            shortened([str(problem) for problem in problems[:MOST_EXAMPLES]]),
        )
    ]


def _lines_are(lines: int) -> str:
    """``1 line is`` or ``7 lines are``."""
    return "1 line is" if lines == 1 else f"{lines:,} lines are"
