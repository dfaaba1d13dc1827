"""Compiled models: the numbers of plain forward passes, and trees that do not depend on company."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from torch._inductor.utils import fresh_cache, run_and_get_code

from search import _native
from search.backends import attention
from search.backends.compiled import compile_runner
from search.backends.loading import load_model
from search.backends.packed_linear import pack_linear_layers
from search.backends.paged_runner import PagedRunner, language_head
from search.errors import ModelRefused

KINDS = ("llama", "gemma2")
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.04}  # of the largest logit


def runner_of(
    folders: Path, kind: str, pool_tokens: int, dtype: torch.dtype = torch.float32
) -> PagedRunner:
    from transformers import AutoModelForCausalLM

    folder = tiny_models.made(folders, kind=kind)
    model = load_model(str(folder), AutoModelForCausalLM, dtype)
    pack_linear_layers(model, compiled=True)
    return PagedRunner(model, language_head, pool_tokens)


@pytest.fixture(
    scope="module",
    params=[(kind, dtype) for dtype in TOLERANCE for kind in KINDS],
    ids=lambda param: f"{param[0]}-{str(param[1]).removeprefix('torch.')}",
)
def runner(request: pytest.FixtureRequest, folders: Path) -> PagedRunner:
    kind, dtype = request.param
    runner = runner_of(folders, kind, pool_tokens=1024, dtype=dtype)
    compile_runner(runner, kind)
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
    paths = [torch.randint(3, 12, (n,), generator=generator).tolist() for n in (3, 17, 40, 5, 63)]
    together = logits(runner, paths)
    model = runner.model
    model.set_attn_implementation("eager")  # type: ignore[operator]
    for path, found in zip(paths, together, strict=True):
        plain = model(input_ids=torch.tensor([path])).logits[0, -1].float()
        limit = TOLERANCE[runner.pool.dtype] * plain.abs().max().clamp_min(1)
        assert (found - plain).abs().max() < limit
    for path, found in zip(paths, together, strict=True):
        assert torch.equal(logits(runner, [path])[0], found)
    for count in range(1, len(paths)):
        assert torch.equal(logits(runner, paths[:count]), together[:count])


def test_nothing_is_compiled_twice(runner: PagedRunner) -> None:
    with torch.compiler.set_stance("fail_on_recompile"):
        for n in (1, 2, 3, 16, 30, 37, 100):
            logits(runner, [[4] * n])


def test_attention_is_reached_through_the_compiled_pass(
    runner: PagedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain passes hand the step over; only compiled ones look it up, once a layer."""

    class Counting(dict[int, attention.StepPlan]):
        found = 0

        def __getitem__(self, key: int) -> attention.StepPlan:
            self.found += 1
            return super().__getitem__(key)

    steps = Counting()
    monkeypatch.setattr(attention, "STEPS", steps)
    logits(runner, [[4, 5, 6]])
    assert steps.found == runner.model.config.num_hidden_layers  # type: ignore[union-attr]
    assert not steps


@pytest.mark.skipif(
    not _native.linear.available(), reason="this processor has no products of bfloat16 pairs"
)
def test_products_of_the_same_rows_are_one_call(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queries, keys and values; gate and up, in the last layer of the rows asked for only."""
    compiled = runner_of(folders, "llama", pool_tokens=1024, dtype=torch.bfloat16)
    compile_runner(compiled, "llama")
    joined: list[tuple[int, int]] = []
    multiply_all = _native.linear.multiply_all

    def counting(layers: list[Any], x: int, stride: int, rows: int, outs: list[int]) -> None:
        joined.append((len(layers), rows))
        multiply_all(layers, x, stride, rows, outs)

    monkeypatch.setattr(_native.linear, "multiply_all", counting)
    logits(compiled, [[4, 5, 6, 7, 8, 9]])
    layers = compiled.model.config.num_hidden_layers  # type: ignore[union-attr]
    assert joined == [(3, 6), (2, 6)] * (layers - 1) + [(3, 6), (2, 2)]


def test_sines_of_positions_are_computed_once_for_all_layers(folders: Path) -> None:
    plain = runner_of(folders, "llama", pool_tokens=1024)
    assert plain.model.config.num_hidden_layers > 1  # type: ignore[union-attr]
    with fresh_cache():
        _, codes = run_and_get_code(compile_runner, plain, "llama")
    code = codes[-1]
    kernels = re.findall(
        r"^(\w+) = async_compile\.cpp_pybinding\((.*?)^\'\'\'\)", code, re.M | re.S
    )
    with_sines = [name for name, body in kernels if re.search(r"\bsin\(", body)]
    calls = [re.findall(rf"^ +{name}\(", code, re.M) for name in with_sines]
    assert len(with_sines) == 1
    assert len(calls[0]) == 1


def test_a_model_that_cannot_be_compiled_is_refused(folders: Path) -> None:
    def looking(*arguments: Any) -> torch.Tensor:
        out = language_head(*arguments)
        print(float(out.sum()))  # a number of the host: no single graph can hold this
        return out

    runner = runner_of(folders, "llama", pool_tokens=1024)
    runner.head, plain = looking, runner.forward
    with pytest.raises(ModelRefused, match="llama cannot be compiled: "):
        compile_runner(runner, "llama")
    assert runner.forward is plain


def test_other_numbers_are_refused(folders: Path) -> None:
    runner = runner_of(folders, "llama", pool_tokens=1024)
    runner.head, plain = lambda *arguments: 1.01 * language_head(*arguments), runner.forward
    with pytest.raises(ModelRefused, match="llama gives other numbers when compiled"):
        compile_runner(runner, "llama")
    assert runner.forward is plain


def test_a_pool_too_small_is_said(folders: Path) -> None:
    with pytest.raises(ModelRefused, match="pool of 64 tokens"):
        compile_runner(runner_of(folders, "llama", pool_tokens=64), "llama")
