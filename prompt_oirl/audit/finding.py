"""What one check found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
MOST_EXAMPLES = 3
LONGEST_EXAMPLE = 160


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
        check: name of the check, as ``exact-duplicates``.
        severity: ``error``: results from this log would be wrong, or nothing can be learned from
            it; ``warning``: look at it; ``note``: good to know.
        sentence: what was found and where, for people.
        counts: the numbers behind the sentence, ready for JSON.
        examples: a few of what was found, shortened.
        queries: indices of the queries concerned, where that is known; not part of the JSON.
        leakage: these queries of a later split are known from an earlier one.
    """

    check: str
    severity: Severity
    sentence: str
    counts: Mapping[str, Any] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    queries: tuple[int, ...] = ()
    leakage: bool = False

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "check": self.check,
            "severity": self.severity,
            "leakage": self.leakage,
            "sentence": self.sentence,
            "counts": dict(self.counts),
            "examples": list(self.examples),
        }


def shortened(examples: Sequence[str]) -> tuple[str, ...]:
    """The first few examples, each on one line and not too long."""
    # Lone surrogates, which JSON may hold, cannot be printed.
    printable = (one.encode("utf-8", "replace").decode() for one in examples[:MOST_EXAMPLES])
    lines = (" ".join(one.split()) for one in printable)
    return tuple(
        line if len(line) <= LONGEST_EXAMPLE else line[: LONGEST_EXAMPLE - 1] + "…"
        for line in lines
    )


def share(part: int, whole: int) -> str:
    """``12 of 40 (30.0 %)``; never 0.0 % or 100.0 % unless it is exactly that."""
    percent = 100 * part / whole if whole else 0.0
    if 0 < part < whole:
        percent = min(max(percent, 0.1), 99.9)
    return f"{part:,} of {whole:,} ({percent:.1f} %)"
