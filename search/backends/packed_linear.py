"""Weights of linear layers in oneDNN's blocked layout, packed once instead of in every call.

In bfloat16 the products keep the bits of the plain layer and, like those, do not depend on how many
rows are in the batch. Float32 is left alone: its last bits would change, and it gains a tenth.
"""

from __future__ import annotations

from typing import Any

import torch

# The layout is chosen for this many rows: a step of a search.
ROWS = 64
# A smaller layer gains nothing.
SMALLEST = 1 << 14


def pack_linear_layers(model: torch.nn.Module) -> int:
    """Packs every bfloat16 linear layer that is large enough; returns how many.

    The layers keep their parameters, but a later change of a weight has no effect on the products.
    Where torch was built without oneDNN nothing is packed.
    """
    if not torch.backends.mkldnn.is_available():
        return 0
    packed = 0
    for module in model.modules():
        if type(module) is not torch.nn.Linear or module.weight.dtype != torch.bfloat16:
            continue
        if module.weight.numel() >= SMALLEST:
            module.forward = _packed_forward(module)  # type: ignore[method-assign]
            packed += 1
    return packed


def _packed_forward(layer: torch.nn.Linear) -> Any:
    with torch.inference_mode():
        weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), ROWS)
    bias = layer.bias
    multiply = torch.ops.mkldnn._linear_pointwise

    def forward(x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = multiply(x, weight, bias, "none", [], "")
        return result

    return forward
