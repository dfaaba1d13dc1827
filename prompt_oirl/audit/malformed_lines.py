"""Lines of a file that could not be read."""

from __future__ import annotations

from collections.abc import Sequence

from prompt_oirl.audit.finding import MOST_EXAMPLES, Finding, shortened

CHECK = "malformed-lines"


def malformed_lines(problems: Sequence[object]) -> list[Finding]:
    """A warning that names and counts what the reader had to leave out.

    Args:
        problems: one for each line left out; its text says where and what.
    """
    if not problems:
        return []
    lines = "line was" if len(problems) == 1 else "lines were"
    return [
        Finding(
            CHECK,
            "warning",
            f"{len(problems):,} {lines} left out as malformed; the rest was read.",
            {"lines": len(problems)},
            shortened([str(problem) for problem in problems[:MOST_EXAMPLES]]),
        )
    ]
