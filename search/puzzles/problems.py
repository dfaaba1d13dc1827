"""Puzzles as problems of the engine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from search.errors import BadProblem
from search.problem import Problem
from search.puzzles.arithmetic import Puzzle
from search.puzzles.format import INTEGER_MAX, prompt_text

TARGET_MAX = 100


def puzzle_problem(numbers: Any, target: Any = 24, name: str | None = None) -> Problem:
    """The problem of joining numbers to a target.

    Args:
        numbers: one to four integers within 0..256, in any order.
        target: an integer within 0..100.
        name: id of the problem; the statement itself by default.

    Raises:
        BadProblem: a number or the target is out of range, or not an integer.
    """
    values = _integers(numbers, target)
    if not 1 <= len(values) <= 4:
        raise BadProblem(f"a puzzle has one to four numbers, not {len(values)}")
    if min(values) < 0 or max(values) > INTEGER_MAX:
        raise BadProblem(f"the numbers of a puzzle lie within 0..{INTEGER_MAX}")
    if not 0 <= target <= TARGET_MAX:
        raise BadProblem(f"the target of a puzzle lies within 0..{TARGET_MAX}, not {target}")
    puzzle = Puzzle(tuple(values), target)
    text = prompt_text(puzzle)
    return Problem(
        prompt=text,
        id=name or text.strip(),
        facts={"numbers": list(puzzle.numbers), "target": puzzle.target},
    )


def puzzle_of_facts(facts: Mapping[str, Any]) -> Puzzle | None:
    """The puzzle that facts state; ``None`` where they lack numbers or a target.

    Raises:
        BadProblem: the numbers or the target are no integers or negative, or ``steps``, the steps
            that are taken already, is no list of texts.
    """
    if "numbers" not in facts or "target" not in facts:
        return None
    target, steps = facts["target"], facts.get("steps", ())
    values = _integers(facts["numbers"], target)
    if not isinstance(steps, list | tuple) or not all(isinstance(step, str) for step in steps):
        raise BadProblem(f'"steps" must be a list of texts, not {steps!r}')
    try:
        return Puzzle(tuple(values), target)
    except ValueError as error:
        raise BadProblem(str(error)) from None


def _integers(numbers: Any, target: Any) -> list[int]:
    if isinstance(numbers, str) or not hasattr(numbers, "__iter__"):
        raise BadProblem(f'"numbers" must be a list of integers, not {numbers!r}')
    values = list(numbers)
    for value in [*values, target]:
        if isinstance(value, bool) or not isinstance(value, int):
            raise BadProblem(f"a puzzle is made of integers, not {value!r}")
    return values


def parse_puzzle(text: str) -> Problem:
    """A puzzle typed by a person: ``4 5 6 10`` (target 24) or ``4 5 6 10 -> 31``.

    Raises:
        BadProblem: the text is neither.
    """
    head, arrow, tail = text.partition("->")
    numbers = re.findall(r"\d+", head)
    if not numbers or not re.fullmatch(r"[\d\s,]+", head):
        raise BadProblem(f"{text!r} is not a puzzle such as '4 5 6 10' or '4 5 6 10 -> 31'")
    if arrow and not re.fullmatch(r"\s*\d+\s*", tail):
        raise BadProblem(f"{text!r} names no target after '->'")
    try:
        values, target = [int(n) for n in numbers], int(tail) if arrow else 24
    except ValueError:  # thousands of digits
        raise BadProblem(f"the numbers of a puzzle lie within 0..{INTEGER_MAX}") from None
    return puzzle_problem(values, target)
