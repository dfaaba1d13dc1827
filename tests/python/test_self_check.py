"""The check at load time: what may run over shared pages, and what is refused by its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MixtralConfig

from search.backends import attention, self_check
from search.backends.loading import load_model
from search.backends.paged_runner import language_head
from search.backends.transformers_model import TransformersLanguageModel, logits_of
from search.errors import ModelRefused


def refusal(folder: Path, dtype: str = "float32") -> str:
    with pytest.raises(ModelRefused) as caught:
        TransformersLanguageModel(str(folder), dtype=dtype)
    return str(caught.value)


def test_the_self_check_finds_attention_that_ignores_the_plan(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_models.made(folders, kind="llama")

    def blind(module: Any, query: Any, key: Any, value: Any, mask: Any, **others: Any) -> Any:
        groups = query.shape[1] // key.shape[1]
        key, value = (t.repeat_interleave(groups, 1) for t in (key, value))
        out = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return out.transpose(1, 2), None

    monkeypatch.setattr(attention, "tree_attention", blind)
    try:
        text = refusal(folder)
    finally:
        monkeypatch.undo()
        attention.register()
    assert "'llama' cannot run here: its attention is not the one" in text


def test_the_self_check_passes_every_supported_architecture(folders: Path) -> None:
    for kind in tiny_models.ARCHITECTURES:
        folder = str(tiny_models.made(folders, kind=kind))
        for dtype in (torch.float32, torch.bfloat16):
            model = load_model(folder, AutoModelForCausalLM, dtype)
            difference = self_check.check_tree_attention(model, language_head, folder)
            assert difference < self_check.TOLERANCE[dtype] / 2
            assert model.config._attn_implementation == attention.NAME


BLOOM = {"hidden_size": 32, "n_head": 4, "n_layer": 2, "initializer_range": 0.02}
# Without is_decoder, as encoders are saved.
ROBERTA = {**tiny_models.ONE_KV, "type_vocab_size": 1}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_attention_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    """In bfloat16, too, where the few tokens of a branch change little in a fresh model."""
    monkeypatch.setitem(tiny_models.ARCHITECTURES, "bloom", BLOOM)
    text = refusal(tiny_models.make(tmp_path / "model", kind="bloom"), dtype)
    assert "model type 'bloom' cannot run here: its attention is not the one" in text


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_tokens_that_see_later_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    monkeypatch.setitem(tiny_models.ARCHITECTURES, "roberta", ROBERTA)
    folder = tiny_models.make(tmp_path / "model", kind="roberta", pad_token_id=0)
    text = refusal(folder, dtype)
    assert "model type 'roberta' cannot run here: its tokens see those after them" in text


def test_branches_that_know_nothing_of_their_beginning(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys go to the pages, and attention does not look there."""
    whole = attention.tree_attention

    def forgetful(module: Any, query: Any, key: Any, value: Any, mask: Any, **others: Any) -> Any:
        whole(module, query, key, value, mask, **others)
        groups = query.shape[1] // key.shape[1]
        key, value = (t.repeat_interleave(groups, 1) for t in (key, value))
        out = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return out.transpose(1, 2), None

    folder = tiny_models.made(folders, kind="gpt2", initializer_range=0.02)
    monkeypatch.setattr(attention, "tree_attention", forgetful)
    try:
        assert "'gpt2' does not give the same numbers" in refusal(folder)
    finally:
        monkeypatch.undo()
        attention.register()


def test_outputs_of_another_shape_differ() -> None:
    found = self_check.relative_difference(torch.zeros(2, 3), torch.zeros(66, 3))
    assert found == float("inf")


def test_an_expert_that_rounding_changes_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """With other tokens it is another; a fault is there with all of them."""

    class Model(torch.nn.Module):
        def __init__(self, config: Any) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.config = config

        def set_attn_implementation(self, name: str) -> None: ...

    seen: list[int] = []

    def paged(model: Any, head: Any, seed: int = 0) -> torch.Tensor:
        seen.append(seed)
        return torch.full((3, 2), 1.0 if seed == 2 else 2.0)

    monkeypatch.setattr(self_check, "_tokens", lambda model, seed=0: ([1], [[2], [3]]))
    monkeypatch.setattr(self_check, "paged_outputs", paged)
    monkeypatch.setattr(self_check, "_plain", lambda *_: torch.ones(1, 2))
    assert self_check.check_tree_attention(Model(MixtralConfig()), language_head, "mixed") == 0
    assert seen == [0, 1, 2]
    with pytest.raises(ModelRefused, match="does not give the same numbers"):
        self_check.check_tree_attention(Model(LlamaConfig()), language_head, "whole")
    assert seen == [0, 1, 2, 0]


MIXTURE = {**tiny_models.SMALL, "num_experts_per_tok": 2}
# Windows much longer than the branches of the self-check.
MASKED: dict[str, dict[str, Any]] = {
    "phimoe": {**MIXTURE, "num_local_experts": 4, "sliding_window": 64},
    "qwen2_moe": {
        **MIXTURE,
        "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 32,
        "num_experts": 4,
        "use_sliding_window": True,
        "sliding_window": 64,
        "max_window_layers": 2,
    },
}


@pytest.mark.parametrize("kind", sorted(MASKED))
def test_a_window_that_reaches_attention_only_as_a_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setitem(tiny_models.ARCHITECTURES, kind, MASKED[kind])
    text = refusal(tiny_models.make(tmp_path / "windowed", kind=kind))
    assert f"'{kind}' cannot run here: its window of 64 tokens" in text

    off = {"use_sliding_window": False} if kind == "qwen2_moe" else {"sliding_window": None}
    TransformersLanguageModel(str(tiny_models.make(tmp_path / "whole", kind=kind, **off)))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("mistral", {"sliding_window": 64}),
        ("gemma2", {"sliding_window": 64}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 1}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 2}),
        ("llama", {"sliding_window": 64}),  # a field that Llama does not read
    ],
)
def test_windows_that_are_heard_or_not_in_force(
    folders: Path, kind: str, settings: dict[str, Any]
) -> None:
    folder = tiny_models.made(folders, kind=kind, **settings)
    model = TransformersLanguageModel(str(folder))
    assert model.runner.model.config.sliding_window == 64
    assert model.runner.model.config._attn_implementation == attention.NAME

    tokens = [1] + [3 + n % 8 for n in range(99)]
    expected = tiny_models.plain_logits(folder, [tokens])[0]
    torch.testing.assert_close(logits_of(model, tokens), expected, rtol=1e-4, atol=1e-3)
