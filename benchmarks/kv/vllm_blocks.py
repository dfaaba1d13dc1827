"""vLLM's block pool, where it is installed: the allocation of a block from a full pool."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.in_turn import missing
from benchmarks.kv.forest import Forest

HOW = 'install it from https://docs.vllm.ai (pip install "vllm")'


class Loaded:
    """A pool with as many blocks as ours has pages; it has no tree, its unit is the block."""

    def __init__(self, forest: Forest, pool_class: Any) -> None:
        n_blocks = int(forest.spans.n_pages)
        try:
            self.pool = pool_class(n_blocks, True, forest.spans.page_size)
        except TypeError:
            self.pool = pool_class(n_blocks, True)
        self.pool.free_blocks(reversed(self.pool.get_new_blocks(n_blocks - 2)))

    def match(self, prompts: list[list[int]]) -> float | None:
        """Needs a whole request of vLLM; not measured."""
        return None

    def insert(self, sequences: list[list[int]]) -> float | None:
        """Needs a whole request of vLLM; not measured."""
        return None

    def evict(self, times: int) -> float:
        """Seconds to take one block from the eviction queue and to give it back to its end."""
        started = time.perf_counter()
        for _ in range(times):
            self.pool.free_blocks(self.pool.get_new_blocks(1))
        return (time.perf_counter() - started) / times


def load(forest: Forest) -> Loaded | None:
    """The pool; ``None`` where it is not installed or has another API."""
    try:
        from vllm.v1.core.block_pool import BlockPool
    except ImportError:
        missing("vLLM's block pool", HOW)
        return None
    try:
        return Loaded(forest, BlockPool)
    except (AttributeError, TypeError) as error:
        missing("a known version of vLLM's block pool", f"this one says: {error}")
        return None
