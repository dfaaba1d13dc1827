"""Cells as they come out of a file, before they are checked: columns of equal length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from prompt_oirl.logs.log import Floats, Indices


class LogProblem(NamedTuple):
    """Why a line, or a cell of it, was not used. Lines count from 1; a CSV header is line 1."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


@dataclass
class Coded:
    """A column of texts.

    Attributes:
        codes: index into ``values`` of each cell, ``[N]``; -1 where there is no text.
        values: the distinct texts.
    """

    codes: Indices
    values: Sequence[str]

    @classmethod
    def missing(cls, size: int) -> Coded:
        """A column without any text."""
        return cls(np.full(size, -1, dtype=np.int64), [])


@dataclass
class CellTable:
    """Cells of a file, ``N`` of them, in its order.

    Attributes:
        line: the line of each cell.
        id, query, group, split, arm, arm_text: texts, ``[N]``.
        outcome, run, cost, tokens, latency, propensity: numbers, ``[N]``; NaN where unknown.
        rows: lines of the file that are not empty, usable or not.
        columns: names of all columns of the file.
        used: names of those that were read.
        problems: found so far.
    """

    line: Indices
    id: Coded
    query: Coded
    group: Coded
    split: Coded
    arm: Coded
    arm_text: Coded
    outcome: Floats
    run: Floats
    cost: Floats
    tokens: Floats
    latency: Floats
    propensity: Floats
    rows: int = 0
    columns: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    problems: list[LogProblem] = field(default_factory=list)
