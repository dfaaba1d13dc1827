"""``treeward prompt drift``: whether a selector still fits what is asked and answered."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.prompt import options

if TYPE_CHECKING:
    from prompt_oirl.operation.drift import DriftReport

HELP = """Say whether queries or outcomes have changed since a selector was fitted.

Tested are the features of queries, the outcomes of each prompt, and the calibration of predictions;
with --reference also the wording. Exit code: 0 no drift, 3 drift, 4 no drift found but queries or
outcomes cannot be judged.

Example:  treeward prompt drift --selector selector/ --log new.jsonl --reference old.jsonl --json
"""


def drift(
    log: Annotated[
        Path | None,
        typer.Option(help="The new log, JSONL, CSV or Parquet; by default the example."),
    ] = None,
    selector: Annotated[Path, typer.Option(help="Folder of a saved selector.")] = Path("selector"),
    reference: Annotated[Path | None, typer.Option(help="The log that it was fitted on.")] = None,
    alpha: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Chance of any false alarm.")
    ] = 0.01,
    vectors: options.Vectors = None,
    seed: Annotated[
        int,
        typer.Option(min=0, max=options.LARGEST_SEED, help="Seed of permutations and bootstrap."),
    ] = 0,
    as_json: options.AsJson = False,
) -> None:
    from prompt_oirl.operation.drift import drift as run
    from search.cli.prompt.reading import read_for_command, selector_from

    loaded = selector_from(selector, vectors)
    old = read_for_command(reference, None) if reference else None
    found = run(loaded, read_for_command(log, None), old, alpha, seed=seed)
    if as_json:
        facts = {**asdict(found), "drift": found.drifted, "judged": found.judged}
        print(json.dumps(facts, allow_nan=False))
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table("test", "of", "change", "adjusted p", "", box=None)
        for one in found.changes:
            if one.drift or one.kind != "feature":
                mark = "drift" if one.drift else ""
                table.add_row(one.kind, Text(one.name), f"{one.change:+.3f}", f"{one.p:.2g}", mark)
        console = Console(markup=False, emoji=False)
        console.print(table)
        if found.gain is not None and found.gain_ci95 is not None:
            low, high = (100 * end for end in found.gain_ci95)
            console.print(
                f"realised gain {100 * found.gain:+.2f} points [{low:+.2f}, {high:+.2f}] on "
                f"{found.gain_queries} queries",
                markup=False,
                highlight=False,
            )
        for left in found.untested:
            line = f"not tested: {left.kind}, {left.name}: {left.reason}"
            console.print(line, markup=False, highlight=False)
        console.print(_verdict(found))
    if found.drifted:
        raise typer.Exit(3)
    if not found.judged:
        raise typer.Exit(4)


def _verdict(found: DriftReport) -> str:
    if found.drifted:
        return "Drift."
    if not found.judged:
        return "Cannot be judged: nothing was found, but queries or outcomes could not be tested."
    return "No drift in what could be tested." if found.untested else "No drift."
