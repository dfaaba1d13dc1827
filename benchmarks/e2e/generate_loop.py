"""A step loop over transformers' ``generate``: every step reads its whole path again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.e2e.workloads import Shape


def load(folder: Path, reward: Path, dtype: str) -> tuple[Any, Any]:
    """A model and its reward model as transformers has them, without progress bars."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForTokenClassification

    from search.backends.loading import quiet

    kind = getattr(torch, dtype)
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=kind)
        scorer = AutoModelForTokenClassification.from_pretrained(reward, dtype=kind)
    return model.eval(), scorer.eval()


class GenerateLoop:
    """What most scripts do: batches of texts in, texts out, nothing kept between steps."""

    def __init__(self, folder: Path, reward: Path, dtype: str) -> None:
        self.model, self.reward = load(folder, reward, dtype)

    def run(self, shape: Shape, prompt: list[int], scored: bool) -> float:
        """Fills a tree of this shape; returns the seconds."""
        import torch

        started = time.perf_counter()
        paths = [prompt]
        with torch.inference_mode():
            for wave in shape.waves:
                found: dict[int, list[list[int]]] = {}
                # Rows of a call have one length and one number of samples.
                kinds = sorted({(len(paths[e.parent]), e.children) for e in wave})
                for length, children in kinds:
                    chosen = [
                        i
                        for i, e in enumerate(wave)
                        if (len(paths[e.parent]), e.children) == (length, children)
                    ]
                    inputs = torch.tensor([paths[wave[i].parent] for i in chosen])
                    out = self.model.generate(
                        inputs,
                        attention_mask=torch.ones_like(inputs),
                        do_sample=True,
                        top_k=0,
                        num_return_sequences=children,
                        min_new_tokens=shape.step_tokens,
                        max_new_tokens=shape.step_tokens,
                    ).tolist()
                    for place, i in enumerate(chosen):
                        found[i] = out[place * children : (place + 1) * children]
                new = [path for i in range(len(wave)) for path in found[i]]
                if scored:
                    score(self.reward, new)
                paths += new
        return time.perf_counter() - started


def score(reward: object, paths: list[list[int]]) -> None:
    """Scores whole paths, 16 of one length at a time."""
    import torch

    for length in sorted({len(path) for path in paths}):
        same = [path for path in paths if len(path) == length]
        for start in range(0, len(same), 16):
            reward(input_ids=torch.tensor(same[start : start + 16]))  # type: ignore[operator]
