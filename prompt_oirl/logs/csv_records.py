"""Records of CSV, with texts of any length and with quotes that must be closed."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from prompt_oirl.errors import BadLog

csv.field_size_limit(2**31 - 1)  # as Arrow, which reads logs, has no such limit


def csv_records(
    path: Path, lines: Iterable[str], delimiter: str = ","
) -> Iterator[tuple[int, list[str]]]:
    """The records and their numbers from 1, the header too; an empty line is an empty record.

    Args:
        path: for messages.
        lines: of the file, with their ends.
        delimiter: between the values.

    Raises:
        BadLog: a quote is not closed, or the file is not CSV.
    """
    taken: list[str] = []

    def noted() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    records = csv.reader(noted(), delimiter=delimiter)
    number = 0
    try:
        for number, record in enumerate(records, start=1):
            # A quote that nobody closed ends at the next one, or never: the records that it took
            # in would be lost without a word.
            if len(taken) > 1 and not _is_strict(taken, delimiter):
                more = len(taken) - 1
                raise BadLog(
                    f"{path}, line {number}: a quote that opens here is not closed, so the next "
                    f"{more:,} line{'s' if more > 1 else ''} would be part of its text"
                )
            taken.clear()
            yield number, record
    except csv.Error as error:
        raise BadLog(f"{path}, line {number + 1}: not CSV ({error})") from error


def _is_strict(lines: list[str], delimiter: str) -> bool:
    """Whether the lines of one record end its quotes, each before a delimiter or the end."""
    try:
        list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return False
    return True
