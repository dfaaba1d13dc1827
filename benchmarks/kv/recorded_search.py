"""How much of the pool's memory a search uses, read while the bundled policy solves puzzles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.kv.forest import PAGE_SIZE


@dataclass
class Occupancy:
    """The pool after one step.

    Attributes:
        page_bytes: bytes of the pages in use.
        tokens: distinct tokens that have keys and values in them.
        token_bytes: bytes of the keys and values of one token.
    """

    page_bytes: int
    tokens: int
    token_bytes: int

    @property
    def ratio(self) -> float:
        """Bytes held for every byte that is needed."""
        return self.page_bytes / (self.tokens * self.token_bytes)


@dataclass
class Recording:
    """Occupancy at the step that held most, and at the last one."""

    peak: Occupancy
    end: Occupancy
    evictions: int
    steps: int


def record(puzzles: int, budget: int, pool_tokens: int, seed: int) -> Recording:
    """Runs MCTS with the bundled policy over some puzzles, all of them at once.

    Args:
        puzzles: how many of Game of 24.
        budget: policy tokens of each.
        pool_tokens: size of the pool; a small one shows what eviction leaves behind.
        seed: of the searches.
    """
    from search import Budget, Search
    from search.backends.transformers_model import TransformersLanguageModel
    from search.bundled import POLICY, resolve
    from search.evaluation.suites import load_suite

    policy = TransformersLanguageModel(
        resolve(POLICY), pool_tokens=pool_tokens, page_size=PAGE_SIZE
    )
    seen: list[Occupancy] = []
    runner: Any = policy.runner
    runner.run = _watched(runner, seen)
    search = Search(policy, budget=Budget(policy_tokens=budget), seed=seed, max_live=puzzles)
    for _ in search.solve_many(load_suite("game24", None, None, puzzles)):
        pass
    peak = max(seen, key=lambda occupancy: occupancy.page_bytes)
    return Recording(peak, seen[-1], int(policy.runner.spans.evictions), len(seen))


def _watched(runner: Any, seen: list[Occupancy]) -> Callable[[Any], Any]:
    """``runner.run`` that notes after every batch what the pool holds."""
    plain = runner.run

    def run(batch: Any) -> Any:
        out = plain(batch)
        spans, per_token = runner.spans, token_bytes(runner.model)
        pages = spans.n_pages - spans.free_pages
        page_bytes = pages * spans.page_size * per_token
        seen.append(Occupancy(page_bytes, spans.used_slots, per_token))
        return out

    return run


def token_bytes(model: Any) -> int:
    """Bytes of the keys and values of one token in all layers of a model."""
    config = model.config
    element = next(model.parameters()).element_size()
    return int(
        2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * element
    )
