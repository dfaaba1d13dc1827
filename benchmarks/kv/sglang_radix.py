"""SGLang's radix cache, where it is installed."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.in_turn import missing
from benchmarks.kv.forest import Forest

HOW = 'install it from https://docs.sglang.ai (pip install "sglang")'


class Loaded:
    """The forest's sequences in ``RadixCache`` without a memory pool, as its own tests use it."""

    def __init__(self, forest: Forest, modules: dict[str, Any]) -> None:
        self._m = modules
        self.tree = modules["RadixCache"].create_simulated()
        for number in forest.leaves():
            self._insert(forest.path(number))

    def _insert(self, tokens: list[int]) -> None:
        key = self._m["RadixKey"](tokens)
        self.tree.insert(self._m["InsertParams"](key=key))

    def match(self, prompts: list[list[int]]) -> float:
        """Seconds a match."""
        keys = [self._m["MatchPrefixParams"](key=self._m["RadixKey"](p)) for p in prompts]
        started = time.perf_counter()
        for key in keys:
            self.tree.match_prefix(key)
        return (time.perf_counter() - started) / len(prompts)

    def insert(self, sequences: list[list[int]]) -> float:
        """Seconds an insertion of a whole sequence, of which the end alone is new."""
        started = time.perf_counter()
        for sequence in sequences:
            self._insert(sequence)
        return (time.perf_counter() - started) / len(sequences)

    def evict(self, times: int) -> None:
        """Without an allocator it cannot evict."""
        return None


def load(forest: Forest) -> Loaded | None:
    """The forest in this alternative; ``None`` where it is not installed or has another API."""
    try:
        from sglang.srt.mem_cache.base_prefix_cache import InsertParams, MatchPrefixParams
        from sglang.srt.mem_cache.radix_cache import RadixCache, RadixKey
    except ImportError:
        missing("SGLang's radix cache", HOW)
        return None
    modules = {
        "RadixCache": RadixCache,
        "RadixKey": RadixKey,
        "InsertParams": InsertParams,
        "MatchPrefixParams": MatchPrefixParams,
    }
    try:
        return Loaded(forest, modules)
    except (AttributeError, TypeError) as error:
        missing("a known version of SGLang's radix cache", f"this one says: {error}")
        return None
