"""What reads values as probabilities is not used, nor taken, where they are none."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import tiny_search
from tiny_search import Scorer, by_id, engine

from reward_bridge.aggregation import AGGREGATORS, delta
from reward_bridge.causal import CausalRewardModel
from reward_bridge.format import RewardFormat
from search.algorithms import options_for
from search.interfaces import RewardRequest, RewardResult, RewardSpec
from search.value_range import are_probabilities, value_range

UNBOUNDED = RewardSpec("raw", range=(-math.inf, math.inf))


@pytest.mark.parametrize("name", AGGREGATORS)
def test_all_aggregators_but_delta_keep_probabilities(name: str) -> None:
    values = value_range(AGGREGATORS[name], RewardSpec("probable"))
    assert values == ((-1.0, 1.0) if name == "delta" else (0.0, 1.0))
    assert are_probabilities(values) == (name != "delta")


def test_infinite_ends_are_seen_on_their_side() -> None:
    assert value_range(max, UNBOUNDED) == (-1.0, 2.0)
    assert value_range(max, replace(UNBOUNDED, range=(0.0, math.inf))) == (0.0, 2.0)
    assert value_range(max, replace(UNBOUNDED, range=(-math.inf, -5.0))) == (-5.0, -5.0)
    assert value_range(max, replace(UNBOUNDED, range=(2.5, 7.5))) == (2.5, 7.5)
    sigmoid = value_range(lambda scores: 1 / (1 + math.exp(-float(scores[-1] or 0))), UNBOUNDED)
    assert are_probabilities(sigmoid)


@pytest.mark.parametrize("value", [None, "high", math.nan])
def test_an_aggregator_of_no_numbers_is_told_when_it_aggregates(value: Any) -> None:
    assert value_range(lambda scores: value, UNBOUNDED) == (0.0, 1.0)


@pytest.mark.parametrize("algorithm", ["beam", "mcts"])
@pytest.mark.parametrize("values", [(-1.0, 1.0), (0.0, 2.0)])
def test_defaults_for_values_that_are_no_probabilities(
    algorithm: str, values: tuple[float, float]
) -> None:
    chosen = options_for(algorithm, {}, None, values, judged=False)
    assert "selection" not in chosen  # best
    assert "widen_below" not in chosen
    usual = options_for(algorithm, {}, None, (0.0, 1.0), judged=False)
    assert usual["selection"] == "posterior"
    assert ("widen_below" in usual) == (algorithm == "mcts")


BOTH, BELOW = [(-1.0, 1.0), (0.0, 2.0)], [(-1.0, 1.0)]


@pytest.mark.parametrize(
    ("algorithm", "given", "said", "ranges"),
    [
        ("beam", {"selection": "posterior"}, "selection 'posterior' reads values as prob", BOTH),
        ("mcts", {"widen_below": 0.2}, "option 'widen_below' is for values from 0 to 1", BOTH),
        ("best_of_n", {"selection": "weighted"}, "selection 'weighted' adds values up", BELOW),
        ("best_first", {}, "best_first reads values as probabilities", BOTH),
    ],
)
@pytest.mark.parametrize("judged", [False, True])
def test_asking_for_it_is_refused_by_name(
    algorithm: str,
    given: dict[str, Any],
    said: str,
    ranges: list[tuple[float, float]],
    judged: bool,
) -> None:
    for values in ranges:
        side = "below 0" if values[0] < 0 else "above 1"
        with pytest.raises(ValueError, match=f"{said}.* and with this .* they go {side}$"):
            options_for(algorithm, given, None, values, judged)
    fine: list[Any] = [None, (0.0, 1.0), *([(0.0, 9.0)] if ranges == BELOW else [])]
    for values in fine:
        assert given.items() <= options_for(algorithm, given, None, values, judged).items()


def raw(folders: Path) -> Scorer:
    """A reward whose scores are 1 to 9, and better for an end in ``b`` than for any other."""

    def spoil(request: RewardRequest, result: RewardResult) -> RewardResult:
        return RewardResult(result.state, 1.0 + 8.0 * (request.text.strip()[-1:] == "b"))

    scorer = Scorer(tiny_search.reward(folders), spoil)
    scorer.spec = replace(scorer.spec, range=(-math.inf, math.inf))
    return scorer


@pytest.mark.parametrize("algorithm", ["beam", "mcts"])
def test_a_search_selects_by_scores_beyond_1(folders: Path, algorithm: str) -> None:
    several = 0
    for result in by_id(engine(folders, algorithm, reward=raw(folders))).values():
        tree = result.tree
        ends = [row for row, answer in enumerate(tree["answer"]) if answer >= 0]
        found = {float(tree["value"][row]) for row in ends}
        assert not ends or result.score == max(found)
        several += found == {1.0, 9.0}
    assert several


def test_a_search_refuses_by_the_range_of_its_reward_and_aggregator(folders: Path) -> None:
    for settings in ({"reward": raw(folders)}, {"aggregate": delta}):
        engine(folders, "mcts", **settings)
        with pytest.raises(ValueError, match="best_first reads values as probabilities"):
            engine(folders, "best_first", **settings)
        with pytest.raises(ValueError, match=r"selection 'weighted' .* below 0"):
            engine(folders, "beam", options={"selection": "weighted"}, **settings)
    engine(folders, "best_first", aggregate=delta, reward=None)


def test_two_tokens_are_compared_whatever_the_link(folders: Path) -> None:
    layout = RewardFormat(head="two_tokens", good="a", bad="b", link="none")
    folder = tiny_models.made(folders, head="CausalLM")
    reward = CausalRewardModel(str(folder), tiny_models.tokenizer(), reward_format=layout)
    assert reward.spec.range == (0.0, 1.0)
