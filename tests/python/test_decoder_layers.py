"""Native decoder layers against those of transformers."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from native_layers import (
    KNOWN,
    Step,
    llama_layer,
    logits,
    native_forward,
    native_runner,
    packed_runner,
)
from test_runner_logits import grow, random_prompt, run, runner_of

from reward_bridge.causal import CausalRewardModel
from search import _native
from search.backends import decoder_layers
from search.backends.decoder_layers import use_native_layers
from search.backends.packed_linear import pack_linear_layers
from search.backends.paged_runner import language_head
from search.backends.transformers_model import TransformersLanguageModel

LEVELS = _native.attention.simd_levels()
pytestmark = pytest.mark.skipif(
    "avx512bf16" not in LEVELS, reason="this processor has no products of bfloat16 pairs"
)
# Odd ends everywhere: no size is whole vectors.
ODD = {"hidden_size": 52, "intermediate_size": 70, "head_dim": 10, "num_hidden_layers": 3}
# The second of two layers.
WINDOWED = {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1}
BIASED = {"attention_bias": True, "mlp_bias": True}


@pytest.fixture
def known(folders: Path) -> tuple[torch.nn.Module, Any]:
    return llama_layer(folders)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of native threads for a while."""
    before = _native.attention.num_threads()
    yield _native.attention.set_num_threads
    _native.attention.set_num_threads(before)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [(kind, changes) for kind in KNOWN for changes in ({}, ODD)]
    + [("qwen2", WINDOWED), ("qwen3", WINDOWED), ("mistral", {"sliding_window": None})],
)
def test_layers_are_those_of_transformers(
    folders: Path, kind: str, changes: dict[str, Any]
) -> None:
    model = packed_runner(tiny_models.made(folders, kind=kind, **changes)).model
    torch.manual_seed(0)
    for layer in model.model.layers:  # type: ignore[union-attr]
        native = native_forward(layer)
        hidden = torch.randn(1, 75, layer.hidden_size).bfloat16()
        steps = [Step(75, head_dim=layer.self_attn.head_dim) for _ in range(2)]
        expected, found = steps[0].run(layer, hidden), steps[1].run(native, hidden)
        # Sums are taken in another order: now and then a last bit differs.
        assert (found == expected).float().mean() > 0.999
        assert torch.allclose(found.float(), expected.float(), rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize("kind", KNOWN)
def test_models_are_those_of_transformers(folders: Path, kind: str) -> None:
    folder = tiny_models.made(folders, kind=kind)
    expected = logits(packed_runner(folder), 1)
    found = logits(native_runner(folder), 1)
    # A last bit that differs on a shared path grows from layer to layer.
    assert (found - expected).abs().max() <= expected.abs().max() * 2**-6


def test_windows_are_those_of_their_layers(folders: Path) -> None:
    model = packed_runner(tiny_models.made(folders, kind="qwen2", **WINDOWED)).model
    windows = [decoder_layers._window(layer.self_attn) for layer in model.model.layers]  # type: ignore[union-attr]
    assert windows == [0, 7]


def test_biases_are_added(folders: Path) -> None:
    folder = tiny_models.make(folders / "biased", kind="llama", **BIASED)
    runners = packed_runner(folder), native_runner(folder)
    for runner in runners:
        for layer in runner.model.model.layers:  # type: ignore[union-attr]
            assert layer.mlp.down_proj.bias.abs().min() > 0
    found, expected = (logits(runner, 2) for runner in runners)
    assert (found - expected).abs().max() <= expected.abs().max() * 2**-6


@pytest.mark.parametrize("n_layers", [1, 2, 5])
def test_a_stack_is_its_layers_one_after_the_other(
    folders: Path, n_layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_models.made(folders, kind="qwen3", num_hidden_layers=n_layers)
    before = len(decoder_layers._STACKS)
    stacked = native_runner(folder)
    assert len(decoder_layers._STACKS) == before + 1
    monkeypatch.setattr(decoder_layers, "MODELS", ())
    apart = native_runner(folder)
    assert len(decoder_layers._STACKS) == before + 1 + n_layers
    assert torch.equal(logits(stacked, 4), logits(apart, 4))


def test_a_layer_that_stays_parts_a_stack(folders: Path) -> None:
    folder = tiny_models.made(folders, kind="llama", num_hidden_layers=4)
    before = len(decoder_layers._STACKS)
    runner, seen = packed_runner(folder), []
    model: Any = runner.model.model
    model.layers[2].register_forward_hook(lambda *_: seen.append(1))
    assert use_native_layers(runner.model, language_head) == 3
    assert [len(stack) for stack in list(decoder_layers._STACKS.values())[before:]] == [2, 1]
    seen.clear()
    found, expected = logits(runner, 4), logits(native_runner(folder), 4)
    assert len(seen) == 3
    assert (found - expected).abs().max() <= expected.abs().max() * 2**-6


def test_a_model_that_does_more_between_its_layers_keeps_them_apart(folders: Path) -> None:
    runner = packed_runner(tiny_models.made(folders, kind="llama"))
    model: Any = runner.model.model
    kind = type(model)
    model.__class__ = type(kind.__name__, (kind,), {"__module__": "transformers_modules.own"})
    assert use_native_layers(runner.model, language_head) == 2
    assert [len(decoder_layers._STACKS[key]) for key in list(decoder_layers._STACKS)[-2:]] == [1, 1]


def test_layers_that_a_model_leaves_out_stay_out(folders: Path) -> None:
    runner = packed_runner(tiny_models.made(folders, kind="llama", num_hidden_layers=3))
    runner.model.config.num_hidden_layers = 2  # type: ignore[union-attr]
    expected = logits(runner, 4)
    assert use_native_layers(runner.model, language_head) == 3
    assert [len(decoder_layers._STACKS[key]) for key in list(decoder_layers._STACKS)[-2:]] == [2, 1]
    assert (logits(runner, 4) - expected).abs().max() <= expected.abs().max() * 2**-6


def test_many_rows(known: tuple[torch.nn.Module, Any]) -> None:
    hidden = torch.randn(1, 530, 32).bfloat16()
    expected, found = Step(530).run(known[0], hidden), Step(530).run(known[1], hidden)
    assert (found == expected).float().mean() > 0.99
    asked = list(range(1, 530, 2))
    assert torch.equal(Step(530, asked).run(known[1], hidden)[0, asked], found[0, asked])


@pytest.mark.parametrize("size", [1e-30, 1e-3, 1.0, 30.0, 1e4])
def test_sizes_of_all_kinds(known: tuple[torch.nn.Module, Any], size: float) -> None:
    layer, native = known
    torch.manual_seed(0)
    hidden = (torch.randn(1, 21, 32) * size).bfloat16()
    expected, found = Step(21).run(layer, hidden), Step(21).run(native, hidden)
    assert (found == expected).float().mean() > 0.99
    assert torch.allclose(found.float(), expected.float(), rtol=2**-7, atol=2**-7 * size)


def test_a_row_that_is_not_finite_spoils_only_what_sees_it(
    known: tuple[torch.nn.Module, Any],
) -> None:
    hidden = torch.randn(1, 21, 32).bfloat16()
    whole = Step(21).run(known[1], hidden)
    hidden[0, 12, 3] = torch.nan
    found = Step(21).run(known[1], hidden)
    assert torch.equal(found[0, :12], whole[0, :12])
    assert found[0, 12:].isnan().all()


@pytest.mark.parametrize("asked", [[20], [0, 7, 19], list(range(21))])
def test_rows_that_nobody_asks_for_are_zeros(
    known: tuple[torch.nn.Module, Any], asked: list[int]
) -> None:
    hidden = torch.randn(1, 21, 32).bfloat16()
    whole_step, step = Step(21), Step(21, asked)
    whole, found = whole_step.run(known[1], hidden), step.run(known[1], hidden)
    assert torch.equal(found[0, asked], whole[0, asked])
    others = [row for row in range(21) if row not in asked]
    assert not found[0, others].any()
    # Keys and values are kept of every row.
    for kept, expected in zip(step.pool._tensors[0], whole_step.pool._tensors[0]):
        assert torch.equal(kept[0], expected[0])
        assert torch.equal(kept[1, :, :5], expected[1, :, :5])


def test_results_do_not_depend_on_threads(folders: Path, threads: Callable[[int], None]) -> None:
    folder = tiny_models.made(folders, kind="qwen3", intermediate_size=4096)
    results = []
    for n in (1, 2, 5):
        threads(n)
        results.append(logits(native_runner(folder), 3))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("kind", KNOWN)
def test_a_row_has_the_same_bits_whatever_is_in_the_batch(folders: Path, kind: str) -> None:
    runner = native_runner(tiny_models.made(folders, kind=kind))
    generator = random.Random(5)
    tree = runner.spans.open_tree(random_prompt(generator, 30))
    states = grow(runner, tree, generator, 12)
    together = run(runner, states)
    for i, state in enumerate(states):
        runner.spans.evict_all()
        assert torch.equal(run(runner, [state])[0], together[i])


def test_layers_are_made_native_once(folders: Path) -> None:
    runner = native_runner(tiny_models.made(folders, kind="llama"))
    assert use_native_layers(runner.model, language_head) == 0


def test_a_model_that_goes_takes_them_along(folders: Path) -> None:
    gc.collect()
    before = len(decoder_layers._STACKS)
    runner = packed_runner(tiny_models.made(folders, kind="llama"))
    layer = runner.model.model.layers[0]  # type: ignore[union-attr]
    layer.forward = native_forward(layer)
    assert len(decoder_layers._STACKS) == before + 1
    gone = weakref.ref(layer)
    gc.disable()
    runner.model.model.layers[0] = torch.nn.Identity()  # type: ignore[union-attr,index]
    del layer
    gc.enable()
    assert gone() is None
    assert len(decoder_layers._STACKS) == before


@pytest.mark.parametrize("compiled", [False, True])
def test_only_the_last_layer_leaves_rows_out(
    folders: Path, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tiny_models.made(folders, kind="llama"))
    policy = TransformersLanguageModel(folder, "bfloat16", pool_tokens=1024, compiled=compiled)
    native, calls = _native.decoder.run_layers, []

    def run_layers(layers: Any, *given: Any) -> None:
        calls.append((len(layers), given[-1][1].tolist()))
        native(layers, *given)

    monkeypatch.setattr(_native.decoder, "run_layers", run_layers)
    root = policy.runner.spans.root(policy.runner.spans.open_tree([1, *range(3, 11)]))
    run(policy.runner, [root])
    assert calls == [(2, [8])]


@pytest.mark.parametrize("compiled", [False, True])
def test_models_are_loaded_with_them(folders: Path, compiled: bool) -> None:
    folder = str(tiny_models.made(folders, kind="qwen3"))
    policy = TransformersLanguageModel(folder, "bfloat16", pool_tokens=1024, compiled=compiled)
    layers = policy.runner.model.model.layers  # type: ignore[union-attr]
    assert all(layer.forward.__module__ == decoder_layers.__name__ for layer in layers)
    plain = runner_of(Path(folder), torch.bfloat16)
    pack_linear_layers(plain.model)
    found, expected = logits(policy.runner, 6), logits(plain, 6)
    assert (found - expected).abs().max() <= expected.abs().max() * 0.02


def test_reward_models_are_loaded_with_them(folders: Path) -> None:
    source = tiny_models.made(folders, kind="qwen2", head="TokenClassification", num_labels=2)
    tokenizer = tiny_models.tokenizer()
    reward = CausalRewardModel(str(source), tokenizer, dtype="bfloat16", pool_tokens=1024)
    layers = reward.runner.model.model.layers  # type: ignore[union-attr]
    assert all(layer.forward.__module__ == decoder_layers.__name__ for layer in layers)
