"""Graders of texts and letters: what states an answer, what is an option, what is the same."""

from __future__ import annotations

import time

import pytest

from reward_bridge.verifiers import ExactGrader, MultipleChoiceGrader, NumericGrader
from reward_bridge.verifiers.grader import Grader, boxed, stated
from reward_bridge.verifiers.multiple_choice import options

REASONED = "Answer: Janet sells 16 - 3 - 4 = 9 eggs a day.\nShe makes 9 * 2 = $18."
FOUR = "Where? (A) bank (B) library (C) mall (D) a park"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (REASONED, None),
        ("Answer: 16-3=13\n13-4=9", None),
        ("Answer:\nStep 1: add\nso 18", None),
        ("Answer: Step 1:\nso 18", None),
        ("Answer: 18\n\nExplanation: 9 * 2 = 18", "18"),
        ("**Answer:** 18 dollars a day\nBecause she sells 9", "18 dollars a day"),
        ("Answer: 18 dollars.\nShe sells 9 eggs.", "18 dollars."),
        ("Answer: she makes 18 dollars a day\n", "she makes 18 dollars a day"),
        ("The answer is 18 dollars a day.\nShe sells 9.", "18 dollars a day."),
        ("Final answer: 18 dollars every day\nAsk me more!", "18 dollars every day"),
        ("Answer: 17\nNo.\nAnswer: 18", "18"),
    ],
)
def test_answer_may_open_the_reasoning(text: str, expected: str | None) -> None:
    assert stated(text) == expected


def test_reasoning_after_answer_is_read() -> None:
    assert NumericGrader().check(REASONED, "18").right is True
    text = "Answer: We look at the map of France.\nIt is\nParis"
    assert ExactGrader().canonical_key(text) != "we look at the map of france"
    assert ExactGrader().check(f"{text}\nThe answer is Paris.", "Paris").right is True
    assert ExactGrader().check("Answer: Paris\n\nIt is its capital.", "Paris").right is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\boxed{1} and \boxed{2}", "2"),
        (r"\boxed{1} and \boxed{2", "1"),
        (r"\boxed{a \boxed{b} c}", "b"),
        (r"\boxed{a \boxed{b}", "b"),
        (r"} \fbox {x {y} z} }", "x {y} z"),
        (r"{ \boxed{x} { \boxed{y", "x"),
        (r"\boxed{", None),
        ("{x}", None),
    ],
)
def test_the_last_box_that_is_closed(text: str, expected: str | None) -> None:
    assert boxed(text) == expected


@pytest.mark.parametrize("text", [r"\boxed{" * 6000, "*" * 30000, "*_" * 15000])
@pytest.mark.parametrize("grader", [MultipleChoiceGrader(), NumericGrader(), ExactGrader()])
def test_what_is_repeated_takes_no_quadratic_time(grader: Grader, text: str) -> None:
    started = time.perf_counter()
    grader.canonical_key(text, FOUR)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("gold", ["Evelyn", r"\text{Evelyn}"])
@pytest.mark.parametrize(
    "answer", [r"\boxed{\text{Evelyn}}", r"The answer is $\text{Evelyn}$.", "Evelyn"]
)
def test_latex_around_words_is_no_difference(answer: str, gold: str) -> None:
    assert ExactGrader().check(answer, gold).right is True


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("A. bank: unlikely.\nB. library: no.\nC. mall: yes.\nD. no.\nSo I choose (C).", "C"),
        ("A. bank\nB. library\nC. mall\nD. a park\nSo I choose (C).", "C"),
        ("(A) bank is unlikely, (B) library too, (D) as well; so (C).", "C"),
        ("Answer: A. bank: unlikely.\nB. library: no.\nSo (C).", "C"),
        ("(A) bank: people keep their money there but this is not what was asked for: (C).", "C"),
        ("B\n\nA. bank: no.\nC. mall: no.", "B"),
        ("B. library\n\nThe bank (A) and the mall (C) are no places to read.", "B"),
        ("**Answer:** (D) a park\n\nThe mall (C) has no trees.", "D"),
        ("B, not (A).", "B"),
        ("The answer is Option B.", "B"),
        ("The correct option is B", "B"),
        ("the correct choice is B, as (A) has no books", "B"),
        ("The correct answer choice is **(B)**.\nNot (A).", "B"),
        ("OPTION: B", "B"),
        ("option b", "B"),
        ("Choice: **b**", "B"),
        ("A. bank is wrong. So B.", "B"),
        ("A. bank isn't where one reads: B.", "B"),
        ("A. bank, as it is not wrong", "A"),
        ("B. library, which is not a bank", "B"),
    ],
)
def test_choices(answer: str, expected: str) -> None:
    assert MultipleChoiceGrader().canonical_key(answer, FOUR) == expected


def test_a_letter_that_is_called_wrong_where_options_are_unknown() -> None:
    key = MultipleChoiceGrader().canonical_key
    assert key("A. bank is wrong. So B.") == "B"
    assert key("A. bank, as B is wrong.") == "A"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("B is correct, while (A) and (C) are not.", "B"),
        ("It must be B. Options (A), (C), (D) are not plausible.", "B"),
        ("It must be (B) because (A), (C) and (D) are no places to read.", "B"),
        ("Option **B** is the right one, not (C).", "B"),
        ("(A): no. B is the only correct one, as (C) has no books.", "B"),
        ("A is correct. No, it must be (B), not (A) or (C).", "B"),
        ("Neither A nor B is correct, which leaves (C).", "C"),
        ("If B is correct, so is (A): therefore (C)", "C"),
        ("It must be (A) or (B), so I take (C) for neither", "C"),
        ("It must be A place to read: (B)", "B"),
        ("A is right about money, but I take (B)", "B"),
        ("Is it so that B is right? No: (C)", "C"),
    ],
)
def test_letters_that_are_judged_right(answer: str, expected: str) -> None:
    assert MultipleChoiceGrader().canonical_key(answer, FOUR) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The answer is b.", "B"),
        ("answer: b", "B"),
        ("**Answer:** b) library", "B"),
        ("The answer is **b**, not c.", "B"),
        ("the answer is option c", "C"),
        ("b)", "B"),
        ("**b**", "B"),
        ("a", "A"),
        (r"\boxed{b}", "B"),
        (r"so \boxed{\text{d}} it is", "D"),
        ("The answer is a number", None),
        ("The answer is a", "A"),
        ("The answer is e.", None),
        ("The answer is e.g. green", None),
        ("a number of them", None),
    ],
)
def test_small_letters(answer: str, expected: str | None) -> None:
    assert MultipleChoiceGrader().canonical_key(answer, FOUR) == expected


def test_a_small_letter_that_is_the_text_of_an_option() -> None:
    assert MultipleChoiceGrader().canonical_key("The answer is b.", "Q? (A) b (B) a") == "A"


def test_options_that_name_options() -> None:
    expected = {"A": "x", "B": "y", "C": "both (A) and (B)", "D": "neither"}
    assert options("Q? (A) x (B) y (C) both (A) and (B) (D) neither") == expected
    assert options("Q?\n(A) x\n(B) y\n(C) both (A) and (B)\n(D) neither") == expected
    with_both = options("Q? (A) x (B) y (C) z (D) (A) with (B)")
    assert with_both == {"A": "x", "B": "y", "C": "z", "D": "(A) with (B)"}
    asked = "Q? (A) x (B) y (C) z\nAnswer with (A), (B) or (C)."
    assert options(asked) == {"A": "x", "B": "y", "C": "z"}


def test_options_of_the_question_after_examples() -> None:
    example = "Sky? (A) red (B) blue (C) pink\nAnswer: (B)\n\n"
    assert options(f"{example}Grass? (A) green (B) grey") == {"A": "green", "B": "grey"}
    assert options("Sky? (A) red (B) blue Grass? (A) green (B) grey (C) black") == {
        "A": "green",
        "B": "grey",
        "C": "black",
    }
