"""treeward's own traces (``treeward solve --trace``): one record a problem, one file a prompt.

    {"format": "treeward-trace", "version": 1, "id": "…", "prompt": "4 5 6 10 -> 24\\n",
     "right": true, "usage": {"policy_tokens": 480, "seconds": 1.2, …}, "error": null, "nodes": […]}

The arm is the file's name, or the name given for it. Where files are of different prompt formats, a
problem has several ``prompt`` texts: give its statement by id in ``queries``. Without that, one id
with two texts is refused: problems without a name of their own are numbered in each file anew.
Problems that failed, that were interrupted, or that no verifier judged, are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prompt_oirl.apply import query_of_trace
from prompt_oirl.errors import BadLog
from prompt_oirl.logs.importers.importing import (
    ImportedCells,
    ImportOptions,
    find_question,
    json_lines,
    number,
)
from prompt_oirl.logs.metadata import log_stem

FORMAT = "treeward-trace"
VERSION = 1


def read_cells(paths: list[Path], options: ImportOptions) -> ImportedCells:
    """The cells of traces, one arm a file."""
    cells = ImportedCells()
    given = _given_texts(options, cells)
    first: dict[str, tuple[str, Path]] = {}
    for path, arm in zip(paths, options.arms or [log_stem(path) for path in paths]):
        traces = 0
        for line, record in json_lines(path, cells):
            if record.get("format") != FORMAT:
                cells.refuse(line, f"{path.name}: no trace of treeward")
                continue
            if record.get("version") != VERSION:
                raise BadLog(f"{path}, line {line}: a trace of version {record.get('version')!r}")
            traces += 1
            name = str(record.get("id", ""))
            reason = _unusable(record)
            if reason is not None:
                cells.refuse(line, f"{path.name}: problem '{name}' {reason}")
                continue
            query = given.get(name) or query_of_trace(record)
            known, before = first.setdefault(name, (query, path))
            if known != query:
                raise BadLog(
                    f"problem '{name}' of {path.name} has another text than in {before.name}; "
                    "if both state one problem, give its statement by 'id' in --queries"
                )
            usage = record.get("usage") or {}
            measures = {
                "tokens": number(usage.get("policy_tokens")),
                "latency": number(usage.get("seconds")),
            }
            texts = {"id": name, "query": query, "arm": arm}
            cells.add(line, texts, float(record["right"]), measures)
        if not traces:
            raise BadLog(f"{path} holds no trace of treeward")
    return cells


def _unusable(record: dict[str, Any]) -> str | None:
    """Why a search tells nothing of its prompt, if so."""
    if record.get("error"):
        return "failed"
    if record.get("status") == "interrupted":  # what its whole budget would have found is unknown
        return "was interrupted"
    return None if isinstance(record.get("right"), bool) else "was not judged"


def _given_texts(options: ImportOptions, cells: ImportedCells) -> dict[str, str]:
    if options.queries is None:
        return {}
    texts, lines = {}, ImportedCells()
    for line, record in json_lines(options.queries, lines):
        text = find_question(record, options.query_fields)
        if text and "id" in record:
            texts[str(record["id"])] = text
        else:
            missing = "text of a query" if "id" in record else "'id'"
            lines.refuse(line, f"{options.queries.name}: no {missing}")
    cells.problems += lines.problems
    if not texts:
        raise BadLog(f"{options.queries} gives no text of a query by 'id'")
    return texts
