"""The verifier of four-number puzzles: exact arithmetic on the numbers of the statement."""

from __future__ import annotations

from collections.abc import Sequence

from reward_bridge.verifiers.grader import Grader
from search.errors import BadProblem
from search.interfaces import Verdict
from search.problem import Problem
from search.puzzles.arithmetic import (
    Puzzle,
    check_solution,
    number_text,
    parse_step,
    partial_ok,
    starting_values,
)
from search.puzzles.format import solution_lines
from search.puzzles.problems import puzzle_of_facts


class ArithmeticVerifier:
    """Checks each step's operation, its operands, and the numbers it says are left.

    It knows the statement only; there is no stored answer. A statement may include steps that are
    taken already (``facts["steps"]``): a search that goes on from a state.

    Args:
        reader: finds the final answer in a text about anything else, so that equal answers vote
            together; without one it is the last line.
    """

    def __init__(self, reader: Grader | None = None) -> None:
        self.name = "arithmetic" if reader is None else f"arithmetic or {reader.name}"
        self._reader = reader

    def check(self, problem: Problem, steps: Sequence[str]) -> Verdict:
        """Judges a finished path; ``None`` when the problem is no puzzle."""
        puzzle = _puzzle(problem)
        key, answer = self.canonical_key(problem, steps)
        if puzzle is None:
            return Verdict(None, key, answer)
        return Verdict(check_solution(puzzle, _all_lines(problem, steps)), key, answer)

    def allows(self, problem: Problem, steps: Sequence[str]) -> bool:
        """Whether every step so far is right arithmetic on the numbers that were left."""
        puzzle = _puzzle(problem)
        return puzzle is None or partial_ok(puzzle, _all_lines(problem, steps))

    def canonical_key(
        self, problem: Problem, steps: Sequence[str]
    ) -> tuple[str | None, str | None]:
        """The steps as one expression, such as ``(10 - 4) * (5 + 6)``; for voting and reading.

        Steps that do not end in the target, by their own words, say so in it, and so are apart from
        those that do. A line that is no step is the key itself, the last one, as in a text about
        another problem without a reader.
        """
        puzzle = _puzzle(problem)
        if puzzle is None and self._reader is not None:
            key = self._reader.canonical_key("".join(steps), problem.question)
            return key, key
        lines = _lines(steps)
        if not any(lines):
            return None, None
        expression = None if puzzle is None else _expression(puzzle, _all_lines(problem, steps))
        text = expression or lines[-1]
        return text, text


def _lines(steps: Sequence[str]) -> list[str]:
    return [line.strip() for line in solution_lines("".join(steps).strip() + "\n")]


def _all_lines(problem: Problem, steps: Sequence[str]) -> list[str]:
    return [*problem.facts.get("steps", ()), *_lines(steps)]


def _puzzle(problem: Problem) -> Puzzle | None:
    try:
        return puzzle_of_facts(problem.facts)
    except BadProblem as error:
        raise BadProblem(f"{problem.id}: {error}") from None


def _expression(puzzle: Puzzle, lines: Sequence[str]) -> str | None:
    """Puts each step's operands in place, and what is left where that is not the target.

    No arithmetic is checked, so that right and wrong steps vote under the same rule: a number that
    is not left stands for itself. ``None`` where a line is no step.
    """
    try:
        steps = [parse_step(line) for line in lines]
    except ValueError:
        return None
    left = [(value, number_text(value), "") for value in starting_values(puzzle.numbers)]
    for step in steps:
        parts = []
        for value in (step.first, step.second):
            found = next((entry for entry in left if entry[0] == value), None)
            if found is not None:
                left.remove(found)
            parts.append(found or (value, number_text(value), ""))
        (_, a, operator_a), (_, b, operator_b) = parts
        if operator_a and (operator_a in "+-" and step.operator in "*/"):
            a = f"({a})"
        if operator_b and (step.operator in "-/" or (step.operator == "*" and operator_b in "+-")):
            b = f"({b})"
        left.append((step.result, f"{a} {step.operator} {b}", step.operator))
    expression = left[-1][1]
    if steps[-1].left == starting_values((puzzle.target,)):
        return expression
    return f"{expression} = {' '.join(map(number_text, steps[-1].left))}"
