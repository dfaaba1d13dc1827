"""Weights of linear layers, packed once instead of in every call.

In bfloat16 a step reads all weights for a few dozen rows. Where the processor has products of
bfloat16 pairs our own kernel does that (csrc/linear); elsewhere oneDNN gets its blocked layout in
advance. With both a row has the same bits however many rows are in the batch. Float32 is left
alone: its last bits would change, and it gains a tenth.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any

import torch

from search import _native
from search.errors import ModelRefused

# oneDNN's layout is chosen for this many rows: a step of a search.
ROWS = 64
# A smaller layer gains nothing from it.
SMALLEST = 1 << 14
# Inputs of a layer for which elementwise operations between two layers leave no odd end, which
# would be computed in another way.
WHOLE_VECTORS = 16

# A compiled model refers to a layer by a constant: its key here.
_LAYERS: dict[int, Any] = {}
_keys = itertools.count()
_packed_natively: weakref.WeakKeyDictionary[torch.nn.Module, int] = weakref.WeakKeyDictionary()


def pack_linear_layers(model: torch.nn.Module, compiled: bool = False) -> int:
    """Packs every bfloat16 linear layer that gains by it; returns how many.

    A later change of a weight has no effect on the products. Where our own kernel does them a layer
    keeps the shape of its weight only, so that no model is in memory twice.

    Args:
        model: loaded; classes other than :class:`torch.nn.Linear` itself stay as they are.
        compiled: the model will be compiled, which lays weights out for oneDNN by itself.
    """
    native = _native.linear.available()
    onednn = torch.backends.mkldnn.is_available() and not compiled
    packed = 0
    for module in model.modules():
        if type(module) is not torch.nn.Linear or module.weight.dtype != torch.bfloat16:
            continue
        if module in _packed_natively:
            continue
        if native and module.in_features % 2 == 0:
            module.forward = _native_forward(module)  # type: ignore[method-assign]
        elif onednn and module.weight.numel() >= SMALLEST:
            module.forward = _onednn_forward(module)  # type: ignore[method-assign]
        else:
            continue
        packed += 1
    return packed


def all_native(model: torch.nn.Module) -> bool:
    """Whether our kernel does all matrix products of a model but those of attention.

    A row then has the same bits in a batch of any size.
    """
    for module in model.modules():
        matrices = [p for p in module.parameters(recurse=False) if p.ndim > 1]
        if not matrices or isinstance(module, torch.nn.Embedding):
            continue
        if module not in _packed_natively:
            return False
        if matrices[0].shape[1] % WHOLE_VECTORS:
            return False
    return True


def packed_weights(layer: torch.nn.Module) -> Any:
    """The native weights of a layer; ``None`` where our kernel does not do its product."""
    return _LAYERS.get(_packed_natively.get(layer, -1))


def _native_forward(layer: torch.nn.Linear) -> Any:
    weight = layer.weight.detach().contiguous()
    bias = None if layer.bias is None else layer.bias.detach().contiguous()
    key = _packed_natively[layer] = next(_keys)
    _LAYERS[key] = _native.linear.PackedLinear(
        weight.data_ptr(),
        weight.stride(0),
        0 if bias is None else bias.data_ptr(),
        layer.out_features,
        layer.in_features,
    )
    weakref.finalize(layer, _LAYERS.pop, key, None)
    # Not in place: an embedding may share it.
    layer.weight = torch.nn.Parameter(layer.weight.detach().to("meta"), requires_grad=False)
    outputs = layer.out_features
    multiply = torch.ops.treeward.packed_linear

    def forward(x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = multiply(x, key, outputs)
        return result

    return forward


def _rows_of(x: torch.Tensor, inputs: int) -> torch.Tensor:
    """The rows as the kernel reads them."""
    if x.dtype != torch.bfloat16 or x.shape[-1] != inputs:
        raise ModelRefused(
            f"a linear layer of {inputs} bfloat16 inputs was given {x.shape[-1]} of {x.dtype}"
        )
    return x if x.is_contiguous() else x.contiguous()


def _multiply(x: torch.Tensor, key: int, outputs: int) -> torch.Tensor:
    layer = _LAYERS[key]
    inputs: int = layer.inputs
    x = _rows_of(x, inputs)
    out = _new_outputs(x, outputs)
    layer.multiply(x.data_ptr(), inputs, x.numel() // inputs, out.data_ptr(), outputs)
    return out


def _multiply_all(x: torch.Tensor, keys: list[int], outputs: list[int]) -> list[torch.Tensor]:
    layers = [_LAYERS[key] for key in keys]
    inputs: int = layers[0].inputs
    x = _rows_of(x, inputs)
    outs = [_new_outputs(x, n) for n in outputs]
    _native.linear.multiply_all(
        layers, x.data_ptr(), inputs, x.numel() // inputs, [out.data_ptr() for out in outs]
    )
    return outs


def _new_outputs(x: torch.Tensor, outputs: int) -> torch.Tensor:
    return x.new_empty((*x.shape[:-1], outputs))


# Not torch.library.custom_op: its wrapper takes as long as the product of a small layer.
_library = torch.library.Library("treeward", "FRAGMENT")
_library.define("packed_linear(Tensor x, int key, int outputs) -> Tensor")
_library.impl("packed_linear", _multiply, "CPU")
_library.define("packed_linears(Tensor x, int[] keys, int[] outputs) -> Tensor[]")
_library.impl("packed_linears", _multiply_all, "CPU")


@torch.library.register_fake("treeward::packed_linear")
def _(x: torch.Tensor, key: int, outputs: int) -> torch.Tensor:
    return _new_outputs(x, outputs)


@torch.library.register_fake("treeward::packed_linears")
def _(x: torch.Tensor, keys: list[int], outputs: list[int]) -> list[torch.Tensor]:
    return [_new_outputs(x, n) for n in outputs]


def _onednn_forward(layer: torch.nn.Linear) -> Any:
    with torch.inference_mode():
        weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), ROWS)
    bias = layer.bias
    multiply = torch.ops.mkldnn._linear_pointwise

    def forward(x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = multiply(x, weight, bias, "none", [], "")
        return result

    return forward
