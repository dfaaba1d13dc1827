"""The keys, values and queries of a cell, once, for all alternatives to lay out as they like."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks.attention.cells import Cell

# A model reads other layers before it comes back to one: without that, a cache would hold the
# only layer of a benchmark, and nothing would ever be read from memory.
WORKING_SET_BYTES = 96 << 20
MOST_LAYERS = 24


@dataclass
class Problem:
    """Random tensors of a cell.

    Attributes:
        cell: shapes and types.
        keys: for each level ``[spans, tokens, kv_heads, head_dim]``.
        values: as ``keys``.
        query: ``[branches, q_heads, head_dim]``.
        layers: how many copies of keys and values an alternative keeps and goes through in turn.
    """

    cell: Cell
    keys: list[torch.Tensor] = field(default_factory=list)
    values: list[torch.Tensor] = field(default_factory=list)
    query: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    layers: int = 1

    @classmethod
    def random(cls, cell: Cell, seed: int, quick: bool) -> Problem:
        """Normal numbers from a seed."""
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator).to(cell.dtype)

        problem = cls(cell)
        for spans, tokens in cell.levels:
            problem.keys.append(normal(spans, tokens, cell.kv_heads, cell.head_dim))
            problem.values.append(normal(spans, tokens, cell.kv_heads, cell.head_dim))
        problem.query = normal(cell.branches, cell.q_heads, cell.head_dim)
        wanted = 2 if quick else math.ceil(WORKING_SET_BYTES / cell.layer_bytes)
        problem.layers = min(MOST_LAYERS, wanted)
        return problem

    def path(self, tensors: list[torch.Tensor], branch: int, first_level: int = 0) -> torch.Tensor:
        """``[tokens, kv_heads, head_dim]`` of a branch, from a level on."""
        return torch.cat(
            [
                tensors[level][self.cell.span_of(level, branch)]
                for level in range(first_level, len(tensors))
            ]
        )


class Alternative:
    """A step of attention in some layout: ``attend(layer)`` gives ``[branches, q_heads, dim]``."""

    def __init__(self, problem: Problem, attend: Callable[[int], torch.Tensor]) -> None:
        self._layers = problem.layers
        self._next_layer = 0
        self._calls = 1
        self.attend = attend

    def calibrate(self, least_seconds: float) -> None:
        """Chooses how many layers one run goes through so that it lasts long enough."""
        seconds = self.seconds()
        if seconds < least_seconds:  # one call tells little of a short one
            self._calls = min(self._layers, math.ceil(least_seconds / seconds))
            seconds = self.seconds()
        self._calls = min(max(1, math.ceil(least_seconds / seconds)), 1000 * self._layers)

    def seconds(self) -> float:
        """Seconds of one layer; runs go through all layers in turn."""
        started = time.perf_counter()
        for call in range(self._next_layer, self._next_layer + self._calls):
            self.attend(call % self._layers)
        elapsed = time.perf_counter() - started
        self._next_layer = (self._next_layer + self._calls) % self._layers
        return elapsed / self._calls


def enough_memory(name: str, cell: Cell, wanted_bytes: int) -> bool:
    """Whether an alternative has room for what it copies; if not, says so on stderr."""
    available = _available_bytes()
    if available is None or wanted_bytes <= available:
        return True
    print(
        f"treeward: {name} would need {wanted_bytes / 2**30:.1f} GiB where "
        f"{available / 2**30:.1f} are left, its numbers are null: batch {cell.branches}, "
        f"prefix {cell.prefix}, suffix {cell.suffix}, {cell.dtype}",
        file=sys.stderr,
    )
    return False


def _available_bytes() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def copies(tensor: torch.Tensor, layers: int) -> list[torch.Tensor]:
    """The tensor and ``layers - 1`` copies of it elsewhere in memory."""
    return [tensor, *(tensor.clone() for _ in range(layers - 1))]
