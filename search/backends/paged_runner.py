"""One transformers model over a paged pool: packed rows in, a head's output for chosen rows out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from search import _native
from search.backends.attention import PagedPool, StepPlan
from search.backends.last_layer import last_layer
from search.backends.packed_linear import all_native
from search.errors import ModelRefused
from search.ranges import INT32_MAX

# Rows are padded to a multiple of this: matrix products of torch then give a row the same bits
# whatever else is in the batch, which is what makes a tree independent of its neighbours.
ROW_MULTIPLE = 16
# Where the products are ours that takes no more than a batch that is never a single row, for which
# other code is compiled.
NATIVE_ROW_MULTIPLE = 2
# Where there are so many times as many rows as are asked for, the last attention leaves out the
# others.
LEFT_OUT = 2

# The step is given as itself, or as its key to a compiled model.
Step = StepPlan | int
Head = Callable[[torch.nn.Module, torch.Tensor, torch.Tensor, Step, torch.Tensor], torch.Tensor]
Forward = Callable[[torch.Tensor, torch.Tensor, StepPlan, torch.Tensor], torch.Tensor]


def language_head(
    model: torch.nn.Module,
    tokens: torch.Tensor,
    positions: torch.Tensor,
    step: Step,
    rows: torch.Tensor,
) -> torch.Tensor:
    """Next-token logits of some rows, float32 ``[len(rows), vocabulary]``."""
    out = model(
        input_ids=tokens,
        position_ids=positions,
        use_cache=False,
        logits_to_keep=rows,
        treeward_step=step,
    )
    return out.logits[0].float()


def score_head(
    model: torch.nn.Module,
    tokens: torch.Tensor,
    positions: torch.Tensor,
    step: Step,
    rows: torch.Tensor,
) -> torch.Tensor:
    """Outputs of a ``score`` or ``classifier`` head at some rows, float32 ``[rows, labels]``."""
    base: Any = model.base_model
    hidden = base(
        input_ids=tokens, position_ids=positions, use_cache=False, treeward_step=step
    ).last_hidden_state[0, rows]
    head = getattr(model, "score", None) or getattr(model, "classifier", None)
    if head is None:
        raise ModelRefused(f"{type(model).__name__} has no 'score' or 'classifier' head")
    return head(hidden).float()


class PagedRunner:
    """Runs batches of states of one model.

    Args:
        model: loaded with tree attention (:mod:`search.backends.loading`).
        head: what to compute at the rows asked for.
        pool_tokens: tokens that the pool holds; rounded up to whole pages.
        page_size: tokens of a page.
    """

    def __init__(
        self, model: torch.nn.Module, head: Head, pool_tokens: int, page_size: int = 16
    ) -> None:
        if pool_tokens < 1:
            raise ModelRefused(f"a pool of {pool_tokens} tokens holds nothing")
        # In whole pages, so that every slot still has a number.
        most = INT32_MAX // page_size * page_size
        if pool_tokens > most:
            raise ModelRefused(
                f"a pool of {pool_tokens} tokens is too large; --pool-tokens is at most {most}"
            )
        self.model = model
        self.last = last_layer(model)
        self.head = self._of_asked_rows(head)
        n_pages = -(-pool_tokens // page_size)
        dtype = next(model.parameters()).dtype
        self.pool = PagedPool(n_pages, page_size, dtype)
        self.spans = _native.kv.SpanTree(n_pages, page_size)
        self.forward: Forward = partial(self.head, model)
        self.row_multiple = NATIVE_ROW_MULTIPLE if all_native(model) else ROW_MULTIPLE
        self.seconds = 0.0
        self.rows_computed = 0

    def new_batch(self) -> Any:
        """An empty batch of states."""
        return _native.kv.StepBatch(self.spans)

    def run(self, batch: Any) -> torch.Tensor:
        """Computes a filled batch and keeps its keys and values.

        Returns:
            Float32 ``[states, outputs]``, in the order in which the states were added.
        """
        started = time.perf_counter()
        try:
            batch.finish(self.row_multiple)
            with torch.inference_mode():
                tokens = torch.from_numpy(batch.row_tokens).unsqueeze(0)
                positions = torch.from_numpy(batch.row_positions).unsqueeze(0)
                rows = torch.from_numpy(batch.state_rows)
                short = -len(rows) % self.row_multiple
                padded = torch.cat([rows, rows[:1].expand(short)]) if short else rows
                step = self._plan(batch)
                out = self.forward(tokens, positions, step, padded)[: len(rows)]
            batch.commit()
        except BaseException:
            batch.abort()
            raise
        self.seconds += time.perf_counter() - started
        self.rows_computed += batch.n_rows
        return out

    def _of_asked_rows(self, head: Head) -> Head:
        """The head, with the last layer computed only for the rows that it is asked for."""
        last = self.last

        def of_asked_rows(
            model: torch.nn.Module,
            tokens: torch.Tensor,
            positions: torch.Tensor,
            step: Step,
            rows: torch.Tensor,
        ) -> torch.Tensor:
            last.rows = rows
            try:
                return head(model, tokens, positions, step, rows)
            finally:
                last.rows = None

        return of_asked_rows

    def _plan(self, batch: Any) -> StepPlan:
        few = LEFT_OUT * batch.n_states <= batch.n_rows
        rows = np.unique(batch.state_rows) if few else None
        return StepPlan(self.pool, batch.plan, self.last.index, rows)

    def run_states(
        self, states: Sequence[Any], batch_rows: int
    ) -> list[torch.Tensor | ModelRefused]:
        """Outputs after each state, in as many passes as rows and pool need.

        Returns:
            One float32 ``[outputs]`` a state, or the error of a path that the pool cannot hold.
        """
        results: list[torch.Tensor | ModelRefused] = []
        batch = self.new_batch()
        try:
            emptied = False
            while len(results) + batch.n_states < len(states):
                state = states[len(results) + batch.n_states]
                full = batch.n_states > 0 and batch.total_cost + batch.cost(state) > batch_rows
                if not full and batch.add(state):
                    emptied = False
                    continue
                if batch.n_states:
                    results.extend(self.run(batch).unbind(0))
                else:
                    batch.abort()
                    if emptied:
                        results.append(self.pool_too_small(state.length))
                    # Nothing fits although the batch is empty: holes of evicted tokens may be why.
                    self.spans.evict_all()
                    emptied = not emptied
                batch = self.new_batch()
            if batch.n_states:
                results.extend(self.run(batch).unbind(0))
            else:
                batch.abort()
        except BaseException:
            batch.abort()  # no tree can be closed while a batch is open
            raise
        return results

    def pool_too_small(self, length: int) -> ModelRefused:
        """The error for a path of ``length`` tokens that even an empty pool cannot hold."""
        return ModelRefused(
            f"the pool of {self.pool.n_pages * self.pool.page_size} tokens cannot hold one path of "
            f"{length} tokens; enlarge it with --pool-tokens"
        )
