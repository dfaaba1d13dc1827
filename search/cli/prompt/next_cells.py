"""``treeward prompt next``: which prompts to try on which queries, so that fewer runs suffice."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.prompt import options

if TYPE_CHECKING:
    from prompt_oirl.logs.log import PromptLog

HELP = """Say which (query, prompt) cells of a log to run next.

Chosen are cells of prompts that may still be the best, by the information that they add to what was
run so far, of queries of the log or of --queries. Features of queries come from a selector, or from
the log itself. Without a log the example is taken, which was run in full: without --queries, as if
only a tenth of its cells had been run.

Example:  treeward prompt next log.jsonl --selector selector/ --count 50 --json
"""


def next_cells(
    log: Annotated[
        Path | None, typer.Argument(help="A log: JSONL, CSV or Parquet; by default the example.")
    ] = None,
    selector: Annotated[
        Path | None, typer.Option(help="A selector's folder; its features of queries are used.")
    ] = None,
    vectors: options.Vectors = None,
    count: Annotated[int, typer.Option(min=1, help="Cells wanted.")] = 20,
    queries: Annotated[
        Path | None, typer.Option(help="Queries never run, one a line or JSON with 'query'.")
    ] = None,
    arms: Annotated[
        str | None, typer.Option(help="Only these prompts: names, with commas.")
    ] = None,
    rule: Annotated[str, typer.Option(help="contenders or d-optimal.")] = "contenders",
    seed: Annotated[
        int, typer.Option(min=0, max=options.LARGEST_SEED, help="Seed of the order of queries.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from prompt_oirl.active.next_cells import next_cells as run
    from prompt_oirl.errors import BadLog
    from search.cli.prompt.audit import example_log
    from search.cli.prompt.reading import (
        lines_of,
        read_for_command,
        selector_from,
        with_queries,
    )

    if vectors is not None and selector is None:
        raise BadLog("--vectors goes with --selector")
    thin = log is None and queries is None
    log = log or example_log()
    read = read_for_command(log, None)
    if queries is not None:
        read = with_queries(read, lines_of(queries, "query"))
    if thin:
        read = _thinned(read)
        print(
            f"treeward: the example was run in full; taken as if {len(read.outcome)} of its cells "
            "had been run",
            file=sys.stderr,
        )
    features = selector_from(selector, vectors).features if selector else None
    names = [name.strip() for name in arms.split(",") if name.strip()] if arms else []
    cells = run(read, count, features, names, rule, seed=seed)
    if as_json:
        record = {"log": str(log), "rule": rule, "cells": [asdict(cell) for cell in cells]}
        print(json.dumps(record, allow_nan=False))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("query", "prompt", box=None)
    for title in ("information", "success", "best prompt"):
        table.add_column(title, justify="right")
    for cell in cells:
        table.add_row(
            Text(cell.query),
            Text(cell.arm),
            f"{cell.information:.4f}",
            f"{cell.success:.1%}",
            f"{cell.probability_best:.1%}",
        )
    Console(markup=False, emoji=False).print(table)


def _thinned(log: PromptLog) -> PromptLog:
    """The log with the runs of a tenth of its cells, always the same ones."""
    import numpy as np

    run = np.random.default_rng(0).random((len(log.queries), len(log.arms))) < 0.1
    keep = run[log.query, log.arm]
    names = ("query", "arm", "outcome", "run", "cost", "tokens", "latency", "propensity")
    return replace(log, **{name: getattr(log, name)[keep] for name in names})
