"""Where native decoder layers stay away, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from native_layers import (
    KNOWN,
    Step,
    layer_of,
    llama_layer,
    logits,
    packed_runner,
)
from test_runner_logits import runner_of

from search import _native
from search.backends import decoder_layers
from search.backends.attention import PagedPool
from search.backends.decoder_layers import FAMILY, use_native_layers
from search.backends.packed_linear import pack_linear_layers, packed_weights
from search.backends.paged_runner import language_head
from search.backends.transformers_model import TransformersLanguageModel
from search.errors import ModelRefused

LEVELS = _native.attention.simd_levels()
pytestmark = pytest.mark.skipif(
    "avx512bf16" not in LEVELS, reason="this processor has no products of bfloat16 pairs"
)


@pytest.fixture
def known(folders: Path) -> tuple[torch.nn.Module, Any]:
    return llama_layer(folders)


@pytest.fixture
def other_level() -> Iterator[None]:
    """An instruction set without bfloat16 products."""
    before = _native.attention.simd_level()
    _native.attention.set_simd_level("scalar")
    yield
    _native.attention.set_simd_level(before)


@pytest.mark.parametrize("kind", sorted(set(tiny_models.ARCHITECTURES) - set(KNOWN)))
def test_other_architectures_keep_their_layers(folders: Path, kind: str) -> None:
    runner = packed_runner(tiny_models.made(folders, kind=kind))
    assert use_native_layers(runner.model, language_head) == 0


def test_other_layers_of_known_architectures_stay(folders: Path) -> None:
    gelu = packed_runner(tiny_models.made(folders, kind="llama", hidden_act="gelu"))
    assert use_native_layers(gelu.model, language_head) == 0
    float32 = runner_of(tiny_models.made(folders, kind="llama"))
    pack_linear_layers(float32.model)
    assert use_native_layers(float32.model, language_head) == 0


def test_a_class_of_the_same_name_from_elsewhere_stays(folders: Path) -> None:
    runner = packed_runner(tiny_models.made(folders, kind="llama"))
    for layer in runner.model.model.layers:  # type: ignore[union-attr]
        kind = type(layer)
        assert kind.__name__ in FAMILY
        layer.__class__ = type(kind.__name__, (kind,), {"__module__": "transformers_modules.own"})
    assert use_native_layers(runner.model, language_head) == 0


def test_layers_that_turn_out_to_be_others_stay(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.llama.modeling_llama import LlamaMLP

    monkeypatch.setattr(LlamaMLP, "forward", lambda self, x: self.down_proj(self.up_proj(x)))
    runner = packed_runner(tiny_models.made(folders, kind="llama"))
    expected = logits(runner, 4)
    assert use_native_layers(runner.model, language_head) == 0
    assert torch.equal(logits(runner, 4), expected)


def test_layers_that_refuse_their_rows_stay(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> torch.Tensor:
        raise ModelRefused("rows of another size")

    monkeypatch.setattr(decoder_layers, "_run", refuse)
    runner = packed_runner(tiny_models.made(folders, kind="llama"))
    assert use_native_layers(runner.model, language_head) == 0
    assert "forward" not in vars(runner.model.model.layers[0])  # type: ignore[union-attr]


def changed(layer: Any, how: str) -> None:
    """Something that the native layer does not do."""
    if how == "epsilon":
        layer.post_attention_layernorm.variance_epsilon *= 2
    elif how == "activation":
        layer.mlp.act_fn = torch.nn.Hardswish()
    elif how == "hook":
        layer.self_attn.register_forward_hook(lambda *_: None)
    else:
        layer.forward = layer.forward


@pytest.mark.parametrize("how", ["epsilon", "activation", "hook", "forward"])
def test_layers_that_were_changed_stay(folders: Path, how: str) -> None:
    runner = packed_runner(tiny_models.made(folders, kind="qwen3"))
    layers = runner.model.model.layers  # type: ignore[union-attr]
    changed(layers[0], how)
    assert use_native_layers(runner.model, language_head) == len(layers) - 1


@pytest.mark.usefixtures("other_level")
def test_other_instruction_sets_keep_their_layers(folders: Path) -> None:
    runner = packed_runner(tiny_models.made(folders, kind="llama"))
    assert use_native_layers(runner.model, language_head) == 0


def test_the_instruction_set_may_not_change_under_them(
    known: tuple[torch.nn.Module, Any], other_level: None
) -> None:
    with pytest.raises(ValueError, match="lacks bf16 products"):
        Step(3).run(known[1], torch.zeros(1, 3, 32).bfloat16())


def test_without_a_plan_the_model_is_refused(folders: Path) -> None:
    model = TransformersLanguageModel(
        str(tiny_models.made(folders, kind="llama")), "bfloat16", pool_tokens=64
    ).runner.model
    with pytest.raises(ModelRefused, match="without a plan"):
        model(input_ids=torch.tensor([[3, 4]]))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"attention_mask": torch.ones(1, 1, 2, 2)}, "no attention mask"),
        ({"past_key_values": object()}, "give it no cache"),
        ({"output_attentions": True}, "does not return attention weights"),
        ({"s_aux": torch.ones(4)}, "no 's_aux'"),
    ],
)
def test_keywords_that_would_not_be_heard_are_refused(
    known: tuple[torch.nn.Module, Any], keywords: dict[str, Any], message: str
) -> None:
    ones, hidden = torch.ones(1, 2, 8).bfloat16(), torch.zeros(1, 2, 32).bfloat16()
    with pytest.raises(ModelRefused, match=message):
        known[1](hidden, position_embeddings=(ones, ones), treeward_step=Step(2).plan, **keywords)


def test_training_is_refused(known: tuple[torch.nn.Module, Any]) -> None:
    known[0].train()
    with pytest.raises(ModelRefused, match="eval mode"):
        Step(3).run(known[1], torch.zeros(1, 3, 32).bfloat16())


@pytest.mark.parametrize("shape", [(1, 4, 32), (1, 3, 30), (2, 3, 32)])
def test_rows_that_do_not_fit_are_refused(
    known: tuple[torch.nn.Module, Any], shape: tuple[int, ...]
) -> None:
    with pytest.raises(ModelRefused, match="3 rows of 32 bfloat16 numbers was given"):
        Step(3).run(known[1], torch.zeros(shape).bfloat16())
    with pytest.raises(ModelRefused, match=r"of torch\.float32"):
        Step(3).run(known[1], torch.zeros(1, 3, 32))


def test_sizes_that_do_not_fit_are_named(folders: Path) -> None:
    layer, _, size = layer_of(tiny_models.made(folders, kind="llama"))
    attention, mlp = layer.self_attn, layer.mlp
    modules: Any = [
        *(attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj),  # type: ignore[union-attr]
        *(mlp.gate_proj, mlp.up_proj, mlp.down_proj),  # type: ignore[union-attr]
    ]
    products = [packed_weights(module) for module in modules]
    norm, none = np.ones(size, np.float32), np.empty(0, np.float32)

    def make(products: list[Any] = products, head_dim: int = 8, **norms: Any) -> Any:
        given = {
            "input_norm": norm,
            "attention_norm": norm,
            "query_norm": none,
            "key_norm": none,
            **norms,
        }
        return _native.decoder.DecoderLayer(
            products=products, epsilon=1e-6, head_dim=head_dim, scale=1.0, **given
        )

    made = make()
    assert (made.hidden, made.kv_heads, made.head_dim) == (32, 2, 8)
    for wrong, message in [
        ({"products": products[:6]}, "products: must be query, key"),
        ({"products": [*products[:6], products[0]]}, "down: 32 is not the outputs of the gate, 48"),
        ({"head_dim": 7}, "head_dim: 7 is not even"),
        ({"head_dim": 12}, "query: 8 is not the rest of whole heads, 0"),
        ({"input_norm": norm[1:]}, "norm: 31 is not the hidden size, 32"),
        ({"query_norm": norm}, "norm: 32 is not the head_dim, 8"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**wrong)

    step, hidden, out = Step(3).plan, torch.zeros(1, 3, 32).bfloat16(), torch.zeros(1, 3, 32)
    addresses = [hidden.data_ptr()] * 3 + [out.data_ptr()]

    def run_layer(kept: Any, asked: Any = None, addresses: list[int] = addresses) -> None:
        _native.decoder.run_layers([(made, kept)], step.plan, *addresses, asked)

    pool = step.pool
    wider, longer = (
        layer_of(tiny_models.made(folders, kind="llama", **{name: 2 * getattr(made, attribute)}))
        for name, attribute in (("hidden_size", "hidden"), ("head_dim", "head_dim"))
    )
    kept = pool.layer(0, 2, 8)
    for layers, message in [
        ([], "layers: there is none"),
        ([(made, None)], "layers: one is None"),
        ([(made, kept), (wider[1], kept)], "layers: 64 is not the hidden size of the first, 32"),
        ([(made, kept), (longer[1], kept)], "layers: 16 is not the head_dim of the first, 8"),
    ]:
        with pytest.raises(ValueError, match=message):
            _native.decoder.run_layers(layers, step.plan, *addresses)
    with pytest.raises(ValueError, match="kept: 4 is not the head_dim, 8"):
        run_layer(pool.layer(1, 2, 4))
    with pytest.raises(ValueError, match="kept: 8 is not the size of the keys, 16"):
        run_layer(pool.layer(2, 1, 8))
    with pytest.raises(ValueError, match="kept: is not bfloat16"):
        run_layer(PagedPool(8, 16, torch.float32).layer(0, 2, 8))
    for wrong_addresses, message in [
        ([0, *addresses[1:]], "rows: an address is null"),
        ([*addresses[:3], 0], "rows: an address is null"),
        ([addresses[3]] * 4, "out: must not be hidden"),
    ]:
        with pytest.raises(ValueError, match=message):
            run_layer(pool.layer(0, 2, 8), addresses=wrong_addresses)
    one = step.plan.of_rows(np.array([1], np.int32))
    for rows, message in [
        (np.array([1, 2], np.int32), "asked: 2 is not the rows of its plan, 1"),
        (np.array([3], np.int32), "asked: must be ascending rows of the step"),
        (np.array([-1], np.int32), "asked: must be ascending rows of the step"),
    ]:
        with pytest.raises(ValueError, match=message):
            run_layer(kept, (one, rows))
