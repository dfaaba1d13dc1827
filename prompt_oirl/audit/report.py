"""All findings of an audit, and whether it fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prompt_oirl.audit.finding import SEVERITIES, Finding, Severity

FORMAT = "treeward-prompt-audit"
VERSION = 1


@dataclass(frozen=True)
class SplitLeak:
    """How many queries of a split an earlier split already has, in any of the ways.

    Attributes:
        split: its name.
        queries: in this split.
        leaking: of these, that are repeated exactly, nearly, or by their group.
    """

    split: str
    queries: int
    leaking: int

    @property
    def share(self) -> float:
        """In [0, 1]."""
        return self.leaking / self.queries if self.queries else 0.0


@dataclass(frozen=True)
class AuditReport:
    """What an audit found.

    Attributes:
        log: name of the log.
        queries, arms, cells: its size.
        findings: errors first, then warnings, then notes.
        leaks: one for each split that has an earlier one.
        near_threshold: least similarity of wording that counted as near.
    """

    log: str
    queries: int
    arms: int
    cells: int
    findings: tuple[Finding, ...]
    leaks: tuple[SplitLeak, ...]
    near_threshold: float

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of one severity."""
        return tuple(found for found in self.findings if found.severity == severity)

    def named(self, check: str) -> tuple[Finding, ...]:
        """The findings of one check."""
        return tuple(found for found in self.findings if found.check == check)

    def fails(self, allow_leakage: bool = False) -> bool:
        """Whether there is an error; with ``allow_leakage``, one other than leakage."""
        return any(not (allow_leakage and found.leakage) for found in self.of("error"))

    def to_json(self) -> dict[str, Any]:
        """As a JSON object with only finite numbers; NaN becomes null."""
        return _finite(
            {
                "format": FORMAT,
                "version": VERSION,
                "log": self.log,
                "queries": self.queries,
                "arms": self.arms,
                "cells": self.cells,
                "near_threshold": self.near_threshold,
                "severities": {name: len(self.of(name)) for name in SEVERITIES},
                "leaks": [{**vars(leak), "share": leak.share} for leak in self.leaks],
                "findings": [found.to_json() for found in self.findings],
            }
        )


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))):
        return None
    return value
