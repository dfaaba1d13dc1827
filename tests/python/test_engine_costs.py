"""The ledger equals what the models saw, and budgets hold."""

from __future__ import annotations

import gc
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import tiny_search
from tiny_search import (
    ALGORITHMS,
    PROBLEMS,
    RowCounter,
    by_id,
    engine,
    node_paths,
    prefixes,
)

from search import Budget, Problem, Search, _native
from search.errors import BudgetTooSmall, TreewardError
from search.interfaces import Sampling

ENDLESS: dict[str, dict[str, Any]] = {
    "best_of_n": {"n": 0},
    "beam": {"rounds": 0, "width": 2, "branching": 2},
    "best_first": {},
    "mcts": {},
}


@pytest.mark.parametrize("algorithm", ["greedy", "best_of_n", "beam", "accept", "mcts"])
def test_every_distinct_prefix_is_computed_once(folders: Path, algorithm: str) -> None:
    options = tiny_search.OPTIONS[algorithm] | ({"simulations": 9} if algorithm == "mcts" else {})
    model = tiny_search.policy(folders, fresh=True)
    scorer = tiny_search.reward(folders, fresh=True)
    search = engine(
        folders, algorithm, model=model, reward=scorer, budget=Budget(), options=options
    )
    with RowCounter(model.runner.model) as policy_rows, RowCounter(scorer.runner.model) as scored:
        found = by_id(search)
    expected: Counter[tuple[int, int]] = Counter()
    expected_scored: Counter[tuple[int, int]] = Counter()
    for result in found.values():
        assert result.status == "finished"
        paths = node_paths(result, model.encode(result.problem))
        own = prefixes(paths, whole=False)
        expected += own
        expected_scored += prefixes(paths, whole=True)
        use = result.ledger.policy
        # Draws that were under way at the end are not in the tree; they are told as wasted.
        assert use.computed == use.unique == own.total() + use.wasted
    assert not expected - policy_rows.rows
    wasted = sum(result.ledger.policy.wasted for result in found.values())
    assert (policy_rows.rows - expected).total() == wasted
    assert wasted == 0 or algorithm in ("beam", "best_first", "mcts")
    assert scored.rows == expected_scored
    for side in ("policy", "reward"):
        uses = [getattr(result.ledger, side) for result in found.values()]
        assert [use.recompute_ratio for use in uses] == [1.0] * len(uses)
        rows = policy_rows.rows if side == "policy" else scored.rows
        assert sum(use.computed for use in uses) == rows.total()


def test_a_row_of_logits_that_was_let_go_is_recomputed_and_charges_nothing(folders: Path) -> None:
    folder = tiny_models.made(folders, kind="llama", vocab_size=3000)
    found = []
    for row_bytes in (0, 1 << 30):
        model = tiny_models.policy.__wrapped__(folder)
        model._draws = _native.sampling.SegmentDraws(model.runner.spans, row_bytes)
        search = engine(
            folders,
            "best_of_n",
            model=model,
            reward=None,
            budget=Budget(),
            sampling=Sampling(top_k=0),
            options={"n": 40, "max_in_flight": 3},
        )
        with RowCounter(model.runner.model) as rows:
            found.append(by_id(search))
        uses = [result.ledger.policy for result in found[-1].values()]
        assert sum(use.computed for use in uses) == rows.rows.total()
        assert [use.computed for use in uses] == [use.unique + use.recomputed for use in uses]
        assert any(use.recomputed for use in uses) == (row_bytes == 0)
    for name, result in found[0].items():
        # Who waits for a row is told later, so the nodes may come in another order.
        paths = sorted(node_paths(result, model.encode(result.problem)))
        assert paths == sorted(node_paths(found[1][name], model.encode(result.problem)))
        assert result.ledger.policy.charged == found[1][name].ledger.policy.charged


@pytest.mark.parametrize("pool_tokens", [56, 131_072])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_ledger_is_what_the_models_saw(folders: Path, algorithm: str, pool_tokens: int) -> None:
    settings: dict[str, Any] = {"fresh": True, "pool_tokens": pool_tokens, "page_size": 4}
    model = tiny_search.policy(folders, **settings)
    scorer = tiny_search.reward(folders, **settings)
    search = engine(folders, algorithm, model=model, reward=scorer)
    with RowCounter(model.runner.model) as policy_rows, RowCounter(scorer.runner.model) as scored:
        found = by_id(search)
    for side, counter in (("policy", policy_rows), ("reward", scored)):
        uses = [getattr(result.ledger, side) for result in found.values()]
        assert sum(use.computed for use in uses) == counter.rows.total()
        for use in uses:
            assert use.computed == use.unique + use.recomputed
            if pool_tokens > 56:
                assert use.recompute_ratio == 1.0


def test_long_prompts_in_common_are_computed_once(folders: Path) -> None:
    """Whole blocks of 64 prompt tokens are shared between trees; budgets count them for each."""
    model = tiny_search.policy(folders, fresh=True)
    long = "abcdefgh" * 16 + "\n"
    rules = tiny_search.StepRules(max_step_tokens=6, max_path_tokens=150)
    search = engine(folders, "greedy", model=model, reward=None, rules=rules)
    twins = [Problem(long, id=name) for name in ("one", "two", "three")]
    with RowCounter(model.runner.model) as counter:
        found = list(search.solve_many(twins))
    uses = [result.ledger.policy for result in found]
    assert sorted(use.reused for use in uses) == [0, 128, 128]
    assert sum(use.computed for use in uses) == counter.rows.total()
    assert len({use.charged for use in uses}) == 1
    assert len({result.text for result in found}) == 1


@pytest.mark.parametrize("algorithm", ["best_of_n", "beam", "best_first", "mcts"])
@pytest.mark.parametrize("limit", [12, 23, 57, 101, 256])
def test_policy_tokens_are_never_exceeded(folders: Path, algorithm: str, limit: int) -> None:
    search = engine(
        folders, algorithm, budget=Budget(policy_tokens=limit), options=ENDLESS[algorithm]
    )
    model = search.model
    with RowCounter(model.runner.model) as counter:  # type: ignore[attr-defined]
        found = list(search.solve_many([PROBLEMS[3]]))
    (result,) = found
    assert counter.rows.total() <= limit
    assert result.ledger.policy.computed == counter.rows.total()
    if result.status == "budget":
        assert result.limit == "policy_tokens"
        assert result.ledger.policy.computed >= limit - 16  # it was used, not left lying
        assert result.text


@pytest.mark.parametrize("algorithm", ["best_of_n", "beam", "best_first", "mcts"])
@pytest.mark.parametrize("name", ["reward_tokens", "nodes"])
def test_other_limits_are_overrun_by_one_step_at_most(
    folders: Path, algorithm: str, name: str
) -> None:
    limit, one_step = 60, 16 * tiny_search.RULES.max_step_tokens
    search = engine(folders, algorithm, budget=Budget(**{name: limit}), options=ENDLESS[algorithm])
    for result in search.solve_many(PROBLEMS[:4]):
        spent = result.ledger.nodes if name == "nodes" else result.ledger.reward.computed
        assert (result.status, result.limit) == ("budget", name)
        assert limit <= spent <= limit + one_step
        assert result.text


def test_seconds_end_a_search_with_its_best_so_far(folders: Path) -> None:
    search = engine(folders, "mcts", budget=Budget(seconds=0.4))
    started = time.perf_counter()
    result = search.solve(PROBLEMS[3])
    assert (result.status, result.limit) == ("budget", "seconds")
    assert 0.4 <= result.ledger.seconds < 5
    assert result.ledger.seconds <= time.perf_counter() - started
    assert result.text


@pytest.mark.parametrize("algorithm", ["best_of_n", "beam", "best_first", "mcts"])
def test_an_answer_is_there_once_a_step_is(folders: Path, algorithm: str) -> None:
    """Larger and larger budgets: from the first step on there is always a path."""
    model = tiny_search.policy(folders)
    prompt = len(model.encode(PROBLEMS[3]))
    had_one = False
    for limit in range(prompt + 1, prompt + 40, 3):
        search = engine(
            folders, algorithm, budget=Budget(policy_tokens=limit), options=ENDLESS[algorithm]
        )
        (result,) = search.solve_many([PROBLEMS[3]])
        if result.status == "failed":
            assert not had_one
            assert result.error is not None
            assert "before the first step" in result.error
        else:
            had_one = True
            assert result.text or result.steps
    assert had_one


def test_a_budget_below_the_prompt_says_so(folders: Path) -> None:
    model = tiny_search.policy(folders)
    prompt = len(model.encode(PROBLEMS[4]))
    search = engine(folders, "greedy", budget=Budget(policy_tokens=prompt))
    with pytest.raises(TreewardError, match=f"too small.*prompt of {prompt} tokens"):
        search.solve(PROBLEMS[4])
    found = by_id(search, [PROBLEMS[4], PROBLEMS[0]])
    assert found["p4"].status == "failed"
    assert found["p0"].status != "failed"
    assert model.runner.spans.live_spans == 0


@pytest.mark.parametrize("name", ["policy_tokens", "reward_tokens", "nodes", "seconds"])
@pytest.mark.parametrize("limit", [0, -1])
def test_a_budget_of_nothing_is_refused(name: str, limit: int) -> None:
    with pytest.raises(BudgetTooSmall, match=name):
        Budget(**{name: limit})


def test_nan_seconds_are_refused() -> None:
    with pytest.raises(BudgetTooSmall):
        Budget(seconds=float("nan"))


def test_phases_add_up(folders: Path) -> None:
    search: Search = engine(folders, "mcts")
    search.solve(PROBLEMS[3])
    seconds = search.seconds
    assert 0 < seconds.policy_forward < seconds.total
    assert 0 < seconds.reward_forward < seconds.total
    assert 0 <= seconds.overhead_share < 1


def test_the_garbage_collector_is_left_as_it_was(folders: Path) -> None:
    search = engine(folders, "beam")
    frozen = gc.get_freeze_count()
    results = search.solve_many(tiny_search.PROBLEMS)
    next(results)
    assert gc.get_freeze_count() > frozen
    results.close()
    assert gc.get_freeze_count() == frozen


@pytest.mark.parametrize("algorithm", ["best_of_n", "mcts"])
def test_a_search_that_fails_says_what_it_computed_in_vain(folders: Path, algorithm: str) -> None:
    model = tiny_search.policy(folders)
    rules = tiny_search.StepRules(delimiters=(), max_step_tokens=40)
    failed = 0
    for problem in PROBLEMS:
        prompt = len(model.encode(problem))
        budget = Budget(policy_tokens=prompt + 9)
        search = engine(folders, algorithm, reward=None, rules=rules, budget=budget)
        (result,) = search.solve_many([problem])
        if result.status == "failed":
            failed += 1
            assert result.ledger.policy.wasted == result.ledger.policy.unique - prompt == 9
    assert failed
