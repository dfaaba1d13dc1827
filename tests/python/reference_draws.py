"""A toy next-token model, a driver of SegmentDraws, and exact enumeration of its segments."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from search import _native

EOS = 4
Logits = Callable[[tuple[int, ...]], np.ndarray]


def toy_logits(path: tuple[int, ...], vocabulary: int = 5, scale: float = 1.5) -> np.ndarray:
    """Logits that depend on the tokens alone."""
    rng = np.random.default_rng(zlib.crc32(bytes(path)))
    return (rng.normal(size=vocabulary) * scale).astype(np.float32)


def log_softmax(row: np.ndarray) -> np.ndarray:
    row = row.astype(np.float64)
    return row - row.max() - np.log(np.exp(row - row.max()).sum())


class Driver:
    """Answers the prefixes that draws wait for from a toy model."""

    def __init__(
        self,
        logits: Logits = toy_logits,
        pages: int = 4096,
        page_size: int = 4,
        batch_rows: int = 1 << 20,
        ends: Callable[[list[int]], bool] | None = None,
        row_bytes: int = 1 << 30,
    ) -> None:
        self.spans = _native.kv.SpanTree(pages, page_size)
        self.draws = _native.sampling.SegmentDraws(self.spans, row_bytes)
        self.logits, self.ends, self.batch_rows = logits, ends, batch_rows
        self.cache: dict[tuple[int, ...], np.ndarray] = {}
        self.asked: Counter[tuple[int, tuple[int, ...]]] = Counter()
        self.questions: list[list[int]] = []
        self.failures: list[tuple[int, str]] = []
        self.charged = 0

    def open(self, prompt: Sequence[int] = (0,), seed: int = 1, **changes: Any) -> int:
        options: dict[str, Any] = {
            "delimiters": [],
            "eos": [EOS],
            "max_step_tokens": 3,
            "max_path_tokens": 64,
            "ask_after_token": self.ends is not None,
            "temperature": 1.0,
            "top_k": 0,
            "top_p": 1.0,
            "min_p": 0.0,
        }
        return self.draws.open(list(prompt), seed, **{**options, **changes})

    def row(self, path: tuple[int, ...]) -> np.ndarray:
        if path not in self.cache:
            self.cache[path] = self.logits(path)
        return self.cache[path]

    def step(self, trees: Sequence[int]) -> None:
        """One token of every draw under way, in as many batches as it takes."""
        for tree in trees:
            self.draws.begin_step(tree)
        left = list(trees)
        while left:
            batch = _native.kv.StepBatch(self.spans)
            wanted: list[tuple[int, int]] = []
            while left:
                status, added, rest = self.draws.collect(left[0], batch, 1 << 40, self.batch_rows)
                self.charged += (1 << 40) - rest
                wanted += [(left[0], prefix) for prefix in added]
                if status != "all":
                    assert wanted, status
                    break
                left.pop(0)
            batch.finish()
            batch.commit()
            if wanted:
                self.supply(wanted)
        for tree in trees:
            self.draws.end_step(tree)
        self.answer()

    def supply(self, wanted: list[tuple[int, int]]) -> None:
        paths = [tuple(self.draws.tokens(*each)) for each in wanted]
        self.asked.update((tree, path) for (tree, _), path in zip(wanted, paths, strict=True))
        rows = np.stack([self.row(path) for path in paths])
        self.failures += self.draws.supply(wanted, rows.ctypes.data, rows.shape[1], rows.shape[1])

    def answer(self) -> None:
        while questions := self.draws.take_questions():
            for question in questions:
                self.questions.append(question.tokens)
                self.draws.answer(question.tree, question.walker, self.ends(question.tokens))

    def finish(self, *trees: int) -> list[Any]:
        """Steps until nothing waits; returns the finished segments in order."""
        found = []
        while True:
            self.answer()
            found += self.draws.take_finished()
            if not any(self.draws.waiting(tree) for tree in trees):
                return found
            self.step([tree for tree in trees if self.draws.waiting(tree)])

    def expand(self, tree: int, mode: str, count: int, first: int = 0, prefix: int = 0, limit=0):
        self.draws.expand(tree, 7, prefix, mode, count, first, limit)
        return self.finish(tree)


def segments(
    logits: Logits,
    prompt: tuple[int, ...] = (0,),
    delimiters: Sequence[tuple[int, ...]] = (),
    eos: Sequence[int] = (EOS,),
    most: int = 3,
) -> dict[tuple[int, ...], float]:
    """Every segment after a prompt with its exact probability."""
    out: dict[tuple[int, ...], float] = {}

    def grow(segment: tuple[int, ...], probability: float) -> None:
        for token, logprob in enumerate(log_softmax(logits(prompt + segment))):
            longer = (*segment, token)
            reached = probability * float(np.exp(logprob))
            delimited = any(longer[-len(d) :] == tuple(d) for d in delimiters)
            if token in eos or delimited or len(longer) == most:
                out[longer] = reached
            else:
                grow(longer, reached)

    grow((), 1.0)
    assert abs(sum(out.values()) - 1) < 1e-9
    return out


def assert_distributed(counts: Counter, expected: dict[Any, float]) -> None:
    """Chi-square against exact probabilities, rare outcomes together; five sigma."""
    total = sum(counts.values())
    assert set(counts) <= set(expected)
    rare = [key for key, p in expected.items() if p * total < 8]
    bins = [(counts[key], p * total) for key, p in expected.items() if key not in rare]
    if rare:
        mass = sum(expected[key] for key in rare) * total
        bins.append((sum(counts[key] for key in rare), max(mass, 1e-9)))
    statistic = sum((seen - mean) ** 2 / mean for seen, mean in bins if mean > 1)
    freedom = len(bins) - 1
    assert statistic < freedom + 5 * np.sqrt(2 * freedom) + 5, (statistic, freedom)
