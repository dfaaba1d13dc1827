"""Steps are scored together, or beside the policy, and no tree knows of it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_search
from tiny_search import PROBLEMS, assert_all_free, by_id, engine, shape

from search import SearchResult
from search.interfaces import RewardRequest, RewardResult
from search.scheduler import Scheduler

Results = dict[str, SearchResult]
# Steps of a token each would be scored at the same time in all problems.
WITH_STEPS = ("best_of_n", "beam", "best_first", "mcts", "accept")


class Outer:
    """A reward model around another one."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.spec = inner, inner.spec
        self.calls: list[list[RewardRequest]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def score(self, requests: list[RewardRequest]) -> list[RewardResult]:
        self.calls.append(requests)
        results: list[RewardResult] = self.inner.score(requests)
        return results


class Elsewhere(Outer):
    """As if it ran on a machine of its own; its first call waits until the policy takes a step."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.spec = replace(inner.spec, elsewhere=True)
        self.one_at_a_time = threading.Lock()
        self.scoring = self.met = False
        self.policy_stepped = threading.Event()

    def watch(self, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        step = model.step

        def stepping(*arguments: Any) -> Any:
            if self.scoring:
                self.policy_stepped.set()
            return step(*arguments)

        monkeypatch.setattr(model, "step", stepping)

    def score(self, requests: list[RewardRequest]) -> list[RewardResult]:
        assert threading.current_thread() is not threading.main_thread()
        if not self.met:
            self.scoring = True
            self.met = self.policy_stepped.wait(10)
            self.scoring = False
        with self.one_at_a_time:
            return super().score(requests)

    def take_seconds(self) -> float:
        raise AssertionError("what runs beside the policy takes no time of the run")

    def open(self, *arguments: Any) -> Any:
        with self.one_at_a_time:
            return self.inner.open(*arguments)

    def close(self, tree: int) -> None:
        with self.one_at_a_time:
            self.inner.close(tree)


def shapes(results: Results) -> dict[str, Any]:
    return {name: shape(result) for name, result in results.items()}


@pytest.fixture
def elsewhere(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    reward = Elsewhere(tiny_search.reward(folders, fresh=True))
    reward.watch(tiny_search.policy(folders), monkeypatch)
    return reward


@pytest.mark.parametrize("algorithm", ["beam", "mcts"])
def test_steps_of_several_problems_are_scored_together(folders: Path, algorithm: str) -> None:
    reward = Outer(tiny_search.reward(folders))
    by_id(engine(folders, algorithm, reward=reward, max_live=len(PROBLEMS)))
    trees = [len({request.tree for request in call}) for call in reward.calls]
    assert trees[0] >= len(PROBLEMS) / 3
    alone = Outer(tiny_search.reward(folders))
    by_id(engine(folders, algorithm, reward=alone, max_live=1))
    assert len(reward.calls) < len(alone.calls) / 3
    steps = [sum(map(len, outer.calls)) for outer in (reward, alone)]
    assert steps[0] == steps[1]


@pytest.mark.parametrize("algorithm", WITH_STEPS)
def test_a_reward_elsewhere_runs_beside_the_policy(
    folders: Path, algorithm: str, elsewhere: Elsewhere
) -> None:
    found = by_id(engine(folders, algorithm, reward=elsewhere))
    assert elsewhere.met
    assert shapes(found) == shapes(by_id(engine(folders, algorithm)))
    assert_all_free(tiny_search.policy(folders), elsewhere.inner)


def test_a_problem_alone_waits_for_a_reward_elsewhere(folders: Path, elsewhere: Elsewhere) -> None:
    elsewhere.met = True
    found = engine(folders, "mcts", reward=elsewhere).solve(PROBLEMS[3])
    assert shape(found) == shape(engine(folders, "mcts").solve(PROBLEMS[3]))


def test_time_beside_the_policy_is_not_counted_twice(folders: Path, elsewhere: Elsewhere) -> None:
    search = engine(folders, "mcts", reward=elsewhere)
    by_id(search)
    seconds = search.seconds
    assert 0 < seconds.policy_forward + seconds.reward_forward < seconds.total


@pytest.mark.parametrize("kind", [Outer, Elsewhere])
def test_a_step_that_cannot_be_scored_costs_its_own_problem_only(
    folders: Path, kind: type[Outer]
) -> None:
    class Picky(kind):  # type: ignore[misc, valid-type]
        odd: int | None = None

        def score(self, requests: list[RewardRequest]) -> list[RewardResult]:
            if self.odd is None:
                self.odd = requests[-1].tree
            if any(request.tree == self.odd for request in requests):
                raise KeyError("no such token")
            results: list[RewardResult] = super().score(requests)
            return results

    reward = Picky(tiny_search.reward(folders, fresh=True))
    reward.met = True
    found = by_id(engine(folders, "beam", reward=reward))
    expected = shapes(by_id(engine(folders, "beam")))
    (failed,) = (name for name, result in found.items() if result.status == "failed")
    assert found[failed].error == f"{failed}: the reward model failed: KeyError: 'no such token'"
    del found[failed], expected[failed]
    assert shapes(found) == expected
    assert_all_free(tiny_search.policy(folders), reward.inner)


def test_results_that_are_missing_are_said(folders: Path) -> None:
    class Short(Outer):
        def score(self, requests: list[RewardRequest]) -> list[RewardResult]:
            return super().score(requests)[1:]

    result = next(
        iter(by_id(engine(folders, "beam", reward=Short(tiny_search.reward(folders)))).values())
    )
    assert result.status == "failed"
    assert "the reward model failed: ValueError: " in (result.error or "")


def test_closing_early_asks_a_reward_elsewhere_for_nothing_more(
    folders: Path, elsewhere: Elsewhere
) -> None:
    elsewhere.met = True
    go_on, begun = threading.Event(), threading.Event()
    inner = elsewhere.inner.score

    def slow(requests: list[RewardRequest]) -> list[RewardResult]:
        if len({request.tree for request in requests}) > 1:
            begun.set()
            assert go_on.wait(30)
            raise OSError("the line is dead")
        results: list[RewardResult] = inner(requests)
        return results

    elsewhere.inner.score = slow
    scheduler = Scheduler(engine(folders, "mcts", reward=elsewhere)._setting)
    closing = threading.Thread(target=lambda: (begun.wait(30), time.sleep(0.3), go_on.set()))
    closing.start()
    results = scheduler.run(PROBLEMS)
    step = scheduler._step

    def until_begun(live: Any) -> Any:
        if begun.is_set():
            raise KeyboardInterrupt
        return step(live)

    scheduler._step = until_begun  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        list(results)
    assert go_on.is_set()  # closing has waited for the call
    # and nothing was asked for again, a problem alone
    assert len({request.tree for request in elsewhere.calls[-1]}) > 1
    closing.join()
    assert_all_free(tiny_search.policy(folders), elsewhere.inner)


@pytest.mark.parametrize(
    ("name", "message"),
    [("usage", "the reward model failed: OSError: gone"), ("close", None)],
)
def test_a_reward_model_that_fails_beside_scoring(
    folders: Path, name: str, message: str | None
) -> None:
    reward = Outer(tiny_search.reward(folders, fresh=True))
    inner = getattr(reward.inner, name)
    odd: list[int] = []

    def failing(tree: int) -> Any:
        odd[:] = odd or [tree]
        found = inner(tree)
        if tree == odd[0]:
            raise OSError("gone")
        return found

    setattr(reward, name, failing)
    search = engine(folders, "beam", reward=reward)
    if message is None:
        with pytest.warns(UserWarning, match="the reward model kept its tree: OSError: gone"):
            found = by_id(search, PROBLEMS[:4])
        assert shapes(found) == shapes(by_id(engine(folders, "beam"), PROBLEMS[:4]))
    else:
        found = by_id(search, PROBLEMS[:4])
        (failed,) = (r for r in found.values() if r.status == "failed")
        assert failed.error == f"{failed.problem.id}: {message}"
    assert_all_free(tiny_search.policy(folders), reward.inner)


def test_results_of_another_kind_are_said(folders: Path) -> None:
    class Odd(Outer):
        def score(self, requests: list[RewardRequest]) -> list[Any]:
            return [None for _ in requests]

    (result,) = engine(folders, "beam", reward=Odd(tiny_search.reward(folders))).solve_many(
        PROBLEMS[3:4]
    )
    assert result.status == "failed"
    assert "p3: the reward model failed: AttributeError: " in (result.error or "")
