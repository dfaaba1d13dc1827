"""Reads responses from a file: JSONL (:mod:`prompt_oirl.responses.fields`) or traces of a search.

A line that cannot be used is named and the others are used.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.cell_table import LogProblem
from prompt_oirl.logs.read import open_bytes
from prompt_oirl.responses.fields import rows_of_line
from prompt_oirl.responses.response_set import ResponseCollector, ResponseSet
from prompt_oirl.responses.traces import finished_paths, is_trace
from search.json_text import parse_json

if TYPE_CHECKING:
    from reward_bridge.verifiers.grader import Grader
    from search.interfaces import Verifier


@dataclass(frozen=True)
class ResponseReading:
    """Responses and what of their file could not be used.

    Attributes:
        responses: of the lines that can be used.
        problems: line and reason of those that cannot, in the order of the file.
        rows: lines that are not empty, usable or not.
    """

    responses: ResponseSet
    problems: list[LogProblem]
    rows: int


def read_responses(
    path: str | Path,
    grader: Grader | None = None,
    verifier: Verifier | None = None,
    mapping: Mapping[str, str] | None = None,
) -> ResponseReading:
    """Responses of a file.

    Args:
        path: JSONL, compressed by gzip or not; ``-`` for standard input.
        grader: finds the final answer where a line has none; a numeric one by default.
        verifier: judges paths of a trace that the search did not.
        mapping: columns by field, where names are unusual.

    Raises:
        BadLog: the file cannot be read, is empty, or no line can be used.
    """
    if str(path) == "-":
        return _collected("standard input", sys.stdin.buffer, grader, verifier, mapping or {})
    try:
        with open_bytes(Path(path)) as file:
            return _collected(str(path), file, grader, verifier, mapping or {})
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadLog(f"{path} is not a complete gzip file ({error})") from error
    except OSError as error:
        raise BadLog(f"cannot read {path}: {error.strerror or error}") from error


def _collected(
    name: str,
    lines: Iterable[bytes],
    grader: Grader | None,
    verifier: Verifier | None,
    mapping: Mapping[str, str],
) -> ResponseReading:
    collector = ResponseCollector(grader)
    problems, rows = [], 0
    for number, line in _numbered(lines):
        rows += 1
        try:
            record = _parse(line)
            if is_trace(record):
                collector.add(finished_paths(record, verifier))
            else:
                collector.add(rows_of_line(record, mapping))
        except BadLog as error:
            problems.append(LogProblem(number, str(error)))
    if not rows:
        raise BadLog(f"{name} is empty")
    if not len(collector):
        raise BadLog(f"{name}: no line of {rows} can be used; {problems[0]}")
    try:
        return ResponseReading(collector.collected(), problems, rows)
    except BadLog as error:
        raise BadLog(f"{name}: {error}") from None


def _numbered(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines, 1):
        plain = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if plain.strip():
            yield number, plain


def _parse(line: bytes) -> dict[str, Any]:
    try:
        record = parse_json(line)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise BadLog("no JSON object")
    return record
