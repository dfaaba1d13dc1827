"""Decoder layers of the Llama family, one native call for all that follow one another.

transformers still runs the model; where it calls the first layer of a stack, csrc/decoder computes
them all, and the others hand on what they are given. Between the operations of a layer its Python
code and torch's dispatch take as long as the work itself where a model is small. Every rounding is
where transformers has it: only where a sum in another order tips one can a last bit differ. Other
architectures, float32 and processors without products of bfloat16 pairs keep the layers that they
came with.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch

from search import _native
from search.backends.attention import NOT_IN_EVAL_MODE, STEPS, StepPlan, refuse_keywords
from search.backends.packed_linear import packed_weights
from search.backends.paged_runner import Head
from search.backends.self_check import paged_outputs, relative_difference
from search.errors import ModelRefused

# Classes of transformers whose layers are the same operations in the same order.
FAMILY = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer")
# Those that call their layers one after the other, with nothing between.
MODELS = ("LlamaModel", "MistralModel", "Qwen2Model", "Qwen3Model")

ACTIVATIONS = ("SiLU", "SiLUActivation")
# Of outputs: a last bit that differs in the first layer has grown by the last one.
TOLERANCE = 0.05

# Native layers and the numbers that transformers gives them, in order.
Stack = list[tuple[Any, int]]
# A compiled model refers to a stack by a constant: its key here.
_STACKS: dict[int, Stack] = {}
_keys = itertools.count()


def use_native_layers(model: torch.nn.Module, head: Head) -> int:
    """Lets csrc/decoder compute every layer that it knows; returns how many.

    A later change of anything in a layer, such as a weight of a norm or a hook on a part of it, has
    no effect on paged passes. What a layer is seen to give there, by a hook on it or as a hidden
    state, is what its whole stack gives. A pass without a plan still runs the layers as they came.
    Where a paged one gives other numbers than with these, all layers stay as they came.

    Args:
        model: loaded, with linear layers packed (:mod:`search.backends.packed_linear`).
        head: what is computed of the model.

    Raises:
        ModelRefused: the model as it came cannot run over shared pages.
    """
    natives = {layer: native for layer in model.modules() if (native := _native_layer(layer))}
    if not natives:
        return 0
    expected = paged_outputs(model, head)
    for stack in _stacks(model, natives):
        _use_native_stack(stack, [natives[layer] for layer in stack])
    try:
        same = relative_difference(paged_outputs(model, head), expected) <= TOLERANCE
    except (ModelRefused, ValueError):
        same = False
    if same:
        return len(natives)
    for layer in natives:
        del layer.forward
    return 0


def _is_known(module: torch.nn.Module, names: Sequence[str]) -> bool:
    kind = type(module)
    of_transformers = kind.__module__.startswith("transformers.models.")
    return of_transformers and kind.__name__ in names and "forward" not in vars(module)


def _stacks(model: torch.nn.Module, natives: Collection[Any]) -> list[list[Any]]:
    """Native layers that surely follow one another; the others one by one."""
    stacks: list[list[Any]] = []
    for owner in model.modules():
        if _is_known(owner, MODELS):
            called: Any = owner.layers[: owner.config.num_hidden_layers]  # type: ignore[index,union-attr]
            runs = itertools.groupby(called, natives.__contains__)
            stacks += [list(run) for native, run in runs if native]
    stacked = {layer for stack in stacks for layer in stack}
    return stacks + [[layer] for layer in natives if layer not in stacked]


def _native_layer(layer: Any) -> Any:
    """The layer's weights and sizes, or ``None`` where it is not one of the family."""
    if not _is_known(layer, FAMILY):
        return None
    attention, mlp = layer.self_attn, layer.mlp
    norms = [layer.input_layernorm, layer.post_attention_layernorm]
    norms += [norm for name in ("q_norm", "k_norm") if (norm := getattr(attention, name, None))]
    if (
        any(part._forward_hooks or part._forward_pre_hooks for part in layer.modules())
        or type(mlp.act_fn).__name__ not in ACTIVATIONS
        or len({norm.variance_epsilon for norm in norms}) > 1
    ):
        return None
    products = [
        packed_weights(module)
        for module in (
            *(attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj),
            *(mlp.gate_proj, mlp.up_proj, mlp.down_proj),
        )
    ]
    if any(product is None for product in products) or attention.head_dim % 2:
        return None
    return _native.decoder.DecoderLayer(
        products=products,
        input_norm=_weights(layer.input_layernorm),
        attention_norm=_weights(layer.post_attention_layernorm),
        query_norm=_weights(getattr(attention, "q_norm", None)),
        key_norm=_weights(getattr(attention, "k_norm", None)),
        epsilon=layer.input_layernorm.variance_epsilon,
        head_dim=attention.head_dim,
        scale=attention.scaling,
        window=_window(attention),
    )


def _window(attention: Any) -> int:
    """Qwen says it layer by layer, Mistral in its configuration, Llama has none."""
    mistral = type(attention).__name__.startswith("Mistral")
    owner = attention.config if mistral else attention
    return int(getattr(owner, "sliding_window", None) or 0)


def _weights(norm: torch.nn.Module | None) -> np.ndarray:
    if norm is None:
        return np.empty(0, np.float32)
    return norm.weight.detach().float().numpy()  # type: ignore[operator]


def _use_native_stack(layers: Sequence[Any], natives: Sequence[Any]) -> None:
    key = next(_keys)
    numbers = [layer.self_attn.layer_idx for layer in layers]
    _STACKS[key] = list(zip(natives, numbers, strict=True))
    weakref.finalize(layers[0], _STACKS.pop, key, None)
    layers[0].forward = _forward(layers[0], key)
    for layer in layers[1:]:
        layer.forward = _forward(layer, None)


def _forward(layer: torch.nn.Module, key: int | None) -> Any:
    """Computes the stack of a key; without one, what is given is that layer's output already."""
    # The layer owns this function, which must not own the layer.
    plain, owner = type(layer).forward, weakref.ref(layer)

    def forward(
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        treeward_step: StepPlan | int | None = None,
        **others: Any,
    ) -> torch.Tensor:
        if treeward_step is None:
            out: torch.Tensor = plain(
                owner(), hidden_states, position_embeddings=position_embeddings, **others
            )
            return out
        if key is None:
            return hidden_states
        refuse_keywords(others)
        cos, sin = position_embeddings
        if isinstance(treeward_step, int):
            out = torch.ops.treeward.decoder_layers(hidden_states, cos, sin, key, treeward_step)
            return out
        if getattr(owner(), "training", False):
            raise ModelRefused(NOT_IN_EVAL_MODE)
        return _run(hidden_states, cos, sin, key, treeward_step)

    return forward


def _run(
    hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, key: int, step: StepPlan
) -> torch.Tensor:
    """A stack over the rows ``[1, rows, hidden]`` of a step."""
    stack = _STACKS[key]
    first, (_, last) = stack[0][0], stack[-1]
    rows = step.plan.n_rows
    hidden, cos, sin = hidden.contiguous(), cos.contiguous(), sin.contiguous()
    for tensor, size in ((hidden, first.hidden), (cos, first.head_dim), (sin, first.head_dim)):
        if tensor.shape != (1, rows, size) or tensor.dtype != torch.bfloat16:
            raise ModelRefused(
                f"a layer of {rows} rows of {size} bfloat16 numbers was given "
                f"{tuple(tensor.shape)} of {tensor.dtype}"
            )
    out = torch.empty_like(hidden)
    _native.decoder.run_layers(
        [(each, step.pool.layer(n, each.kv_heads, each.head_dim)) for each, n in stack],
        step.plan,
        hidden.data_ptr(),
        cos.data_ptr(),
        sin.data_ptr(),
        out.data_ptr(),
        (step.last_plan, step.asked) if last == step.last else None,
    )
    return out


def _run_compiled(
    hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, key: int, step: int
) -> torch.Tensor:
    return _run(hidden, cos, sin, key, STEPS[step])


# Not torch.library.custom_op: see search/backends/attention.py.
_library = torch.library.Library("treeward", "FRAGMENT")
_library.define(
    "decoder_layers(Tensor hidden, Tensor cos, Tensor sin, int key, int step) -> Tensor"
)
_library.impl("decoder_layers", _run_compiled, "CPU")


@torch.library.register_fake("treeward::decoder_layers")
def _(hidden: torch.Tensor, *others: Any) -> torch.Tensor:
    return hidden.new_empty(hidden.shape)
