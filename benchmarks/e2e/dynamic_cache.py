"""transformers with a dynamic cache that is kept for every node and used again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.e2e.generate_loop import load, score
from benchmarks.e2e.workloads import Expansion, Shape


class DynamicCacheLoop:
    """Nothing is read twice, but every branch holds and copies the cache of its whole path."""

    def __init__(self, folder: Path, reward: Path, dtype: str) -> None:
        self.model, self.reward = load(folder, reward, dtype)

    def run(self, shape: Shape, prompt: list[int], scored: bool) -> float:
        """Fills a tree of this shape; returns the seconds."""
        import torch

        started = time.perf_counter()
        with torch.inference_mode():
            paths = [prompt]
            # Of a node: keys and values of its path but the last token, a pair a layer.
            caches = [self._read(prompt[:-1])]
            for wave in shape.waves:
                new: dict[int, tuple[list[list[int]], list[Any]]] = {}
                for length in sorted({len(paths[e.parent]) for e in wave}):
                    chosen = [i for i, e in enumerate(wave) if len(paths[e.parent]) == length]
                    grown = self._grow([wave[i] for i in chosen], paths, caches, shape.step_tokens)
                    new.update(zip(chosen, grown))
                for i in range(len(wave)):
                    paths += new[i][0]
                    caches += new[i][1]
                if scored:
                    score(self.reward, [path for i in range(len(wave)) for path in new[i][0]])
        return time.perf_counter() - started

    def _read(self, tokens: list[int]) -> Any:
        import torch
        from transformers import DynamicCache

        cache = DynamicCache(config=self.model.config)
        self.model(input_ids=torch.tensor([tokens]), past_key_values=cache, logits_to_keep=1)
        return [(layer.keys, layer.values) for layer in cache.layers]

    def _grow(
        self, wave: list[Expansion], paths: list[list[int]], caches: list[Any], tokens: int
    ) -> list[tuple[list[list[int]], list[Any]]]:
        import torch
        from transformers import DynamicCache

        owners = [e.parent for e in wave for _ in range(e.children)]
        cache = DynamicCache(config=self.model.config)
        for index in range(len(caches[0])):
            cache.update(
                torch.cat([caches[owner][index][0] for owner in owners]),
                torch.cat([caches[owner][index][1] for owner in owners]),
                index,
            )
        last = torch.tensor([[paths[owner][-1]] for owner in owners])
        drawn = []
        for _ in range(tokens):
            logits = self.model(input_ids=last, past_key_values=cache).logits[:, -1].float()
            last = torch.multinomial(torch.softmax(logits, -1), 1)
            drawn.append(last)
        steps = torch.cat(drawn, 1).tolist()
        rows = [
            [(layer.keys[i : i + 1], layer.values[i : i + 1]) for layer in cache.layers]
            for i in range(len(owners))
        ]
        grown, first = [], 0
        for e in wave:
            mine = range(first, first + e.children)
            grown.append(([paths[e.parent] + steps[i] for i in mine], [rows[i] for i in mine]))
            first += e.children
        return grown
