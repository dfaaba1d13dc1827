"""Searches that are told to stop: the best so far is given, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_search
from test_engine_scoring import Outer
from tiny_search import ALGORITHMS, PROBLEMS, RULES, assert_all_free, engine

from search import Budget, SearchResult
from search.trace import trace_record


def after(steps: int) -> Callable[[], bool]:
    """Says stop after so many steps."""
    left = [steps]

    def stop() -> bool:
        left[0] -= 1
        return left[0] < 0

    return stop


def stopped(folders: Path, algorithm: str, steps: int, **settings: Any) -> list[SearchResult]:
    settings = {"budget": Budget(policy_tokens=100_000), "options": {}, **settings}
    search = engine(folders, algorithm, max_live=4, **settings)
    return list(search.solve_many(PROBLEMS[:6], after(steps)))


@pytest.mark.parametrize("steps", [0, 1, 3, 20])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_in_flight_gives_its_best(folders: Path, algorithm: str, steps: int) -> None:
    model, reward = (make(folders, fresh=True) for make in (tiny_search.policy, tiny_search.reward))
    results = stopped(folders, algorithm, steps, model=model, reward=reward)
    interrupted = [result for result in results if result.status == "interrupted"]
    assert {result.status for result in results} <= {"finished", "interrupted"}
    assert len(interrupted) == min(steps, 1) * 4 or len(results) - len(interrupted) > 0
    for result in interrupted:
        assert (result.limit, result.error) == (None, None)
        assert "".join(step.text for step in result.steps) == result.text
        assert result.ledger.seconds > 0
        assert len(trace_record(result)["nodes"]) == result.ledger.nodes + 1
    if steps == 20:
        assert all(result.steps for result in results)
    assert_all_free(model, reward)


def test_a_tree_that_is_stopped_is_the_beginning_of_a_longer_one(folders: Path) -> None:
    settings = {"reward": None, "rules": replace(RULES, max_path_tokens=20)}
    longer = {r.problem.id: r for r in stopped(folders, "best_of_n", 60, **settings)}
    for result in stopped(folders, "best_of_n", 15, **settings):
        paths = set(tiny_search.node_paths(result, ()))
        assert len(paths) > 1
        assert paths < set(tiny_search.node_paths(longer[result.problem.id], ()))


def test_a_reward_elsewhere_has_its_trees_until_it_is_done(folders: Path) -> None:
    class Elsewhere(Outer):
        def __init__(self, inner: Any) -> None:
            super().__init__(inner)
            self.spec = replace(inner.spec, elsewhere=True)
            self.closed: set[int] = set()

        def close(self, tree: int) -> None:
            self.closed.add(tree)
            self.inner.close(tree)

        def score(self, requests: Any) -> Any:
            results = super().score(requests)
            assert not self.closed & {request.tree for request in requests}
            return results

    model = tiny_search.policy(folders, fresh=True)
    elsewhere = Elsewhere(tiny_search.reward(folders, fresh=True))
    for steps in (2, 6, 11):
        elsewhere.closed.clear()
        results = stopped(folders, "mcts", steps, model=model, reward=elsewhere)
        assert {result.status for result in results} == {"interrupted"}
        assert_all_free(model, elsewhere.inner)
