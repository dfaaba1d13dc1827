"""The cells of the benchmark: trees of branches that each ask one query."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch

HEADS = ((14, 2, 64), (16, 8, 128))  # query heads, key-value heads, head size
DTYPES = (torch.float32, torch.bfloat16)


@dataclass(frozen=True)
class Cell:
    """One step: ``levels[-1][0]`` branches, each with one query at the end of its path.

    Attributes:
        levels: (spans, tokens of each), root first; spans of a level share the parents evenly.
        q_heads: query heads.
        kv_heads: key-value heads, a divisor of ``q_heads``.
        head_dim: elements of a key, a value or a query.
        dtype: element type of all of them.
        sweep: belongs to the curve of cost growth, not to the grid.
    """

    levels: tuple[tuple[int, int], ...]
    q_heads: int
    kv_heads: int
    head_dim: int
    dtype: torch.dtype
    sweep: bool = False

    @property
    def branches(self) -> int:
        """Branches, which is also queries."""
        return self.levels[-1][0]

    @property
    def prefix(self) -> int:
        """Tokens that all branches share."""
        return self.levels[0][1] if len(self.levels) > 1 else 0

    @property
    def suffix(self) -> int:
        """Tokens of the last level, which no two branches share."""
        return self.levels[-1][1]

    @property
    def path(self) -> int:
        """Tokens that one query attends to."""
        return sum(tokens for _, tokens in self.levels)

    @property
    def unique_tokens(self) -> int:
        """Tokens whose keys and values must be read at least once."""
        return sum(spans * tokens for spans, tokens in self.levels)

    @property
    def layer_bytes(self) -> int:
        """Bytes of the keys and values of one layer."""
        return 2 * self.unique_tokens * self.kv_heads * self.head_dim * self.dtype.itemsize

    @property
    def operations(self) -> int:
        """Floating point operations of the two products: a multiply-add counts as two."""
        return 4 * self.branches * self.path * self.q_heads * self.head_dim

    def span_of(self, level: int, branch: int) -> int:
        """Which span of a level lies on the path of a branch."""
        return branch * self.levels[level][0] // self.branches


def flat(batch: int, prefix: int, suffix: int) -> tuple[tuple[int, int], ...]:
    """Levels of one prefix and a suffix a branch."""
    return ((1, prefix), (batch, suffix)) if prefix else ((batch, suffix),)


TREES = {
    2: ((1, 256), (64, 256)),
    4: ((1, 256), (4, 256), (16, 256), (64, 256)),
    8: tuple((spans, 128) for spans in (1, 2, 4, 8, 16, 32, 64, 64)),
}


def grid(quick: bool) -> Iterator[Cell]:
    """The cells that are compared with every alternative."""
    if quick:
        for dtype in DTYPES:
            yield Cell(flat(4, 64, 16), *HEADS[0], dtype)
            yield Cell(((1, 32), (2, 32), (4, 32)), *HEADS[0], dtype)
        return
    for heads, dtype in product(HEADS, DTYPES):
        for batch, prefix, suffix in product((1, 32, 128), (0, 256, 2048, 8192), (16, 128)):
            yield Cell(flat(batch, prefix, suffix), *heads, dtype)
        for levels in TREES.values():
            yield Cell(levels, *heads, dtype)


def sweep(quick: bool) -> Iterator[Cell]:
    """Cost growth: prefix at 64 branches, then branches at a prefix of 2048."""
    prefixes = (64, 128) if quick else (256, 512, 1024, 2048, 4096, 8192, 16384)
    batches = (1, 4) if quick else (1, 4, 16, 64, 256)
    for dtype in DTYPES:
        for prefix in prefixes:
            yield Cell(flat(4 if quick else 64, prefix, 128), *HEADS[0], dtype, sweep=True)
        for batch in batches:
            yield Cell(flat(batch, 128 if quick else 2048, 128), *HEADS[0], dtype, sweep=True)
