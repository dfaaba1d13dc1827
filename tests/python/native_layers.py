"""Models whose decoder layers are native, and a layer alone beside that of transformers."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import tiny_models
import torch
from test_runner_logits import grow, random_prompt, run, runner_of

from search import _native
from search.backends import decoder_layers
from search.backends.attention import PagedPool, StepPlan
from search.backends.decoder_layers import use_native_layers
from search.backends.packed_linear import pack_linear_layers
from search.backends.paged_runner import PagedRunner, language_head

KNOWN = ("llama", "qwen2", "qwen3", "mistral")


def packed_runner(folder: Path) -> PagedRunner:
    """A model whose norms and biases are not the ones and zeros of a fresh one."""
    runner = runner_of(folder, torch.bfloat16)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in runner.model.parameters():
            if weight.ndim == 1:
                weight.add_(torch.randn(weight.shape, generator=generator) * 0.3)
    pack_linear_layers(runner.model)
    return runner


def native_runner(folder: Path) -> PagedRunner:
    runner = packed_runner(folder)
    layers = runner.model.config.num_hidden_layers  # type: ignore[union-attr]
    assert use_native_layers(runner.model, language_head) == layers
    for layer in runner.model.model.layers:  # type: ignore[union-attr]
        # What the layer is made of is not called any more.
        layer.mlp.forward = layer.self_attn.forward = None
    return runner


def logits(runner: PagedRunner, seed: int) -> torch.Tensor:
    """A prompt as a whole, branches that grow from it, and steps of many rows and few."""
    generator = random.Random(seed)
    tree = runner.spans.open_tree(random_prompt(generator, 75))
    states = grow(runner, tree, generator, 9)
    return torch.cat([run(runner, states[:1]), run(runner, states[1:4]), run(runner, states)])


def native_forward(layer: Any) -> Any:
    """The layer alone as a native call; the layer itself stays as it came."""
    decoder_layers._use_native_stack([layer], [decoder_layers._native_layer(layer)])
    forward = layer.forward
    del layer.forward
    return forward


def layer_of(folder: Path) -> tuple[torch.nn.Module, Any, int]:
    """A layer of transformers, the same one natively, and its model's size."""
    model = packed_runner(folder).model
    layer = model.model.layers[0]  # type: ignore[union-attr]
    native = decoder_layers._native_layer(layer)
    return layer, native, model.config.hidden_size  # type: ignore[union-attr]


class Step:
    """A packed batch of a path's last tokens, over a pool of its own."""

    def __init__(self, rows: int, asked: list[int] | None = None, head_dim: int = 8) -> None:
        self.head_dim = head_dim
        self.pool = PagedPool(rows // 16 + 8, 16, torch.bfloat16)
        spans = _native.kv.SpanTree(rows // 16 + 8, 16)
        batch = _native.kv.StepBatch(spans)
        tree = spans.open_tree(list(range(rows)))
        assert batch.add(spans.root(tree))
        batch.finish(1)
        rows_asked = None if asked is None else np.array(asked)
        self.plan = StepPlan(self.pool, batch.plan, 0 if asked is not None else -1, rows_asked)
        self.keep = spans, batch

    def run(self, layer: Any, hidden: torch.Tensor) -> torch.Tensor:
        half = self.head_dim // 2
        angles = torch.arange(hidden.shape[1])[:, None] * 0.3 ** torch.arange(half)
        cos, sin = (torch.cat([f(angles)] * 2, -1).bfloat16()[None] for f in (torch.cos, torch.sin))
        with torch.inference_mode():
            out: torch.Tensor = layer(
                hidden, position_embeddings=(cos, sin), treeward_step=self.plan
            )
        return out


def llama_layer(folders: Path) -> tuple[torch.nn.Module, Any]:
    """A layer of transformers and its native forward, with heads of 8."""
    layer, _, _ = layer_of(tiny_models.made(folders, kind="llama"))
    return layer, native_forward(layer)
