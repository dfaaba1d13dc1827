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

    def or_better(self, other: Rates) -> Rates:
        """The higher one of each."""
        return Rates(max(self.operations, other.operations), max(self.read_bytes, other.read_bytes))


class Machine:
    """Measures rates again and again: on a shared machine they change within seconds."""

    def __init__(self, quick: bool) -> None:
        self._square = torch.randn((256, 256) if quick else (1024, 1024))
        self._memory = torch.ones((1 if quick else 64) << 20)

    def rates(self, dtype: torch.dtype) -> Rates:
        """Best of some runs with torch's threads, products being of ``dtype``."""
        square = self._square.to(dtype)
        seconds = _best(partial(torch.matmul, square, square))
        return Rates(
            operations=2 * len(square) ** 3 / seconds,
            read_bytes=self._memory.nbytes / _best(self._memory.sum),
        )


def _best(run: Callable[[], object], times: int = 4) -> float:
    run()
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
