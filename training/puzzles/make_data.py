"""Makes the training trajectories of the puzzle policy.

Each row is one puzzle with one solution, exactly 35 tokens. A solution takes each next step
uniformly from the distinct steps that keep the target reachable. As the whole set of these steps
is known, the row also holds, for the three words that make the choice (first operand, operator,
second operand), how many valid steps continue with which word; training on these counts is
training on the expectation over the solutions instead of on one draw.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from search.puzzles.arithmetic import OPERATORS, Puzzle, number_text
from search.puzzles.countdown import (
    LARGE_NUMBER_MAX,
    SMALL_NUMBER_MAX,
    SolutionTable,
    is_game24,
    is_held_out,
    may_train_on,
    multisets,
)
from search.puzzles.format import ALLOWED_VALUES, ARROW, EQUALS, LEFT, LINE_END
from training.puzzles.build_tokenizer import BOS, EOS, token_ids

ROW_LENGTH = 35
PROMPT_LENGTH = 8
STEP_STARTS = (8, 18, 27)
CHOICES = 4
SMALL_SHARE = 0.7


class RowMaker:
    """Writes random solutions of puzzles as token ids with the counts of valid choices."""

    def __init__(self, seed: int) -> None:
        self.table = SolutionTable(ALLOWED_VALUES)
        self._random = random.Random(seed)
        self._ids = token_ids()
        self._number = [self._ids[number_text(value)] for value in self.table.values]
        self._operator = {operator: self._ids[operator] for operator in OPERATORS}

    def row(self, puzzle: Puzzle) -> tuple[list[int], list[list[tuple[int, int]]]]:
        """The 35 token ids of the puzzle with one random solution, and the choice counts.

        The counts are nine lists (three words for each of three steps) of (token id, count).
        """
        ids, number = self._ids, self._number
        state = self.table.indices(puzzle.numbers)
        tokens = [ids[BOS], *(number[i] for i in state), ids[ARROW], ids[str(puzzle.target)]]
        counts: list[list[tuple[int, int]]] = []
        while len(state) > 1:
            tokens.append(ids[LINE_END])
            valid = self.table.valid_steps(state, puzzle.target)
            first, operator, second, result, after = self._random.choice(valid)
            same_first = [step for step in valid if step[0] == first]
            same_operator = [step for step in same_first if step[1] == operator]
            counts.append(list(Counter(number[step[0]] for step in valid).items()))
            counts.append(list(Counter(self._operator[step[1]] for step in same_first).items()))
            counts.append(list(Counter(number[step[2]] for step in same_operator).items()))
            tokens += [number[first], self._operator[operator], number[second]]
            tokens += [ids[EQUALS], number[result], ids[LEFT], *(number[i] for i in after)]
            state = after
        tokens.append(ids[EOS])
        return tokens, counts


def training_puzzles(
    table: SolutionTable, number_max: int, wanted: int, seed: int
) -> Iterator[Puzzle]:
    """About `wanted` training puzzles with numbers from 1 to `number_max`, spread evenly.

    Every allowed puzzle comes equally often, up to one; the remainder is drawn at random.
    """
    generator = random.Random(seed)
    total = sum(
        may_train_on(Puzzle(numbers, target))
        for numbers in multisets(number_max)
        for target in table.targets(numbers)
    )
    rate = wanted / total
    for numbers in multisets(number_max):
        for target in table.targets(numbers):
            puzzle = Puzzle(numbers, target)
            if may_train_on(puzzle):
                for _ in range(int(rate + generator.random())):
                    yield puzzle


def check_rows(tokens: np.ndarray) -> None:
    """Raises AssertionError when a row is a puzzle that training must not see."""
    text_of = {i: token for token, i in token_ids().items()}
    value_of = {i: int(text) for i, text in text_of.items() if text.isdigit()}
    prompts = np.unique(tokens[:, :PROMPT_LENGTH], axis=0)
    for row in prompts.tolist():
        puzzle = Puzzle(tuple(value_of[i] for i in row[1:5]), value_of[row[6]])
        assert not is_game24(puzzle), f"{puzzle} is of the Game of 24"
        assert not is_held_out(puzzle), f"{puzzle} is held out"


def make_rows(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shuffled rows: tokens (rows, 35), choice ids and choice counts (rows, 9, 4).

    70 % of the puzzles have numbers from 1 to 13, the others from 1 to 25.
    """
    maker = RowMaker(seed)
    tokens: list[list[int]] = []
    choice_ids: list[np.ndarray] = []
    choice_counts: list[np.ndarray] = []
    for number_max, share in (
        (SMALL_NUMBER_MAX, SMALL_SHARE),
        (LARGE_NUMBER_MAX, 1 - SMALL_SHARE),
    ):
        for puzzle in training_puzzles(maker.table, number_max, round(rows * share), seed):
            row, counts = maker.row(puzzle)
            tokens.append(row)
            ids = np.zeros((9, CHOICES), np.int16)
            number = np.zeros((9, CHOICES), np.uint8)
            for place, items in enumerate(counts):
                for slot, (token, count) in enumerate(items):
                    ids[place, slot], number[place, slot] = token, count
            choice_ids.append(ids)
            choice_counts.append(number)
    order = np.random.default_rng(seed).permutation(len(tokens))
    array = np.asarray(tokens, np.int16)
    assert array.shape[1] == ROW_LENGTH
    return array[order], np.stack(choice_ids)[order], np.stack(choice_counts)[order]


def main() -> None:
    """Command line: writes the trajectories into one .npz file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/puzzles/trajectories.npz"))
    parser.add_argument("--rows", type=int, default=1_200_000, help="about how many rows to make")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.monotonic()
    tokens, choice_ids, choice_counts = make_rows(arguments.rows, arguments.seed)
    check_rows(tokens)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(arguments.out, tokens=tokens, choice_ids=choice_ids, choice_counts=choice_counts)
    print(f"{len(tokens)} rows in {time.monotonic() - start:.0f} s, written to {arguments.out}")


if __name__ == "__main__":
    main()
