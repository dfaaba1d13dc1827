"""``treeward bench attention``: one step of tree attention beside torch and vLLM."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.attention import gather_folded, gather_sdpa, native, two_level, vllm_cpu
from benchmarks.attention.cells import Cell, grid, sweep
from benchmarks.attention.floor import Floor, Machine
from benchmarks.attention.problem import Alternative, Problem
from benchmarks.in_turn import time_in_turn

ALTERNATIVES: dict[str, Callable[[Problem], Alternative | None]] = {
    "gather_sdpa": gather_sdpa.make,
    "gather_folded": gather_folded.make,
    "two_level": two_level.make,
    "vllm": vllm_cpu.make,
}
# What an alternative may take of a cell: some gather gigabytes, again and again to no avail.
LIMIT_SECONDS = 1.0
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}


def run(pairs: int, quick: bool, seed: int) -> Iterator[dict[str, Any]]:
    """Measures the cells.

    Args:
        pairs: rounds of ours and each alternative, one after the other. An alternative that has
            taken ``LIMIT_SECONDS`` has no more of them (``<name>_rounds`` counts).
        quick: a few small cells.
        seed: of the random inputs.

    Yields:
        One row a cell: its shape, milliseconds of one layer's step (median) of ours
        (``native_ms``) and of each alternative (``<name>_ms``, null where it cannot run), their
        ratio (``ratio_<name>``, theirs ÷ ours, pair by pair), and the floor in turn with them:
        ``floor_ms`` (median) and ``share_of_floor`` (floor ÷ ours, pair by pair). Rows of the cost
        growth have ``sweep`` true and no alternatives but ``two_level``.
    """
    machine = Machine(quick)
    with torch.inference_mode():
        for cell in [*grid(quick), *sweep(quick)]:
            yield measure(cell, machine, pairs, quick, seed)


def measure(cell: Cell, machine: Machine, pairs: int, quick: bool, seed: int) -> dict[str, Any]:
    """The row of one cell."""
    problem = Problem.random(cell, seed, quick)
    ours = native.make(problem)
    names = ["two_level"] if cell.sweep else list(ALTERNATIVES)
    others = {name: ALTERNATIVES[name](problem) for name in names}
    least = 0.001 if quick else 0.02
    expected = ours.attend(0).float()
    ours.calibrate(least)
    for name, other in others.items():
        if other is None:
            continue
        started = time.perf_counter()
        result = other.attend(0)
        slow = time.perf_counter() - started > LIMIT_SECONDS
        difference = (result.float() - expected).abs().max().item()
        if difference > TOLERANCE[cell.dtype]:
            raise RuntimeError(f"{name} differs from ours by {difference:.3g} in {cell}")
        if not slow:
            other.calibrate(least)
    floor = Floor(machine, cell)
    runs: dict[str, Callable[[], float] | None] = {"floor": floor.seconds}  # right after ours
    runs |= {name: None if other is None else other.seconds for name, other in others.items()}
    timing = time_in_turn(ours.seconds, runs, pairs, limit=LIMIT_SECONDS)
    row: dict[str, Any] = {
        "batch": cell.branches,
        "prefix": cell.prefix,
        "suffix": cell.suffix,
        "depth": len(cell.levels),
        "dtype": str(cell.dtype).removeprefix("torch."),
        "q_heads": cell.q_heads,
        "kv_heads": cell.kv_heads,
        "head_dim": cell.head_dim,
        "path": cell.path,
        "layers": problem.layers,
        "sweep": cell.sweep,
        "native_ms": timing.ours.median * 1e3,
        "native_ms_spread": [ms * 1e3 for ms in timing.ours.as_list()],
    }
    for name in ALTERNATIVES:
        seconds = timing.others.get(name)
        row[f"{name}_ms"] = seconds and seconds.median * 1e3
        row[f"{name}_rounds"] = timing.rounds.get(name, 0)
        row[f"ratio_{name}"] = timing.ratio(name)
        row[f"ratio_{name}_spread"] = timing.ratio_spread(name)
    least_seconds, share = timing.others["floor"], timing.ratios["floor"]
    assert least_seconds is not None
    assert share is not None
    row["floor_ms"] = least_seconds.median * 1e3
    row["share_of_floor"] = share.median
    row["share_of_floor_spread"] = share.as_list()
    row["gflops"] = cell.operations / timing.ours.median / 1e9
    row["gigabytes_per_second"] = cell.layer_bytes / timing.ours.median / 1e9
    row["matmul_gflops"] = median(rates.operations for rates in floor.rates) / 1e9
    row["read_gigabytes_per_second"] = median(rates.read_bytes for rates in floor.rates) / 1e9
    return row


def line(row: dict[str, Any]) -> str:
    """A row in one line."""
    ratios = ", ".join(
        f"{name} {row[f'ratio_{name}']:.2f}x"
        for name in ALTERNATIVES
        if row[f"ratio_{name}"] is not None
    )
    heads = f"{row['q_heads']}/{row['kv_heads']}x{row['head_dim']}"
    return (
        f"batch {row['batch']} prefix {row['prefix']} suffix {row['suffix']} depth {row['depth']} "
        f"{row['dtype']} {heads}: {row['native_ms']:.3f} ms, floor {row['floor_ms']:.3f} ms "
        f"({row['share_of_floor']:.0%})" + (f" ({ratios})" if ratios else "")
    )


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Cost growth against the floor: over the prefix, and over the branches."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    growth = [row for row in rows if row["sweep"]]
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    colours = {"float32": "tab:blue", "bfloat16": "tab:orange"}
    for axis, x, fixed in ((axes[0], "prefix", "batch"), (axes[1], "batch", "prefix")):
        common = _most_common([row[fixed] for row in growth])
        for dtype, colour in colours.items():
            points = sorted(
                (row for row in growth if row[fixed] == common and row["dtype"] == dtype),
                key=lambda row: row[x],
            )
            at = [row[x] for row in points]
            for key, style, label in (
                ("native_ms", "o-", "treeward"),
                ("two_level_ms", "s--", "two-level flash"),
                ("floor_ms", ":", "floor"),
            ):
                axis.plot(
                    at, [row[key] for row in points], style, color=colour, label=f"{label} {dtype}"
                )
        axis.set(xscale="log", yscale="log", ylabel="ms a layer")
        axis.set_xlabel(f"{'shared prefix, tokens' if x == 'prefix' else 'branches'}")
        axis.set_title(f"{fixed} {common}")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize="small")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _most_common(numbers: list[int]) -> int:
    return max(set(numbers), key=numbers.count)
