"""JSONL logs: a line is a cell (long) or a query with an object ``{arm: outcome}`` (wide)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from prompt_oirl.logs.cell_table import CellCollector, CellTable
from prompt_oirl.logs.columns import Layout, find_columns
from prompt_oirl.logs.text_hash import text_id
from search.json_text import parse_json

OPTIONAL = ("run", "cost", "tokens", "length", "latency", "propensity")
NAN = float("nan")


class Malformed(ValueError):
    """Why a line cannot be used."""


def read_json_lines(lines: Iterable[bytes], mapping: Mapping[str, str]) -> CellTable:
    """Reads lines of JSON objects; those that cannot be used are named in ``problems``."""
    collected = _Lines()
    layouts: dict[frozenset[str], Layout] = {}
    beside: dict[str, set[str]] = {}  # what a field's column was seen beside
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
                layout = layouts[keys] = _steady(find_columns(keys, mapping), keys, beside)
            outcome = record.get(layout.column.get("outcome", ""))
            if isinstance(outcome, dict):
                collected.add_query(number, record, layout, outcome)
            else:
                collected.add_cell(number, record, layout)
        except Malformed as error:
            collected.refuse(number, str(error))
        except RecursionError:  # just readable, but no longer when it is to be shown
            collected.refuse(number, "too deep")
    table = collected.table()
    table.rows = rows
    table.columns = {key for keys in layouts for key in keys}
    table.used = {name for layout in layouts.values() for name in layout.column.values()}
    return table


def _steady(layout: Layout, keys: frozenset[str], beside: dict[str, set[str]]) -> Layout:
    """The layout of a line without columns that were something else on earlier lines: where ``arm``
    is missing once, the ``prompt`` that stood beside it is no arm, and no other metric is the
    outcome."""
    column = dict(layout.column)
    for field in ("arm", "outcome"):
        seen = beside.setdefault(field, set())
        if column.get(field) in seen:
            del column[field]
        elif field in column:
            seen.update(name for name in keys if name != column[field])
    return Layout(column)


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
    """Collects the cells of lines."""

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
