"""The attention function given to transformers: our pages and plan under any decoder model.

transformers calls it once a layer with the packed rows ``[1, heads, rows, head_dim]`` of all
branches. Keys and values are appended to the pool, and every row attends to its own path. The plan
arrives as a keyword of ``model(...)``; without one the call is refused, because falling back to
ordinary attention would let branches see each other.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from search import _native
from search.errors import ModelRefused

NAME = "treeward_tree"
NOT_IN_EVAL_MODE = "tree attention runs inference only: put the model in eval mode"

# Torch's threads spin between its operations; threads of our own would fight them for processors.
# And as many as torch was told to use.
_native.attention.use_loaded_openmp()
_native.attention.set_num_threads(torch.get_num_threads())


def layer_memory(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Memory for the keys or values of a layer, not yet written; huge pages where there are any.

    A step reads all of a long path at once, from pages all over the pool.
    """
    memory = _native.attention.huge_page_memory(math.prod(shape) * dtype.itemsize)
    return torch.from_numpy(memory).view(dtype).view(*shape)


class PagedPool:
    """Keys and values of every layer of one model, in pages.

    A layer's two tensors ``[pages, kv_heads, page_size, head_dim]`` are made when the layer is
    first seen, so that models whose layers differ in shape need no description.
    """

    def __init__(self, n_pages: int, page_size: int, dtype: torch.dtype) -> None:
        self.n_pages = n_pages
        self.page_size = page_size
        self.dtype = dtype
        self._tensors: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._layers: dict[int, Any] = {}

    def layer(self, index: int, kv_heads: int, head_dim: int) -> Any:
        """The native view of a layer's keys and values."""
        found = self._layers.get(index)
        if found is None:
            shape = (self.n_pages, kv_heads, self.page_size, head_dim)
            try:
                keys = layer_memory(shape, self.dtype)
                values = layer_memory(shape, self.dtype)
            except MemoryError as error:
                raise ModelRefused(
                    f"there is no memory for a pool of {self.n_pages * self.page_size} tokens; "
                    "make it smaller with --pool-tokens"
                ) from error
            self._tensors[index] = (keys, values)
            found = _native.attention.KvLayer(
                keys.data_ptr(),
                values.data_ptr(),
                self.n_pages,
                kv_heads,
                self.page_size,
                head_dim,
                _dtype_name(self.dtype),
            )
            self._layers[index] = found
        return found

    @property
    def bytes_per_token(self) -> int:
        """Bytes that one token takes over all layers seen so far."""
        slots = self.n_pages * self.page_size
        return sum(
            2 * keys.numel() * keys.element_size() // slots for keys, _ in self._tensors.values()
        )


class StepPlan:
    """What one forward pass hands to every layer.

    Args:
        pool: where keys and values are kept.
        plan: who sees whom.
        last: number of the last layer; -1 for none.
        rows: int64, ascending: rows that the last layer computes, when not all.

    Attributes:
        asked: the same as int32, and ``last_rows`` as a tensor, where there are any.
        last_plan: the plan of these rows.
    """

    def __init__(
        self, pool: PagedPool, plan: Any, last: int = -1, rows: np.ndarray | None = None
    ) -> None:
        self.pool = pool
        self.plan = plan
        self.last = -1 if rows is None else last
        if rows is not None:
            self.asked = rows.astype(np.int32)
            self.last_rows = torch.from_numpy(rows)
            self.last_plan = plan.of_rows(self.asked)


# The steps of compiled models, which cannot be given a plan as an argument: a compiled pass knows
# the key of its model, a constant, and finds the plan here while it runs.
STEPS: dict[int, StepPlan] = {}
_keys = itertools.count()


def new_key() -> int:
    """A key of :data:`STEPS` that nobody else has."""
    return next(_keys)


def _dtype_name(dtype: torch.dtype) -> str:
    return {torch.float32: "float32", torch.bfloat16: "bfloat16"}[dtype]


# Keywords of a model that change attention, or ask for what trees do not keep.
REFUSED = {
    "attention_mask": "tree attention takes no attention mask; the plan says who sees whom",
    "past_key_values": "tree attention keeps keys and values in its pages; give it no cache",
    "output_attentions": "tree attention does not return attention weights",
    **{name: f"tree attention has no '{name}'" for name in ("s_aux", "position_bias", "sinks")},
}


def refuse_keywords(given: dict[str, Any]) -> None:
    """Raises :class:`ModelRefused` for a keyword that would be left unheard."""
    for name, reason in REFUSED.items():
        if given.get(name) is not None and given[name] is not False:
            raise ModelRefused(reason)


def tree_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    treeward_step: StepPlan | int | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of packed rows over their own paths.

    Args:
        module: the attention layer; ``layer_idx`` names its pages.
        query: ``[1, query_heads, rows, head_dim]``, positions already applied.
        key: ``[1, kv_heads, rows, head_dim]``.
        value: as ``key``.
        attention_mask: must be ``None``; the plan says who sees whom.
        dropout: must be 0.
        scaling: factor of the scores; ``1 / sqrt(head_dim)`` by default.
        treeward_step: pool and plan of this forward pass; of a compiled one its key.
        sliding_window: how many tokens of its path a row sees, itself included.
        softcap: scores become ``softcap * tanh(score / softcap)``.
        is_causal: that of the layer where it is None; must be true.
        **others: further keywords of the model; those that change attention are refused.

    Raises:
        ModelRefused: the plan is missing, or the model asks for what trees cannot give.
    """
    if treeward_step is None:
        raise ModelRefused(
            "tree attention was called without a plan; for a plain forward pass call "
            "model.set_attn_implementation('sdpa') first"
        )
    refuse_keywords({"attention_mask": attention_mask, **others})
    if dropout:
        raise ModelRefused(NOT_IN_EVAL_MODE)
    if getattr(module, "sinks", None) is not None:
        raise ModelRefused("tree attention has no attention sinks")
    if not (getattr(module, "is_causal", True) if is_causal is None else is_causal):
        raise ModelRefused("its tokens see those after them, which a tree has not drawn yet")
    if key.shape[-1] != value.shape[-1]:
        raise ModelRefused(
            f"keys of size {key.shape[-1]} with values of size {value.shape[-1]} "
            "(latent attention) cannot be paged"
        )
    scale = scaling if scaling is not None else 1.0 / math.sqrt(query.shape[-1])
    window, cap = int(sliding_window or 0), float(softcap or 0.0)
    layer: int = module.layer_idx  # type: ignore[assignment]
    if isinstance(treeward_step, int):
        out: torch.Tensor = torch.ops.treeward.tree_attention(
            query, key, value, treeward_step, layer, scale, window, cap
        )
        return out, None
    return _attend(query, key, value, treeward_step, layer, scale, window, cap), None


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    step: StepPlan,
    layer: int,
    scale: float,
    window: int,
    softcap: float,
) -> torch.Tensor:
    """Appends keys and values of a layer, then attends; ``[1, rows, query_heads, head_dim]``."""
    pool, plan = step.pool, step.plan
    for tensor in (query, key, value):
        if tensor.dtype != pool.dtype:
            raise ModelRefused(f"the model computes {tensor.dtype}, its pages hold {pool.dtype}")
    query, key, value = query[0], key[0], value[0]  # [heads, rows, head_dim]
    heads, rows, head_dim = query.shape
    if query.stride(-1) != 1:
        query = query.contiguous()
    if key.stride(-1) != 1:
        key = key.contiguous()
    if value.stride(-1) != 1:
        value = value.contiguous()
    if rows != plan.n_rows:
        raise ModelRefused(f"the plan has {plan.n_rows} rows and the model gave {rows}")
    view = pool.layer(layer, key.shape[0], head_dim)
    kept = (
        key.data_ptr(),
        (key.stride(1), key.stride(0)),
        value.data_ptr(),
        (value.stride(1), value.stride(0)),
    )
    if layer != step.last:
        out = torch.empty((rows, heads, head_dim), dtype=query.dtype)
        _native.attention.append_and_attend(
            plan,
            view,
            query.data_ptr(),
            (query.stride(1), query.stride(0)),
            *kept,
            out.data_ptr(),
            (out.stride(0), out.stride(1)),
            heads,
            scale,
            window,
            softcap,
        )
        return out.unsqueeze(0)
    _native.attention.append(plan, view, *kept)
    query = query[:, step.last_rows]
    out = torch.empty((len(step.last_rows), heads, head_dim), dtype=query.dtype)
    _native.attention.attend(
        step.last_plan,
        view,
        query.data_ptr(),
        (query.stride(1), query.stride(0)),
        out.data_ptr(),
        (out.stride(0), out.stride(1)),
        heads,
        scale,
        window,
        softcap,
    )
    whole = torch.zeros((rows, heads, head_dim), dtype=query.dtype)
    whole[step.last_rows] = out
    return whole.unsqueeze(0)


def _attend_compiled(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    step: int,
    layer: int,
    scale: float,
    window: int,
    softcap: float,
) -> torch.Tensor:
    return _attend(query, key, value, STEPS[step], layer, scale, window, softcap)


# Not torch.library.custom_op: its wrapper takes a tenth of the time of a layer's attention.
_library = torch.library.Library("treeward", "FRAGMENT")
_library.define(
    "tree_attention(Tensor query, Tensor key, Tensor value, "
    "int step, int layer, float scale, int window, float softcap) -> Tensor"
)
_library.impl("tree_attention", _attend_compiled, "CPU")


@torch.library.register_fake("treeward::tree_attention")
def _(query: torch.Tensor, *others: Any) -> torch.Tensor:
    _, heads, rows, head_dim = query.shape
    return query.new_empty((1, rows, heads, head_dim))


def register() -> None:
    """Makes the function known to transformers under :data:`NAME`; safe to repeat."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, tree_attention)
