"""Compiled models: the numbers of plain forward passes, and trees that do not depend on company."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_models
import torch

from search.backends.compiled import compile_runner
from search.backends.loading import load_model
from search.backends.paged_runner import PagedRunner, language_head
from search.errors import ModelRefused

KINDS = ("llama", "gemma2")


def runner_of(folders: Path, kind: str, pool_tokens: int) -> PagedRunner:
    from transformers import AutoModelForCausalLM

    folder = tiny_models.made(folders, kind=kind)
    model = load_model(str(folder), AutoModelForCausalLM, torch.float32)
    return PagedRunner(model, language_head, pool_tokens)


@pytest.fixture(scope="module", params=KINDS)
def runner(request: pytest.FixtureRequest, folders: Path) -> PagedRunner:
    runner = runner_of(folders, request.param, pool_tokens=1024)
    compile_runner(runner, request.param)
    return runner


def logits(runner: PagedRunner, paths: list[list[int]]) -> torch.Tensor:
    """Next-token logits after some paths, in one batch of trees of their own."""
    trees = [runner.spans.open_tree(path) for path in paths]
    batch = runner.new_batch()
    for tree in trees:
        assert batch.add(runner.spans.root(tree))
    try:
        return runner.run(batch)
    finally:
        for tree in trees:
            runner.spans.close_tree(tree)
        runner.spans.evict_all()


def test_numbers_and_company(runner: PagedRunner) -> None:
    generator = torch.Generator().manual_seed(1)
    paths = [torch.randint(3, 12, (n,), generator=generator).tolist() for n in (3, 17, 40, 5, 64)]
    together = logits(runner, paths)
    model = runner.model
    model.set_attn_implementation("eager")  # type: ignore[operator]
    for path, found in zip(paths, together, strict=True):
        plain = model(input_ids=torch.tensor([path])).logits[0, -1].float()
        assert (found - plain).abs().max() < 1e-4 * plain.abs().max().clamp_min(1)
    for path, found in zip(paths, together, strict=True):
        assert torch.equal(logits(runner, [path])[0], found)


def test_nothing_is_compiled_twice(runner: PagedRunner) -> None:
    with torch.compiler.set_stance("fail_on_recompile"):
        for n in (1, 16, 30, 100):
            logits(runner, [[4] * n])


def test_a_pool_too_small_is_said(folders: Path) -> None:
    with pytest.raises(ModelRefused, match="pool of 64 tokens"):
        compile_runner(runner_of(folders, "llama", pool_tokens=64), "llama")
