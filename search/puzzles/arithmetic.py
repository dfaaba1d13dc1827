"""Exact arithmetic of four-number puzzles: steps, the exact solver and the checker.

A value is a non-negative rational in lowest terms, held as ``(numerator, denominator)``.
A step takes two of the numbers left, joins them with one operator and puts the result back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import gcd

Value = tuple[int, int]
Values = tuple[Value, ...]

OPERATORS = ("+", "-", "*", "/")

_NUMBER = r"(?:0|[1-9][0-9]*)(?:/[1-9][0-9]*)?"
_STEP = re.compile(
    rf"({_NUMBER}) ([-+*/]) ({_NUMBER}) = ({_NUMBER}) left ({_NUMBER}(?: {_NUMBER})*)",
    re.ASCII,
)
_NUMBER_ONLY = re.compile(_NUMBER, re.ASCII)


@dataclass(frozen=True)
class Puzzle:
    """Numbers to join with + - * / so that the target comes out.

    numbers: at least one non-negative integer; stored in ascending order whatever order is given.
    target: a non-negative integer.
    Raises ValueError when a number or the target is outside these ranges.
    """

    numbers: tuple[int, ...]
    target: int

    def __post_init__(self) -> None:
        if not self.numbers:
            raise ValueError("a puzzle needs at least one number")
        if min(self.numbers) < 0 or self.target < 0:
            raise ValueError("the numbers and the target of a puzzle must not be negative")
        object.__setattr__(self, "numbers", tuple(sorted(self.numbers)))


@dataclass(frozen=True)
class Step:
    """One written step: ``first operator second = result left left[0] left[1] ...``.

    It says what was written; :func:`apply_step` decides whether it is right.
    """

    first: Value
    operator: str
    second: Value
    result: Value
    left: Values


def number_text(value: Value) -> str:
    """The text of a value: ``8`` or ``8/3``."""
    return str(value[0]) if value[1] == 1 else f"{value[0]}/{value[1]}"


def parse_number(text: str) -> Value:
    """The value of ``8`` or ``8/3``.

    Raises ValueError for a sign, a leading zero, a denominator of 1 or a fraction that is not in
    lowest terms, so that a value has exactly one text.
    """
    if _NUMBER_ONLY.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a number of the puzzle format")
    numerator, slash, denominator = text.partition("/")
    value = (int(numerator), int(denominator) if slash else 1)
    if slash and (value[1] == 1 or gcd(*value) != 1):
        raise ValueError(f"{text!r} is not a fraction in lowest terms")
    return value


def parse_step(line: str) -> Step:
    """The step written in a line without its line end.

    Raises ValueError unless the line is exactly ``A op B = C left D E ...`` with single spaces.
    """
    match = _STEP.fullmatch(line)
    if match is None:
        raise ValueError(f"{line!r} is not a step of the form 'A op B = C left D E'")
    first, operator, second, result, left = match.groups()
    return Step(
        parse_number(first),
        operator,
        parse_number(second),
        parse_number(result),
        tuple(parse_number(word) for word in left.split(" ")),
    )


def sort_values(values: Iterable[Value]) -> Values:
    """The values in ascending order."""
    items = list(values)
    if all(value[1] == 1 for value in items):
        return tuple(sorted(items))
    return tuple(sorted(items, key=lambda value: Fraction(*value)))


def compute(first: Value, operator: str, second: Value) -> Value | None:
    """``first operator second`` in lowest terms.

    None where the puzzle does not allow it: a negative result or a division by zero.
    Raises ValueError for an operator that is not one of + - * /.
    """
    (a, b), (c, d) = first, second
    if operator == "+":
        numerator, denominator = a * d + c * b, b * d
    elif operator == "-":
        numerator, denominator = a * d - c * b, b * d
    elif operator == "*":
        numerator, denominator = a * c, b * d
    elif operator == "/":
        numerator, denominator = a * d, b * c
    else:
        raise ValueError(f"{operator!r} is not one of + - * /")
    if numerator < 0 or denominator == 0:
        return None
    common = gcd(numerator, denominator)
    return numerator // common, denominator // common


def starting_values(numbers: Iterable[int]) -> Values:
    """The numbers of a puzzle as values in ascending order."""
    return tuple((number, 1) for number in sorted(numbers))


def _without(values: Values, taken: Sequence[Value]) -> list[Value] | None:
    remaining = list(values)
    for value in taken:
        if value not in remaining:
            return None
        remaining.remove(value)
    return remaining


def apply_step(values: Values, step: Step) -> Values:
    """The numbers left after a step, in ascending order.

    Operands may be written in either order and the left list in any order: only the arithmetic
    counts. Raises ValueError when an operand is not left, the result is wrong or not allowed, or
    the left list is not what remains.
    """
    remaining = _without(values, (step.first, step.second))
    if remaining is None:
        raise ValueError("the step uses a number that is not left")
    result = compute(step.first, step.operator, step.second)
    if result is None:
        raise ValueError("the step divides by zero or goes below zero")
    if result != step.result:
        raise ValueError(f"the result must be {number_text(result)}")
    after = sort_values([*remaining, result])
    if sort_values(step.left) != after:
        raise ValueError("the left list is not what remains")
    return after


def successors(values: Values, allowed: frozenset[Value] | None = None) -> tuple[Step, ...]:
    """All distinct canonical steps from the numbers left, in a fixed order.

    Canonical: + and * have the smaller operand first, - the larger first, / either order with a
    divisor that is not zero. With `allowed`, only steps whose result is in that set.
    """
    steps: dict[Step, None] = {}
    ordered = sort_values(values)
    for i, small in enumerate(ordered):
        for j in range(i + 1, len(ordered)):
            large = ordered[j]
            rest = ordered[:i] + ordered[i + 1 : j] + ordered[j + 1 :]
            for first, operator, second in (
                (small, "+", large),
                (large, "-", small),
                (small, "*", large),
                (large, "/", small),
                (small, "/", large),
            ):
                result = compute(first, operator, second)
                if result is None or (allowed is not None and result not in allowed):
                    continue
                step = Step(first, operator, second, result, sort_values([*rest, result]))
                steps[step] = None
    return tuple(steps)


@lru_cache(maxsize=1 << 20)
def solvable(values: Values, target: Value, allowed: frozenset[Value] | None = None) -> bool:
    """Whether some sequence of steps leaves exactly the target.

    values: the numbers left in ascending order. With `allowed`, every intermediate result must be
    in that set.
    """
    if len(values) == 1:
        return values[0] == target
    return any(
        solvable(left, target, allowed)
        for left in {step.left: None for step in successors(values, allowed)}
    )


def valid_steps(
    values: Values, target: Value, allowed: frozenset[Value] | None = None
) -> tuple[Step, ...]:
    """The canonical steps from which the target can still be reached (see :func:`solvable`)."""
    return tuple(
        step for step in successors(values, allowed) if solvable(step.left, target, allowed)
    )


def puzzle_solvable(puzzle: Puzzle, allowed: frozenset[Value] | None = None) -> bool:
    """Whether the puzzle has a solution (see :func:`solvable`)."""
    return solvable(starting_values(puzzle.numbers), (puzzle.target, 1), allowed)


def replay(puzzle: Puzzle, lines: Sequence[str]) -> Values:
    """The numbers left after the lines, each one step without its line end.

    Raises ValueError for the first line that is malformed or wrong.
    """
    values = starting_values(puzzle.numbers)
    for line in lines:
        values = apply_step(values, parse_step(line))
    return values


def partial_ok(puzzle: Puzzle, lines: Sequence[str]) -> bool:
    """Whether every line is a well-formed, arithmetically right step from what the last one left.

    It says nothing about whether the target can still be reached.
    """
    try:
        replay(puzzle, lines)
    except ValueError:
        return False
    return True


def check_solution(puzzle: Puzzle, lines: Sequence[str]) -> bool:
    """Whether the lines solve the puzzle: all right, one number left, and it is the target."""
    try:
        return replay(puzzle, lines) == ((puzzle.target, 1),)
    except ValueError:
        return False
