"""``treeward prompt import``: logs of other tools as one log of prompts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

HELP = """Turn the logs of another tool into one log: a line a (query, prompt) cell.

The texts of the prompts are written beside it, to NAME.meta.json.

Example:  treeward prompt import results.json --from promptfoo --out log.jsonl
"""
SHOWN_PROBLEMS = 5


def import_log(
    paths: Annotated[list[Path], typer.Argument(help="Files of the tool.", show_default=False)],
    tool: Annotated[
        str, typer.Option("--from", help="promptfoo, lm-eval, inspect, oirl or treeward.")
    ],
    out: Annotated[Path, typer.Option(help="The log to write: .jsonl or .jsonl.gz.")],
    name: Annotated[str, typer.Option(help="Name of the log; by default the first file's.")] = "",
    query_field: Annotated[
        list[str] | None,
        typer.Option(help="A variable or field that is the question; repeat to join several."),
    ] = None,
    metric: Annotated[
        str, typer.Option(help="The score that is the outcome, where a tool has several.")
    ] = "",
    arm: Annotated[
        list[str] | None, typer.Option(help="Name of the prompt of each file; repeat.")
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(help="JSONL with the questions, where the files have none.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="JSON object with the text of each prompt by its name.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from prompt_oirl.logs.importers import ImportOptions
    from prompt_oirl.logs.importers import import_log as read
    from prompt_oirl.logs.metadata import metadata_path
    from prompt_oirl.logs.write import write_log
    from search.cli.outputs import check_outputs

    check_outputs([out, metadata_path(out)], [*paths, queries, prompts])
    options = ImportOptions(
        name=name,
        query_fields=tuple(query_field or ()),
        metric=metric,
        arms=tuple(arm or ()),
        queries=queries,
        arm_texts=_texts(prompts),
    )
    reading = read(tool, paths, options)
    beside = write_log(reading.log, out)
    log = reading.log
    record = {
        "log": str(out),
        "metadata": str(beside),
        "queries": len(log.queries),
        "arms": log.arm_names,
        "cells": len(log.outcome),
        "records": reading.rows,
        "problems": len(reading.problems),
        "first_problems": [str(problem) for problem in reading.problems[:SHOWN_PROBLEMS]],
    }
    if as_json:
        print(json.dumps(record))
        return
    print(f"{out}: {len(log.outcome)} cells, {len(log.queries)} queries, {len(log.arms)} prompts")
    print_problems(record["problems"], record["first_problems"])  # type: ignore[arg-type]


def print_problems(count: int, first: list[str]) -> None:
    """Says on stderr what could not be used: how much, and the first of it."""
    if not count:
        return
    print(f"treeward: {count} could not be used, the first:", file=sys.stderr)
    for problem in first:
        print(f"treeward:   {problem}", file=sys.stderr)


def _texts(path: Path | None) -> dict[str, str]:
    from prompt_oirl.errors import BadLog

    if path is None:
        return {}
    from prompt_oirl.logs.importers.importing import load_json

    texts = load_json(path)
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise BadLog(f"{path} is not a JSON object with the text of each prompt")
    return texts
