"""The Game of 24: four numbers from 1 to 13, target 24."""

from __future__ import annotations

import csv
import reprlib
from pathlib import Path

from search.puzzles.arithmetic import Puzzle, puzzle_solvable
from search.puzzles.countdown import SMALL_NUMBER_MAX, multisets

TARGET = 24


def all_game24() -> list[Puzzle]:
    """The 1,362 solvable puzzles, by enumeration, in ascending order of their numbers."""
    puzzles = (Puzzle(numbers, TARGET) for numbers in multisets(SMALL_NUMBER_MAX))
    return [puzzle for puzzle in puzzles if puzzle_solvable(puzzle)]


def _read_row(path: Path, line: int, row: dict[str, str | None]) -> tuple[int, Puzzle]:
    where = f"{path}, line {line}"
    # A short row has None for the columns it lacks.
    rank_text, numbers_text = row["Rank"] or "", row["Puzzles"] or ""
    try:
        rank = int(rank_text)
    except ValueError:
        raise ValueError(
            f"{where}: the rank {reprlib.repr(rank_text)} is not an integer."
        ) from None
    if rank < 1:
        raise ValueError(f"{where}: ranks count from 1, not {rank}.")
    words = numbers_text.split()
    if len(words) != 4 or not all(word.isascii() and word.isdigit() for word in words):
        raise ValueError(f"{where}: {reprlib.repr(numbers_text)} is not four whole numbers.")
    numbers = tuple(int(word) for word in words)
    if not all(1 <= number <= SMALL_NUMBER_MAX for number in numbers):
        raise ValueError(f"{where}: {reprlib.repr(numbers_text)} has a number outside 1 to 13.")
    return rank, Puzzle(numbers, TARGET)


def read_24_csv(path: str | Path, rows: tuple[int, int] = (901, 1000)) -> list[Puzzle]:
    """The puzzles of a CSV file with the columns Rank and Puzzles, in the order of their ranks.

    rows: the first and the last rank wanted, both included; at least 1 and in order.
    Raises ValueError, naming the file and the line, when the file is not such a table, a rank is
    below 1, or a wanted one is missing or there twice, and OSError when it cannot be opened.
    """
    path = Path(path)
    first, last = rows
    if not 1 <= first <= last:
        raise ValueError(f"the rows {first} to {last} are not a range of ranks from 1 up.")
    found: dict[int, Puzzle] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)  # a quote that is open at the end is an error
        try:
            columns = reader.fieldnames or []
            for column in ("Rank", "Puzzles"):
                if column not in columns:
                    raise ValueError(f"{path}, line 1: there is no column {column!r}.")
            for row in reader:
                rank, puzzle = _read_row(path, reader.line_num, row)
                if not first <= rank <= last:
                    continue
                if rank in found:
                    raise ValueError(
                        f"{path}, line {reader.line_num}: the rank {rank} is there twice."
                    )
                found[rank] = puzzle
        except UnicodeDecodeError:
            raise ValueError(
                f"{path}, after line {reader.line_num}: the file is not UTF-8 text."
            ) from None
        except csv.Error as error:
            raise ValueError(f"{path}, after line {reader.line_num}: not CSV ({error}).") from None
        end = reader.line_num
    for rank in range(first, last + 1):
        if rank not in found:
            raise ValueError(f"{path}, line {end}: the file ends without the rank {rank}.")
    return [found[rank] for rank in range(first, last + 1)]
