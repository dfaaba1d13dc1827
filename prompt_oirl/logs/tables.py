"""CSV and Parquet logs, read column by column through Arrow."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.arrow_columns import number_column, text_column
from prompt_oirl.logs.cell_table import CellTable, Coded, LogProblem
from prompt_oirl.logs.columns import (
    MEASURES,
    UNITS,
    Layout,
    find_columns,
    missing_columns,
    unknown_columns,
    wide_arms,
)
from prompt_oirl.logs.csv_records import csv_records
from prompt_oirl.logs.log import Floats, Indices
from prompt_oirl.logs.text_hash import text_id

TEXTS = ("id", "query", "group", "split")


def read_csv(path: Path, mapping: Mapping[str, str]) -> CellTable:
    """Reads a CSV file with a header, with commas or tabs.

    A line is a record here: a quoted text with line breaks counts as one.

    Raises:
        BadLog: a column is missing or there twice, a quote is not closed, or the file is not UTF-8.
    """
    from pyarrow import csv as arrow_csv

    from prompt_oirl.logs.read import open_bytes

    with open_bytes(path) as file:
        names, delimiter = _header(path, file.readline())
    physical_lines = _count_lines(path)
    problems: list[LogProblem] = []
    skipped: list[int] = []

    def skip(row: Any) -> str:
        skipped.append(row.number)
        if row.text.strip():
            reason = f"{row.actual_columns} values in {row.expected_columns} columns"
            problems.append(LogProblem(row.number, reason))
        return "skip"

    layout, arms = _layout(str(path), names, mapping)
    wanted = set(layout.column.values()) | {name for by in arms.values() for name in by.values()}
    try:
        with open_bytes(path) as file:
            table = arrow_csv.read_csv(
                file,
                # The number of a skipped row is known on one thread only.
                read_options=arrow_csv.ReadOptions(use_threads=False),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=delimiter,
                    newlines_in_values=True,
                    ignore_empty_lines=False,
                    invalid_row_handler=skip,
                ),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=[name for name in names if name in wanted],
                    column_types=dict.fromkeys(names, pa.string()),
                    null_values=[""],  # not "nan" or "NA": they can be names of arms
                    strings_can_be_null=True,
                ),
            )
    except pa.ArrowException as error:
        _check_quotes(path, delimiter)
        raise BadLog(f"{path} is not CSV ({error})") from error
    if physical_lines > 1 + table.num_rows + len(skipped):  # a text has line breaks
        _check_quotes(path, delimiter)
    lines = np.arange(2, 2 + table.num_rows + len(skipped), dtype=np.int64)
    lines = lines[~np.isin(lines, skipped)]
    empty = np.ones(table.num_rows, dtype=bool)  # Arrow gives an empty line as a row of nulls
    for name in table.column_names:
        empty &= table.column(name).is_null().to_numpy()
    if empty.any():
        table, lines = table.filter(pa.array(~empty)), lines[~empty]
    malformed = len(problems)
    cells = _cells(table, lines, layout, arms, problems)
    cells.rows = table.num_rows + malformed
    cells.columns, cells.used = set(names), wanted
    return cells


def read_parquet(path: Path, mapping: Mapping[str, str]) -> CellTable:
    """Reads a Parquet file; its rows count from 1. Structs are wide: ``y`` with a field an arm.

    Raises:
        BadLog: it is not a Parquet file, or a column is missing.
    """
    from pyarrow import parquet

    try:
        _refuse_repeated(str(path), parquet.read_schema(path).names)  # Arrow says it at length
        table = parquet.read_table(path)
    except pa.ArrowException as error:
        raise BadLog(f"{path} is not a Parquet file ({error})") from error
    while any(pa.types.is_struct(kind) for kind in table.schema.types):
        table = table.flatten()
    layout, arms = _layout(str(path), table.column_names, mapping)
    wanted = set(layout.column.values()) | {name for by in arms.values() for name in by.values()}
    lines = np.arange(1, 1 + table.num_rows, dtype=np.int64)
    try:
        cells = _cells(table, lines, layout, arms, [])
    except BadLog as error:  # a column of another type
        raise BadLog(f"{path}: {error}") from error
    cells.rows = table.num_rows
    cells.columns, cells.used = set(table.column_names), wanted
    return cells


def _header(path: Path, line: bytes) -> tuple[list[str], str]:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadLog(f"{path} is not UTF-8 text (byte {error.start})") from error
    text = re.split("[\r\n]", text, maxsplit=1)[0]
    delimiter = "\t" if text.count("\t") > text.count(",") else ","
    try:
        names = next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error as error:
        raise BadLog(f"{path} has a header that cannot be read ({error})") from error
    if not names:
        raise BadLog(f"{path} has no header")
    return names, delimiter


def _count_lines(path: Path) -> int:
    """Arrow cannot name a malformed line that is no text either, so all of it must be text."""
    from prompt_oirl.logs.read import open_bytes

    decoder = codecs.getincrementaldecoder("utf-8")()
    count, last = 0, b""
    with open_bytes(path) as file:
        try:
            while part := file.read(1 << 20):
                decoder.decode(part)
                count, last = count + part.count(b"\n"), part[-1:]
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise BadLog(f"{path} is not UTF-8 text") from error
    return count + (last != b"\n")


def _check_quotes(path: Path, delimiter: str) -> None:
    """Arrow takes a quote that is not closed for one around the rest of the file."""
    from prompt_oirl.logs.read import open_bytes

    with open_bytes(path) as file:
        lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        for _ in csv_records(path, lines, delimiter):
            pass


def _layout(
    where: str, names: list[str], mapping: Mapping[str, str]
) -> tuple[Layout, dict[str, dict[str, str]]]:
    """The columns of a long table, or also those of each arm where the table is wide."""
    _refuse_repeated(where, names)
    unknown_columns(where, mapping, set(names))
    arms = wide_arms(names, mapping)
    layout = find_columns(names, mapping)
    if arms:
        once = {f: c for f, c in layout.column.items() if f in TEXTS or f == "run"}
        layout = Layout(once)
    needed = ("query",) if arms else ("query", "arm", "outcome")
    missing = [field for field in needed if layout.get(field) is None]
    if missing:
        raise missing_columns(where, missing, set(names))
    return layout, arms


def _refuse_repeated(where: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise BadLog(f"{where} has the column '{name}' twice")


def _cells(
    table: pa.Table,
    lines: Indices,
    layout: Layout,
    arms: dict[str, dict[str, str]],
    problems: list[LogProblem],
) -> CellTable:
    size = table.num_rows
    texts = {field: text_column(table, layout.get(field)) for field in TEXTS}
    named = layout.get("id") is not None
    if not named:
        query = texts["query"]
        texts["id"] = Coded(query.codes, [text_id(text) for text in query.values])
    run, bad_run = number_column(table, layout.get("run"))
    usable = (texts["id"].codes >= 0) & ~bad_run
    for row in np.flatnonzero(~usable):
        missing = "no id" if named else "no text of the query"
        reason = "the run is not a number" if bad_run[row] else missing
        problems.append(LogProblem(int(lines[row]), reason))

    if not arms:
        arm, arm_text = (text_column(table, layout.get(field)) for field in ("arm", "arm_text"))
        for row in np.flatnonzero((arm.codes < 0) & usable):
            problems.append(LogProblem(int(lines[row]), "no arm"))
        usable &= arm.codes >= 0
        columns = {field: {"": layout.get(field)} for field in MEASURES}
        blocks = [_block(table, lines, columns, "", layout, usable, problems, True)]
        arm_code = arm.codes
    else:
        names = list(arms["outcome"])
        arm_text = Coded.missing(size)
        by_arm = {f: {name: arms.get(f, {}).get(name) for name in names} for f in MEASURES}
        blocks = [
            _block(table, lines, by_arm, name, layout, usable, problems, False) for name in names
        ]
        arm = Coded(np.empty(0, dtype=np.int64), names)
        arm_code = np.repeat(np.arange(len(names)), [len(block["row"]) for block in blocks])
        answered = np.zeros(size, dtype=bool)
        for block in blocks:
            answered[block["tried"].astype(np.int64)] = True
        for row in np.flatnonzero(usable & ~answered):
            problems.append(LogProblem(int(lines[row]), "no outcome under any arm"))

    rows = np.concatenate([block["row"] for block in blocks]).astype(np.int64)
    order = np.argsort(rows, kind="stable")
    rows = rows[order]
    numbers = {
        field: np.concatenate([block[field] for block in blocks])[order] for field in MEASURES
    }
    codes = arm_code[rows] if not arms else arm_code[order]
    return CellTable(
        line=lines[rows],
        **{name: Coded(text.codes[rows], text.values) for name, text in texts.items()},  # type: ignore[arg-type]
        arm=Coded(codes, arm.values),
        arm_text=Coded(arm_text.codes[rows], arm_text.values),
        run=run[rows],
        **numbers,  # type: ignore[arg-type]
        problems=problems,
    )


def _block(
    table: pa.Table,
    lines: Indices,
    columns: Mapping[str, Mapping[str, str | None]],
    arm: str,
    layout: Layout,
    usable: Any,
    problems: list[LogProblem],
    long: bool,
) -> dict[str, Floats]:
    """The cells of one arm of a wide table, or all cells of a long one, with their rows."""
    under = "" if long else f" under '{arm}'"
    outcome, bad = number_column(table, columns["outcome"][arm])
    missing = np.isnan(outcome) & ~bad
    tried = usable & ~missing
    if long:
        for row in np.flatnonzero(usable & missing):
            problems.append(LogProblem(int(lines[row]), "no outcome"))
    block = {"outcome": outcome}
    wrong = {"outcome": bad}
    for field in MEASURES[1:]:
        column = columns[field][arm] or ""
        scale = layout.scale(field) if long else UNITS.get(column.removesuffix(f".{arm}"), 1.0)
        block[field], wrong[field] = number_column(table, columns[field][arm])
        block[field] = block[field] * scale
    good = tried.copy()
    for field, flags in wrong.items():
        for row in np.flatnonzero(flags & good):
            text = f"the {field}{under} is not a number"
            problems.append(LogProblem(int(lines[row]), text))
        good &= ~flags
    kept = {name: values[good] for name, values in block.items()}
    return {**kept, "row": np.flatnonzero(good), "tried": np.flatnonzero(tried)}
