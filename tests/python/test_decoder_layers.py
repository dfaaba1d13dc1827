"""Native decoder layers against those of transformers, and where they stay away."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from test_runner_logits import grow, random_prompt, run, runner_of

from reward_bridge.causal import CausalRewardModel
from search import _native
from search.backends import decoder_layers
from search.backends.attention import PagedPool, StepPlan
from search.backends.decoder_layers import FAMILY, use_native_layers
from search.backends.packed_linear import pack_linear_layers, packed_weights
from search.backends.paged_runner import PagedRunner, language_head
from search.backends.transformers_model import TransformersLanguageModel
from search.errors import ModelRefused

LEVELS = _native.attention.simd_levels()
pytestmark = pytest.mark.skipif(
    "avx512bf16" not in LEVELS, reason="this processor has no products of bfloat16 pairs"
)
KNOWN = ("llama", "qwen2", "qwen3", "mistral")
# Odd ends everywhere: no size is whole vectors.
ODD = {"hidden_size": 52, "intermediate_size": 70, "head_dim": 10, "num_hidden_layers": 3}
# The second of two layers.
WINDOWED = {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1}
BIASED = {"attention_bias": True, "mlp_bias": True}


@pytest.fixture
def other_level() -> Iterator[None]:
    """An instruction set without bfloat16 products."""
    before = _native.attention.simd_level()
    _native.attention.set_simd_level("scalar")
    yield
    _native.attention.set_simd_level(before)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of native threads for a while."""
    before = _native.attention.num_threads()
    yield _native.attention.set_num_threads
    _native.attention.set_num_threads(before)


def packed_runner(folder: Path) -> PagedRunner:
    """A model whose norms and biases are not the ones and zeros of a fresh one."""
    runner = runner_of(folder, torch.bfloat16)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in runner.model.parameters():
            if weight.ndim == 1:
                weight.add_(torch.randn(weight.shape, generator=generator) * 0.3)
    pack_linear_layers(runner.model)
    return runner


def native_runner(folder: Path) -> PagedRunner:
    runner = packed_runner(folder)
    layers = runner.model.config.num_hidden_layers  # type: ignore[union-attr]
    assert use_native_layers(runner.model, language_head) == layers
    for layer in runner.model.model.layers:  # type: ignore[union-attr]
        # What the layer is made of is not called any more.
        layer.mlp.forward = layer.self_attn.forward = None
    return runner


def logits(runner: PagedRunner, seed: int) -> torch.Tensor:
    """A prompt as a whole, branches that grow from it, and steps of many rows and few."""
    generator = random.Random(seed)
    tree = runner.spans.open_tree(random_prompt(generator, 75))
    states = grow(runner, tree, generator, 9)
    return torch.cat([run(runner, states[:1]), run(runner, states[1:4]), run(runner, states)])


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


def native_forward(layer: Any) -> Any:
    """The layer alone as a native call; the layer itself stays as it came."""
    decoder_layers._use_native_stack([layer], [decoder_layers._native_layer(layer)])
    forward = layer.forward
    del layer.forward
    return forward


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


def layer_of(folder: Path) -> tuple[torch.nn.Module, Any, int]:
    """A layer of transformers, the same one natively, and its model's size."""
    model = packed_runner(folder).model
    layer = model.model.layers[0]  # type: ignore[union-attr]
    native = decoder_layers._native_layer(layer)
    return layer, native, model.config.hidden_size  # type: ignore[union-attr]


class Step:
    """A packed batch of a path's last tokens, over a pool of its own."""

    def __init__(self, rows: int, asked: list[int] | None = None, head_dim: int = 8) -> None:
        self.head_dim = head_dim
        self.pool = PagedPool(rows // 16 + 8, 16, torch.bfloat16)
        spans = _native.kv.SpanTree(rows // 16 + 8, 16)
        batch = _native.kv.StepBatch(spans)
        tree = spans.open_tree(list(range(rows)))
        assert batch.add(spans.root(tree))
        batch.finish(1)
        rows_asked = None if asked is None else np.array(asked)
        self.plan = StepPlan(self.pool, batch.plan, 0 if asked is not None else -1, rows_asked)
        self.keep = spans, batch

    def run(self, layer: Any, hidden: torch.Tensor) -> torch.Tensor:
        half = self.head_dim // 2
        angles = torch.arange(hidden.shape[1])[:, None] * 0.3 ** torch.arange(half)
        cos, sin = (torch.cat([f(angles)] * 2, -1).bfloat16()[None] for f in (torch.cos, torch.sin))
        with torch.inference_mode():
            out: torch.Tensor = layer(
                hidden, position_embeddings=(cos, sin), treeward_step=self.plan
            )
        return out


@pytest.fixture
def known(folders: Path) -> tuple[torch.nn.Module, Any]:
    """A layer of transformers and its native forward, with heads of 8."""
    layer, _, _ = layer_of(tiny_models.made(folders, kind="llama"))
    return layer, native_forward(layer)


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
