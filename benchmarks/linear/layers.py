"""The linear layers of a model, laid out for ours, for oneDNN, and as they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch

from search import _native

# (inputs, outputs) of the model of `bench e2e`: query, key and value, output, the three of the
# feed-forward part, in each of twelve layers, and the head.
LAYER = [(768, 768), (768, 256), (768, 256), (768, 768), (768, 3072), (768, 3072), (3072, 768)]
HEAD = (768, 8192)
STEP_ROWS = 64  # that oneDNN's layout is chosen for

Product = Callable[[torch.Tensor], torch.Tensor]


def shapes(quick: bool) -> list[tuple[int, int]]:
    """Inputs and outputs of every layer, in the order of a step."""
    return [*LAYER, HEAD] if quick else LAYER * 12 + [HEAD]


def weights(quick: bool, seed: int) -> list[torch.Tensor]:
    """A bfloat16 weight ``[outputs, inputs]`` for each."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(outputs, inputs, generator=generator).bfloat16()
        for inputs, outputs in shapes(quick)
    ]


def native(all_weights: list[torch.Tensor]) -> list[Product] | None:
    """Ours; None where the processor has no products of bfloat16 pairs."""
    if not _native.linear.available():
        return None

    def product(weight: torch.Tensor) -> Product:
        outputs, inputs = weight.shape
        packed = _native.linear.PackedLinear(weight.data_ptr(), inputs, 0, outputs, inputs)

        def multiply(x: torch.Tensor) -> torch.Tensor:
            out = x.new_empty((x.shape[0], outputs))
            packed.multiply(x.data_ptr(), inputs, x.shape[0], out.data_ptr(), outputs)
            return out

        return multiply

    return [product(weight) for weight in all_weights]


def onednn(all_weights: list[torch.Tensor]) -> list[Product] | None:
    """oneDNN with weights in its own layout; None where torch was built without it."""
    if not torch.backends.mkldnn.is_available():
        return None

    def product(weight: torch.Tensor) -> Product:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, STEP_ROWS)
        multiply = torch.ops.mkldnn._linear_pointwise

        def run(x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = multiply(x, packed, None, "none", [], "")
            return out

        return run

    return [product(weight) for weight in all_weights]


def plain(all_weights: list[torch.Tensor]) -> list[Product]:
    """``torch.nn.functional.linear`` on weights as a model holds them."""
    return [partial(torch.nn.functional.linear, weight=weight) for weight in all_weights]


def seconds(products: list[Product], inputs: dict[int, torch.Tensor], order: list[int]) -> float:
    """Seconds of all layers once.

    Args:
        products: of the layers.
        inputs: rows by number of inputs.
        order: number of inputs of each layer.
    """
    with torch.inference_mode():
        started = time.perf_counter()
        for product, size in zip(products, order, strict=True):
            product(inputs[size])
        return time.perf_counter() - started
