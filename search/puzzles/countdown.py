"""Countdown puzzles: four numbers and a target from 1 to 100, all solutions at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import combinations, combinations_with_replacement
from math import gcd

from search.puzzles.arithmetic import Puzzle, Step, Value, compute

TARGET_MIN = 1
TARGET_MAX = 100
SMALL_NUMBER_MAX = 13
LARGE_NUMBER_MAX = 25

_HELD_OUT_PER_THOUSAND = 20

Indices = tuple[int, ...]


def multisets(number_max: int, count: int = 4) -> Iterator[tuple[int, ...]]:
    """All ascending multisets of `count` numbers from 1 to `number_max`, in order."""
    return combinations_with_replacement(range(1, number_max + 1), count)


def is_held_out(puzzle: Puzzle) -> bool:
    """Whether the puzzle belongs to the held-out 2 %.

    It depends only on the numbers and the target, through a hash that is the same everywhere.
    """
    text = f"{' '.join(map(str, puzzle.numbers))} -> {puzzle.target}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 1000 < _HELD_OUT_PER_THOUSAND


def is_game24(puzzle: Puzzle) -> bool:
    """Whether the puzzle is of the Game of 24: target 24, four numbers from 1 to 13."""
    return (
        puzzle.target == 24
        and len(puzzle.numbers) == 4
        and all(1 <= number <= 13 for number in puzzle.numbers)
    )


def may_train_on(puzzle: Puzzle) -> bool:
    """Whether training data may hold the puzzle: neither held out nor of the Game of 24."""
    return not is_held_out(puzzle) and not is_game24(puzzle)


class SolutionTable:
    """All solutions of many puzzles, with every intermediate value in a bounded set.

    Values are held as indices into the set in ascending order, so that sorting indices sorts
    values, and the targets that can be reached from a set of numbers are one bit mask. That makes
    it fast enough to enumerate every puzzle of a suite.
    """

    def __init__(self, allowed: Iterable[Value]) -> None:
        """allowed: the values that may occur; it must hold the numbers of every puzzle asked."""
        self.values: tuple[Value, ...] = tuple(
            sorted(set(allowed), key=lambda value: Fraction(*value))
        )
        self._index = {value: i for i, value in enumerate(self.values)}
        self._joins: dict[tuple[int, int], tuple[tuple[int, str, int, int], ...]] = {}
        self._masks: dict[Indices, int] = {}

    def indices(self, numbers: Iterable[int]) -> Indices:
        """The ascending value indices of whole numbers. Raises KeyError for one not allowed."""
        return tuple(sorted(self._index[(number, 1)] for number in numbers))

    def _join(self, small: int, large: int) -> tuple[tuple[int, str, int, int], ...]:
        key = (small, large)
        joins = self._joins.get(key)
        if joins is None:
            found: dict[tuple[int, str, int, int], None] = {}
            for first, operator, second in (
                (small, "+", large),
                (large, "-", small),
                (small, "*", large),
                (large, "/", small),
                (small, "/", large),
            ):
                result = compute(self.values[first], operator, self.values[second])
                if result in self._index:
                    found[(first, operator, second, self._index[result])] = None
            joins = self._joins[key] = tuple(found)
        return joins

    def steps(self, state: Indices) -> list[tuple[int, str, int, int, Indices]]:
        """The distinct canonical steps: (first, operator, second, result, state after)."""
        found = []
        seen = set()
        for i, j in combinations(range(len(state)), 2):
            pair = (state[i], state[j])
            if pair in seen:
                continue
            seen.add(pair)
            rest = state[:i] + state[i + 1 : j] + state[j + 1 :]
            for first, operator, second, result in self._join(*pair):
                found.append((first, operator, second, result, tuple(sorted((*rest, result)))))
        return found

    def reachable(self, state: Indices) -> int:
        """Bit t is set for each target t from 1 to 100 that can be reached from the state."""
        mask = self._masks.get(state)
        if mask is not None:
            return mask
        mask = 0
        if len(state) == 1:
            numerator, denominator = self.values[state[0]]
            if denominator == 1 and TARGET_MIN <= numerator <= TARGET_MAX:
                mask = 1 << numerator
        else:
            for after in {step[4] for step in self.steps(state)}:
                mask |= self.reachable(after)
        # Full-size states are asked for once each; keeping them would only cost memory.
        if len(state) < 4:
            self._masks[state] = mask
        return mask

    def valid_steps(self, state: Indices, target: int) -> list[tuple[int, str, int, int, Indices]]:
        """The steps from which the target can still be reached."""
        return [step for step in self.steps(state) if self.reachable(step[4]) >> target & 1]

    def step(self, entry: tuple[int, str, int, int, Indices]) -> Step:
        """A step of this table as exact values."""
        first, operator, second, result, after = entry
        value = self.values
        return Step(
            value[first],
            operator,
            value[second],
            value[result],
            tuple(value[i] for i in after),
        )

    def targets(self, numbers: Iterable[int]) -> list[int]:
        """All targets from 1 to 100 that the numbers can reach, ascending."""
        mask = self.reachable(self.indices(numbers))
        return [t for t in range(TARGET_MIN, TARGET_MAX + 1) if mask >> t & 1]


def bounded_values(integer_max: int, numerator_max: int, denominator_max: int) -> frozenset[Value]:
    """The integers from 0 to integer_max and all other fractions in lowest terms in the bounds."""
    fractions = {
        (numerator, denominator)
        for denominator in range(2, denominator_max + 1)
        for numerator in range(1, numerator_max + 1)
        if gcd(numerator, denominator) == 1
    }
    return frozenset({(number, 1) for number in range(integer_max + 1)} | fractions)


def held_out_puzzles(table: SolutionTable, number_max: int) -> Iterator[Puzzle]:
    """The solvable held-out puzzles with numbers from 1 to `number_max`, in order.

    Puzzles of the Game of 24 are left out: they are a test set of their own.
    """
    for numbers in multisets(number_max):
        for target in table.targets(numbers):
            puzzle = Puzzle(numbers, target)
            if is_held_out(puzzle) and not is_game24(puzzle):
                yield puzzle
