"""The gold answers of a file, which are no field of a log but tell contradictions in it."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from prompt_oirl.logs.columns import ALIASES
from prompt_oirl.logs.csv_records import csv_records
from prompt_oirl.logs.read import open_bytes
from search.json_text import parse_json

NAMES = ("gold", "gold_answer", "expected", "target", "reference", "answer_key")


def gold_column(unused: Collection[str]) -> str | None:
    """The column of gold answers among those that are no field of the log, where there is one."""
    return next((name for name in NAMES if name in unused), None)


def read_golds(path: str | Path, unused: Collection[str], id_column: str = "") -> dict[str, str]:
    """Gold answers by the id of the query; empty where the file has none.

    Args:
        path: a log that was read without an error.
        unused: its columns that are no field of the log, see ``gold_column``.
        id_column: of the ids; by default the first of the usual names that a row has.
    """
    column = gold_column(unused)
    if column is None:
        return {}
    ids = (id_column,) if id_column else ALIASES["id"]
    golds: dict[str, str] = {}
    for row in _rows(Path(path)):
        key = next((row[name] for name in ids if row.get(name) is not None), None)
        gold = row.get(column)
        if key is not None and isinstance(gold, (str, int, float)):
            golds.setdefault(str(key), str(gold))
    return golds


def _rows(path: Path) -> Iterable[Mapping[str, Any]]:
    with open_bytes(path) as file:
        start = file.read(4)
        if start == b"PAR1":
            from pyarrow import parquet

            yield from parquet.read_table(path).to_pylist()
            return
    with open_bytes(path) as file:
        lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace")
        if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b""):
            yield from _objects(lines)
        else:
            head = lines.readline()
            records = csv_records(path, chain([head], lines), _delimiter(head))
            _, names = next(records)
            yield from (dict(zip(names, record)) for _, record in records)


def _objects(lines: Iterable[str]) -> Iterable[Mapping[str, Any]]:
    for line in lines:
        try:
            row = parse_json(line)
        except ValueError:
            continue  # the reader of the log has named this line
        if isinstance(row, dict):
            yield row


def _delimiter(head: str) -> str:
    return "\t" if head.count("\t") > head.count(",") else ","
