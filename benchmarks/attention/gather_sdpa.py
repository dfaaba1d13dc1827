"""Every branch's keys and values gathered side by side, then torch's attention over the batch.

This is what a paged cache without a tree kernel does on the processor. The pool is token-major
``[slots, kv_heads, head_dim]``, the layout in which a gather is cheapest. Branches are taken in
slices whose copies stay within a fixed size; the gather is part of the time.
"""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.attention.problem import Alternative, Problem, copies, enough_memory

SLICE_BYTES = 256 << 20


def make(problem: Problem) -> Alternative | None:
    """Gather and ``scaled_dot_product_attention`` with grouped heads; ``None`` without room."""
    cell = problem.cell
    branch_bytes = 2 * cell.path * cell.kv_heads * cell.head_dim * cell.dtype.itemsize
    slice_bytes = max(branch_bytes, min(SLICE_BYTES, branch_bytes * cell.branches))
    if not enough_memory(
        "gather + SDPA", cell, 2 * slice_bytes + (problem.layers + 1) * cell.layer_bytes
    ):
        return None
    keys = copies(torch.cat([t.flatten(0, 1) for t in problem.keys]), problem.layers)
    values = copies(torch.cat([t.flatten(0, 1) for t in problem.values]), problem.layers)
    first_slot = [0]
    for spans, tokens in cell.levels:
        first_slot.append(first_slot[-1] + spans * tokens)
    slots = torch.stack(
        [
            torch.cat(
                [
                    first_slot[level] + cell.span_of(level, branch) * tokens + torch.arange(tokens)
                    for level, (_, tokens) in enumerate(cell.levels)
                ]
            )
            for branch in range(cell.branches)
        ]
    )
    most = max(1, SLICE_BYTES // branch_bytes)
    slices = [(begin, min(begin + most, cell.branches)) for begin in range(0, cell.branches, most)]
    indices = [slots[begin:end].flatten() for begin, end in slices]
    grouped = cell.q_heads != cell.kv_heads

    def attend(layer: int) -> torch.Tensor:
        outs = []
        for (begin, end), index in zip(slices, indices, strict=True):
            shape = (end - begin, cell.path, cell.kv_heads, cell.head_dim)
            k = keys[layer].index_select(0, index).view(shape).transpose(1, 2)
            v = values[layer].index_select(0, index).view(shape).transpose(1, 2)
            q = problem.query[begin:end].unsqueeze(2)
            outs.append(scaled_dot_product_attention(q, k, v, enable_gqa=grouped)[:, :, 0])
        return outs[0] if len(outs) == 1 else torch.cat(outs)

    return Alternative(problem, attend)
