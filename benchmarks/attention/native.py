"""Ours: the span tree plans the step, the kernels run it over pages, as in a search."""

from __future__ import annotations

import torch

from benchmarks.attention.problem import Alternative, Problem
from search import _native
from search.backends.attention import layer_memory

PAGE_TOKENS = 16


def make(problem: Problem) -> Alternative:
    """Tree attention over a paged pool; planned once, as for all layers of a step."""
    cell = problem.cell
    _native.attention.use_loaded_openmp()  # as the engine does
    batch, row_of_branch = _plan(problem)
    plan = batch.plan
    shape = (batch_pages(problem), cell.kv_heads, PAGE_TOKENS, cell.head_dim)
    # Memory as in the engine's pool.
    key_layers = [layer_memory(shape, cell.dtype).zero_() for _ in range(problem.layers)]
    value_layers = [layer_memory(shape, cell.dtype).zero_() for _ in range(problem.layers)]
    _fill(problem, plan, row_of_branch, key_layers[0], value_layers[0])
    for keys, values in zip(key_layers[1:], value_layers[1:], strict=True):
        keys.copy_(key_layers[0])
        values.copy_(value_layers[0])
    layers = [
        _native.attention.KvLayer(
            k.data_ptr(), v.data_ptr(), *shape, str(cell.dtype).removeprefix("torch.")
        )
        for k, v in zip(key_layers, value_layers, strict=True)
    ]
    query = torch.zeros((plan.n_rows, cell.q_heads, cell.head_dim), dtype=cell.dtype)
    rows = torch.tensor(row_of_branch)
    query[rows] = problem.query
    ordered = row_of_branch == list(range(cell.branches))
    strides = (query.stride(0), query.stride(1))
    scale = cell.head_dim**-0.5
    held = (batch, key_layers, value_layers)

    def attend(layer: int, held: object = held) -> torch.Tensor:
        out = torch.empty_like(query)
        _native.attention.attend(
            plan,
            layers[layer],
            query.data_ptr(),
            strides,
            out.data_ptr(),
            strides,
            cell.q_heads,
            scale,
        )
        return out[: cell.branches] if ordered else out[rows]

    return Alternative(problem, attend)


def batch_pages(problem: Problem) -> int:
    """Pages that hold the whole tree, each span beginning a page of its own."""
    spans = sum(n * (-(-tokens // 64) + 1) for n, tokens in problem.cell.levels)
    return problem.cell.unique_tokens // PAGE_TOKENS + 2 * spans


def _plan(problem: Problem) -> tuple[_native.kv.StepBatch, list[int]]:
    """The step whose rows are the last tokens of all branches, and the row of each branch."""
    cell = problem.cell
    spans = _native.kv.SpanTree(batch_pages(problem), PAGE_TOKENS)
    states: list[_native.kv.State] = []
    root_spans, root_tokens = cell.levels[0]
    for number in range(root_spans):
        # The first token tells spans apart; with one level the last one is this step's row.
        tokens = [number + 1] + [0] * (root_tokens - 1)
        short = tokens if len(cell.levels) > 1 else tokens[:-1]
        states.append(spans.root(spans.open_tree(short)))
    for level in range(1, len(cell.levels)):
        n, length = cell.levels[level]
        parents = cell.levels[level - 1][0]
        last = level == len(cell.levels) - 1
        states = [
            spans.extend(
                states[i * parents // n], ([i + 1] + [0] * (length - 1))[: length - 1 * last]
            )
            for i in range(n)
        ]
    _step(spans, states).commit()  # what earlier steps have computed
    batch = _step(spans, [spans.extend(state, [0]) for state in states])
    return batch, [int(row) for row in batch.state_rows]


def _step(spans: _native.kv.SpanTree, states: list[_native.kv.State]) -> _native.kv.StepBatch:
    batch = _native.kv.StepBatch(spans)
    for state in states:
        if not batch.add(state):
            raise RuntimeError("the pool of the benchmark is too small")
    batch.finish()
    return batch


def _fill(
    problem: Problem,
    plan: _native.attention.Plan,
    row_of_branch: list[int],
    keys: torch.Tensor,
    values: torch.Tensor,
) -> None:
    """Writes the keys and values of every item into the slots that the plan gives it."""
    branch_of_row = {row: branch for branch, row in enumerate(row_of_branch)}
    slots = torch.from_numpy(plan.slots.copy()).long()
    starts = [0]
    for _, tokens in problem.cell.levels:
        starts.append(starts[-1] + tokens)
    for query_begin, _, slot_begin, n_tokens, position, _ in plan.items.tolist():
        branch = branch_of_row[query_begin]
        level = max(i for i in range(len(starts) - 1) if starts[i] <= position)
        span = problem.cell.span_of(level, branch)
        at = slots[slot_begin : slot_begin + n_tokens]
        local = position - starts[level]
        for pool, source in ((keys, problem.keys), (values, problem.values)):
            pool[at // PAGE_TOKENS, :, at % PAGE_TOKENS] = source[level][
                span, local : local + n_tokens
            ]
