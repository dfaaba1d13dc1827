"""What labels are worth: unreadable golds, time that runs out, answers that were cut off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Run

from reward_bridge.verifiers import ExactGrader, MathGrader, NumericGrader, extraction_report
from reward_bridge.verifiers.truncation import LEAST_CAP, length_cap
from search.errors import TreewardError

ENDLESS = "$9^{9^{9^9}}$"


@pytest.fixture
def hasty() -> Iterator[MathGrader]:
    pytest.importorskip("math_verify")
    with MathGrader(seconds=1.0) as grader:
        assert grader.check("$2+2$", "4").right is True
        yield grader


class TestEndlessFormulas:
    """Answers and known answers that take too long."""

    def test_an_endless_gold_says_nothing_of_answers(self, hasty: MathGrader) -> None:
        assert hasty.check("$1$", ENDLESS).right is None
        assert hasty.check("$2$", ENDLESS).right is None
        assert hasty.timeouts == 1

    def test_a_pair_has_one_verdict(
        self, hasty: MathGrader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert hasty.check(ENDLESS, "1").right is False
        assert hasty.check(ENDLESS, "1").right is False
        assert hasty.timeouts == 1
        monkeypatch.setattr(hasty, "_ask", lambda request: pytest.fail("asked again"))
        assert hasty.check(ENDLESS, "1").right is False
        assert hasty.check("$2+2$", "4").right is True

    def test_a_gold_that_fails_says_nothing(
        self, hasty: MathGrader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def ask(request: dict[str, str]) -> dict[str, object]:
            failed = "bad" in (request["gold"], request["answer"])
            return {"key": None, "right": None if failed else False, "failed": failed}

        monkeypatch.setattr(hasty, "_ask", ask)
        assert hasty.check("1", "bad").right is None
        assert hasty.check("bad", "1").right is False

    def test_command(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("math_verify")
        hasty = {"math": MathGrader(seconds=1.0)}
        monkeypatch.setattr("prompt_oirl.logs.grade.load_graders", lambda names: dict(hasty))
        answers = [("$2+2$", "4"), (ENDLESS, "1"), ("$3$", ENDLESS)]
        path = tmp_path / "answers.jsonl"
        rows = [{"query": "?", "arm": "a", "answer": a, "gold": g} for a, g in answers]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        words = ["prompt", "grade", str(path), "--grader", "math", "--compare", "none"]
        code, text, _ = run(*words, "--json")
        record = json.loads(text)
        assert (code, record["cells"], record["problems"]) == (0, 2, 1)
        assert "cannot be read by math" in record["first_problems"][0]
        assert record["timeouts"] == {"math": 2}
        assert "math took too long on 2 answers" in run(*words)[1]


class TestGolds:
    """Known answers that an extractor cannot read."""

    def test_they_are_no_disagreement(self) -> None:
        answers, golds = ["Paris", "5", "It is 7"], ["Paris", "5", "7"]
        report = extraction_report(answers, golds, [NumericGrader(), ExactGrader()])
        assert report.unreadable == {"numeric": 1, "exact": 0}
        assert report.disagreeing == {("numeric", "exact"): 1}
        assert [found.index for found in report.disagreements] == [2]
        record = report.as_record(answers)
        assert record["unreadable_golds"] == {"numeric": 1, "exact": 0}
        assert record["timeouts"] == {}

    def test_the_command_says_how_many(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "answers.jsonl"
        path.write_text(json.dumps({"query": "?", "arm": "a", "answer": "Rome", "gold": "Rome"}))
        words = [str(path), "--grader", "exact", "--compare", "numeric"]
        code, text, _ = run("prompt", "grade", *words)
        assert code == 0
        assert "exact and numeric disagree on 0 answers" in text
        assert "numeric cannot read the known answer of 1 answers" in text


def cut(length: int, count: int = 3) -> list[str]:
    """Different texts of one length."""
    return [f"{number} ".ljust(length, "x") for number in range(count)]


class TestCaps:
    """The cap that answers seem to have had."""

    def test_short_answers_are_not_cut_off(self) -> None:
        assert length_cap(["A", "B", "C"]) is None
        assert length_cap(cut(LEAST_CAP - 1)) is None
        assert length_cap(cut(LEAST_CAP)) == LEAST_CAP
        assert length_cap([*cut(300), *"ABCDABCD"]) == 300

    def test_a_repeated_text_is_no_cap(self) -> None:
        assert length_cap(["I cannot answer that. " * 10] * 5) is None

    def test_each_prompt_has_its_own(self) -> None:
        answers = [*cut(300), *cut(120), *"ABCD", *cut(400, 4)]
        arms = ["long"] * 3 + ["long"] * 3 + ["direct"] * 4 + ["other"] * 4
        report = extraction_report(answers, ["1"] * 14, [ExactGrader()], arms=arms)
        assert report.caps == {"long": 300, "other": 400}
        assert set(report.truncated) == {0, 1, 2, 10, 11, 12, 13}
        with pytest.raises(TreewardError, match="1 questions and 2 arms"):
            extraction_report(["1"], ["1"], [ExactGrader()], arms=["a", "b"])
