"""Graders of numbers: what is one number, in known answers as in given ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from reward_bridge.verifiers import Gsm8kGrader, NumericGrader
from reward_bridge.verifiers.numeric import numbers

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("TREEWARD_DATA") or ROOT.parent / "shared/data")


def key(grader: NumericGrader, text: str) -> str | None:
    number = grader.gold_number(text)
    return None if number is None else str(number.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10^6", ["1000000"]),
        ("2^{10} or 2**3", ["1024", "8"]),
        ("10^(-2)", ["1/100"]),
        ("-2^2", ["-4"]),
        ("5²", ["25"]),
        ("25 cm^2", ["25"]),
        ("25 cm² of 9 m³", ["25", "9"]),
        (r"15\mbox{ cm}^2", ["15"]),
        ("x^{n+2} + x_{3}", []),
        ("2^n, 2^(1/2), 2^2.5, 0^-1, 9^999", []),
        ("52_8, 4210_{5}", []),
        (r"90^\circ, 30^{\circ}", ["90", "30"]),
        (r"\frac9{19}", ["9/19"]),
        (r"\frac43 and \frac 59", ["4/3", "5/9"]),
        (r"\frac{270}7\text{ degrees}", ["270/7"]),
        (r"11,\! 111,\! 100", ["11111100"]),
        ("10:30", []),
        ("10:30:15 or 3:4", []),
        ("Total:18", ["18"]),
        ("**18** dollars", ["18"]),
        ("$5k, 5K or -1.5k", ["5000", "5000", "-1500"]),
        ("1.2M people, 3M.", ["1200000", "3000000"]),
        ("5 K, 5 km, 5kg, 5m, 5 M", ["5", "5", "5", "5", "5"]),
        ("$5k$ and 5k^2", ["5", "5"]),
    ],
)
def test_exponents_fractions_times_and_letters(text: str, expected: list[str]) -> None:
    assert [str(number.value) for number in numbers(text)] == expected


@pytest.mark.parametrize(
    ("gold", "expected"),
    [
        (r"15\mbox{ cm}^2", "15"),
        ("25 cm^2", "25"),
        ("The area is 25 m^2.", "25"),
        ("10^6", "1000000"),
        ("$18 for 7 days", "18"),
        ("18 dollars (9 * 2)", "18"),
        ("9 * 2 = 18 dollars for 7 days", "18"),
        ("She has 16 eggs.\nShe sells 16 - 7 = 9\n#### 9", "9"),
        ("3 boxes\nso the answer is 12 eggs for 4 people", "12"),
        ("18 is the answer: yes", "18"),
        (r"so 16 \boxed{\frac43} of 8", "4/3"),
        ("x=5", "5"),
        ("(3, 5)", None),
        ("3, 5, 7", None),
        ("3 and 5", None),
        ("The point is (3, 5)", None),
        ("5–7", None),
        ("5 feet 10 inches", None),
        ("10:30", None),
        ("16 - 3", None),
        (r"3\sqrt{13}", None),
        (r"-\sqrt{3}", None),
        (r"12\pi", None),
        ("6 - 5i", None),
        (r"1 \pm \sqrt{19}", None),
        (r"\begin{pmatrix} -1/3 \\ 2/3 \end{pmatrix}", None),
        ("none", None),
    ],
)
def test_known_answers(gold: str, expected: str | None) -> None:
    assert key(NumericGrader(), gold) == expected


@pytest.mark.parametrize("gold", [r"15\mbox{ cm}^2", "25 cm^2", "10^6", r"\frac9{19}", "x = 5"])
@pytest.mark.parametrize("grader", [NumericGrader(), Gsm8kGrader()])
def test_known_answers_are_right(grader: NumericGrader, gold: str) -> None:
    assert grader.check(gold, gold).right is True


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("(3, 5)", None),
        ("They are 9:\n3, 4 and 5", None),
        ("The answer is (3, 5).", None),
        ("The answer is 10:30", None),
        ("The answer is 3 or 5", None),
        ("The answer is 40%, or 0.4", "40"),
        ("Of 3, 4 and 5 eggs 12 are left", "12"),
        ("The answer is 3 * 4 = 12 for all 2 of them", "12"),
        (r"The answer is $\sqrt{49} = 7$.", "7"),
        ("16 - 3\n2) 18", "18"),
    ],
)
def test_lists_in_answers_are_no_number(answer: str, expected: str | None) -> None:
    assert NumericGrader().canonical_key(answer) == expected


def test_whole_numbers_are_compared_exactly() -> None:
    grader = NumericGrader()
    assert grader.check("12345670", "12345678").right is False
    assert grader.check("12345678.0", "12,345,678").right is True
    assert grader.check("12345678.1", "12345678").right is True


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("#### Step 3: add\nIt is $18.", "18"),
        ("#### 3. Add them\nIt is $18.", "18"),
        ("#### 18\n#### Check 2\n9 * 2 is 18, from 16 - 7", "18"),
        ("#### $18 for 3 days", "18"),
        ("#### -$1,800", "-1800"),
        ("##### **18**", "18"),
        ("#### 9 * 2 = 18", "18"),
        ("The area is 25 m^2.", "25"),
    ],
)
def test_the_number_stands_right_after_the_marker(answer: str, expected: str) -> None:
    assert Gsm8kGrader().canonical_key(answer) == expected


def records(*parts: str) -> list[dict[str, str]]:
    path = DATA.joinpath(*parts)
    if not path.is_file():
        pytest.skip(f"no {path}; set TREEWARD_DATA")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def check_against_itself(grader: NumericGrader, gold: str, short: str) -> None:
    for text in (gold, short, f"\\boxed{{{short}}}", f"The answer is {short}"):
        assert grader.check(text, gold).right is True, (grader.name, gold, text)
        assert grader.check(text, short).right is True, (grader.name, short, text)


@pytest.mark.parametrize("grader", [NumericGrader(), Gsm8kGrader()])
def test_published_golds_of_math_are_right(grader: NumericGrader) -> None:
    golds = [row["answer"] for row in records("openr_samples", "test500.jsonl")]
    readable = [gold for gold in golds if grader.gold_number(gold) is not None]
    for gold in readable:
        check_against_itself(grader, gold, gold)
    assert len(readable) >= 350


@pytest.mark.parametrize("grader", [NumericGrader(), Gsm8kGrader()])
def test_published_golds_of_gsm8k_are_right(grader: NumericGrader) -> None:
    for row in records("gsm8k", "test.jsonl"):
        gold = row["answer"]
        assert grader.gold_number(gold) is not None
        check_against_itself(grader, gold, gold.rpartition("#### ")[2])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The answer is – 3", "-3"),
        ("The answer is –3 dollars", "-3"),
        ("The answer is \u2212 3", "-3"),
        ("so x = –$3", "-3"),
        (r"\boxed{– 3}", "-3"),
        ("#### – 3", "-3"),
        ("it is 3–5", "5"),
        ("5 apples – 3 of them red", "3"),
        ("10 – 3 = 7", "7"),
        ("Answer:\n– 18 eggs", "18"),
    ],
)
@pytest.mark.parametrize("grader", [NumericGrader(), Gsm8kGrader()])
def test_a_dash_for_a_minus(grader: NumericGrader, answer: str, expected: str) -> None:
    assert grader.canonical_key(answer) == expected


def test_a_known_answer_with_a_dash_for_a_minus() -> None:
    assert NumericGrader().check("it is -3", "– 3").right is True
