"""Graders: what is read as the final answer, exactly, and what counts as the same."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reward_bridge.verifiers import (
    GRADERS,
    ExactGrader,
    GoldVerifier,
    Grader,
    Gsm8kGrader,
    MathGrader,
    MultipleChoiceGrader,
    NumericGrader,
    ReleasedOirlGrader,
    extraction_report,
    load_grader,
)
from reward_bridge.verifiers.grader import boxed, stated
from reward_bridge.verifiers.multiple_choice import options
from reward_bridge.verifiers.numeric import numbers
from reward_bridge.verifiers.truncation import ends_mid_sentence
from search.errors import MissingExtra, TreewardError
from search.interfaces import Verifier
from search.problem import Problem


class TestNumbers:
    """Numbers in texts, as exact fractions."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("$1,200.50", ["2401/2"]),
            ("1,200, 3", ["1200", "3"]),
            ("5,6,7", ["5", "6", "7"]),
            ("1,2003", ["1", "2003"]),
            ("−3 apples", ["-3"]),
            ("-$5 and $-6 and +7", ["-5", "-6", "7"]),
            ("10-3", ["10", "3"]),
            ("10 - 3 = 7", ["10", "3", "7"]),
            ("pages 5–7", ["5", "7"]),
            ("(-4)", ["-4"]),
            ("x=-4", ["-4"]),
            ("1 3/4 cups", ["7/4"]),
            ("-3/4", ["-3/4"]),
            ("2½ cups, ¾ spoon", ["5/2", "3/4"]),
            (r"\frac{3}{4}", ["3/4"]),
            (r"-\dfrac{3}{4}", ["-3/4"]),
            (r"2\frac{1}{2}", ["5/2"]),
            ("1{,}200", ["1200"]),
            (r"\$18 is 12\%", ["18", "12"]),
            ("2.5 × 10^3 km", ["2500"]),
            (r"7 \times 10^{-2}", ["7/100"]),
            ("1e3 or 3.5E-2", ["1000", "7/200"]),
            (".5 or 0.50", ["1/2", "1/2"]),
            ("3 million", ["3000000"]),
            ("5kg in 18. days", ["5", "18"]),
            ("1\u202f000\u202f000", ["1000000"]),
            ("the 3rd of May, x2, H2O, 1st", []),
            ("16/0", []),
            ("1e999999999", []),
            ("1e400", []),
            ("no number", []),
        ],
    )
    def test_values(self, text: str, expected: list[str]) -> None:
        assert [str(number.value) for number in numbers(text)] == expected

    @given(st.integers(-(10**12), 10**12))
    def test_every_way_to_write_an_integer(self, value: int) -> None:
        for text in (f"{value}", f"{value:,}", f"is {value:,}.", f"{value}.0 dollars"):
            assert [number.value for number in numbers(text)] == [value]
        money = f"${value:,}" if value >= 0 else f"-${-value:,}"
        assert [number.value for number in numbers(f"({money})")] == [value]

    @given(st.decimals(-(10**6), 10**6, places=4), st.integers(-9, 9))
    def test_decimals_and_powers(self, value: object, power: int) -> None:
        exact = Fraction(str(value))
        assert [number.value for number in numbers(f"about {value} m")] == [exact]
        for text in (f"{value}e{power}", f"{value} x 10^{power}", f"{value}*10^{{{power}}}"):
            assert [number.value for number in numbers(text)] == [exact * Fraction(10) ** power]

    @given(st.integers(-99, 99), st.integers(1, 99))
    def test_fractions(self, top: int, bottom: int) -> None:
        expected = [Fraction(top, bottom)]
        assert [number.value for number in numbers(f"{top}/{bottom}")] == expected
        sign = "-" if top < 0 else ""
        latex = f"{sign}\\frac{{{abs(top)}}}{{{bottom}}}"
        assert [number.value for number in numbers(latex)] == expected

    @settings(max_examples=300, deadline=None)
    @given(st.text(st.sampled_from("0123456789.,-+/$% eE×x*^{}()\\frac thousd½=")))
    def test_any_text_is_read(self, text: str) -> None:
        for number in numbers(text):
            assert isinstance(number.value, Fraction)

    def test_long_texts_are_read_in_time(self) -> None:
        start = time.perf_counter()
        for part in ("1,", "1 ", "1/", "-", "$ ", "1" * 100 + ",", "\\frac{1}{", "½", "9 9/"):
            numbers(part * (20_000 // len(part)))
        assert time.perf_counter() - start < 20


def right(grader: Grader, answer: str, gold: str, question: str = "") -> bool | None:
    return grader.check(answer, gold, question).right


class TestNumeric:
    """The final number of a text."""

    @pytest.mark.parametrize(
        ("answer", "gold", "expected"),
        [
            ("So 3 + 4 = 7", "7", True),
            ("The answer is $1,200 for 3 days.", "1200", True),
            ("**Answer:** The 3 friends have 12 apples.", "12", True),
            ("The answer is 3 * 4 = 12 for all 2 of them", "12", True),
            ("The answer is 5. Wait, the answer is 6. There were 9.", "6", True),
            (r"so \boxed{\frac{1}{2}} of 8", "0.5", True),
            ("50%", "50", True),
            ("50%", "0.5", True),
            ("0.5", "50%", True),
            ("0.5", "50", False),
            ("50%", "50%", True),
            ("0.5%", "50%", False),
            ("-18", "18", False),
            ("0.3333333", "1/3", True),
            ("0.333", "1/3", False),
            ("none", "3", False),
            ("3", "none", None),
        ],
    )
    def test_check(self, answer: str, gold: str, expected: bool | None) -> None:
        assert right(NumericGrader(), answer, gold) is expected

    def test_key_is_the_same_however_it_is_written(self) -> None:
        grader = NumericGrader()
        keys = {grader.canonical_key(text) for text in ("$1,500", "1500.0", "1.5e3", "3000/2")}
        assert keys == {"1500"}
        assert grader.canonical_key("nothing") is None


class TestGsm8k:
    """``####``, the stated number and the last one."""

    @pytest.mark.parametrize(
        ("answer", "gold", "expected"),
        [
            ("9 * 2 = 18\n#### 18", "She makes 9 * 2 = $<<9*2=18>>18.\n#### 18", True),
            ("#### 18 dollars for 3 days", "#### 18", True),
            ("#### 1,200", "1200", True),
            ("It is 18, from 16 eggs", "18", False),
            ("It is $1,200.", "#### 1,200", True),
            (r"The answer is \boxed{18}. This took 3 steps.", "#### 18", True),
            ("The final answer is 18. (Checked in 2 ways.)", "#### 18", True),
            ("The answer is 17.\nNo.\n#### 18", "#### 18", True),
            ("It is 1,200", "200", False),
            ("the loss is -5", "-5", True),
            ("the loss is -5", "5", False),
            ("#### none, but 7 before", "7", True),
            ("", "7", False),
            ("7", "", None),
        ],
    )
    def test_check(self, answer: str, gold: str, expected: bool | None) -> None:
        assert right(Gsm8kGrader(), answer, gold) is expected

    def test_the_released_reading_loses_commas_and_signs(self) -> None:
        released = ReleasedOirlGrader()
        assert right(released, "It is 1,200", "200") is True
        assert right(released, "It is 1,200", "1200") is False
        assert right(released, "the loss is -5", "5") is True
        assert right(released, "It is .5", "0.5") is True
        assert right(released, "none", "5") is False
        assert released.canonical_key("18.") == "18.0"


BRACKETS = "Where is money kept? (A) bank (B) river bank (C) mall (D) a park (E) new york"
LINES = "Find the degree.\nA. 0\nB. 4\nC. 2\nD. 6\nAnswer:"


class TestMultipleChoice:
    """Letters and options."""

    def test_options(self) -> None:
        expected = {"A": "bank", "B": "river bank", "C": "mall", "D": "a park", "E": "new york"}
        assert options(BRACKETS) == expected
        assert options(LINES) == {"A": "0", "B": "4", "C": "2", "D": "6"}
        example = "Sky?\nA) red\nB) blue\nAnswer: B\n\nGrass?\nA) green\nB) grey\n"
        assert options(example) == {"A": "green", "B": "grey"}
        assert options("no options (B) here") == {}

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            ("B", "B"),
            ("b", "B"),
            ("(b)", "B"),
            ("B.", "B"),
            ("B) river bank", "B"),
            ("**B**", "B"),
            ("The answer is B.", "B"),
            ("The answer is (B) river bank, not (A).", "B"),
            ("Answer: C", "C"),
            ("**Answer:** (D)", "D"),
            ("The correct answer is option E", "E"),
            ("the answer is a park", "D"),
            ("The answer is bank.", "A"),
            ("The answer is the river bank.", "B"),
            (r"\boxed{C}", "C"),
            (r"\boxed{\text{C}}", "C"),
            ("(A) is wrong, so it must be (C)", "C"),
            ("A person would choose B", "B"),
            ("I think that money is in New York", "E"),
            ("It could be the mall or the park", "C"),
            ("No idea.", None),
            ("The answer is J", None),
            ("", None),
        ],
    )
    def test_letters(self, answer: str, expected: str | None) -> None:
        assert MultipleChoiceGrader().canonical_key(answer, BRACKETS) == expected

    def test_check(self) -> None:
        grader = MultipleChoiceGrader()
        assert right(grader, "The answer is (B)", "B", BRACKETS) is True
        assert right(grader, "The answer is (B)", "(B)", BRACKETS) is True
        assert right(grader, "The answer is (B)", "river bank", BRACKETS) is True
        assert right(grader, "The answer is (B)", "bank", BRACKETS) is False
        assert right(grader, "4", "B", LINES) is True
        assert right(grader, "The answer is B", "B") is True
        assert right(grader, "C", "nothing", BRACKETS) is None


class TestExact:
    """Texts that must be the same."""

    @pytest.mark.parametrize(
        ("answer", "gold", "expected"),
        [
            (" Paris. ", "paris", True),
            ("“New   York”", "new york", True),
            ("The answer is: **Paris**", "Paris", True),
            ("It is Paris", "Paris", False),
            ("ﬁsh", "FISH", True),
            ("", "a", False),
            ("a", " . ", None),
        ],
    )
    def test_check(self, answer: str, gold: str, expected: bool | None) -> None:
        assert right(ExactGrader(), answer, gold) is expected


@pytest.fixture(scope="module")
def math_grader() -> MathGrader:
    pytest.importorskip("math_verify")
    return MathGrader(seconds=8.0)


class TestMath:
    """Formulas, in a process that can be killed."""

    @pytest.mark.parametrize(
        ("answer", "gold", "expected"),
        [
            (r"the answer is $\frac{1}{2}$", "0.5", True),
            (r"\boxed{2\sqrt{3}}", r"\sqrt{12}", True),
            ("$x^2+2x+1$", "(x+1)^2", True),
            ("I get 7", "8", False),
            ("no idea", "3", False),
            ("", "1", False),
            ('line\nbreaks and \u2028 \x85 "quotes" 1', "1", True),
        ],
    )
    def test_check(self, math_grader: MathGrader, answer: str, gold: str, expected: bool) -> None:
        assert right(math_grader, answer, gold) is expected

    def test_endless_answers_end(self) -> None:
        pytest.importorskip("math_verify")
        with MathGrader(seconds=1.0) as grader:
            assert right(grader, "$2+2$", "4") is True
            start = time.perf_counter()
            assert right(grader, "$9^{9^{9^9}}$", "1") is False
            assert time.perf_counter() - start < 10
            assert grader.timeouts == 1
            assert right(grader, "$2+2$", "4") is True
            assert grader.canonical_key("it is $4.0$ or $\\frac{8}{2}$") is not None
            assert grader.canonical_key("none") is None

    def test_without_the_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import reward_bridge.verifiers.math as module

        monkeypatch.setattr(module, "find_spec", lambda name: None)
        with pytest.raises(MissingExtra, match=r"pip install 'treeward\[math\]'"):
            MathGrader()


class TestParts:
    """What all graders share."""

    def test_boxed_and_stated(self) -> None:
        assert boxed(r"\boxed{a{b}c} then \boxed{d") == "a{b}c"
        assert boxed("none") is None
        assert stated("The answer is 3.\nFinal answer: 4 cats\nmore") == "4 cats"
        assert stated("Answer:\n\n 5") == "5"
        assert stated("the answer is") is None
        assert stated("answering is fun") is None

    def test_names(self) -> None:
        for name in GRADERS:
            if name != "math":
                assert load_grader(name).name == name
        with pytest.raises(TreewardError, match="unknown grader 'best'; known: numeric"):
            load_grader("best")

    def test_as_a_verifier_of_searches(self) -> None:
        verifier: Verifier = GoldVerifier(Gsm8kGrader(), {"p": "#### 18"})
        problem = Problem("How many?", id="p")
        verdict = verifier.check(problem, ["9 * 2\n", "#### 18"])
        assert (verdict.right, verdict.key) == (True, "18")
        assert verifier.check(problem, ["#### 17"]).right is False
        assert verifier.check(Problem("x", id="other"), ["#### 17"]).right is None
        assert verifier.canonical_key(problem, ["none"]) == (None, None)
        assert verifier.allows(problem, [])


class TestTruncation:
    """Answers that were cut off."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("So she has 18 eggs.", False),
            ("First we count all the", True),
            ("First we count all the eggs:", True),
            ("Then 3 * 4 =", True),
            ("eggs, milk,", True),
            ("the total is 18", False),
            ("18 apples", False),
            ("B", False),
            (r"\boxed{3}", False),
            ("**Done**", False),
            ("", False),
        ],
    )
    def test_mid_sentence(self, text: str, expected: bool) -> None:
        assert ends_mid_sentence(text) is expected


class TestReport:
    """Where extractors disagree, and which answers look truncated."""

    ANSWERS = ("It is 1,200.", "It is 7", "I count the first of the", "none", "#### -5")
    GOLDS = ("1200", "7", "3", "3", "-5")

    def test_report(self) -> None:
        extractors = [Gsm8kGrader(), ReleasedOirlGrader(), NumericGrader()]
        report = extraction_report(self.ANSWERS, self.GOLDS, extractors)
        assert report.answers == 5
        assert report.accuracy == {"gsm8k": 0.6, "oirl-released": 0.4, "numeric": 0.6}
        assert report.unread == {"gsm8k": 2, "oirl-released": 2, "numeric": 2}
        assert report.disagreeing == {
            ("gsm8k", "oirl-released"): 1,
            ("gsm8k", "numeric"): 0,
            ("oirl-released", "numeric"): 1,
        }
        (found,) = report.disagreements
        assert found.index == 0
        assert found.keys == {"gsm8k": "1200", "oirl-released": "200.0", "numeric": "1200"}
        assert report.caps == {}
        assert report.truncated == {
            2: ["no final answer", "ends mid-sentence"],
            3: ["no final answer"],
        }
        assert report.signs() == {"no final answer": 2, "ends mid-sentence": 1}
        record = report.as_record(self.ANSWERS, examples=1)
        assert record["disagreements"][0]["end"] == "It is 1,200."
        assert record["truncated"] == 2
        assert len(record["truncated_examples"]) == 1

    def test_cap(self) -> None:
        report = extraction_report(["1" * 9, "2"], ["1", "2"], [NumericGrader()], cap=9)
        assert report.truncated == {0: ["as long as the cap"]}

    def test_errors(self) -> None:
        with pytest.raises(TreewardError, match="2 answers, 1 golds, 2 questions"):
            extraction_report(["1", "2"], ["1"], [NumericGrader()])
        with pytest.raises(TreewardError, match="no extractor"):
            extraction_report(["1"], ["1"], [])
        report = extraction_report(["1"], ["none"], [NumericGrader()])
        assert report.accuracy == {"numeric": None}


def test_a_gold_verifier_reads_the_options_of_a_chat() -> None:
    asked = {"role": "user", "content": "Pick one.\n(A) cats\n(B) dogs"}
    verifier = GoldVerifier(load_grader("multiple-choice"), {"p": "B"})
    verdict = verifier.check(Problem("", "p", messages=(asked,)), ["dogs"])
    assert (verdict.right, verdict.key) == (True, "B")
