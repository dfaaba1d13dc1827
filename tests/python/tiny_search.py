"""A small policy, a small reward and a toy verifier, put together for tests of the engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tiny_models

from reward_bridge.causal import CausalRewardModel
from search import Budget, Problem, Search, SearchResult, StepRules
from search.interfaces import RewardRequest, RewardResult, Verdict

# Letters are tokens 3 to 10, the line end is 11, <eos> is 2. Steps of a few letters.
RULES = StepRules(max_step_tokens=6, max_path_tokens=40)
ALGORITHMS = ("greedy", "best_of_n", "beam", "best_first", "mcts", "guided", "accept")
PROBLEMS = tuple(
    Problem(text + "\n", id=f"p{i}")
    for i, text in enumerate(
        ["a", "bc", "cde", "abc", "hgfedcba", "ff", "gah", "deafb", "abab", "cafe", "bead", "head"]
    )
)
# Small searches that end by themselves.
OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "best_of_n": {"n": 6},
    "beam": {"width": 3, "branching": 2, "rounds": 1},
    "best_first": {},
    "mcts": {},
    "guided": {},
    "accept": {},
}


def policy(folders: Path, seed: int = 0, fresh: bool = False, **settings: Any) -> Any:
    """The policy; loaded once for equal settings unless it should be a fresh one."""
    folder = tiny_models.made(folders, kind="llama", seed=seed, initializer_range=0.15)
    load = tiny_models.policy.__wrapped__ if fresh else tiny_models.policy
    return load(folder, **settings)


@cache
def _reward(folders: Path) -> CausalRewardModel:
    return reward(folders, fresh=True)


def reward(folders: Path, fresh: bool = False, **settings: Any) -> CausalRewardModel:
    """A reward model that shares the policy's tokens."""
    if not fresh:
        return _reward(folders)
    folder = tiny_models.made(folders, head="TokenClassification", num_labels=2, seed=5)
    return CausalRewardModel(str(folder), tiny_models.tokenizer(), **settings)


def engine(folders: Path, algorithm: str, **settings: Any) -> Search:
    """A search with everything small; ``settings`` replace its parts."""
    parts: dict[str, Any] = {
        "model": policy(folders),
        "reward": reward(folders),
        "algorithm": algorithm,
        "options": OPTIONS[algorithm],
        "rules": RULES,
        "budget": Budget(policy_tokens=300),
        **settings,
    }
    if parts["model"] is None:
        parts["model"] = policy(folders)
    return Search(**parts)


def by_id(search: Search, problems: Sequence[Problem] = PROBLEMS) -> dict[str, SearchResult]:
    return {result.problem.id: result for result in search.solve_many(problems)}


EXACT = ("parent", "depth", "visits", "draws", "answer", "flags", "finish", "verdict")
NUMBERS = ("value", "q", "logprob", "prior")


def shape(result: SearchResult, exact: bool = True) -> dict[str, Any]:
    """A tree as comparable data: tokens and counts, and bit for bit its numbers if wanted."""
    assert result.status != "failed", result.error
    tree = result.tree
    names = (*EXACT, *(NUMBERS if exact else ()), "token_offset", "tokens")
    found: dict[str, Any] = {name: np.asarray(tree[name]).tobytes() for name in names}
    found["text"], found["answer_text"] = result.text, result.answer
    if exact:
        found["score"] = tree["score"]
    return found


def node_paths(result: SearchResult, prompt: Sequence[int]) -> list[tuple[int, ...]]:
    """All token ids from the prompt's first to each node's last."""
    tree = result.tree
    paths: list[tuple[int, ...]] = [tuple(prompt)]
    for row in range(1, len(tree["parent"])):
        begin, end = tree["token_offset"][row], tree["token_offset"][row + 1]
        own = tuple(int(token) for token in tree["tokens"][begin:end])
        paths.append(paths[tree["parent"][row]] + own)
    return paths


class RowCounter:
    """Counts the rows that reach a model's embedding, padding left out."""

    def __init__(self, model: Any) -> None:
        self.rows: Counter[tuple[int, int]] = Counter()
        self._handle = model.model.register_forward_pre_hook(self._see, with_kwargs=True)

    def _see(self, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        real = kwargs["treeward_step"].plan.query_position >= 0
        tokens, places = kwargs["input_ids"][0].numpy(), kwargs["position_ids"][0].numpy()
        self.rows.update(zip(places[real].tolist(), tokens[real].tolist()))

    def __enter__(self) -> RowCounter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._handle.remove()


def prefixes(paths: Sequence[tuple[int, ...]], whole: bool) -> Counter[tuple[int, int]]:
    """(position, token) of every distinct prefix of the paths, their ends only if ``whole``."""
    distinct = {path[:n] for path in paths for n in range(1, len(path) + whole)}
    return Counter((len(prefix) - 1, prefix[-1]) for prefix in distinct)


class ToyVerifier:
    """Right is an answer that begins with one of some letters; keeps what it was asked."""

    name = "toy"

    def __init__(self, right: str = "abcdefgh", blind: bool = False) -> None:
        self.right = right
        self.blind = blind
        self.seen: list[tuple[Problem, tuple[str, ...]]] = []

    def check(self, problem: Problem, steps: Sequence[str]) -> Verdict:
        assert not self.blind, "the verdict was asked for"
        key, text = self.canonical_key(problem, steps)
        return Verdict(key is not None and key[0] in self.right, key, text)

    def allows(self, problem: Problem, steps: Sequence[str]) -> bool:
        assert not self.blind, "the verdict was asked for"
        return True

    def canonical_key(
        self, problem: Problem, steps: Sequence[str]
    ) -> tuple[str | None, str | None]:
        self.seen.append((problem, tuple(steps)))
        text = "".join(steps).strip()
        return (text[:1], text) if text else (None, None)


def assert_all_free(*models: Any) -> None:
    for model in models:
        spans = model.runner.spans
        spans.check_invariants()
        spans.evict_all()
        assert (spans.used_slots, spans.live_spans) == (0, 0)
        assert spans.free_pages == spans.n_pages


class Scorer:
    """A reward model with one wish about what it returns."""

    def __init__(self, inner: Any, spoil: Any) -> None:
        self.inner, self.spoil, self.spec = inner, spoil, inner.spec

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def score(self, requests: list[RewardRequest]) -> list[RewardResult]:
        return [
            self.spoil(request, result)
            for request, result in zip(requests, self.inner.score(requests))
        ]
