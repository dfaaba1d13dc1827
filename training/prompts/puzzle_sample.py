"""The puzzles of the example log: the policy saw none in training; no two have equal numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass

from search.puzzles.arithmetic import Puzzle
from search.puzzles.countdown import (
    LARGE_NUMBER_MAX,
    SMALL_NUMBER_MAX,
    SolutionTable,
    held_out_puzzles,
    may_train_on,
)
from search.puzzles.format import ALLOWED_VALUES
from search.puzzles.game24 import all_game24

TEST_SHARE = 1 / 3


@dataclass(frozen=True)
class LoggedPuzzle:
    """A puzzle of the log with its id and its side of the split."""

    id: str
    puzzle: Puzzle
    split: str


def puzzle_sample(each: int, seed: int) -> list[LoggedPuzzle]:
    """``each`` puzzles of three kinds, shuffled; a third of each kind is for testing.

    The kinds are the Game of 24, and held-out Countdown puzzles with numbers to 13 and with a
    number from 14 to 25. As no two puzzles have the same four numbers, a puzzle shares at most
    three numbers with one on the other side of the split.

    Raises:
        ValueError: there are fewer than ``each`` puzzles of a kind.
    """
    generator = random.Random(seed)
    table = SolutionTable(ALLOWED_VALUES)
    large = held_out_puzzles(table, LARGE_NUMBER_MAX)
    kinds = {
        "game24": all_game24(),
        "countdown-small": list(held_out_puzzles(table, SMALL_NUMBER_MAX)),
        "countdown-large": [p for p in large if p.numbers[-1] > SMALL_NUMBER_MAX],
    }
    used: set[tuple[int, ...]] = set()
    found: list[LoggedPuzzle] = []
    for kind, puzzles in kinds.items():
        generator.shuffle(puzzles)
        chosen: list[Puzzle] = []
        for puzzle in puzzles:
            if len(chosen) < each and puzzle.numbers not in used:
                assert not may_train_on(puzzle), f"the policy was trained on {puzzle}"
                used.add(puzzle.numbers)
                chosen.append(puzzle)
        if len(chosen) < each:
            raise ValueError(f"there are {len(chosen)} puzzles of the kind {kind}, not {each}")
        tests = round(each * TEST_SHARE)
        found += [
            LoggedPuzzle(f"{kind}-{number:04d}", puzzle, "test" if number < tests else "train")
            for number, puzzle in enumerate(chosen)
        ]
    generator.shuffle(found)
    return found
