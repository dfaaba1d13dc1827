"""Reads a log of prompts from JSONL, CSV or Parquet, long or wide; see ``docs/prompt-logs.md``."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.build import build_log
from prompt_oirl.logs.cell_table import CellTable, LogProblem
from prompt_oirl.logs.columns import check_mapping, unknown_columns
from prompt_oirl.logs.json_lines import read_json_lines
from prompt_oirl.logs.log import PromptLog
from prompt_oirl.logs.metadata import read_metadata

FORMATS = ("jsonl", "csv", "parquet")


@dataclass(frozen=True)
class LogReading:
    """A log and what of its file could not be used.

    Attributes:
        log: of the cells that can be used.
        problems: line and reason of what cannot, in the order of the file. A line of a wide file
            may have several, one for each arm.
        rows: lines of the file that are not empty, usable or not.
        unused: columns of the file that are no field of a log.
    """

    log: PromptLog
    problems: list[LogProblem]
    rows: int
    unused: list[str] = field(default_factory=list)


def read_log(
    path: str | Path, format: str | None = None, *, least_arms: int = 1, **mapping: str
) -> LogReading:
    """Reads a log. Format and shape are found from the content.

    Queries keep the order of the file; arms that of the metadata, the others are sorted by name.

    Args:
        path: a file, compressed by gzip or not (Parquet compresses itself).
        format: ``jsonl``, ``csv`` (also with tabs) or ``parquet``; by default found out.
        least_arms: how many prompts the log must have tried.
        mapping: columns by field, such as ``outcome="score"``; for the others see ``ALIASES`` in
            ``columns.py``.

    Raises:
        BadLog: the file is missing or of another kind, a column is missing, nothing can be used,
            or lines with the same id differ in text, group or split.
    """
    path = Path(path)
    check_mapping(mapping)
    if format is not None and format not in FORMATS:
        raise BadLog(f"unknown format '{format}' of a log; known: {', '.join(FORMATS)}")
    try:
        table = _read_cells(path, format or _find_format(path), mapping)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadLog(f"{path} is not a complete gzip file ({error})") from error
    except OSError as error:
        raise BadLog(f"cannot read {path}: {error.strerror or error}") from error
    if not table.rows:
        raise BadLog(f"{path} is empty")
    unknown_columns(str(path), mapping, table.columns or set(mapping.values()))
    metadata = read_metadata(path)
    # By name where the metadata says nothing: the order of lines must not matter.
    others = sorted(set(table.arm.values) - set(metadata.arms))
    metadata = replace(metadata, arms=(*metadata.arms, *others))
    log, problems = build_log(str(path), table, metadata)
    if len(log.arms) < least_arms:
        names = ", ".join(log.arm_names)
        raise BadLog(
            f"{path} has {len(log.arms)} prompt ({names}); a choice needs at least {least_arms}"
        )
    return LogReading(log, problems, table.rows, sorted(table.columns - table.used))


def open_bytes(path: Path) -> IO[bytes]:
    """Opens a file for reading, decompressed where it is compressed by gzip."""
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if compressed else open(path, "rb")  # type: ignore[return-value]


def _find_format(path: Path) -> str:
    with open_bytes(path) as file:
        start = file.read(65536)
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith((b"\x93NUMPY", b"PK", b"\x80")):
        raise BadLog(f"{path} is no log in JSONL, CSV or Parquet; is it for 'prompt import'?")
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"{"):
        return "jsonl"
    if text.startswith(b"[") and text[1:].lstrip()[:1] in (b"{", b"]"):
        raise BadLog(f"{path} is one JSON list; a log has one JSON object on each line")
    named = {suffix.lower() for suffix in path.suffixes}
    return "jsonl" if named & {".jsonl", ".ndjson"} else "csv"


def _read_cells(path: Path, format: str, mapping: dict[str, str]) -> CellTable:
    if format == "jsonl":
        with open_bytes(path) as file:
            return read_json_lines(_lines(file), mapping)
    from prompt_oirl.logs.tables import read_csv, read_parquet

    if format == "csv":
        return read_csv(path, mapping)
    return read_parquet(path, mapping)


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    first = next(file, b"")
    yield first.removeprefix(b"\xef\xbb\xbf")
    yield from file
