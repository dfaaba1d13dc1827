"""A token-major pool of keys and values, and where each branch's tokens lie in it.

``[slots, kv_heads, head_dim]`` is the layout in which a gather is cheapest. Branches are taken in
slices whose gathered copies stay within a fixed size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.attention.problem import Problem, copies, enough_memory

SLICE_BYTES = 256 << 20


@dataclass
class Pool:
    """Every layer's keys and values.

    Attributes:
        keys: of a layer ``[slots, kv_heads, head_dim]``.
        values: as ``keys``.
        slices: first branch, and the one after the last.
        indices: of a slice the slots of its branches' tokens, branch after branch.
    """

    keys: list[torch.Tensor]
    values: list[torch.Tensor]
    slices: list[tuple[int, int]]
    indices: list[torch.Tensor]

    @classmethod
    def of(cls, problem: Problem, name: str) -> Pool | None:
        """The pool of an alternative; ``None`` without room for it and for what is gathered."""
        cell = problem.cell
        branch_bytes = 2 * cell.path * cell.kv_heads * cell.head_dim * cell.dtype.itemsize
        slice_bytes = max(branch_bytes, min(SLICE_BYTES, branch_bytes * cell.branches))
        if not enough_memory(name, cell, 2 * slice_bytes + (problem.layers + 1) * cell.layer_bytes):
            return None
        first_slot = [0]
        for spans, tokens in cell.levels:
            first_slot.append(first_slot[-1] + spans * tokens)
        slots = torch.stack(
            [
                torch.cat(
                    [
                        first_slot[level]
                        + cell.span_of(level, branch) * tokens
                        + torch.arange(tokens)
                        for level, (_, tokens) in enumerate(cell.levels)
                    ]
                )
                for branch in range(cell.branches)
            ]
        )
        most = max(1, SLICE_BYTES // branch_bytes)
        slices = [
            (begin, min(begin + most, cell.branches)) for begin in range(0, cell.branches, most)
        ]
        return cls(
            copies(torch.cat([t.flatten(0, 1) for t in problem.keys]), problem.layers),
            copies(torch.cat([t.flatten(0, 1) for t in problem.values]), problem.layers),
            slices,
            [slots[begin:end].flatten() for begin, end in slices],
        )
