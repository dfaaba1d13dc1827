"""The example log: what it holds, that it is honest, and that the bundled policy makes it again."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompt_oirl.bundled import example_log, example_log_path
from prompt_oirl.bundled.puzzle_formats import PUZZLE_FORMATS, puzzle_of, state_puzzle
from prompt_oirl.logs.log import PromptLog
from reward_bridge.verifiers import ArithmeticVerifier
from search.bundled import available
from search.errors import BadProblem
from search.problem import Problem
from search.puzzles.arithmetic import Puzzle, puzzle_solvable, replay
from search.puzzles.countdown import may_train_on
from search.puzzles.format import ALLOWED_VALUES, parse_prompt
from search.puzzles.problems import puzzle_problem

PUZZLES, RUNS = 1200, 3


@pytest.fixture(scope="module")
def log() -> PromptLog:
    return example_log()


class TestFormats:
    @pytest.mark.parametrize(
        ("name", "prompt"),
        [
            ("ascending", "4 5 6 10 -> 24\n"),
            ("descending", "10 6 5 4 -> 24\n"),
            ("add_smallest", "4 5 6 10 -> 24\n4 + 5 = 9 left 6 9 10\n"),
            ("add_largest", "4 5 6 10 -> 24\n6 + 10 = 16 left 4 5 16\n"),
            ("multiply_smallest", "4 5 6 10 -> 24\n4 * 5 = 20 left 6 10 20\n"),
            ("subtract_largest", "4 5 6 10 -> 24\n10 - 6 = 4 left 4 4 5\n"),
        ],
    )
    def test_each_format(self, name: str, prompt: str) -> None:
        problem = state_puzzle(puzzle_problem([6, 10, 4, 5]), name)
        assert problem.prompt == prompt
        lines = prompt.splitlines()[1:]
        assert problem.facts.get("steps", []) == lines
        assert problem.facts["numbers"] == [4, 5, 6, 10]

    @given(
        st.lists(st.integers(0, 256), min_size=1, max_size=4),
        st.integers(0, 100),
        st.sampled_from(sorted(PUZZLE_FORMATS)),
    )
    def test_first_steps_are_right_and_can_be_written(
        self, numbers: list[int], target: int, name: str
    ) -> None:
        problem = state_puzzle(puzzle_problem(numbers, target), name)
        puzzle = Puzzle(tuple(numbers), target)
        left = replay(puzzle, problem.facts.get("steps", []))
        assert ALLOWED_VALUES.issuperset(left)
        assert len(left) >= min(2, len(numbers))

    def test_the_verifier_goes_on_from_the_first_step(self) -> None:
        problem = state_puzzle(puzzle_problem([4, 5, 6, 10]), "subtract_largest")
        verifier = ArithmeticVerifier()
        verdict = verifier.check(problem, ["4 * 5 = 20 left 4 20\n", "4 + 20 = 24 left 24"])
        assert verdict.right is True
        assert verdict.answer == "10 - 6 + 4 * 5"
        assert not verifier.allows(problem, ["4 + 6 = 10 left 5 10 10\n"])

    def test_what_is_no_puzzle_is_refused(self) -> None:
        with pytest.raises(BadProblem, match="sum: 'ascending' is a format of puzzles"):
            state_puzzle(Problem("1 + 1?", "sum"), "ascending")
        with pytest.raises(BadProblem, match="no puzzle format 'sideways'; there are ascending"):
            state_puzzle(puzzle_problem([1, 2, 3, 4]), "sideways")
        stated = state_puzzle(puzzle_problem([1, 2, 3, 4]), "descending")
        assert puzzle_of(stated) is None


class TestLog:
    def test_a_full_grid_with_reruns(self, log: PromptLog) -> None:
        assert log.name == "puzzle_prompts"
        assert len(log.queries) == PUZZLES
        assert [(arm.name, arm.text) for arm in log.arms] == [
            (name, puzzle_format.text) for name, puzzle_format in PUZZLE_FORMATS.items()
        ]
        cells = Counter(zip(log.query.tolist(), log.arm.tolist(), log.run.tolist()))
        assert len(cells) == PUZZLES * len(PUZZLE_FORMATS) * RUNS
        assert set(cells.values()) == {1}
        assert set(log.run.tolist()) == set(range(RUNS))

    def test_every_line_was_read(self) -> None:
        from prompt_oirl.logs.read import read_log

        reading = read_log(example_log_path())
        assert reading.problems == []
        assert reading.rows == PUZZLES * len(PUZZLE_FORMATS) * RUNS
        assert reading.unused == []

    def test_it_is_small(self) -> None:
        assert example_log_path().stat().st_size < 500_000

    def test_puzzles_are_solvable_and_unknown_to_the_policy(self, log: PromptLog) -> None:
        for query in log.queries:
            puzzle = parse_prompt(query.text + "\n")
            assert puzzle_solvable(puzzle, ALLOWED_VALUES), query.text
            assert not may_train_on(puzzle), query.text

    def test_splits_share_no_numbers(self, log: PromptLog) -> None:
        numbers = {query.text.split(" -> ")[0] for query in log.queries}
        assert len(numbers) == len(log.queries)
        assert all(query.group == query.text for query in log.queries)
        assert Counter(query.split for query in log.queries) == {"train": 801, "test": 399}

    def test_tokens_and_cost(self, log: PromptLog) -> None:
        from training.prompts.make_example_log import (
            DOLLARS_PER_ANSWER_TOKEN,
            DOLLARS_PER_PROMPT_TOKEN,
            LONGEST_ANSWER,
        )

        assert log.tokens.min() >= 1
        assert log.tokens.max() <= LONGEST_ANSWER + 10
        prompts = [
            state_puzzle(Problem(f"{query.text}\n", facts=_facts(query.text)), arm.name).prompt
            for query in log.queries
            for arm in log.arms
        ]
        # <s> and one token a word or line end.
        lengths = np.array([1 + len(p.replace("\n", " \n ").split(" ")) - 1 for p in prompts])
        prompt_tokens = lengths[log.query * len(log.arms) + log.arm]
        cost = prompt_tokens * DOLLARS_PER_PROMPT_TOKEN + log.tokens * DOLLARS_PER_ANSWER_TOKEN
        np.testing.assert_allclose(log.cost, cost, atol=1e-9)
        assert (log.latency > 0).all()

    def test_no_solved_cell_begins_with_a_step_that_loses(self, log: PromptLog) -> None:
        """An outcome of 1 under a first step needs that step to leave the target in reach."""
        from search.puzzles.arithmetic import solvable

        for query, arm in {
            (q, a) for q, a, y in zip(log.query.tolist(), log.arm.tolist(), log.outcome) if y
        }:
            text = log.queries[query].text
            puzzle = parse_prompt(f"{text}\n")
            problem = Problem(f"{text}\n", facts=_facts(text))
            steps = state_puzzle(problem, log.arms[arm].name).facts.get("steps", [])
            assert solvable(replay(puzzle, steps), (puzzle.target, 1)), (text, steps)


@pytest.mark.skipif(not available(), reason="the bundled models are not installed")
def test_the_policy_makes_the_same_outcomes_again(log: PromptLog) -> None:
    """Rounding differs between processors, and a draw may then; hence not every one."""
    from search.backends.transformers_model import TransformersLanguageModel
    from search.bundled import POLICY, resolve
    from training.prompts.make_example_log import run_formats
    from training.prompts.puzzle_sample import LoggedPuzzle

    model = TransformersLanguageModel(resolve(POLICY))
    some = [LoggedPuzzle(q.id, parse_prompt(q.text + "\n"), q.split) for q in log.queries[:20]]
    logged = {
        (log.queries[q].id, log.arms[a].name, run): (outcome, tokens)
        for q, a, run, outcome, tokens in zip(
            log.query.tolist(), log.arm.tolist(), log.run.tolist(), log.outcome, log.tokens
        )
    }
    same = []
    for name, run in (("ascending", 0), ("descending", 2), ("add_largest", 1)):
        for row in run_formats(model, some, [name], run, seed=0, live=32):
            expected = logged[row["query_id"], name, run]
            same.append((row["outcome"], row["tokens"]) == expected)
    assert np.mean(same) >= 0.95


def test_the_same_rows_give_the_same_file(tmp_path: Path) -> None:
    from training.prompts.make_example_log import write_log

    rows = [{"query_id": "a", "outcome": 1}, {"query_id": "b", "outcome": 0}]
    first = write_log(tmp_path / "one", rows).read_bytes()
    assert write_log(tmp_path / "two", rows).read_bytes() == first
    metadata = json.loads((tmp_path / "one" / "puzzle_prompts.meta.json").read_text())
    assert metadata["arms"] == list(PUZZLE_FORMATS)


def _facts(text: str) -> dict[str, object]:
    puzzle = parse_prompt(f"{text}\n")
    return {"numbers": list(puzzle.numbers), "target": puzzle.target}
