"""What the machine could do at best: torch's matrix products, and reading memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.attention.cells import Cell


@dataclass(frozen=True)
class Rates:
    """Measured rates.

    Attributes:
        operations: floating point operations a second of a large matrix product.
        read_bytes: bytes a second of a sum over more memory than the caches hold.
    """

    operations: float
    read_bytes: float

    def floor_seconds(self, cell: Cell) -> float:
        """No step can be faster than its products, nor than reading every key and value once."""
        return max(cell.operations / self.operations, cell.layer_bytes / self.read_bytes)


class Machine:
    """Measures rates again and again: those of a shared machine change within seconds."""

    def __init__(self, quick: bool) -> None:
        self._square = torch.randn((256, 256) if quick else (1024, 1024))
        self._memory = torch.ones((1 if quick else 64) << 20)

    def rates(self, dtype: torch.dtype) -> Rates:
        """Better of two runs with torch's threads, products being of ``dtype``."""
        square = self._square.to(dtype)
        seconds = _best(partial(torch.matmul, square, square))
        return Rates(
            operations=2 * len(square) ** 3 / seconds,
            read_bytes=self._memory.nbytes / _best(self._memory.sum),
        )


class Floor:
    """The floor of a cell, measured in turn with the step like an alternative.

    Attributes:
        rates: what was measured, round by round.
    """

    def __init__(self, machine: Machine, cell: Cell) -> None:
        self._machine = machine
        self._cell = cell
        self.rates: list[Rates] = []

    def seconds(self) -> float:
        """Measures the rates and gives the floor at these."""
        self.rates.append(self._machine.rates(self._cell.dtype))
        return self.rates[-1].floor_seconds(self._cell)


def _best(run: Callable[[], object], times: int = 2) -> float:
    run()
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
