"""One problem's failure is its own, has a name, and frees what it held."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import tiny_search
import torch
from tiny_search import PROBLEMS, Scorer, assert_all_free, by_id, engine, shape

from reward_bridge.aggregation import product
from reward_bridge.verifiers import ArithmeticVerifier
from search import Budget, Problem, StepRules
from search.errors import BadProblem, BudgetTooSmall, ModelRefused, TreewardError
from search.interfaces import RewardRequest, RewardResult
from search.scheduler import Scheduler


@pytest.mark.parametrize("algorithm", ["best_of_n", "mcts"])
def test_a_pool_too_small_for_one_path_fails_that_problem(folders: Path, algorithm: str) -> None:
    model = tiny_search.policy(folders, fresh=True, pool_tokens=48, page_size=4)
    long = Problem("abcdefgh" * 8 + "\n", id="long")
    rules = StepRules(max_step_tokens=6, max_path_tokens=30)
    wide = StepRules(max_step_tokens=6, max_path_tokens=90)
    settings = {"model": model, "reward": None}
    found = by_id(
        engine(folders, algorithm, rules=wide, **settings), [long, Problem("abc\n", id="short")]
    )
    assert found["long"].status == "failed"
    assert found["long"].error is not None
    assert "pool of 48 tokens cannot hold one path of" in found["long"].error
    others = [PROBLEMS[0], long, PROBLEMS[3]]
    found = by_id(engine(folders, algorithm, rules=rules, **settings), others)
    assert found["long"].status == "failed"
    assert found["p0"].status != "failed"
    assert found["p3"].status != "failed"
    assert_all_free(model)


def test_the_others_are_as_if_the_failed_one_were_not_there(folders: Path) -> None:
    model = tiny_search.policy(folders, fresh=True)
    expected = by_id(engine(folders, "mcts"), PROBLEMS[:4])
    bad = Problem("what?\n", id="bad")
    found = by_id(engine(folders, "mcts", model=model), [PROBLEMS[0], bad, *PROBLEMS[1:4]])
    assert "cannot read" in (found.pop("bad").error or "")
    assert {n: shape(r) for n, r in found.items()} == {n: shape(r) for n, r in expected.items()}
    assert_all_free(model)


def poison_after(model: Any, token: int, value: float = math.nan) -> Any:
    """Makes the logits after one token not a number."""

    def spoil(module: Any, args: Any, kwargs: dict[str, Any], out: Any) -> Any:
        rows = kwargs["logits_to_keep"]
        out.logits[0, kwargs["input_ids"][0, rows] == token] = value
        return out

    return model.register_forward_hook(spoil, with_kwargs=True)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_not_numbers_fail_their_problem(folders: Path, value: float) -> None:
    model = tiny_search.policy(folders, fresh=True)
    odd = Problem("abg", id="odd")  # ends in the token that is poisoned
    quiet = StepRules(max_step_tokens=1, max_path_tokens=6, delimiters=())
    handle = poison_after(model.runner.model, 9, value)
    try:
        found = by_id(
            engine(folders, "greedy", model=model, reward=None, rules=quiet),
            [odd, Problem("abc\n", id="fine")],
        )
    finally:
        handle.remove()
    assert found["odd"].status == "failed"
    error = found["odd"].error or ""
    assert "\n" not in error
    assert model.name in error
    assert found["fine"].status != "failed" or "NaN" in (found["fine"].error or "")
    assert_all_free(model)
    again = by_id(engine(folders, "greedy", model=model, reward=None, rules=quiet), [odd])
    assert again["odd"].status != "failed"


@pytest.mark.parametrize(
    ("status", "message"),
    [("not_finite", "gave a score of nan"), ("refused", "a pool of 16 tokens")],
)
def test_a_step_without_a_score_fails_its_problem(folders: Path, status: Any, message: str) -> None:
    marked: list[int] = []

    def spoil(request: RewardRequest, result: RewardResult) -> RewardResult:
        if not marked:
            marked.append(request.tree)
        if request.tree in marked:
            return RewardResult(result.state, None, status, message)
        return result

    scorer = Scorer(tiny_search.reward(folders), spoil)
    found = by_id(engine(folders, "beam", reward=scorer), PROBLEMS[:4])
    failed = [result for result in found.values() if result.status == "failed"]
    assert len(failed) == 1
    assert failed[0].error is not None
    assert message in failed[0].error
    assert failed[0].problem.id in failed[0].error
    assert_all_free(tiny_search.policy(folders), scorer.inner)


def test_a_reward_model_that_raises_fails_what_it_was_asked(folders: Path) -> None:
    class Broken(Scorer):
        def score(self, requests: list[RewardRequest]) -> list[RewardResult]:
            raise IndexError("token 99 of 8")

    scorer = Broken(tiny_search.reward(folders), None)
    for result in by_id(engine(folders, "beam", reward=scorer), PROBLEMS[:3]).values():
        assert result.status == "failed"
        assert "the reward model failed: IndexError: token 99 of 8" in (result.error or "")
    assert_all_free(tiny_search.policy(folders), scorer.inner)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModelRefused("p1: too long"), "p1: too long"),
        (OSError("no route"), "p1: the reward model failed: OSError: no route"),
    ],
)
def test_a_prompt_that_the_reward_model_refuses_leaves_no_pages(
    folders: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    model = tiny_search.policy(folders, fresh=True)
    reward = tiny_search.reward(folders, fresh=True)
    opened = reward.open

    def refuse(problem: Problem, prompt: Any) -> Any:
        if problem.id == "p1":
            raise error
        return opened(problem, prompt)

    monkeypatch.setattr(reward, "open", refuse)
    found = by_id(engine(folders, "beam", model=model, reward=reward), PROBLEMS[:3])
    assert [found[name].status == "failed" for name in ("p0", "p1", "p2")] == [False, True, False]
    assert found["p1"].error == message
    assert_all_free(model)


def test_a_reward_model_of_nans_fails_every_problem_by_name(folders: Path) -> None:
    scorer = tiny_search.reward(folders, fresh=True)
    with torch.no_grad():
        scorer.runner.model.score.weight.fill_(math.nan)
    for result in by_id(engine(folders, "mcts", reward=scorer), PROBLEMS[:3]).values():
        assert result.status == "failed"
        assert result.problem.id in (result.error or "")
        assert "nan" in (result.error or "")
    assert_all_free(scorer)


def test_a_score_of_zero_is_a_score(folders: Path) -> None:
    def zero(request: RewardRequest, result: RewardResult) -> RewardResult:
        return RewardResult(result.state, 0.0)

    scorer = Scorer(tiny_search.reward(folders), zero)
    result = engine(folders, "beam", reward=scorer).solve(PROBLEMS[3])
    assert result.score == 0.0
    assert set(result.tree["score"][1:]) == {0.0}


@pytest.mark.parametrize("algorithm", ["best_of_n", "beam", "mcts"])
def test_closing_early_frees_pages_and_nodes(folders: Path, algorithm: str) -> None:
    model = tiny_search.policy(folders, fresh=True)
    scorer = tiny_search.reward(folders, fresh=True)
    search = engine(folders, algorithm, model=model, reward=scorer)
    scheduler = Scheduler(search._setting, max_live=5)
    results = scheduler.run(PROBLEMS)
    next(results)
    assert scheduler.arena.nodes > 0
    results.close()
    assert scheduler.arena.nodes == 0
    assert_all_free(model, scorer)
    stream = search.solve_many(PROBLEMS)
    next(stream)
    del stream
    assert_all_free(model, scorer)


def test_everything_is_free_after_a_run(folders: Path) -> None:
    model = tiny_search.policy(folders, fresh=True)
    scorer = tiny_search.reward(folders, fresh=True)
    search = engine(folders, "mcts", model=model, reward=scorer)
    scheduler = Scheduler(search._setting, max_live=4)
    assert len(list(scheduler.run(PROBLEMS))) == len(PROBLEMS)
    assert scheduler.arena.nodes == 0
    assert_all_free(model, scorer)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (BadProblem("p1: the statement makes no sense"), "p1: the statement makes no sense"),
        (KeyError("target"), "p1: the verifier failed: KeyError: 'target'"),
        (ValueError("no number"), "p1: the verifier failed: ValueError: no number"),
    ],
)
def test_a_verifier_that_raises_stops_nothing_else(
    folders: Path, error: Exception, message: str
) -> None:
    class Broken(tiny_search.ToyVerifier):
        def check(self, problem: Problem, steps: Any) -> Any:
            if problem.id == "p1":
                raise error
            return super().check(problem, steps)

    model = tiny_search.policy(folders, fresh=True)
    search = engine(folders, "mcts", model=model, verifier=Broken(right=""))
    found = by_id(search, PROBLEMS[:4])
    assert [name for name, r in found.items() if r.status == "failed"] == ["p1"]
    assert found["p1"].error == message
    assert_all_free(model)


@pytest.mark.parametrize(
    "facts",
    [
        {"numbers": "abc", "target": 24},
        {"numbers": [1, 2], "target": "24"},
        {"numbers": [1, 2], "target": 3, "steps": 5},
    ],
)
def test_facts_that_state_no_puzzle_stop_nothing_else(folders: Path, facts: dict[str, Any]) -> None:
    search = engine(folders, "mcts", verifier=ArithmeticVerifier(), reward=None)
    found = by_id(search, [Problem("a\n", id="odd", facts=facts), PROBLEMS[0]])
    assert [name for name, r in found.items() if r.status == "failed"] == ["odd"]
    assert (found["odd"].error or "").startswith("odd: ")


def test_a_lone_surrogate_stops_nothing_else(folders: Path) -> None:
    found = by_id(engine(folders, "greedy"), [Problem("a\ud83d", id="half"), PROBLEMS[0]])
    assert [name for name, r in found.items() if r.status == "failed"] == ["half"]
    assert "surrogates not allowed" in (found["half"].error or "")


def test_a_prompt_longer_than_the_context(folders: Path) -> None:
    with pytest.raises(TreewardError, match=r"the prompt has 302 tokens and .* takes 256"):
        engine(folders, "greedy").solve("a" * 300 + "\n")


def test_solve_raises_the_class_of_what_went_wrong(folders: Path) -> None:
    with pytest.raises(BadProblem):
        engine(folders, "greedy").solve("a" * 300 + "\n")
    with pytest.raises(BudgetTooSmall):
        engine(folders, "greedy", budget=Budget(policy_tokens=1)).solve(PROBLEMS[0])

    class OfSomebody(ModelRefused):
        def __init__(self, code: int, reason: str) -> None:
            super().__init__(f"{reason} ({code})")

    class Broken(tiny_search.ToyVerifier):
        def check(self, problem: Any, steps: Any) -> Any:
            raise OfSomebody(7, "no verdict today")

    search = engine(folders, "mcts", verifier=Broken(right=""))
    with pytest.raises(ModelRefused, match=r"no verdict today \(7\)") as caught:
        search.solve(PROBLEMS[0])
    assert caught.type is ModelRefused


@pytest.mark.parametrize("prompt", ["", "x"])
def test_a_prompt_that_cannot_be_read(tmp_path: Path, folders: Path, prompt: str) -> None:
    import tiny_models

    model = tiny_models.policy(tiny_models.made(folders, bos=False))
    with pytest.raises(TreewardError, match=r"no tokens|cannot read"):
        engine(tmp_path, "greedy", model=model, reward=None).solve(Problem(prompt))


def test_a_failure_while_a_batch_is_filled_is_not_hidden(folders: Path) -> None:
    class Draws:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def collect(self, *arguments: Any) -> Any:
            self.inner.collect(*arguments)
            raise IndexError("row 9 of 8")

    model = tiny_search.policy(folders, fresh=True)
    model._draws = Draws(model._draws)
    with pytest.raises(IndexError, match="row 9 of 8"):
        by_id(engine(folders, "mcts", model=model), PROBLEMS[:3])
    assert_all_free(model)


def test_an_aggregator_that_fails_fails_its_problem(folders: Path) -> None:
    def below_zero(request: RewardRequest, result: RewardResult) -> RewardResult:
        return RewardResult(result.state, -0.5 if request.tree == marked else 0.5)

    scorer = Scorer(tiny_search.reward(folders, fresh=True), below_zero)
    marked = 1
    found = by_id(engine(folders, "beam", reward=scorer, aggregate=product), PROBLEMS[:4])
    failed = [result for result in found.values() if result.status == "failed"]
    assert len(failed) == 1
    assert f"{failed[0].problem.id}: the aggregator failed: " in (failed[0].error or "")
    assert "needs scores of at least 0, got -0.5" in (failed[0].error or "")
    assert_all_free(tiny_search.policy(folders), scorer.inner)
