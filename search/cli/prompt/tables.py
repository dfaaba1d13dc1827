"""Results of ``treeward prompt`` for people."""

from __future__ import annotations

from typing import Any

from rich.table import Table


def evaluation_table(row: dict[str, Any]) -> Table:
    """What choices are worth beside the choices everyone could make."""
    table = Table(
        title=f"{row['log']}, {row['protocol']}, {row['rows']} queries", title_justify="left"
    )
    table.add_column("choice")
    table.add_column("mean outcome", justify="right")
    table.add_column("gain, points", justify="right")
    low, high = row["gain_ci95"]
    gain = f"{100 * row['gain']:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
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
        if value is None:
            continue
        shown = f"{100 * (value - base):+.2f}" if difference is None else difference
        table.add_row(name, f"{value:.4f}", shown)
    table.caption = (
        f"leaves the default on {100 * row['deviates']:.1f} % of queries; AUC {row['auc']:.3f}, "
        f"within a prompt {row['auc_within_arm']:.3f}, Brier skill {row['brier_skill']:+.3f}, "
        f"calibration error {row['ece']:.3f}"
    )
    return table
