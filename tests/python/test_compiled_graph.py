"""A compiled graph that is called past torch's wrappers gives what they give, or is not made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_compiled import logits, runner_of

from search.backends.compiled import compile_runner
from search.backends.compiled_graph import CompiledGraph, Compiler

WEIGHT = torch.nn.Parameter(torch.arange(40.0).reshape(10, 4), requires_grad=False)
Function = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def made(function: Function, *given: torch.Tensor) -> tuple[Function, CompiledGraph | None]:
    compiler = Compiler({})
    guarded = torch.compile(function, backend=compiler, dynamic=True, fullgraph=True)
    assert compiler.graph(given, []) is None
    guarded(*given)
    return guarded, compiler.graph(given, [WEIGHT])


def picked(tokens: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return WEIGHT[tokens[0]].cumsum(0)[rows] / tokens.shape[1]


def test_other_sizes_and_numbers() -> None:
    guarded, graph = made(picked, torch.ones(1, 7, dtype=torch.long), torch.tensor([1, 0]))
    assert graph is not None
    for length, count in [(3, 2), (9, 5), (5, 5), (2, 7)]:
        tokens = torch.randint(0, 10, (1, length))
        rows = torch.randint(0, length, (count,))
        assert torch.equal(graph(tokens, rows), guarded(tokens, rows))
        assert torch.allclose(graph(tokens, rows), picked(tokens, rows))


def test_an_input_that_may_change_is_not_taken_for_a_constant() -> None:
    shift = torch.ones(4)

    def shifted(tokens: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return picked(tokens, rows) + shift

    assert made(shifted, torch.ones(1, 7, dtype=torch.long), torch.tensor([1, 0]))[1] is None


def test_an_argument_that_is_not_read_is_noticed() -> None:
    def first(tokens: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return WEIGHT[tokens[0]]

    assert made(first, torch.ones(1, 7, dtype=torch.long), torch.tensor([1, 0]))[1] is None


def test_a_compiled_model_is_called_so(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = runner_of(folders, "llama", pool_tokens=1024)
    compile_runner(runner, "llama")
    expected = logits(runner, [[4, 5, 6], [7] * 30])
    calls: list[int] = []
    call = CompiledGraph.__call__

    def counting(graph: CompiledGraph, *given: torch.Tensor) -> torch.Tensor:
        calls.append(given[0].shape[-1])
        return call(graph, *given)

    monkeypatch.setattr(CompiledGraph, "__call__", counting)
    assert torch.equal(logits(runner, [[4, 5, 6], [7] * 30]), expected)
    assert len(calls) == 1
