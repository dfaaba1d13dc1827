"""``treeward solve --prompts``: a selector chooses the prompt of each problem before the search."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import Run

from prompt_oirl.apply import with_chosen_prompts
from prompt_oirl.bundled import example_log
from prompt_oirl.bundled.puzzle_formats import PUZZLE_FORMATS
from prompt_oirl.choice.selector import Selector, Settings, fit_selector
from prompt_oirl.errors import BadArtefact
from prompt_oirl.logs.log import Arm, PromptLog, Query
from search.bundled import available
from search.problem import Problem
from search.puzzles.problems import puzzle_problem

# Words decide, and each word is a feature of the first model.
WORDS = Settings(models=("logistic",), folds=2, repeats=1, text_size=32, kind="mean")
LENGTH = Settings(models=("neighbours",), folds=2, repeats=1, text_size=8, kind="mean")

LONG = (
    "A box holds 51 red balls, and a second box holds 52 blue balls and a green one. "
    "How many balls are in both boxes if 51 more are put into the first box?"
)


@pytest.fixture(scope="module")
def puzzle_selector() -> Selector:
    """Fitted on a log in which the target decides the format: 24 ``add_largest``, else plain."""
    log = example_log()
    puzzles = log.only_queries(np.arange(240)).only_arms(["ascending", "add_largest"])
    is_24 = np.array([text.endswith("-> 24") for text in puzzles.texts])
    outcomes = np.stack([~is_24, is_24], axis=1).astype(float)
    return fit_selector(PromptLog.from_grid("24", puzzles.queries, puzzles.arms, outcomes), WORDS)


@pytest.fixture(scope="module")
def text_selector() -> Selector:
    """Fitted on questions of which the long ones want the second prompt."""
    short = [f"What is {i} + {i}?" for i in range(40)]
    long = [
        f"A box holds {i} red balls, and a second box holds {i + 1} blue balls and a green one. "
        f"How many balls are in both boxes if {i} more are put into the first box?"
        for i in range(40)
    ]
    queries = [Query(f"q{i}", text, f"g{i}") for i, text in enumerate([*short, *long])]
    arms = [Arm("brief", "Answer at once: {query}"), Arm("steps", "Think step by step.")]
    outcomes = np.repeat([[1.0, 0.0], [0.0, 1.0]], 40, axis=0)
    return fit_selector(PromptLog.from_grid("length", queries, arms, outcomes), LENGTH)


def test_each_puzzle_gets_its_format(puzzle_selector: Selector) -> None:
    problems = [puzzle_problem([4, 5, 6, 10]), puzzle_problem([9, 14, 17, 23], 71)]
    stated, names, _ = with_chosen_prompts(problems, puzzle_selector)
    assert names == ["add_largest", "ascending"]
    assert stated[0].prompt == "4 5 6 10 -> 24\n6 + 10 = 16 left 4 5 16\n"
    assert stated[1] == problems[1]
    assert [arm.text for arm in puzzle_selector.arms] == [
        PUZZLE_FORMATS["ascending"].text,
        PUZZLE_FORMATS["add_largest"].text,
    ]


def test_each_question_gets_its_template(text_selector: Selector) -> None:
    problems = [Problem("What is 50 + 50?", "a"), Problem(LONG, "b")]
    stated, names, _ = with_chosen_prompts(problems, text_selector)
    assert names == ["brief", "steps"]
    assert [problem.prompt for problem in stated] == [
        "Answer at once: What is 50 + 50?",
        f"{LONG}\nThink step by step.",
    ]
    assert [problem.id for problem in stated] == ["a", "b"]


def test_one_that_asks_nothing_is_left_out(text_selector: Selector) -> None:
    silent = Problem("", messages=({"role": "system", "content": "Be kind."},), id="silent")
    problems = [silent, Problem("What is 50 + 50?", "asks")]
    stated, names, faults = with_chosen_prompts(problems, text_selector)
    assert ([one.id for one in stated], names) == (["asks"], ["brief"])
    assert [str(fault) for fault in faults] == [
        "silent: no message of the user to put a prompt around"
    ]


def with_texts(selector: Selector, *texts: str) -> Selector:
    arms = tuple(replace(arm, text=text) for arm, text in zip(selector.arms, texts))
    return replace(selector, arms=arms)


def test_several_prompts_without_a_text_are_refused(text_selector: Selector) -> None:
    with pytest.raises(BadArtefact, match="no text, among them 'brief' and 'steps': fit it on"):
        with_chosen_prompts([Problem(LONG, "b")], with_texts(text_selector, "", " "))


def test_one_prompt_without_a_text_is_the_query_alone(text_selector: Selector) -> None:
    bare = with_texts(text_selector, "Answer at once: {query}", "")
    assert with_chosen_prompts([Problem(LONG, "b")], bare).problems == [Problem(LONG, "b")]


def test_formats_of_puzzles_need_no_texts(puzzle_selector: Selector) -> None:
    problems = [puzzle_problem([4, 5, 6, 10])]
    bare = with_texts(puzzle_selector, "", "")
    assert with_chosen_prompts(problems, bare) == with_chosen_prompts(problems, puzzle_selector)


def test_solve_says_that_prompts_have_no_texts(
    run: Run, text_selector: Selector, tmp_path: Path
) -> None:
    with_texts(text_selector, "", "").save(tmp_path)
    code, out, err = run("solve", "4 5 6 10", "--prompts", str(tmp_path))
    assert (code, out) == (2, "")
    assert err.startswith("treeward: 2 prompts of the selector have no text")
    assert len(err.splitlines()) == 1


def test_no_problems(text_selector: Selector) -> None:
    assert with_chosen_prompts([], text_selector) == ([], [], [])


@pytest.mark.skipif(not available(), reason="the bundled models are not installed")
class TestCommand:
    """``treeward solve --prompts`` with the bundled policy."""

    words = ("--algorithm", "greedy", "--reward", "none", "--threads", "1")

    def test_json_names_the_prompt_of_each_problem(
        self, run: Run, puzzle_selector: Selector, tmp_path: Path
    ) -> None:
        puzzle_selector.save(tmp_path / "selector")
        file = tmp_path / "puzzles.jsonl"
        puzzles = [
            {"numbers": [10, 4, 6, 5], "id": "same"},
            {"numbers": [9, 14, 17, 23], "target": 71, "id": "same"},
        ]
        file.write_text("".join(json.dumps(puzzle) + "\n" for puzzle in puzzles))
        folder = str(tmp_path / "selector")
        code, out, err = run(
            "solve", "--file", str(file), "--prompts", folder, "--json", *self.words
        )
        assert code == 0, err
        results = {result["id"]: result for result in json.loads(out)["results"]}
        assert results["same"]["arm"] == "add_largest"
        assert results["same"]["prompt"] == "4 5 6 10 -> 24\n6 + 10 = 16 left 4 5 16\n"
        assert results["same#2"]["arm"] == "ascending"
        assert results["same#2"]["prompt"] == "9 14 17 23 -> 71\n"

    def test_what_cannot_be_put_in_its_prompt_is_named(
        self, run: Run, puzzle_selector: Selector, tmp_path: Path
    ) -> None:
        puzzle_selector.save(tmp_path / "selector")
        file = tmp_path / "mixed.jsonl"
        file.write_text(
            '{"prompt": "What is 1 + 1?", "id": "sum"}\n{"numbers": [10, 4, 6, 5], "id": "p"}\n'
        )
        folder = str(tmp_path / "selector")
        words = ("solve", "--file", str(file), "--prompts", folder, "--json", *self.words)
        code, out, err = run(*words)
        assert code == 1
        record = json.loads(out)
        assert [result["id"] for result in record["results"]] == ["p"]
        assert record["bad_lines"] == [err.strip().removeprefix("treeward: ")]
        assert err.startswith("treeward: sum: 'ascending' is a format of puzzles")

    def test_people_see_the_prompts(
        self, run: Run, puzzle_selector: Selector, tmp_path: Path
    ) -> None:
        puzzle_selector.save(tmp_path)
        code, out, err = run("solve", "4 5 6 10", "--prompts", str(tmp_path), *self.words)
        assert code == 0, err
        assert "6 + 10 = 16 left 4 5 16" in out
        assert "prompt 'add_largest': 1 problem\n" in out

    def test_without_a_selector_there_is_no_arm(self, run: Run) -> None:
        code, out, _ = run("solve", "4 5 6 10", "--json", *self.words)
        assert code == 0
        assert "arm" not in json.loads(out)["results"][0]


def test_a_folder_without_a_selector(run: Run, tmp_path: Path) -> None:
    code, out, err = run("solve", "4 5 6 10", "--prompts", str(tmp_path))
    assert (code, out) == (2, "")
    assert err.startswith("treeward: ")
    assert str(tmp_path) in err
    assert len(err.splitlines()) == 1


def test_a_puzzle_format_for_a_question(
    run: Run, puzzle_selector: Selector, tmp_path: Path
) -> None:
    puzzle_selector.save(tmp_path / "selector")
    file = tmp_path / "questions.jsonl"
    file.write_text('{"prompt": "What is 1 + 1?", "id": "sum"}\n')
    words = ("--file", str(file), "--prompts", str(tmp_path / "selector"))
    code, out, err = run("solve", *words)
    assert (code, out) == (2, "")
    assert "sum: 'ascending' is a format of puzzles, and this problem is none" in err
