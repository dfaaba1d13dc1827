"""Models whose rotations change with the longest path of a pass end where they would change."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_models
import tiny_search
import torch
from transformers import AutoConfig

from reward_bridge.causal import CausalRewardModel
from search import Budget, Problem, Search, StepRules
from search.backends.supported import longest_path
from search.backends.transformers_model import logits_of

ORIGINAL = 64
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "original_max_position_embeddings": ORIGINAL,
    "factor": 4.0,
}
ROPE: dict[str, Any] = {"rope_parameters": LONGROPE, "initializer_range": 0.3}


def test_a_path_ends_where_its_rotations_would_change(folders: Path) -> None:
    folder = tiny_models.made(folders, **ROPE)
    model = tiny_models.policy(folder)
    assert model.max_length == ORIGINAL

    tokens = [1] + [3 + n % 8 for n in range(ORIGINAL - 1)]
    expected = tiny_models.plain_logits(folder, [tokens])[0]
    torch.testing.assert_close(logits_of(model, tokens), expected, rtol=1e-4, atol=1e-4)


def test_a_tree_does_not_depend_on_longer_ones(folders: Path) -> None:
    search = Search(
        tiny_models.policy(tiny_models.made(folders, **ROPE)),
        algorithm="best_of_n",
        options={"n": 6},
        budget=Budget(policy_tokens=300),
        rules=StepRules(max_step_tokens=6),
    )
    short, long = Problem("abc\n", id="short"), Problem("abcdefgh" * 7 + "\n", id="long")
    beyond = Problem("abcdefgh" * 12 + "\n", id="beyond")
    alone = tiny_search.by_id(search, [short])["short"]
    together = tiny_search.by_id(search, [short, long, beyond])
    assert tiny_search.shape(together["short"]) == tiny_search.shape(alone)
    assert together["long"].status != "failed"
    assert f"takes {ORIGINAL}, its answer included" in (together["beyond"].error or "")


def test_a_reward_model_ends_there_too(folders: Path) -> None:
    folder = tiny_models.made(folders, head="TokenClassification", num_labels=2, **ROPE)
    assert CausalRewardModel(str(folder)).max_length == ORIGINAL


def settings(**given: Any) -> Any:
    config = SimpleNamespace(max_position_embeddings=256, **given)
    config.get_text_config = lambda: config
    return config


@pytest.mark.parametrize(
    "config",
    [
        settings(rope_parameters=LONGROPE),
        settings(rope_scaling={"type": "longrope"}, original_max_position_embeddings=ORIGINAL),
        settings(rope_parameters={"sliding_attention": {"rope_type": "default"}, "full": LONGROPE}),
        AutoConfig.for_model(
            "phi3",
            **{**tiny_models.SMALL, "original_max_position_embeddings": ORIGINAL},
            rope_parameters={k: v for k, v in LONGROPE.items() if k[:8] != "original"},
        ),
    ],
)
def test_where_configurations_keep_the_original_length(config: Any) -> None:
    assert longest_path(config) == ORIGINAL


@pytest.mark.parametrize("rope", [None, {"rope_type": "default"}, {"rope_type": "dynamic"}])
def test_other_rotations_end_at_the_length_of_the_model(rope: Any) -> None:
    assert longest_path(settings(rope_parameters=rope)) == 256
