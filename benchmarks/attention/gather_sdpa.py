"""Every branch's keys and values gathered side by side, then torch's attention over the batch.

This is what a paged cache without a tree kernel does on the processor, as people write it: the
gather makes new tensors, and torch is told that heads share keys. The gather is part of the time.
"""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.attention.pool import Pool
from benchmarks.attention.problem import Alternative, Problem


def make(problem: Problem) -> Alternative | None:
    """Gather and ``scaled_dot_product_attention`` with grouped heads; ``None`` without room."""
    cell = problem.cell
    pool = Pool.of(problem, "gather + SDPA")
    if pool is None:
        return None
    grouped = cell.q_heads != cell.kv_heads

    def attend(layer: int) -> torch.Tensor:
        outs = []
        for (begin, end), index in zip(pool.slices, pool.indices, strict=True):
            shape = (end - begin, cell.path, cell.kv_heads, cell.head_dim)
            k = pool.keys[layer].index_select(0, index).view(shape).transpose(1, 2)
            v = pool.values[layer].index_select(0, index).view(shape).transpose(1, 2)
            q = problem.query[begin:end].unsqueeze(2)
            outs.append(scaled_dot_product_attention(q, k, v, enable_gqa=grouped)[:, :, 0])
        return outs[0] if len(outs) == 1 else torch.cat(outs)

    return Alternative(problem, attend)
