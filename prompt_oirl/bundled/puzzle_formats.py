"""The prompt formats of the example log: ways to state a puzzle to the bundled policy.

    ascending             4 5 6 10 -> 24
    descending            10 6 5 4 -> 24
    add_smallest          4 5 6 10 -> 24
                          4 + 5 = 9 left 6 9 10
    add_largest           4 5 6 10 -> 24
                          6 + 10 = 16 left 4 5 16
    multiply_smallest     4 5 6 10 -> 24
                          4 * 5 = 20 left 6 10 20
    subtract_largest      4 5 6 10 -> 24
                          10 - 6 = 4 left 4 4 5

``ascending`` is what the policy was trained on. The last four begin the answer with a first step.
They look at the numbers only, never at the target or at a solution, so the step may be a wrong one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from search.errors import BadProblem
from search.problem import Problem
from search.puzzles.arithmetic import Puzzle, Step, compute, sort_values, starting_values
from search.puzzles.format import ARROW, LINE_END, is_writable, prompt_text, step_text

# With two numbers the first step would be the whole answer.
FEWEST_NUMBERS_WITH_FIRST_STEP = 3

FirstStep = tuple[int, str, int]


@dataclass(frozen=True)
class StatedPuzzle:
    """A puzzle as one format states it.

    Attributes:
        prompt: text for the policy, with its line end.
        steps: the steps of the answer that the prompt holds already, without line ends.
    """

    prompt: str
    steps: tuple[str, ...] = ()


@dataclass(frozen=True)
class PuzzleFormat:
    """A prompt format of puzzles.

    Attributes:
        name: the name of the arm.
        text: what the format does, in words; the arm's text in the example log.
        state: how it states a puzzle.
    """

    name: str
    text: str
    state: Callable[[Puzzle], StatedPuzzle]


def _ascending(puzzle: Puzzle) -> StatedPuzzle:
    return StatedPuzzle(prompt_text(puzzle))


def _descending(puzzle: Puzzle) -> StatedPuzzle:
    numbers = " ".join(str(number) for number in reversed(puzzle.numbers))
    return StatedPuzzle(f"{numbers} {ARROW} {puzzle.target}{LINE_END}")


def _beginning_with(
    first_step: Callable[[tuple[int, ...]], FirstStep],
) -> Callable[[Puzzle], StatedPuzzle]:
    """States the puzzle in ascending order, then the first step.

    The step is left out where the puzzle has too few numbers, or the policy no word for a result.
    """

    def state(puzzle: Puzzle) -> StatedPuzzle:
        if len(puzzle.numbers) < FEWEST_NUMBERS_WITH_FIRST_STEP:
            return _ascending(puzzle)
        one, operator, other = first_step(puzzle.numbers)
        result = compute((one, 1), operator, (other, 1))
        if result is None or not is_writable([result]):
            return _ascending(puzzle)
        rest = list(puzzle.numbers)
        rest.remove(one)
        rest.remove(other)
        left = sort_values([*starting_values(rest), result])
        line = step_text(Step((one, 1), operator, (other, 1), result, left))
        return StatedPuzzle(prompt_text(puzzle) + line + LINE_END, (line,))

    return state


PUZZLE_FORMATS: dict[str, PuzzleFormat] = {
    puzzle_format.name: puzzle_format
    for puzzle_format in (
        PuzzleFormat("ascending", "The numbers in ascending order, then the target.", _ascending),
        PuzzleFormat(
            "descending", "The numbers in descending order, then the target.", _descending
        ),
        PuzzleFormat(
            "add_smallest",
            "Ascending order; begin by adding the two smallest numbers.",
            _beginning_with(lambda numbers: (numbers[0], "+", numbers[1])),
        ),
        PuzzleFormat(
            "add_largest",
            "Ascending order; begin by adding the two largest numbers.",
            _beginning_with(lambda numbers: (numbers[-2], "+", numbers[-1])),
        ),
        PuzzleFormat(
            "multiply_smallest",
            "Ascending order; begin by multiplying the two smallest numbers.",
            _beginning_with(lambda numbers: (numbers[0], "*", numbers[1])),
        ),
        PuzzleFormat(
            "subtract_largest",
            "Ascending order; begin by subtracting the second largest number from the largest.",
            _beginning_with(lambda numbers: (numbers[-1], "-", numbers[-2])),
        ),
    )
}


def puzzle_of(problem: Problem) -> Puzzle | None:
    """The puzzle that a problem states in the plain format; ``None`` for every other problem."""
    facts = problem.facts
    if problem.messages is not None or "numbers" not in facts or "target" not in facts:
        return None
    puzzle = Puzzle(tuple(facts["numbers"]), facts["target"])
    return puzzle if problem.prompt == prompt_text(puzzle) else None


def state_puzzle(problem: Problem, format_name: str) -> Problem:
    """The puzzle of a problem, stated in another format; id and facts are kept.

    Raises:
        BadProblem: the problem is no puzzle in the plain format, or there is no such format.
    """
    if format_name not in PUZZLE_FORMATS:
        known = ", ".join(PUZZLE_FORMATS)
        raise BadProblem(f"there is no puzzle format '{format_name}'; there are {known}")
    puzzle = puzzle_of(problem)
    if puzzle is None:
        raise BadProblem(
            f"{problem.id}: '{format_name}' is a format of puzzles, and this problem is none"
        )
    stated = PUZZLE_FORMATS[format_name].state(puzzle)
    facts = dict(problem.facts)
    if stated.steps:
        # The verifier goes on from these.
        facts["steps"] = list(stated.steps)
    return replace(problem, prompt=stated.prompt, facts=facts)
