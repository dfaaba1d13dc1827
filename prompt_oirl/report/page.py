"""The page: what was found and measured, with the hashes of what it was measured on.

Everything that comes from data is escaped; the page loads nothing, neither scripts nor styles.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prompt_oirl.errors import BadLog
from prompt_oirl.report.plots import candidates_plot, gains_plot, reliability_plot, values_plot
from prompt_oirl.report.results import check_audit, check_evaluation, is_number
from search.json_text import parse_json

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em;
       color: #1c2630; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; }
table { border-collapse: collapse; } td, th { padding: .2em .8em .2em 0; text-align: left;
        vertical-align: top; border-bottom: 1px solid #e3e8ed; }
code { font-size: .9em; overflow-wrap: anywhere; } svg { max-width: 100%; height: auto; }
.error { color: #a3261d; } .warning { color: #8a5a00; } .verdict { font-size: 1.15em; }
"""
MEASURES = {
    "rows": "queries",
    "arms": "prompts",
    "value": "value",
    "best_single_train": "best single, chosen on train",
    "gain_p": "p-value of the gain",
    "deviates": "share with another prompt than the default",
    "random": "random prompt",
    "lookup": "lookup of known questions",
    "oracle": "oracle",
    "headroom_captured": "captured headroom",
    "greedy_gain": "gain without a default to fall back to",
    "auc": "AUC",
    "auc_within_arm": "AUC within a prompt",
    "brier_skill": "Brier skill",
    "ece": "expected calibration error",
}


def sha256_of(path: str | Path) -> str:
    """Hash of a file.

    Raises:
        BadLog: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise BadLog(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()


def read_result(path: str | Path, what: str) -> dict[str, Any]:
    """A JSON object that another command printed.

    Args:
        path: of the file.
        what: it should be, ``audit`` or ``evaluation``.

    Raises:
        BadLog: it cannot be read, is no JSON object, or holds what a page cannot show.
    """
    try:
        found = parse_json(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadLog(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise BadLog(f"{path} is no JSON of an {what} ({error})") from error
    if not isinstance(found, dict):
        raise BadLog(f"{path} is no JSON object of an {what}")
    check = check_audit if what == "audit" else check_evaluation
    check(found, str(path))
    return found


def report_page(
    audit: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    choice: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    hashes: Mapping[str, str] | None = None,
) -> str:
    """The page as HTML; what is not given, or lacks in what is given, is left out.

    Args:
        audit: JSON of ``treeward prompt audit``.
        evaluation: JSON of ``treeward prompt evaluate``: ``rows``, and ``verdict``, ``reason``.
        choice: facts of a selector: name and value.
        config: settings to print: name and value.
        hashes: SHA-256 of files: name and hash.

    Raises:
        BadLog: the audit or the evaluation holds what cannot be shown.
    """
    check_audit(audit or {})
    check_evaluation(evaluation or {})
    rows: list[Mapping[str, Any]] = (evaluation or {}).get("rows", [])
    name = str((audit or {}).get("log") or (rows[0].get("log") if rows else "") or "prompts")
    parts = [f"<h1>Prompts of {_text(name)}</h1>"]
    if evaluation and evaluation.get("verdict"):
        parts.append(
            f"<p class='verdict'><b>{_text(evaluation['verdict'])}</b>: "
            f"{_text(evaluation.get('reason', ''))}</p>"
        )
    if audit:
        parts += _audit(audit)
    if rows:
        parts += _evaluation(rows)
    if choice:
        parts += ["<h2>Selector</h2>", _table(choice.items())]
    if config:
        parts += ["<h2>Settings</h2>", _table(config.items())]
    if hashes:
        parts += ["<h2>Data</h2>", "<table>"]
        parts += [
            f"<tr><td>{_text(key)}</td><td><code>sha256 {_text(value)}</code></td></tr>"
            for key, value in hashes.items()
        ]
        parts.append("</table>")
    body = "\n".join(parts)
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta http-equiv='Content-Security-Policy' "
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{_text(name)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _audit(audit: Mapping[str, Any]) -> list[str]:
    parts = ["<h2>Audit</h2>"]
    size = {key: audit[key] for key in ("queries", "arms", "cells") if key in audit}
    parts += [_table(size.items()), "<table>"]
    for found in audit.get("findings", []):
        severity = found.get("severity", "")
        mark = severity if severity in ("error", "warning") else "note"
        parts.append(
            f"<tr><td class='{mark}'>{_text(severity)}</td><td>{_text(found.get('check', ''))}</td>"
            f"<td>{_text(found.get('sentence', ''))}</td></tr>"
        )
    return [*parts, "</table>"]


def _evaluation(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    parts = ["<h2>Evaluation</h2>"]
    gains = [row for row in rows if _interval(row.get("gain_ci95")) and is_number(row.get("gain"))]
    if gains:
        parts.append(gains_plot(gains))
    for row in rows:
        parts.append(f"<h3>{_text(row.get('log', ''))} {_text(row.get('protocol', ''))}</h3>")
        shown: dict[str, Any] = {}
        if row in gains:
            low, high = row["gain_ci95"]
            shown["gain, points"] = (
                f"{100 * row['gain']:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"
            )
        shown |= {label: row[key] for key, label in MEASURES.items() if is_number(row.get(key))}
        parts += [_table(shown.items()), values_plot(row)]
        if row.get("reliability"):
            parts += ["<p>Predicted against realised outcomes.</p>"]
            parts.append(reliability_plot(row["reliability"]))
        curve = row.get("curve") or row.get("over_optimisation")
        if curve:
            parts += ["<p>Promised and realised value over the number of candidates.</p>"]
            parts.append(candidates_plot(curve))
    return parts


def _interval(value: object) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(map(is_number, value))


def _table(items: Any) -> str:
    lines = [f"<tr><td>{_text(key)}</td><td>{_text(value)}</td></tr>" for key, value in items]
    return "<table>" + "\n".join(lines) + "</table>"


def _text(value: object) -> str:
    shown = f"{value:.4g}" if isinstance(value, float) else str(value)
    return html.escape(shown.encode("utf-8", "replace").decode())
