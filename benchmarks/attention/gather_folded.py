"""Gather and torch's attention, written with care: no allocation in a step, keys read once a group.

The query heads that share keys are folded into the query axis, so that torch needs not be told
about groups, and the gather writes into buffers that are kept between calls.
"""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.attention.pool import Pool
from benchmarks.attention.problem import Alternative, Problem


def make(problem: Problem) -> Alternative | None:
    """Gather into kept buffers and attention over folded heads; ``None`` without room."""
    cell = problem.cell
    pool = Pool.of(problem, "folded gather + SDPA")
    if pool is None:
        return None
    group = cell.q_heads // cell.kv_heads
    longest = max(len(index) for index in pool.indices)
    key_buffer, value_buffer = (
        torch.empty((longest, cell.kv_heads, cell.head_dim), dtype=cell.dtype) for _ in range(2)
    )

    def attend(layer: int) -> torch.Tensor:
        out = torch.empty_like(problem.query)
        for (begin, end), index in zip(pool.slices, pool.indices, strict=True):
            k, v = key_buffer[: len(index)], value_buffer[: len(index)]
            torch.index_select(pool.keys[layer], 0, index, out=k)
            torch.index_select(pool.values[layer], 0, index, out=v)
            by_branch = (end - begin, cell.path, cell.kv_heads, cell.head_dim)
            folded = (end - begin, cell.kv_heads, group, cell.head_dim)
            out[begin:end].view(folded).copy_(
                scaled_dot_product_attention(
                    problem.query[begin:end].view(folded),
                    k.view(by_branch).transpose(1, 2),
                    v.view(by_branch).transpose(1, 2),
                )
            )
        return out

    return Alternative(problem, attend)
