"""Decoder layers of the Llama family, one native call each.

transformers still runs the model; where it calls a layer, csrc/decoder computes it. Between the
operations of a layer its Python code and torch's dispatch take as long as the work itself where a
model is small. Every rounding is where transformers has it: only where a sum in another order tips
one can a last bit differ. Other architectures, float32 and processors without products of bfloat16
pairs keep the layers that they came with.
"""

from __future__ import annotations

import itertools
import weakref
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

ACTIVATIONS = ("SiLU", "SiLUActivation")
# Of outputs: a last bit that differs in the first layer has grown by the last one.
TOLERANCE = 0.05

# A compiled model refers to a layer by a constant: its key here.
_LAYERS: dict[int, tuple[Any, int]] = {}
_keys = itertools.count()


def use_native_layers(model: torch.nn.Module, head: Head) -> int:
    """Lets csrc/decoder compute every layer that it knows; returns how many.

    A later change of anything in a layer, a hook or a weight of a norm included, has no effect on
    paged passes. A pass without a plan still runs the layers as they came. Where a paged one gives
    other numbers than with these, all layers stay as they came.

    Args:
        model: loaded, with linear layers packed (:mod:`search.backends.packed_linear`).
        head: what is computed of the model.

    Raises:
        ModelRefused: the model as it came cannot run over shared pages.
    """
    natives = [(layer, native) for layer in model.modules() if (native := _native_layer(layer))]
    if not natives:
        return 0
    expected = paged_outputs(model, head)
    for layer, native in natives:
        layer.forward = _forward(layer, native)
    try:
        same = relative_difference(paged_outputs(model, head), expected) <= TOLERANCE
    except (ModelRefused, ValueError):
        same = False
    if same:
        return len(natives)
    for layer, _ in natives:
        del layer.forward
    return 0


def _native_layer(layer: Any) -> Any:
    """The layer's weights and sizes, or ``None`` where it is not one of the family."""
    kind = type(layer)
    if kind.__name__ not in FAMILY or not kind.__module__.startswith("transformers.models."):
        return None
    attention, mlp = layer.self_attn, layer.mlp
    norms = [layer.input_layernorm, layer.post_attention_layernorm]
    norms += [norm for name in ("q_norm", "k_norm") if (norm := getattr(attention, name, None))]
    if (
        "forward" in vars(layer)
        or any(part._forward_hooks or part._forward_pre_hooks for part in layer.modules())
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


def _forward(layer: torch.nn.Module, native: Any) -> Any:
    # The layer owns this function, which must not own the layer.
    plain, owner = type(layer).forward, weakref.ref(layer)
    key = next(_keys)
    index: int = layer.self_attn.layer_idx  # type: ignore[union-attr,assignment]
    _LAYERS[key] = native, index
    weakref.finalize(layer, _LAYERS.pop, key, None)

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
        refuse_keywords(others)
        cos, sin = position_embeddings
        if isinstance(treeward_step, int):
            out = torch.ops.treeward.decoder_layer(hidden_states, cos, sin, key, treeward_step)
            return out
        if getattr(owner(), "training", False):
            raise ModelRefused(NOT_IN_EVAL_MODE)
        return _run(hidden_states, cos, sin, key, treeward_step)

    return forward


def _run(
    hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, key: int, step: StepPlan
) -> torch.Tensor:
    """A layer over the rows ``[1, rows, hidden]`` of a step."""
    layer, index = _LAYERS[key]
    pool, plan = step.pool, step.plan
    rows = plan.n_rows
    hidden, cos, sin = hidden.contiguous(), cos.contiguous(), sin.contiguous()
    for tensor, size in ((hidden, layer.hidden), (cos, layer.head_dim), (sin, layer.head_dim)):
        if tensor.shape != (1, rows, size) or tensor.dtype != torch.bfloat16:
            raise ModelRefused(
                f"a layer of {rows} rows of {size} bfloat16 numbers was given "
                f"{tuple(tensor.shape)} of {tensor.dtype}"
            )
    out = torch.empty_like(hidden)
    asked = (step.last_plan, step.asked) if index == step.last else None
    layer.run(
        plan,
        pool.layer(index, layer.kv_heads, layer.head_dim),
        hidden.data_ptr(),
        cos.data_ptr(),
        sin.data_ptr(),
        out.data_ptr(),
        asked,
    )
    return out


def _run_compiled(
    hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, key: int, step: int
) -> torch.Tensor:
    return _run(hidden, cos, sin, key, STEPS[step])


# Not torch.library.custom_op: see search/backends/attention.py.
_library = torch.library.Library("treeward", "FRAGMENT")
_library.define("decoder_layer(Tensor hidden, Tensor cos, Tensor sin, int key, int step) -> Tensor")
_library.impl("decoder_layer", _run_compiled, "CPU")


@torch.library.register_fake("treeward::decoder_layer")
def _(hidden: torch.Tensor, *others: Any) -> torch.Tensor:
    return hidden.new_empty(hidden.shape)
