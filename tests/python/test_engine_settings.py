"""Settings out of range, and unknown ones, are told at once and by name."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_search
from tiny_search import PROBLEMS, Scorer, assert_all_free, engine
from tokenizers import normalizers

from reward_bridge.aggregation import mean, product
from search import Budget, Sampling, Search, StepRules
from search.errors import ModelRefused, TreewardError


@pytest.mark.parametrize(
    ("algorithm", "options", "reason"),
    [
        ("dijkstra", {}, "dijkstra"),
        ("mcts", {"wdith": 3}, "wdith"),
        ("beam", {"width": 0}, "width"),
        ("beam", {"width": "many"}, "width"),
        ("mcts", {"backup": "median"}, "median"),
    ],
)
def test_wrong_algorithms_and_options_are_told_at_once(
    folders: Path, algorithm: str, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        Search(tiny_search.policy(folders), algorithm=algorithm, options=options)


HUGE = 99999999999999999999


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        (StepRules, "max_step_tokens", 0),
        (StepRules, "max_step_tokens", -3),
        (StepRules, "max_step_tokens", HUGE),
        (StepRules, "max_path_tokens", 0),
        (StepRules, "max_path_tokens", HUGE),
        (StepRules, "delimiters", ("",)),
        (StepRules, "delimiters", ((),)),
        (StepRules, "delimiters", ((5, HUGE),)),
        (Sampling, "temperature", -1.0),
        (Sampling, "temperature", math.nan),
        (Sampling, "temperature", 1e300),
        (Sampling, "temperature", "hot"),
        (Sampling, "top_k", -1),
        (Sampling, "top_k", HUGE),
        (Sampling, "top_k", 2.5),
        (Sampling, "top_p", 0.0),
        (Sampling, "min_p", 1.0),
        (Budget, "policy_tokens", HUGE),
        (Budget, "reward_tokens", HUGE),
        (Budget, "nodes", HUGE),
        (Budget, "policy_tokens", 60.5),
        (Budget, "policy_tokens", "5"),
        (Budget, "seconds", "5"),
        (StepRules, "regex", 5),
        (StepRules, "delimiters", (5,)),
    ],
)
def test_values_out_of_range_are_named_where_they_come_in(part: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name.removesuffix("s")):
        part(**{name: value})


def test_what_no_tree_can_be_opened_with_is_told_at_once(folders: Path, tmp_path: Path) -> None:
    model = tiny_search.policy(folders, fresh=True)
    with pytest.raises(ValueError, match="top_p"):
        engine(folders, "greedy", model=model, sampling=Sampling(top_p=1e-60))
    model.tokenizer.backend_tokenizer.normalizer = normalizers.Strip()
    with pytest.raises(ModelRefused, match="the delimiter ' ' has no tokens"):
        engine(folders, "greedy", model=model, rules=StepRules(delimiters=(" ",)))
    assert_all_free(model)


@pytest.mark.parametrize(
    ("algorithm", "name", "wanted"),
    [("mcts", "widen_batch", "integer from 1 to 1048576"), ("guided", "weight", "finite number")],
)
@pytest.mark.parametrize("value", [HUGE, -HUGE, 10**400], ids=["huge", "low", "no_float"])
def test_a_huge_option_is_told_its_range(
    folders: Path, algorithm: str, name: str, wanted: str, value: int
) -> None:
    with pytest.raises(ValueError, match=f"option '{name}' of {algorithm} must be an? {wanted}"):
        engine(folders, algorithm, options={name: value})


@pytest.mark.parametrize("algorithm", ["best_of_n", "beam", "best_first", "mcts"])
def test_a_huge_budget_sets_no_option_out_of_range(folders: Path, algorithm: str) -> None:
    engine(folders, algorithm, options={}, budget=Budget(policy_tokens=2**60))


def test_an_aggregator_that_cannot_take_the_scores_is_refused(folders: Path) -> None:
    scorer = Scorer(tiny_search.reward(folders), None)
    scorer.spec = replace(scorer.spec, range=(-math.inf, math.inf))
    with pytest.raises(ValueError, match=r"scores from -inf to inf.* at least 0, got -1"):
        engine(folders, "beam", reward=scorer, aggregate=product)
    engine(folders, "beam", reward=scorer, aggregate=mean)


@pytest.mark.parametrize(
    "settings",
    [
        {"rules": StepRules(max_path_tokens=2)},
        {"max_live": 0},
    ],
)
def test_settings_out_of_range_are_errors(folders: Path, settings: dict[str, Any]) -> None:
    model = tiny_search.policy(folders, fresh=True)
    search_settings = {"model": model, "reward": None, "budget": Budget(policy_tokens=60)}
    with pytest.raises((TreewardError, ValueError)):
        engine(folders, "best_of_n", **{**search_settings, **settings}).solve(PROBLEMS[3])
    assert_all_free(model)
