"""``treeward bench tree``: simulations a second, beside mctx, TreeQuest and a plain Python tree.

All do the same number of simulations, one leaf a tree and simulation, with the mean as backup, and
keep every node. Ours and mctx evaluate the leaves of all trees as one batch, ours with numpy
between native calls, mctx inside its compiled program. Seconds include the making of the trees.
TreeQuest and the Python tree are timed on a few trees, since their trees share nothing.

A cell has two rows. ``formula`` is "muzero" for mctx as it comes, which scales values between
siblings, and for the same search by the others; or "puct" on the values as they are: trees are
shallower then, and mctx has less to do. TreeQuest has a formula of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.in_turn import Spread, time_in_turn

NAMES = ("mctx", "treequest", "python")


def run(pairs: int, quick: bool, seed: int) -> Iterator[dict[str, Any]]:
    """A row a cell and formula: branching, trees, simulations, rates and ratios."""
    from benchmarks.tree.ours import OPTIONS

    for branching, trees, simulations in cells(quick):
        for formula in OPTIONS:
            yield measure(formula, branching, trees, simulations, pairs, seed)


def cells(quick: bool) -> list[tuple[int, int, int]]:
    """(branching, trees, simulations of a tree). 64 simulations where there are many trees."""
    if quick:
        return [(8, 64, 32)]
    return [
        (branching, trees, 64 if trees == 1024 else 256)
        for branching in (4, 8, 64)
        for trees in (1, 64, 1024)
    ]


def measure(
    formula: str, branching: int, trees: int, simulations: int, pairs: int, seed: int
) -> dict[str, Any]:
    """One row."""
    from benchmarks.tree import mctx_policy, treequest_mcts
    from benchmarks.tree.evaluation import Tables
    from benchmarks.tree.ours import Ours
    from benchmarks.tree.python_tree import PythonTree

    tables = Tables.random(branching, seed)
    ours = Ours(tables, formula, trees, simulations)
    mctx = mctx_policy.make(tables, formula, trees, simulations, seed)
    treequest = treequest_mcts.make(tables, trees, simulations)
    python = PythonTree(tables, formula, trees, simulations)
    others: dict[str, Callable[[], float] | None] = {
        "mctx": mctx.run if mctx else None,
        "treequest": treequest.run if treequest else None,
        "python": python.run,
    }
    timing = time_in_turn(ours.run, others, pairs=pairs)
    row: dict[str, Any] = {
        "formula": formula,
        "branching": branching,
        "trees": trees,
        "simulations": simulations,
        "sims_per_second": 1.0 / timing.ours.median,
    }
    for name in NAMES:
        spread = timing.others[name]
        row[f"{name}_sims_per_second"] = None if spread is None else 1.0 / spread.median
    for name in NAMES:
        row[f"ratio_{name}"] = timing.ratio(name)
    row["sims_per_second_spread"] = rates(timing.ours)
    for name in NAMES:
        row[f"ratio_{name}_spread"] = timing.ratio_spread(name)
    row["mean_depth"] = ours.depth
    row["mctx_mean_depth"] = mctx.depth() if mctx else None
    return row


def rates(seconds: Spread) -> list[float]:
    """``[median, min, max]`` of one over some seconds."""
    return [1.0 / seconds.median, 1.0 / seconds.high, 1.0 / seconds.low]


def line(row: dict[str, Any]) -> str:
    """A cell in few words."""
    ratio = row["ratio_mctx"]
    beside = "mctx not installed" if ratio is None else f"{ratio:.0f}x mctx"
    return (
        f"{row['formula']}, branching {row['branching']}, {row['trees']} trees: "
        f"{row['sims_per_second']:,.0f} simulations/s, {beside}"
    )


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Rates of all alternatives, a group of bars a cell, on a logarithmic scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(1.5 + 1.2 * len(rows), 4.5))
    series = [("treeward", "sims_per_second"), *((n, f"{n}_sims_per_second") for n in NAMES)]
    width = 0.8 / len(series)
    for i, (name, key) in enumerate(series):
        places = [cell + (i - (len(series) - 1) / 2) * width for cell in range(len(rows))]
        axes.bar(places, [row[key] or 0.0 for row in rows], width, label=name)
    axes.set_yscale("log")
    axes.set_ylabel("simulations per second")
    axes.set_xticks(range(len(rows)))
    lines = "{formula}\n{branching} children\n{trees} trees\n{simulations} simulations"
    axes.set_xticklabels([lines.format(**row) for row in rows], fontsize=8)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
