"""Suites of problems whose answers the statement itself can check."""

from __future__ import annotations

import csv
from pathlib import Path

from search.errors import BadProblem
from search.problem import Problem
from search.puzzles.arithmetic import Puzzle
from search.puzzles.problems import puzzle_problem

SUITES = ("game24", "countdown")


def parse_rows(text: str) -> tuple[int, int]:
    """``901-1000`` as (901, 1000).

    Raises:
        BadProblem: not two numbers with a dash, or the wrong way round.
    """
    first, _, last = text.partition("-")
    if not (text.isascii() and first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
        raise BadProblem(f"rows are given as 901-1000, not {text!r}")
    return int(first), int(last)


def load_suite(name: str, file: Path | None, rows: str | None, limit: int | None) -> list[Problem]:
    """The problems of a suite.

    Args:
        name: ``game24`` (all solvable puzzles, or those of a 24.csv) or ``countdown`` (the
            held-out puzzles).
        file: a 24.csv of ranked puzzles.
        rows: ranks of that file, first to last; all that it has by default.
        limit: only so many, evenly spread over the suite.

    Raises:
        BadProblem: an unknown suite, or a file that cannot be read.
    """
    if name not in SUITES:
        raise BadProblem(f"unknown suite '{name}'; known: {', '.join(SUITES)}")
    if file is None and rows is not None:
        raise BadProblem("--rows chooses rows of a --file")
    if name == "countdown":
        if file is not None:
            raise BadProblem("the countdown suite is made by the code and takes no --file")
        puzzles = _held_out()
    else:
        from search.puzzles.game24 import all_game24, read_24_csv

        if file is None:
            puzzles = all_game24()
        else:
            try:
                puzzles = read_24_csv(file, parse_rows(rows) if rows else _all_ranks(file))
            except OSError as error:
                raise BadProblem(f"cannot read {file}: {error.strerror}") from error
            except ValueError as error:
                raise BadProblem(str(error)) from error
    problems = [puzzle_problem(p.numbers, p.target) for p in puzzles]
    if limit is None or limit >= len(problems):
        return problems
    # Spread over the whole suite: its ends are not like its middle.
    return [problems[i * len(problems) // limit] for i in range(limit)]


def _all_ranks(file: Path) -> tuple[int, int]:
    """The smallest and the largest rank of a file; (1, 1) when it is malformed, which its reader
    then says."""
    with file.open(encoding="utf-8-sig", newline="", errors="replace") as lines:
        try:
            texts = [row.get("Rank") or "" for row in csv.DictReader(lines, strict=True)]
        except csv.Error:
            return 1, 1
    ranks = [int(text) for text in texts if text.isascii() and text.isdigit()]
    ranks = [rank for rank in ranks if rank >= 1] or [1]
    return min(ranks), max(ranks)


def _held_out() -> list[Puzzle]:
    from search.puzzles.countdown import SolutionTable, held_out_puzzles
    from search.puzzles.format import ALLOWED_VALUES

    return list(held_out_puzzles(SolutionTable(ALLOWED_VALUES), 13))
