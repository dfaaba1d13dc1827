"""JSONL logs: a line is a cell (long) or a query with an object ``{arm: outcome}`` (wide)."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.logs.cell_table import CellCollector, CellTable, LogProblem
from prompt_oirl.logs.columns import Layout, find_columns
from prompt_oirl.logs.text_hash import text_id
from search.json_text import parse_json

OPTIONAL = ("run", "cost", "tokens", "length", "latency", "propensity")
NAN = float("nan")


class Malformed(ValueError):
    """Why a line cannot be used."""


@dataclass(eq=False)
class _Kind:
    """Lines with the same columns and the same shape.

    Attributes:
        number: of the kind.
        layout: which column is which field.
        columns: in the order of the first such line.
        wide: whether the outcome is an object, so that the arms are no column.
    """

    number: int
    layout: Layout
    columns: tuple[str, ...]
    wide: bool


def read_json_lines(lines: Iterable[bytes], mapping: Mapping[str, str]) -> CellTable:
    """Reads lines of JSON objects; those that cannot be used are named in ``problems``."""
    collected = _Lines()
    layouts: dict[frozenset[str], Layout] = {}
    kinds: dict[tuple[frozenset[str], bool], _Kind] = {}
    rows = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        rows += 1
        try:
            record = _parse(line)
            keys = frozenset(record)
            layout = layouts.get(keys)
            if layout is None:
                layout = layouts[keys] = find_columns(keys, mapping)
            outcome = record.get(layout.column.get("outcome", ""))
            wide = isinstance(outcome, dict)
            kind = kinds.get((keys, wide))
            if kind is None:
                kind = kinds[keys, wide] = _Kind(len(kinds), layout, tuple(record), wide)
            collected.kind = kind.number
            if isinstance(outcome, dict):
                collected.add_query(number, record, layout, outcome)
            else:
                collected.add_cell(number, record, layout)
        except Malformed as error:
            collected.refuse(number, str(error))
        except RecursionError:  # just readable, but no longer when it is to be shown
            collected.refuse(number, "too deep")
    table = _of_one_meaning(
        collected.table(), np.array(collected.kinds, np.int64), [*kinds.values()]
    )
    table.rows = rows
    table.columns = {key for keys in layouts for key in keys}
    return table


def _of_one_meaning(
    table: CellTable, kind_of_cell: NDArray[np.int64], kinds: list[_Kind]
) -> CellTable:
    """The cells whose columns are nothing else on other lines, wherever these are in the file.

    Where ``arm`` is missing on a line, the ``prompt`` that stands beside it on others is no arm,
    and a metric beside the outcome of others is no outcome.
    """
    used = {(kind.number, f): name for kind in kinds for f, name in kind.layout.column.items()}
    lines_without: dict[int, str] = {}
    for field in ("arm", "outcome"):
        others = _beside(field, kinds)
        for kind in kinds:
            if kind.layout.get(field) not in others or (kind.wide and field == "arm"):
                continue
            lines_without.setdefault(kind.number, field)
            used.pop((kind.number, field), None)
    table.used = set(used.values())
    if not lines_without:
        return table
    dropped = np.isin(kind_of_cell, list(lines_without))
    for line, number in dict(zip(table.line[dropped], kind_of_cell[dropped])).items():
        columns = ", ".join(kinds[number].columns)
        reason = f"no {lines_without[int(number)]}; its columns are {columns}"
        table.problems.append(LogProblem(int(line), reason))
    return table.only_cells(~dropped)


def _beside(field: str, kinds: list[_Kind]) -> set[str]:
    """The columns that stand beside the one of a field on some lines."""
    return {
        name
        for kind in kinds
        if field in kind.layout.column
        for name in kind.columns
        if name != kind.layout.column[field]
    }


def _parse(line: bytes) -> dict[str, Any]:
    try:
        record = parse_json(line)
    except UnicodeDecodeError as error:
        raise Malformed("not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise Malformed(f"not JSON ({error.msg})") from error
    except ValueError as error:
        raise Malformed(f"not JSON that can be read ({error})") from error
    if not isinstance(record, dict):
        raise Malformed(f"not a JSON object but {type(record).__name__}")
    return record


def number_of(value: Any, what: str) -> float:
    """A JSON number or boolean as a float; NaN for null.

    Raises:
        Malformed: it is something else.
    """
    kind = type(value)
    if kind is float:
        if value != value:
            raise Malformed(f"{what} is not a number (NaN)")
        return float(value)
    if kind is int or kind is bool:
        try:
            return float(value)
        except OverflowError:
            raise Malformed(f"{what} is too large") from None
    if value is None:
        return NAN
    raise Malformed(f"{what} is not a number: {_shown(value)}")


class _Lines(CellCollector):
    """Collects the cells of lines, and the kind of line that each cell is of."""

    def __init__(self) -> None:
        super().__init__()
        self.kind = 0
        self.kinds = array("q")

    def add(
        self, line: int, texts: Mapping[str, str], outcome: float, measures: Mapping[str, float]
    ) -> None:
        """Adds a cell of the present kind."""
        super().add(line, texts, outcome, measures)
        self.kinds.append(self.kind)

    def add_cell(self, line: int, record: dict[str, Any], layout: Layout) -> None:
        """Adds a line that is one cell."""
        column = layout.column
        if "arm" not in column or "outcome" not in column:
            missing = "arm" if "arm" not in column else "outcome"
            raise Malformed(f"no {missing}; its columns are {', '.join(record) or 'none'}")
        arm = _text(record[column["arm"]], "the arm")
        if not arm:
            raise Malformed("no arm")
        outcome = number_of(record[column["outcome"]], "the outcome")
        if outcome != outcome:
            raise Malformed("no outcome")
        measures = {
            field: number_of(record[column[field]], f"the {field}") * layout.scale(field)
            for field in OPTIONAL
            if field in column
        }
        texts = self._query_texts(record, layout)
        texts["arm"] = arm
        texts["arm_text"] = _text(record.get(column.get("arm_text", "")), "the text of the arm")
        self.add(line, texts, outcome, measures)

    def add_query(
        self, line: int, record: dict[str, Any], layout: Layout, outcomes: dict[str, Any]
    ) -> None:
        """Adds a line that is one query with an outcome for each of its arms.

        A single cost of several arms is that of none of them; the outcomes are used without it. A
        single propensity is not left out, for it would then be estimated.
        """
        texts = self._query_texts(record, layout)
        grids: dict[str, dict[str, Any]] = {}
        tried = [arm for arm, value in outcomes.items() if value is not None]
        for field in OPTIONAL:
            value = record.get(layout.column.get(field, ""))
            if isinstance(value, dict):
                grids[field] = value
            elif value is not None and (field == "run" or len(tried) == 1):
                grids[field] = dict.fromkeys(tried, value)
            elif value is not None and field == "propensity" and tried:
                raise Malformed(f"one propensity for {len(tried)} arms")
            elif value is not None and tried:
                self.refuse(line, f"one {field} for {len(tried)} arms, which is left out")
        found = False
        for arm, value in outcomes.items():
            if value is None:
                continue
            found = True
            try:
                if not arm.strip():
                    raise Malformed("an arm without a name")
                outcome = number_of(value, f"the outcome under '{arm}'")
                measures = {
                    field: number_of(grid.get(arm), f"the {field} under '{arm}'")
                    * layout.scale(field)
                    for field, grid in grids.items()
                }
            except Malformed as error:
                self.refuse(line, str(error))
                continue
            self.add(line, {**texts, "arm": arm, "arm_text": ""}, outcome, measures)
        if not found:
            raise Malformed("no outcome under any arm")

    def _query_texts(self, record: dict[str, Any], layout: Layout) -> dict[str, str]:
        column = layout.column
        texts = {
            field: _text(record[column[field]], f"the {field}") if field in column else ""
            for field in ("id", "query", "group", "split")
        }
        if not texts["id"]:
            if "id" in column:
                raise Malformed("no id")
            if not texts["query"]:
                raise Malformed("no text of the query")
            texts["id"] = text_id(texts["query"])
        return texts


def _text(value: Any, what: str) -> str:
    kind = type(value)
    if kind is str:
        return value if value and not value.isspace() else ""
    if value is None:
        return ""
    if kind is int:
        return str(value)
    raise Malformed(f"{what} is not text: {_shown(value)}")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "…"
