"""A row has the same bits with any number of threads, alone or in company."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models
import torch

from search import _native
from search.backends.one_thread import functions_on_one_thread
from search.backends.paged_runner import PagedRunner, language_head
from search.backends.transformers_model import TransformersLanguageModel

# So wide that torch cuts the activations of a few rows between threads.
WIDE = {"hidden_size": 64, "intermediate_size": 4864, "max_position_embeddings": 4096}
PROMPT = [1] + [3 + i % 7 for i in range(39)]


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads(), _native.attention.num_threads()
    yield
    torch.set_num_threads(before[0])
    _native.attention.set_num_threads(before[1])


def outputs(model: torch.nn.Module, company: int) -> torch.Tensor:
    """After 16 branches over one beginning, beside other trees."""
    runner = PagedRunner(model, language_head, pool_tokens=4096)
    spans = runner.spans
    root = spans.root(spans.open_tree(PROMPT))
    runner.run_states([root], 1024)
    branches = [spans.extend(root, [3 + i % 7, 3 + i // 7]) for i in range(16)]
    others = [spans.root(spans.open_tree([1, *range(3, 3 + n)])) for n in (3, 5, 7)[:company]]
    return torch.stack(runner.run_states(branches + others, 1024)[:16])  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["llama", "gpt_neox"])
def test_rows_do_not_depend_on_threads_or_company(folders: Path, threads: None, kind: str) -> None:
    """More threads than processors cut the same way."""
    folder = tiny_models.made(folders, kind=kind, **WIDE)
    model = TransformersLanguageModel(str(folder)).runner.model
    found = {}
    for n in (1, 2, 3, 5, 8):
        torch.set_num_threads(n)
        _native.attention.set_num_threads(n)
        for company in range(4):
            found[n, company] = outputs(model, company)
    for case, rows in found.items():
        assert torch.equal(rows, found[1, 0]), case


def test_activations_and_rotations_are_found(folders: Path, threads: None) -> None:
    seen = []

    class Probe(torch.nn.SiLU):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(torch.get_num_threads())
            return super().forward(x)

    Probe.__module__ = "transformers.activations"
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), Probe(), torch.nn.PReLU())
    assert functions_on_one_thread(model) == 1  # a PReLU has weights
    for n in (2, 4):
        torch.set_num_threads(n)
        model(torch.ones(1, 3))
        assert torch.get_num_threads() == n
    assert seen == [2, 1]
