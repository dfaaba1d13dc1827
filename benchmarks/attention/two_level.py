"""Two levels: torch's flash attention over the shared prefix once, over each branch, merged.

The queries of all branches and of a group of heads are folded into the query axis, so that the
prefix is read once. What follows the first level is kept contiguous a branch: the second level
needs no gather, and cannot share what only some branches share.
Method: Juravsky et al., "Hydragen" (2024).
"""

from __future__ import annotations

import torch

from benchmarks.attention.problem import Alternative, Problem, copies, enough_memory

flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def make(problem: Problem) -> Alternative | None:
    """Flash attention of the first level and of the rest, merged by their log-sum-exp; ``None``
    without room."""
    cell = problem.cell
    shared = len(cell.levels) > 1
    token_bytes = 2 * cell.kv_heads * cell.head_dim * cell.dtype.itemsize
    own_bytes = cell.branches * (cell.path - cell.prefix) * token_bytes
    kept_bytes = own_bytes + cell.prefix * token_bytes
    if not enough_memory("two levels", cell, problem.layers * kept_bytes + 2 * own_bytes):
        return None
    group = cell.q_heads // cell.kv_heads

    def prefix(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        return copies(tensors[0].transpose(1, 2).contiguous(), problem.layers)

    def rest(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        own = [problem.path(tensors, branch, int(shared)) for branch in range(cell.branches)]
        return copies(torch.stack(own).transpose(1, 2).contiguous(), problem.layers)

    own_keys, own_values = rest(problem.keys), rest(problem.values)
    by_branch = (cell.branches, cell.kv_heads, group, cell.head_dim)
    if not shared:

        def attend_own(layer: int) -> torch.Tensor:
            query = problem.query.view(by_branch)
            out, _ = flash(query, own_keys[layer], own_values[layer])
            return out.reshape(problem.query.shape)

        return Alternative(problem, attend_own)

    keys, values = prefix(problem.keys), prefix(problem.values)
    by_head = (1, cell.kv_heads, cell.branches * group, cell.head_dim)

    def attend(layer: int) -> torch.Tensor:
        query = problem.query.view(by_branch)
        folded = query.transpose(0, 1).reshape(by_head)
        first, first_lse = flash(folded, keys[layer], values[layer])
        own, own_lse = flash(query, own_keys[layer], own_values[layer])
        first = first.view(cell.kv_heads, cell.branches, group, cell.head_dim).transpose(0, 1)
        first_lse = first_lse.view(cell.kv_heads, cell.branches, group).transpose(0, 1)
        weight = torch.sigmoid(first_lse - own_lse).to(own.dtype).unsqueeze(-1)
        return torch.lerp(own, first, weight).reshape(problem.query.shape)

    return Alternative(problem, attend)
