"""Results of ``treeward prompt`` for people."""

from __future__ import annotations

from math import isnan
from typing import Any

from rich.table import Table
from rich.text import Text


def evaluation_table(row: dict[str, Any]) -> Table | Text:
    """What choices are worth beside the choices everyone could make; what is unknown is left out,
    and a sentence takes the place of a table where nothing is known."""
    if row["rows"] == 0:
        return Text(
            f"{row['log']}, {row['protocol']}, {row['rows_left_out']} queries: what choosing a "
            "prompt for each is worth, this log does not tell."
        )
    table = Table(
        title=f"{row['log']}, {row['protocol']}, {row['rows']} queries", title_justify="left"
    )
    table.add_column("choice")
    table.add_column("mean outcome", justify="right")
    table.add_column("gain, points", justify="right")
    low, high = row["gain_ci95"]
    gain = f"{100 * row['gain']:+.2f}"
    if not isnan(low):  # one group has no interval
        gain += f" [{100 * low:+.2f}, {100 * high:+.2f}]"
    base = row["best_single_train"]
    lines = [
        ("selector", row["value"], gain),
        ("selector without fallback", row["greedy_value"], None),
        ("best single on training rows", base, ""),
        ("best single in hindsight", row["hindsight_best"], None),
        ("worst single", row["worst_single"], None),
        ("at random", row["random"], None),
        ("table of seen questions", row["lookup"], None),
        ("oracle (noise included)", row["oracle"], None),
    ]
    for name, value, difference in lines:
        if value is None or isnan(value):
            continue
        shown = f"{100 * (value - base):+.2f}" if difference is None else difference
        table.add_row(name, f"{value:.4f}", shown)
    measures = {
        "AUC": f"{row['auc']:.3f}",
        "within a prompt": f"{row['auc_within_arm']:.3f}",
        "Brier skill": f"{row['brier_skill']:+.3f}",
        "calibration error": f"{row['ece']:.3f}",
    }
    known = [f"{name} {value}" for name, value in measures.items() if "nan" not in value]
    table.caption = (
        f"leaves the default on {100 * row['deviates']:.1f} % of queries; {', '.join(known)}"
    )
    if left_out := row["rows_left_out"]:
        table.caption += f"; {left_out} more lack an outcome of the chosen or the default prompt"
    return table
