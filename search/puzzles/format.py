"""The text format of the puzzles and its bounded set of numbers.

A prompt is ``4 5 6 10 -> 24`` and a line end; a solution is one step a line, as in
``10 - 4 = 6 left 5 6 6``. Every word is one token of the bundled policy, so the numbers that can
be written at all are the bounded set below.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction

from search.puzzles.arithmetic import OPERATORS, Puzzle, Step, Value, number_text
from search.puzzles.countdown import bounded_values

LINE_END = "\n"
ARROW = "->"
LEFT = "left"
EQUALS = "="

# With these bounds every one of the 1,362 Game of 24 puzzles keeps a solution, and about 98 % of
# all Countdown puzzles do; numerators to 24 or denominators to 8 would lose some of the former.
INTEGER_MAX = 256
FRACTION_NUMERATOR_MAX = 30
FRACTION_DENOMINATOR_MAX = 13

ALLOWED_VALUES = bounded_values(INTEGER_MAX, FRACTION_NUMERATOR_MAX, FRACTION_DENOMINATOR_MAX)

_PROMPT = re.compile(r"((?:0|[1-9][0-9]*)(?: (?:0|[1-9][0-9]*))*) -> (0|[1-9][0-9]*)\n", re.ASCII)


def words() -> tuple[str, ...]:
    """Every word of the format in a fixed order: signs, then integers, then fractions."""
    integers = sorted(value for value in ALLOWED_VALUES if value[1] == 1)
    fractions = sorted(
        (value for value in ALLOWED_VALUES if value[1] != 1), key=lambda value: Fraction(*value)
    )
    signs = (LINE_END, ARROW, LEFT, EQUALS, *OPERATORS)
    return signs + tuple(number_text(value) for value in (*integers, *fractions))


def prompt_text(puzzle: Puzzle) -> str:
    """The prompt of a puzzle, with its line end."""
    return f"{' '.join(map(str, puzzle.numbers))} {ARROW} {puzzle.target}{LINE_END}"


def parse_prompt(text: str) -> Puzzle:
    """The puzzle of a prompt.

    Raises ValueError unless the text is exactly what :func:`prompt_text` writes.
    """
    match = _PROMPT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a prompt of the form '4 5 6 10 -> 24' and a line end")
    numbers = tuple(int(word) for word in match.group(1).split(" "))
    if list(numbers) != sorted(numbers):
        raise ValueError(f"the numbers of the prompt {text!r} are not in ascending order")
    return Puzzle(numbers, int(match.group(2)))


def step_text(step: Step) -> str:
    """The line of a step, without a line end."""
    first, second, result = map(number_text, (step.first, step.second, step.result))
    left = " ".join(map(number_text, step.left))
    return f"{first} {step.operator} {second} {EQUALS} {result} {LEFT} {left}"


def solution_text(steps: Iterable[Step]) -> str:
    """The steps one a line; the last line has no line end, the end token closes it."""
    return LINE_END.join(map(step_text, steps))


def solution_lines(text: str) -> list[str]:
    """The lines of a solution or of a part of one, without line ends and without an empty last."""
    lines = text.split(LINE_END)
    return lines[:-1] if lines[-1] == "" else lines


def is_writable(values: Iterable[Value]) -> bool:
    """Whether the format has a word for every value."""
    return ALLOWED_VALUES.issuperset(values)
