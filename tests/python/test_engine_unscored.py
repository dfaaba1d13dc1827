"""Steps without a score: blank ones say nothing new, and a path may outgrow the reward model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import tiny_search
from test_engine_scoring import Outer
from tiny_search import (
    ALGORITHMS,
    PROBLEMS,
    Scorer,
    ToyVerifier,
    assert_all_free,
    by_id,
    engine,
    node_paths,
    shape,
)

from reward_bridge.aggregation import mean
from reward_bridge.causal import CausalRewardModel
from reward_bridge.format import RewardFormat
from search import Budget, Problem, SearchResult, StepRules
from search.errors import BadProblem
from search.interfaces import RewardRequest, RewardResult

OWN = "zhgfedcba\n"  # another order of letters and one more: a vocabulary of its own
LINES = StepRules(max_step_tokens=40, max_path_tokens=40)
CONTEXT = 16


def reading_text(folders: Path, separator: str | None) -> Outer:
    """A reward model with a tokenizer of its own."""
    folder = tiny_models.made(folders, head="TokenClassification", num_labels=2, characters=OWN)
    layout = RewardFormat(separator=separator)
    return Outer(CausalRewardModel(str(folder), tiny_models.tokenizer(), reward_format=layout))


def parents(result: SearchResult) -> list[tuple[int, int]]:
    """Rows below the root, each with the row of its parent."""
    return [(row, int(parent)) for row, parent in enumerate(result.tree["parent"]) if row]


@pytest.mark.parametrize("separator", [None, ""])
@pytest.mark.parametrize("algorithm", ["best_of_n", "beam", "best_first", "mcts"])
def test_a_blank_step_keeps_the_score_before_it(
    folders: Path, algorithm: str, separator: str | None
) -> None:
    reward = reading_text(folders, separator)
    settings = {"rules": LINES, "budget": Budget(policy_tokens=600), "aggregate": mean}
    ends = lines = 0
    for result in by_id(engine(folders, algorithm, reward=reward, **settings)).values():
        assert result.status != "failed", result.error
        tree = result.tree
        for row, parent in parents(result):
            if tree["text"][row].strip():
                assert tree["score"][row] is not None
                continue
            assert tree["score"][row] == tree["score"][parent]
            np.testing.assert_equal(tree["value"][row], tree["value"][parent])
            ends += tree["finish"][row] == 1 and parent > 0
            lines += tree["finish"][row] == 0 and parent > 0
    assert ends > 0
    assert lines > 0
    assert all(request.text.strip() for call in reward.calls for request in call)


def test_a_token_that_leaves_a_step_blank_keeps_the_score_before_it(folders: Path) -> None:
    reward = reading_text(folders, None)
    for result in by_id(engine(folders, "guided", reward=reward)).values():
        assert result.status != "failed", result.error
    assert all(request.text.strip() for call in reward.calls for request in call)


def test_a_reward_that_reads_the_policys_tokens_is_asked_about_all(folders: Path) -> None:
    reward = Outer(tiny_search.reward(folders))
    by_id(engine(folders, "best_of_n", reward=reward, rules=LINES))
    assert any(not request.text.strip() for call in reward.calls for request in call)


def short(folders: Path) -> CausalRewardModel:
    """A reward model that takes fewer tokens than the policy's paths have."""
    folder = tiny_models.made(
        folders, head="TokenClassification", num_labels=2, max_position_embeddings=CONTEXT
    )
    reward = CausalRewardModel(str(folder), tiny_models.tokenizer())
    assert reward.max_length == CONTEXT
    return reward


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_path_that_outgrows_the_reward_ends_there(folders: Path, algorithm: str) -> None:
    reward = short(folders)
    model = tiny_search.policy(folders)
    search = engine(folders, algorithm, reward=reward)
    found = by_id(search)
    beyond = 0
    for result in found.values():
        assert result.status != "failed", result.error
        tree = result.tree
        paths = node_paths(result, model.encode(result.problem))
        grown = {parent for _, parent in parents(result)}
        for row, _ in parents(result):
            too_long = len(paths[row]) > CONTEXT
            assert (tree["score"][row] is None) == too_long
            assert not (too_long and row in grown)
            beyond += too_long
        scored = [row for row, _ in parents(result) if tree["score"][row] is not None]
        if algorithm in ("beam", "best_of_n") and any(tree["answer"][row] >= 0 for row in scored):
            assert result.score is not None
            assert result.answer is not None
    assert beyond > 0
    for problem in PROBLEMS:
        assert shape(search.solve(problem)) == shape(found[problem.id])
    assert_all_free(model, reward)


def never(folders: Path) -> Scorer:
    """A reward model to which every step is too long."""

    def spoil(request: RewardRequest, result: RewardResult) -> RewardResult:
        return RewardResult(request.parent, None, "too_long", "a step reaches 900 tokens")

    return Scorer(tiny_search.reward(folders), spoil)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_where_nothing_is_scored_the_search_gives_what_there_is(
    folders: Path, algorithm: str
) -> None:
    scorer = never(folders)
    for result in by_id(engine(folders, algorithm, reward=scorer), PROBLEMS[:4]).values():
        assert result.status != "failed", result.error
        assert result.text
        assert result.score is None
        assert set(result.tree["parent"][1:]) == {0}
    assert_all_free(tiny_search.policy(folders), scorer.inner)


@pytest.mark.parametrize("judge", [False, True])
def test_an_end_without_a_score_keeps_its_answer_and_its_verdict(
    folders: Path, judge: bool
) -> None:
    settings = {"verifier": ToyVerifier(blind=not judge), "judge": judge}
    search = engine(folders, "mcts", reward=never(folders), rules=LINES, **settings)
    results = by_id(search).values()
    answered = [result for result in results if result.answer is not None]
    assert answered
    assert {result.right for result in answered} == {True if judge else None}


def test_an_answer_without_a_score_stands_below_those_with_one(folders: Path) -> None:
    def spoil(request: RewardRequest, result: RewardResult) -> RewardResult:
        if "a" not in request.text:
            return result
        return RewardResult(request.parent, None, "too_long", "a step reaches 900 tokens")

    scorer = Scorer(tiny_search.reward(folders), spoil)
    both = 0
    for result in by_id(engine(folders, "beam", reward=scorer, rules=LINES)).values():
        tree = result.tree
        scored = {
            score is not None for score, answer in zip(tree["score"], tree["answer"]) if answer >= 0
        }
        both += len(scored) == 2
        assert True not in scored or result.score is not None
    assert both


def test_a_prompt_that_leaves_no_room_for_a_step_is_told(folders: Path) -> None:
    prompt = Problem("abcdefgh" * 2 + "\n", id="long")
    with pytest.raises(
        BadProblem, match=r"^long: the prompt has 18 tokens and .* takes 16, its st"
    ):
        engine(folders, "mcts", reward=short(folders)).solve(prompt)


def test_a_reward_says_what_it_reads(folders: Path) -> None:
    shared = tiny_search.reward(folders).spec
    own = reading_text(folders, None).spec
    assert (shared.reads, own.reads) == ("tokens", "text")
    assert replace(shared, name="", reads="text") == replace(own, name="")
