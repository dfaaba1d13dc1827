"""``treeward bench linear``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.in_turn import time_in_turn
from benchmarks.linear import layers
from search import _native
from search.errors import TreewardError

ROWS = (1, 4, 8, 16, 32, 48, 64, 128)
QUICK_ROWS = (1, 16)


def run(pairs: int, quick: bool, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of the benchmark, one a number of rows in a step.

    Keys of a row: ``rows``; ``layers``; ``native_ms`` of all layers; for each alternative
    ``<name>_ms`` and ``ratio_<name>`` (theirs ÷ ours, pair by pair) with ``_spread``;
    ``operations_per_second`` and ``weight_bytes_per_second`` of ours.

    Raises:
        TreewardError: the processor has no products of bfloat16 pairs.
    """
    _native.attention.use_loaded_openmp()  # as the engine does
    all_weights = layers.weights(quick, seed)
    ours = layers.native(all_weights)
    if ours is None:
        raise TreewardError(
            "linear layers of our own need AVX-512 BF16; at this level torch does them "
            f"({_native.attention.simd_level()})"
        )
    alternatives = {"onednn": layers.onednn(all_weights), "plain": layers.plain(all_weights)}
    order = [inputs for inputs, _ in layers.shapes(quick)]
    elements = sum(weight.numel() for weight in all_weights)
    generator = torch.Generator().manual_seed(seed + 1)
    for rows in QUICK_ROWS if quick else ROWS:
        inputs = {
            size: torch.randn(rows, size, generator=generator).bfloat16() for size in set(order)
        }

        def timed(products: list[layers.Product], inputs: Any = inputs) -> float:
            return layers.seconds(products, inputs, order)

        others = {
            name: None if products is None else lambda products=products: timed(products)
            for name, products in alternatives.items()
        }
        timing = time_in_turn(lambda: timed(ours), others, pairs)
        row: dict[str, Any] = {
            "rows": rows,
            "layers": len(order),
            "native_ms": timing.ours.median * 1e3,
            "operations_per_second": 2 * rows * elements / timing.ours.median,
            "weight_bytes_per_second": 2 * elements / timing.ours.median,
        }
        for name, spread in timing.others.items():
            row[f"{name}_ms"] = None if spread is None else spread.median * 1e3
            row[f"ratio_{name}"] = timing.ratio(name)
            row[f"ratio_{name}_spread"] = timing.ratio_spread(name)
        yield row


def line(row: dict[str, Any]) -> str:
    """A row in a few words."""
    onednn = "none" if row["ratio_onednn"] is None else f"{row['ratio_onednn']:.2f}"
    return f"{row['rows']} rows: {row['native_ms']:.2f} ms, oneDNN ÷ ours {onednn}"


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Milliseconds of all layers against rows."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 4))
    for key, label in (("native_ms", "treeward"), ("onednn_ms", "oneDNN"), ("plain_ms", "torch")):
        known = [row for row in rows if row[key] is not None]
        axis.plot([row["rows"] for row in known], [row[key] for row in known], "o-", label=label)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xlabel("rows of a step")
    axis.set_ylabel("ms, all linear layers")
    axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
