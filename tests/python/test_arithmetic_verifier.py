"""Which answers of a puzzle are one when votes are cast."""

from __future__ import annotations

import pytest

from reward_bridge.verifiers import ArithmeticVerifier, load_grader
from search.problem import Problem
from search.puzzles.problems import puzzle_problem

PROBLEM = puzzle_problem([1, 1, 4, 6])
START = ["1 * 1 = 1 left 1 4 6\n", "1 * 4 = 4 left 4 6\n"]


def key(*steps: str, problem: Problem = PROBLEM) -> str | None:
    found, text = ArithmeticVerifier().canonical_key(problem, steps)
    assert text == found
    return found


def test_steps_to_the_target_are_their_expression() -> None:
    assert key(*START, "4 * 6 = 24 left 24") == "1 * 1 * 4 * 6"
    assert key(*START[:1], "4 * 6 = 24 left 1 24\n", "1 * 24 = 24 left 24") == "1 * 1 * 4 * 6"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((*START, "6 - 4 = 2 left 2"), "6 - (1 * 1 * 4) = 2"),
        ((*START, "4 * 6 = 25 left 25"), "1 * 1 * 4 * 6 = 25"),
        ((*START, "4 * 6 = 24 left 25"), "1 * 1 * 4 * 6 = 25"),
        ((*START, "4 * 6 = 24 left 4 24"), "1 * 1 * 4 * 6 = 4 24"),
        (("4 * 6 = 24 left 1 1 24",), "4 * 6 = 1 1 24"),
        (("4 * 6 = 24 left 24",), "4 * 6"),  # without two of the numbers
        ((*START, "4 * 7 = 28 left 28"), "1 * 1 * 4 * 7 = 28"),
        ((*START, "so it is 24"), "so it is 24"),
        (
            ("4 * 6 = 23 left 1 1 23\n", "1 * 1 = 1 left 1 23\n", "1 + 23 = 24 left 24"),
            "1 * 1 + 4 * 6",
        ),
    ],
)
def test_other_steps_say_what_they_leave(steps: tuple[str, ...], expected: str) -> None:
    """By one rule for right and wrong ones: votes know no more than was written."""
    assert key(*steps) == expected


def test_steps_that_the_statement_has_taken_count() -> None:
    stated = puzzle_problem([1, 1, 4, 6])
    stated.facts["steps"] = [line.strip() for line in START]
    assert key("4 * 6 = 24 left 24", problem=stated) == "1 * 1 * 4 * 6"
    assert key("4 * 6 = 25 left 25", problem=stated) == "1 * 1 * 4 * 6 = 25"


def test_nothing_is_no_answer() -> None:
    assert key() is None
    assert key(" \n") is None
    assert key("so it is 4\n", "or 5", problem=Problem("2 + 2 =")) == "or 5"


def test_a_reader_finds_the_answers_of_what_is_no_puzzle() -> None:
    verifier = ArithmeticVerifier(load_grader("numeric"))
    prompt = Problem("What is 2 + 2?")
    texts = ("Two and two.\nThe answer is 4.\n", "So it is 4", "4.0")
    assert {verifier.canonical_key(prompt, [text]) for text in texts} == {("4", "4")}
    assert verifier.canonical_key(prompt, ["I do not know"]) == (None, None)
    assert verifier.check(prompt, ["So it is 4"]).right is None
    steps = ["4 * 6 = 24 left 24\n"]
    assert verifier.check(puzzle_problem([4, 6], 24), steps).key == "4 * 6"


def test_a_reader_of_options_sees_the_question_of_a_chat() -> None:
    verifier = ArithmeticVerifier(load_grader("multiple-choice"))
    asked = {"role": "user", "content": "Pick one.\n(A) cats\n(B) dogs"}
    chat = Problem("", messages=({"role": "system", "content": "Be brief."}, asked))
    assert verifier.canonical_key(chat, ["dogs"]) == ("B", "B")
