"""The last layer of a model, computed only for the rows whose outputs are asked for.

Once the last attention has kept its keys and values, no row looks at another one. Of a prompt, or
of a step that is scored as a whole, one row is asked for, and what the others would give there is
never read: their places hold zeros.

    rows             all       all        asked for      asked for
    last layer   norm -> q k v -> append -> attention -> projection -> norm -> feed-forward
"""

from __future__ import annotations

import weakref
from typing import Any

import torch

# What comes after the last attention, by the names that transformers gives its parts.
PROJECTIONS = ("o_proj", "out_proj", "dense", "c_proj")
FEED_FORWARDS = ("mlp", "feed_forward", "block_sparse_moe")

_known: weakref.WeakKeyDictionary[torch.nn.Module, LastLayer] = weakref.WeakKeyDictionary()


class LastLayer:
    """Which rows the last layer of a model computes; all of them, unless told.

    Args:
        model: of transformers, whose parts have the usual names; otherwise all is computed.

    Attributes:
        index: number of the layer, -1 where it was not found.
        rows: int64 ``[rows]``, those asked for; repeated ones are allowed. ``None`` for all.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.rows: torch.Tensor | None = None
        self.index, parts = _parts(model)
        for part in parts:
            part.forward = self._restricted(part.forward)

    def _restricted(self, forward: Any) -> Any:
        def restricted(*given: Any, **named: Any) -> Any:
            rows, x = self.rows, given[0] if given else None
            if rows is None or x is None or x.ndim != 3 or len(given) > 1 or named:
                return forward(*given, **named)
            if len(rows) == x.shape[1]:
                return forward(x)
            asked = forward(x[:, rows])
            if not isinstance(asked, torch.Tensor):
                return forward(x)
            out = asked.new_zeros((*x.shape[:-1], asked.shape[-1]))
            out[:, rows] = asked
            return out

        return restricted


def last_layer(model: torch.nn.Module) -> LastLayer:
    """The model's last layer, which from now on can leave out rows."""
    if model not in _known:
        _known[model] = LastLayer(model)
    return _known[model]


def _parts(model: torch.nn.Module) -> tuple[int, list[torch.nn.Module]]:
    """Number of the last layer, and its parts that come after attention and take rows by rows."""
    config: Any = model.config
    last = int(getattr(config, "num_hidden_layers", None) or 0) - 1
    for layer in model.modules():
        for attention in layer.children():
            if getattr(attention, "layer_idx", None) != last:
                continue
            found = _modules(attention, PROJECTIONS)
            if found:
                return last, [*found, *_modules(layer, FEED_FORWARDS)]
    return -1, []


def _modules(owner: torch.nn.Module, names: tuple[str, ...]) -> list[torch.nn.Module]:
    found = [getattr(owner, name, None) for name in names]
    return [part for part in found if isinstance(part, torch.nn.Module)]
