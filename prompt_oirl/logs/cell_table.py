"""Cells as they come out of a file, before they are checked: columns of equal length."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.logs.log import Floats, Indices

TEXTS = ("id", "query", "group", "split", "arm", "arm_text")
NUMBERS = ("outcome", "run", "cost", "tokens", "length", "latency", "propensity")
NAN = float("nan")


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
        outcome, run, cost, tokens, length, latency, propensity: numbers, ``[N]``; NaN where
            unknown. The length gives the tokens where those are unknown.
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
    length: Floats
    latency: Floats
    propensity: Floats
    rows: int = 0
    columns: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    problems: list[LogProblem] = field(default_factory=list)

    def only_cells(self, keep: NDArray[np.bool_]) -> CellTable:
        """The table of some cells; all else stays as it is."""
        texts = {name: getattr(self, name) for name in TEXTS}
        columns: dict[str, Any] = {
            name: Coded(column.codes[keep], column.values) for name, column in texts.items()
        }
        columns |= {name: getattr(self, name)[keep] for name in ("line", *NUMBERS)}
        return replace(self, **columns)


class CellCollector:
    """Columns that grow cell by cell; each text is kept once and referred to by number."""

    def __init__(self) -> None:
        self.problems: list[LogProblem] = []
        self._lines = array("q")
        self._codes = {name: array("q") for name in TEXTS}
        self._values: dict[str, dict[str, int]] = {name: {} for name in TEXTS}
        self._numbers = {name: array("d") for name in NUMBERS}

    def refuse(self, line: int, reason: str) -> None:
        """Notes that a line, or a cell of it, cannot be used."""
        self.problems.append(LogProblem(line, reason))

    def add(
        self, line: int, texts: Mapping[str, str], outcome: float, measures: Mapping[str, float]
    ) -> None:
        """Adds a cell.

        Args:
            line: where it comes from.
            texts: by field, empty or left out where unknown; ``id`` and ``arm`` are needed.
            outcome: as in the file.
            measures: by field, NaN or left out where unknown.
        """
        self._lines.append(line)
        for name in TEXTS:
            text = texts.get(name)
            values = self._values[name]
            self._codes[name].append(values.setdefault(text, len(values)) if text else -1)
        numbers = self._numbers
        numbers["outcome"].append(outcome)
        for name in NUMBERS[1:]:
            numbers[name].append(measures.get(name, NAN))

    def table(self) -> CellTable:
        """What was collected."""
        texts = {
            name: Coded(_whole(codes), list(self._values[name]))
            for name, codes in self._codes.items()
        }
        numbers = {name: np.array(values, dtype=float) for name, values in self._numbers.items()}
        return CellTable(line=_whole(self._lines), **texts, **numbers, problems=self.problems)  # type: ignore[arg-type]


def _whole(values: array[int]) -> Indices:
    return np.array(values, dtype=np.int64)
