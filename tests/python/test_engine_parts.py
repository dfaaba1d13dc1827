"""Rewards, aggregators and verifiers of somebody's own that give or raise odd things."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import tiny_search
import torch
from tiny_search import OPTIONS, PROBLEMS, Scorer, assert_all_free, by_id, engine
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from reward_bridge.aggregation import geometric_mean, minimum, product
from search import Budget, Search, SearchResult, StepRules
from search.backends.transformers_model import TransformersLanguageModel
from search.errors import ModelRefused
from search.interfaces import RewardRequest, RewardResult, Sampling


def scorer(folders: Path, value: Any, only: int = 1) -> Scorer:
    """A reward model that gives one problem ``value``, and .5 to the others."""

    def spoil(request: RewardRequest, result: RewardResult) -> RewardResult:
        return RewardResult(result.state, value if request.tree == only else 0.5)

    return Scorer(tiny_search.reward(folders, fresh=True), spoil)


def one_failed(found: dict[str, SearchResult]) -> SearchResult:
    failed = [result for result in found.values() if result.status == "failed"]
    assert len(failed) == 1
    assert len(found) == 4
    assert failed[0].error is not None
    assert failed[0].error.startswith(f"{failed[0].problem.id}: ")
    return failed[0]


@pytest.mark.parametrize("aggregate", [None, product, geometric_mean, minimum])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_not_finite(folders: Path, aggregate: Any, value: float) -> None:
    reward = scorer(folders, value)
    settings = {"reward": reward, "aggregate": aggregate}
    failed = one_failed(by_id(engine(folders, "beam", **settings), PROBLEMS[:4]))
    assert f"the reward model gave {value}" in (failed.error or "")
    assert failed.error_type.__name__ == "NotFinite"
    assert_all_free(tiny_search.policy(folders), reward.inner)


@pytest.mark.parametrize("value", ["0.5", b"1", [0.5], 1j, None, object()])
def test_a_score_that_is_no_number(folders: Path, value: Any) -> None:
    reward = scorer(folders, value)
    failed = one_failed(by_id(engine(folders, "beam", reward=reward), PROBLEMS[:4]))
    assert f"the reward model gave a {type(value).__name__}" in (failed.error or "")


@pytest.mark.parametrize("value", [np.float32(0.5), torch.tensor(0.5), Fraction(1, 2), 1])
def test_numbers_of_other_kinds_are_numbers(folders: Path, value: Any) -> None:
    found = by_id(engine(folders, "beam", reward=scorer(folders, value)), PROBLEMS[:4])
    assert all(result.status != "failed" for result in found.values())
    assert {type(step.score) for result in found.values() for step in result.steps} == {float}


@pytest.mark.parametrize(
    ("value", "said"),
    [("high", "the aggregator gave a str"), (math.nan, "the aggregator gave nan")],
)
def test_a_value_that_is_no_number(folders: Path, value: Any, said: str) -> None:
    def odd(scores: Any) -> Any:
        return value if scores[0] == 0.25 else 0.5

    settings = {"reward": scorer(folders, 0.25), "aggregate": odd}
    assert said in (
        one_failed(by_id(engine(folders, "beam", **settings), PROBLEMS[:4])).error or ""
    )


@pytest.mark.parametrize("method", ["check", "allows", "canonical_key"])
def test_a_verifier_that_stops_an_iteration(folders: Path, method: str) -> None:
    """A slip as good as any: it ends no generator of ours."""

    class Slipping(tiny_search.ToyVerifier):
        pass

    def slip(self: Any, problem: Any, steps: Any) -> Any:
        if problem.id == "p1":
            next(step for step in () if step)
        return getattr(tiny_search.ToyVerifier, method)(self, problem, steps)

    setattr(Slipping, method, slip)
    settings = {"verifier": Slipping(right=""), "judge": method != "canonical_key"}
    found = by_id(engine(folders, "mcts", **settings), PROBLEMS[:4])
    assert "the verifier failed: StopIteration" in (one_failed(found).error or "")


def test_a_clock_that_fails(folders: Path) -> None:
    class Timeless(Scorer):
        calls = 0

        def take_seconds(self) -> float:
            Timeless.calls += 1
            if Timeless.calls == 3:
                raise OSError("no clock")
            return 0.0

    reward = Timeless(tiny_search.reward(folders, fresh=True), lambda request, result: result)
    found = by_id(engine(folders, "beam", reward=reward, max_live=1), PROBLEMS[:4])
    assert "the reward model failed: OSError: no clock" in (one_failed(found).error or "")


@pytest.mark.parametrize("algorithm", ["beam", "mcts", "best_first"])
@pytest.mark.parametrize("rewarded", [False, True])
def test_a_budget_of_a_step_or_two_gives_them(
    folders: Path, algorithm: str, rewarded: bool
) -> None:
    """What is drawn when the budget ends is given, although its task wanted more."""
    settings: dict[str, Any] = {} if rewarded else {"reward": None}
    for tokens in (16, 24, 40):
        budget = Budget(policy_tokens=tokens)
        options = {"width": 4, "branching": 4} if algorithm == "beam" else OPTIONS[algorithm]
        search = engine(folders, algorithm, budget=budget, options=options, **settings)
        for result in by_id(search, PROBLEMS[:4]).values():
            assert (result.status == "failed") == (result.ledger.segments == 0), result.error
            assert result.ledger.policy.charged <= tokens


@pytest.mark.parametrize("algorithm", ["guided", "beam", "mcts"])
def test_segments_are_those_that_were_drawn(folders: Path, algorithm: str) -> None:
    for result in by_id(engine(folders, algorithm), PROBLEMS[:4]).values():
        assert result.ledger.segments == int(result.tree["draws"][1:].sum())


def test_candidates_of_guided_are_the_same_however_tokens_are_drawn(folders: Path) -> None:
    plain = by_id(engine(folders, "guided"), PROBLEMS[:4])
    for sampling in Sampling(temperature=0), Sampling(top_k=1), Sampling(top_p=0.01):
        found = by_id(engine(folders, "guided", sampling=sampling), PROBLEMS[:4])
        for name, result in found.items():
            assert tiny_search.shape(result) == tiny_search.shape(plain[name])
    assert max(int(np.bincount(result.tree["parent"][1:]).max()) for result in plain.values()) == 8


def test_beam_goes_on_after_a_verified_answer_if_asked_to(folders: Path) -> None:
    always = tiny_search.ToyVerifier()  # any letter is right
    nodes = {}
    for stop in (True, False):
        options = {"width": 2, "branching": 2, "rounds": 3, "stop_when_verified": stop}
        search = engine(
            folders, "beam", verifier=always, options=options, budget=Budget(policy_tokens=3000)
        )
        nodes[stop] = [len(r.tree["parent"]) for r in by_id(search, PROBLEMS[:4]).values()]
    assert sum(nodes[False]) > sum(nodes[True])


def test_steps_keep_the_space_that_a_tokenizer_leaves_out_at_a_start(tmp_path: Path) -> None:
    words = ["<eos>", "▁so", "▁it", "is", ".", "▁is", "▁4"]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<eos>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"▁?[a-z0-9]+|\."), "isolated")
    inner.decoder = decoders.Metaspace()
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    tokens = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>", unk_token="<eos>")
    settings = {**tiny_models.SMALL, "vocab_size": len(words), "eos_token_id": 0}
    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **settings)).save_pretrained(
        tmp_path
    )
    tokens.save_pretrained(tmp_path)
    model = TransformersLanguageModel(str(tmp_path))
    several = 0
    for cut in (3, 24):
        rules = StepRules(delimiters=(".",), max_step_tokens=cut)
        search = Search(
            model, algorithm="best_of_n", rules=rules, budget=Budget(policy_tokens=150), seed=2
        )
        for result in search.solve_many([tiny_search.Problem("▁so", id=str(i)) for i in range(4)]):
            assert result.status != "failed", result.error
            assert "".join(step.text for step in result.steps) == result.text
            several += any(step.text.startswith(" ") for step in result.steps[1:])
    assert several


@pytest.mark.parametrize("settings", [{"max_live": 0}, {"max_live": "x"}, {"max_live": 2.0}])
def test_problems_in_flight_are_checked_at_once(folders: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="max_live"):
        engine(folders, "beam", **settings)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "phi"])
@pytest.mark.parametrize("layers", [1, 0, -1])
def test_a_model_is_not_cut_in_silence(tmp_path: Path, kind: str, layers: int) -> None:
    folder = tiny_models.make(tmp_path / "model", kind=kind)
    name = "n_layer" if kind == "gpt2" else "num_hidden_layers"
    tiny_models.edit_config(folder, **{name: layers})
    if kind != "gpt2":
        tiny_models.edit_config(folder, layer_types=None)
    with pytest.raises(ModelRefused, match=r"model: (config.json has|.*layer)"):
        TransformersLanguageModel(str(folder))


@pytest.mark.parametrize("wanted", [2**31 - 1, 10**8])
def test_more_in_flight_than_a_budget_can_pay(folders: Path, wanted: int) -> None:
    options = {"n": 0, "max_in_flight": wanted}
    search = engine(folders, "best_of_n", options=options, budget=Budget(policy_tokens=60))
    assert search.solve(PROBLEMS[3]).ledger.policy.charged <= 60


def test_more_candidates_than_a_vocabulary_are_refused(folders: Path) -> None:
    with pytest.raises(ValueError, match="top_k"):
        engine(folders, "guided", options={"top_k": 2**31 - 1})
