"""The same seed gives the same tree, however problems are batched and whatever the pool holds."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import tiny_models
import tiny_search
from tiny_search import ALGORITHMS, PROBLEMS, by_id, engine, shape

from reward_bridge import CausalRewardModel
from reward_bridge.verifiers import ArithmeticVerifier
from search import Budget, Problem, Search, StepRules, _native
from search.backends.transformers_model import TransformersLanguageModel
from search.bundled import POLICY, REWARD, resolve
from search.evaluation.suites import load_suite
from search.interfaces import Sampling


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_problems_together_or_alone_or_in_another_order(folders: Path, algorithm: str) -> None:
    search = engine(folders, algorithm)
    together = {name: shape(result) for name, result in by_id(search).items()}
    assert len(together) == len(PROBLEMS)
    for problem in PROBLEMS:
        (alone,) = search.solve_many([problem])
        assert shape(alone) == together[problem.id]
    shuffled = random.Random(0).sample(PROBLEMS, len(PROBLEMS))
    for settings in ({}, {"max_live": 3}):
        again = by_id(engine(folders, algorithm, **settings), shuffled)
        assert {name: shape(result) for name, result in again.items()} == together


@pytest.mark.parametrize("algorithm", ["mcts", "best_first"])
def test_fifty_puzzles_together_or_alone(algorithm: str) -> None:
    policy = TransformersLanguageModel(resolve(POLICY))
    reward = CausalRewardModel(resolve(REWARD), policy.tokenizer)
    settings = {"algorithm": algorithm, "budget": Budget(policy_tokens=120), "seed": 0}
    search = Search(policy, reward, ArithmeticVerifier(), max_live=50, **settings)
    puzzles = load_suite("game24", None, None, 50)
    together = {r.problem.id: shape(r) for r in search.solve_many(puzzles)}
    assert len(together) == 50
    for puzzle in puzzles:
        assert shape(search.solve(puzzle)) == together[puzzle.id]


@pytest.mark.parametrize("algorithm", ["beam", "best_first", "mcts", "best_of_n"])
def test_narrow_batches_change_no_tree(folders: Path, algorithm: str) -> None:
    narrow = tiny_search.policy(folders, batch_rows=16)
    expected = by_id(engine(folders, algorithm))
    found = by_id(engine(folders, algorithm, model=narrow))
    assert {n: shape(r) for n, r in found.items()} == {n: shape(r) for n, r in expected.items()}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_same_seed_twice(folders: Path, algorithm: str) -> None:
    first, second = (engine(folders, algorithm, seed=3).solve(PROBLEMS[2]) for _ in range(2))
    assert shape(first) == shape(second)


@pytest.mark.parametrize("algorithm", ["best_of_n", "beam", "best_first", "mcts"])
def test_another_seed_is_another_tree(folders: Path, algorithm: str) -> None:
    first, second = (engine(folders, algorithm, seed=s).solve(PROBLEMS[2]) for s in (3, 4))
    assert shape(first)["tokens"] != shape(second)["tokens"]


def test_two_equal_problems_are_two_trees(folders: Path) -> None:
    twins = [Problem("abc\n", id="same")] * 3 + [Problem("abc\n", id="other")]
    found = by_id(engine(folders, "best_of_n"), twins)
    assert set(found) == {"same", "same#2", "same#3", "other"}
    assert len({shape(result)["tokens"] for result in found.values()}) == 4


def test_repeated_ids_never_collide(folders: Path) -> None:
    ids = ["a", "a#2", "a", "a", "a#2"]
    found = list(engine(folders, "greedy").solve_many([Problem("abc\n", id=i) for i in ids]))
    assert len({result.problem.id for result in found}) == len(ids)


@pytest.mark.parametrize("algorithm", ["best_of_n", "beam", "best_first", "mcts", "guided"])
@pytest.mark.parametrize("tokens", [None, 150])
def test_a_tiny_pool_gives_the_same_trees(
    folders: Path, algorithm: str, tokens: int | None
) -> None:
    """What is evicted and computed again counts against no budget."""
    settings = {
        "budget": Budget(policy_tokens=tokens, reward_tokens=tokens),
        "options": tiny_search.OPTIONS[algorithm]
        | {"mcts": {"simulations": 12}, "best_first": {"expansions": 12}}.get(algorithm, {}),
    }
    expected = by_id(engine(folders, algorithm, **settings))
    tight = tiny_search.policy(folders, pool_tokens=56, page_size=4)
    small = tiny_search.reward(folders, fresh=True, pool_tokens=56, page_size=4)
    found = by_id(engine(folders, algorithm, model=tight, reward=small, **settings))
    for name, result in found.items():
        # Keys split at other places may round differently in the last bit.
        assert shape(result, exact=False) == shape(expected[name], exact=False)
        assert result.tree["logprob"] == pytest.approx(expected[name].tree["logprob"], abs=1e-5)
        assert result.ledger.policy.unique == expected[name].ledger.policy.unique
    recomputed = sum(result.ledger.policy.recomputed for result in found.values())
    assert recomputed > 0
    assert sum(result.ledger.reward.recomputed for result in found.values()) > 0
    assert all(result.ledger.policy.recomputed == 0 for result in expected.values())


def test_how_a_step_is_cut_into_batches_does_not_show_where_rows_come_again(
    folders: Path,
) -> None:
    """A row that was let go waits beside rows of prefixes below its own."""
    folder = tiny_models.made(folders, kind="llama", vocab_size=3000)
    found = []
    for batch_rows in (1024, 3):
        model = tiny_models.policy.__wrapped__(folder, batch_rows=batch_rows, page_size=4)
        model._draws = _native.sampling.SegmentDraws(model.runner.spans, 0)
        search = engine(
            folders,
            "mcts",
            model=model,
            reward=None,
            sampling=Sampling(top_k=0, temperature=0.4),
            budget=Budget(policy_tokens=900),
            options={"max_in_flight": 16},
            rules=StepRules(max_step_tokens=12, max_path_tokens=40, delimiters=()),
        )
        results = by_id(search, PROBLEMS[:6])
        assert sum(result.ledger.policy.recomputed for result in results.values()) > 9
        found.append({name: shape(result) for name, result in results.items()})
    assert found[0] == found[1]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_prompt_that_others_computed_spares_no_budget(folders: Path, algorithm: str) -> None:
    long = "abcdefgh" * 16
    problems = [Problem(f"{long}{end}\n", id=end) for end in "abc"]
    settings = {
        "rules": StepRules(max_step_tokens=6, max_path_tokens=170),
        "budget": Budget(policy_tokens=200, reward_tokens=260),
        "reward": tiny_search.reward(folders, fresh=True),
    }
    alone = {}
    for problem in problems:
        fresh = engine(
            folders, algorithm, model=tiny_search.policy(folders, fresh=True), **settings
        )
        alone[problem.id] = shape(fresh.solve(problem))
    together = engine(folders, algorithm, model=tiny_search.policy(folders, fresh=True), **settings)
    found = by_id(together, problems)
    assert {n: shape(r) for n, r in found.items()} == alone
    assert {n: shape(r) for n, r in by_id(together, problems).items()} == alone
    assert sorted(r.ledger.policy.reused for r in found.values()) == [0, 128, 128]


def test_draws_asked_for_are_draws_returned(folders: Path) -> None:
    for n in (1, 5, 16):
        search = engine(folders, "best_of_n", options={"n": n}, budget=Budget())
        for result in search.solve_many(PROBLEMS[:4]):
            assert result.status == "finished"
            assert result.ledger.segments >= n
            ends = [row for row in range(len(result.tree["parent"])) if is_leaf(result, row)]
            assert sum(int(result.tree["draws"][row]) for row in ends) == n


def is_leaf(result: tiny_search.SearchResult, row: int) -> bool:
    return row > 0 and row not in result.tree["parent"].tolist()


def test_the_path_of_the_answer_is_in_the_tree(folders: Path) -> None:
    for algorithm in ALGORITHMS:
        model = tiny_search.policy(folders)
        for result in by_id(engine(folders, algorithm), PROBLEMS[:4]).values():
            prompt = model.encode(result.problem)
            paths = tiny_search.node_paths(result, prompt)
            texts = {model.decode(path[len(prompt) :]) for path in paths}
            assert result.text in texts
            assert "".join(step.text for step in result.steps) == result.text
            assert paths[0].count(1) == 1  # one BOS
