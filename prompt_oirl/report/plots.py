"""Plots of a report, as SVG text that stands in the page itself."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prompt_oirl.report.results import is_number


def _svg(draw: Callable[[Any], None], width: float = 5.0, height: float = 3.0) -> str:
    import matplotlib

    settings = {"svg.hashsalt": "treeward", "svg.fonttype": "path", "font.size": 9}
    with matplotlib.rc_context(settings):
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        draw(axes)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    found = text.getvalue()
    found = found[found.index("<svg") :]
    found = re.sub(r"<metadata>.*?</metadata>", "", found, flags=re.DOTALL)
    return re.sub(r"<!--.*?-->", "", found, flags=re.DOTALL)  # names of the data stand in comments


def gains_plot(rows: Sequence[Mapping[str, Any]]) -> str:
    """Gain over the best single prompt with its interval, in points, one line a row."""

    def draw(axes: Any) -> None:
        for place, row in enumerate(rows):
            low, high = row["gain_ci95"]
            axes.plot([100 * low, 100 * high], [place, place], color="#35608d", linewidth=2)
            axes.plot([100 * row["gain"]], [place], "o", color="#35608d")
        axes.axvline(0, color="#888888", linewidth=1, linestyle="--")
        labels = [_plain(f"{row.get('log', '')} {row.get('protocol', '')}") for row in rows]
        axes.set_yticks(range(len(rows)), labels)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("gain over the best single prompt, points (95 % interval)")

    return _svg(draw, 6.5, 0.9 + 0.3 * len(rows))


def values_plot(row: Mapping[str, Any]) -> str:
    """Mean outcome of the choices beside what else could be chosen."""
    names = {
        "worst_single": "worst single",
        "random": "random",
        "lookup": "lookup",
        "best_single_train": "best single, chosen on train",
        "hindsight_best": "best single, in hindsight",
        "value": "this selector",
        "oracle": "oracle",
    }
    shown = [(label, row[key]) for key, label in names.items() if is_number(row.get(key))]

    def draw(axes: Any) -> None:
        colours = ["#35608d" if label == "this selector" else "#b8c4d0" for label, _ in shown]
        axes.barh(range(len(shown)), [value for _, value in shown], color=colours)
        axes.set_yticks(range(len(shown)), [label for label, _ in shown])
        axes.set_xlabel("mean outcome")

    return _svg(draw)


def reliability_plot(bins: Sequence[Sequence[float]]) -> str:
    """Mean outcome against mean prediction of each bin (mean, outcome, cells)."""

    def draw(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color="#888888", linewidth=1, linestyle="--")
        most = max((entry[2] for entry in bins), default=1) or 1
        for predicted, outcome, cells in bins:
            size = 4 + 8 * (cells / most) ** 0.5
            axes.plot([predicted], [outcome], "o", color="#35608d", markersize=size)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel("predicted")
        axes.set_ylabel("outcome")

    return _svg(draw, 3.4, 3.2)


def candidates_plot(points: Sequence[Mapping[str, Any]]) -> str:
    """Predicted and realised value over the number of candidates."""

    def draw(axes: Any) -> None:
        for key, colour in (("predicted", "#c06a3c"), ("realised", "#35608d")):
            at = [point["candidates"] for point in points]
            axes.plot(at, [point[key] for point in points], color=colour, label=key)
        axes.set_xlabel("candidates")
        axes.set_ylabel("mean outcome")
        axes.legend(frameon=False)

    return _svg(draw)


def _plain(text: str) -> str:
    """Without the marks of matplotlib's own formulas and half pairs of surrogates, not too long."""
    text = text.encode("utf-8", "replace").decode()
    return text.replace("$", r"\$")[:60].strip()
