"""Writes a log as JSONL, one cell a line, and the texts of its prompts beside it."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import IO, Any

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.log import MEASURES, PromptLog
from prompt_oirl.logs.metadata import metadata_path

ENCODING = ("utf-8", "surrogatepass")


def write_log(log: PromptLog, path: str | Path) -> Path:
    """Writes a log that :func:`prompt_oirl.logs.read.read_log` reads back as it was.

    Args:
        log: any log.
        path: ends in ``.jsonl`` or ``.jsonl.gz``.

    Returns:
        The file of metadata, ``<name>.meta.json``: name of the log, order and texts of the prompts.

    Raises:
        BadLog: the path has another ending, or cannot be written.
    """
    path = Path(path)
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise BadLog(f"a log is written to a file .jsonl or .jsonl.gz, not to {path.name}")
    beside = metadata_path(path)
    record = {
        "name": log.name,
        "arms": log.arm_names,
        "prompts": {arm.name: arm.text for arm in log.arms if arm.text},
    }
    # Half of a surrogate pair, which JSON may hold, is kept as the cells keep it.
    metadata = (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode(*ENCODING)
    try:
        if path.name.endswith(".gz"):
            with gzip.open(path, "wt", 9, *ENCODING) as file:
                _write_cells(log, file)
        else:
            with open(path, "w", -1, *ENCODING) as file:
                _write_cells(log, file)
        beside.write_bytes(metadata)
    except OSError as error:
        raise BadLog(f"cannot write {path}: {error.strerror or error}") from error
    return beside


def _write_cells(log: PromptLog, file: IO[Any]) -> None:
    queries = []
    for query in log.queries:
        known = {"id": query.id, "query": query.text, "group": query.group}
        queries.append({**known, "split": query.split} if query.split else known)
    names = log.arm_names
    measures = {name: getattr(log, name).tolist() for name in MEASURES}
    columns = (log.query.tolist(), log.arm.tolist(), log.outcome.tolist(), log.run.tolist())
    for cell, (query, arm, outcome, run) in enumerate(zip(*columns)):
        row: dict[str, Any] = {**queries[query], "arm": names[arm], "outcome": outcome, "run": run}
        for name, values in measures.items():
            if not math.isnan(values[cell]):
                row[name] = values[cell]
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
