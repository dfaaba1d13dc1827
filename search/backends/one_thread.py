"""Activations and rotations on one thread, so that threads do not show in their results.

Torch cuts an elementwise operation into as many equal parts as it has threads, wherever that is.
The end of a part that fills no vector is computed by other code, whose exponentials and cosines
differ in the last bit. With one or two threads all parts are whole vectors, since rows are padded
to a multiple of 16; with three, which elements lie at such an end depends on the number of rows,
and so on the other trees of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def functions_on_one_thread(model: torch.nn.Module) -> int:
    """Lets the activations and rotary embeddings of a model run on one thread where torch has more
    than two; sums and products are the same on any number.

    Returns:
        How many modules there are.
    """
    found = [module for module in model.modules() if _is_function(module)]
    for module in found:
        module.forward = _on_one_thread(module.forward)
    return len(found)


def _is_function(module: torch.nn.Module) -> bool:
    kind = type(module)
    home = kind.__module__
    return (
        home in ("transformers.activations", "torch.nn.modules.activation")
        or "RotaryEmbedding" in kind.__name__
    ) and not any(True for _ in module.parameters())


def _on_one_thread(forward: Callable[..., Any]) -> Callable[..., Any]:
    def on_one_thread(*given: Any, **named: Any) -> Any:
        threads = torch.get_num_threads()
        if threads <= 2:
            return forward(*given, **named)
        torch.set_num_threads(1)
        try:
            return forward(*given, **named)
        finally:
            torch.set_num_threads(threads)

    return on_one_thread
