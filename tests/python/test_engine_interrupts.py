"""An interrupt inside a step is told as what it is and frees what was held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_search
from tiny_search import PROBLEMS, assert_all_free, by_id, engine


class InterruptedBatch:
    """A batch that an interrupt reaches just before one of its calls."""

    def __init__(self, inner: Any, call: str) -> None:
        self.inner = inner
        self.call = call

    def __getattr__(self, name: str) -> Any:
        if name == self.call:
            raise KeyboardInterrupt
        return getattr(self.inner, name)


@pytest.mark.parametrize("call", ["finish", "plan", "commit"])
@pytest.mark.parametrize("whose", ["policy", "reward"])
def test_an_interrupt_while_a_batch_is_open_leaves_no_pages(
    folders: Path, monkeypatch: pytest.MonkeyPatch, call: str, whose: str
) -> None:
    model = tiny_search.policy(folders, fresh=True)
    reward = tiny_search.reward(folders, fresh=True)
    runner = model.runner if whose == "policy" else reward.runner
    run, calls = runner.run, []

    def interrupted(batch: Any) -> Any:
        calls.append(batch)
        return run(batch if len(calls) < 3 else InterruptedBatch(batch, call))

    monkeypatch.setattr(runner, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        by_id(engine(folders, "mcts", model=model, reward=reward), PROBLEMS[:3])
    assert_all_free(model, reward)


def test_an_interrupt_before_a_batch_is_run_leaves_no_pages(folders: Path) -> None:
    model = tiny_search.policy(folders, fresh=True)

    def interrupted(batch: Any) -> Any:
        raise KeyboardInterrupt

    model.runner.run = interrupted
    with pytest.raises(KeyboardInterrupt):
        by_id(engine(folders, "mcts", model=model), PROBLEMS[:3])
    assert_all_free(model)


def test_a_tree_that_cannot_be_closed_hides_no_interrupt(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_search.policy(folders, fresh=True)
    reward = tiny_search.reward(folders, fresh=True)
    results = engine(folders, "mcts", model=model, reward=reward).solve_many(PROBLEMS[:3])
    close, closed = model.close, []

    def stuck(tree: int) -> None:
        closed.append(tree)
        close(tree)
        if len(closed) == 1:
            raise RuntimeError("stuck")

    def interrupted(*_: Any) -> Any:
        monkeypatch.setattr(model, "close", stuck)
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "step", interrupted)
    with (
        pytest.warns(UserWarning, match="the policy kept its tree: RuntimeError: stuck"),
        pytest.raises(KeyboardInterrupt),
    ):
        list(results)
    assert len(closed) == 3
    assert_all_free(model, reward)
