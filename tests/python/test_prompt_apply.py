"""A chosen prompt put around a problem: templates, suffixes, chat messages, puzzle formats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompt_oirl.apply import apply_arm, fill, query_text
from prompt_oirl.bundled.puzzle_formats import PUZZLE_FORMATS
from prompt_oirl.logs.log import Arm
from search.errors import BadProblem
from search.problem import Problem
from search.puzzles.problems import puzzle_problem


@pytest.mark.parametrize(
    ("template", "query", "expected"),
    [
        ("Q: {query}\nA:", "1 + 1?", "Q: 1 + 1?\nA:"),
        ("{query} Again: {query}", "Why?", "Why? Again: Why?"),
        ("Think. {other} {{query}}", "{x}", "Think. {other} {{x}}"),
        ("The answer is:", "1 + 1?", "1 + 1?\nThe answer is:"),
        (" The answer is:", "1 + 1?", "1 + 1? The answer is:"),
        ("The answer is:", "1 + 1?\n", "1 + 1?\nThe answer is:"),
        ("", "1 + 1?", "1 + 1?"),
        (" \n", "1 + 1?", "1 + 1?"),
    ],
)
def test_fill(template: str, query: str, expected: str) -> None:
    assert fill(template, query) == expected


@given(st.text(), st.text())
def test_the_query_is_never_changed(template: str, query: str) -> None:
    filled = fill(template, query)
    assert query in filled
    if "{query}" not in template and template.strip():
        assert filled.startswith(query)
        assert filled.endswith(template)


def test_a_prompt_keeps_its_id_and_facts() -> None:
    problem = Problem("What is 1 + 1?", "sum", {"unit": "apples"})
    applied = apply_arm(problem, Arm("brief", "{query} Be brief."))
    assert applied == Problem("What is 1 + 1? Be brief.", "sum", {"unit": "apples"})


def test_the_last_message_of_the_user_takes_the_prompt() -> None:
    messages = tuple(
        {"role": role, "content": content}
        for role, content in (
            ("system", "Help."),
            ("user", "Hello"),
            ("assistant", "Hi"),
            ("user", "What is 1 + 1? "),
            ("assistant", "It is"),
        )
    )
    problem = Problem("", "chat", messages=messages)
    assert query_text(problem) == "What is 1 + 1?"
    applied = apply_arm(problem, Arm("brief", "Be brief."))
    assert applied.messages is not None
    assert [m["content"] for m in applied.messages] == [
        "Help.",
        "Hello",
        "Hi",
        "What is 1 + 1? Be brief.",
        "It is",
    ]
    assert problem.messages == messages


def test_messages_without_a_user() -> None:
    problem = Problem("", "chat", messages=({"role": "system", "content": "Help."},))
    for call in (lambda: query_text(problem), lambda: apply_arm(problem, Arm("a", "b"))):
        with pytest.raises(BadProblem, match="chat: no message of the user"):
            call()


def test_a_puzzle_takes_the_format_that_the_arm_names() -> None:
    puzzle = puzzle_problem([10, 4, 6, 5], 24)
    assert query_text(puzzle) == "4 5 6 10 -> 24"
    applied = apply_arm(puzzle, Arm("add_smallest", PUZZLE_FORMATS["add_smallest"].text))
    assert applied.prompt == "4 5 6 10 -> 24\n4 + 5 = 9 left 6 9 10\n"
    assert applied.facts["steps"] == ["4 + 5 = 9 left 6 9 10"]
    assert applied.id == "4 5 6 10 -> 24"


def test_a_puzzle_takes_any_other_prompt_as_text() -> None:
    applied = apply_arm(puzzle_problem([4, 5, 6, 10]), Arm("solve", "Solve this puzzle: {query}"))
    assert applied.prompt == "Solve this puzzle: 4 5 6 10 -> 24\n"


def test_a_puzzle_format_is_refused_for_other_problems() -> None:
    problem = Problem("What is 1 + 1?", "sum")
    with pytest.raises(BadProblem, match="sum: 'descending' is a format of puzzles"):
        apply_arm(problem, Arm("descending", PUZZLE_FORMATS["descending"].text))
    # Another prompt may have the same name.
    assert apply_arm(problem, Arm("descending", "Count down: {query}")).prompt.startswith("Count")
