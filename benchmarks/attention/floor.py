"""What the machine could do at best: torch's matrix products, and reading memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.attention.cells import Cell


@dataclass(frozen=True)
class Machine:
    """Measured rates.

    Attributes:
        operations: floating point operations a second of a large matrix product, by dtype.
        read_bytes: bytes a second of a sum over more memory than the caches hold.
    """

    operations: dict[torch.dtype, float]
    read_bytes: float

    @classmethod
    def measure(cls, quick: bool) -> Machine:
        """Best of some runs with torch's threads."""
        n = 256 if quick else 1024
        operations = {}
        for dtype in (torch.float32, torch.bfloat16):
            a, b = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype)
            operations[dtype] = 2 * n**3 / _best(partial(torch.matmul, a, b))
        memory = torch.ones((1 if quick else 64) << 20)
        return cls(operations, memory.numel() * 4 / _best(memory.sum))

    def floor_seconds(self, cell: Cell) -> float:
        """No step can be faster than its products, nor than reading every key and value once."""
        products = cell.operations / self.operations[cell.dtype]
        return max(products, cell.layer_bytes / self.read_bytes)


def _best(run: Callable[[], object], times: int = 7) -> float:
    run()
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
