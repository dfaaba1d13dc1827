"""``treeward prompt explain``: why a prompt was chosen for a query."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.prompt import options

if TYPE_CHECKING:
    from prompt_oirl.operation.explain import Explanation

HELP = """Explain the prompt that a selector chooses for a query.

Shown are the predicted outcome of every prompt, why the default was taken or left, what the
features of the query add, and with --log the most similar logged queries and their outcomes.

Example:  treeward prompt explain "How many are left?" --selector selector/ --log log.jsonl
"""


def explain(
    query: Annotated[str, typer.Argument(help="Text of the query.")],
    selector: Annotated[Path, typer.Option(help="Folder of a saved selector.")] = Path("selector"),
    log: Annotated[Path | None, typer.Option(help="A log with similar queries.")] = None,
    similar: Annotated[int, typer.Option(min=0, help="Similar queries shown.")] = 5,
    features: Annotated[int, typer.Option(min=0, help="Features shown.")] = 8,
    vectors: options.Vectors = None,
    as_json: options.AsJson = False,
) -> None:
    from prompt_oirl.operation.explain import explain as run
    from search.cli.prompt.reading import read_for_command, selector_from

    loaded = selector_from(selector, vectors)
    found = run(loaded, query, read_for_command(log, None) if log else None, similar, features)
    if as_json:
        print(json.dumps(asdict(found), allow_nan=False))
    else:
        show(found)


def show(found: Explanation) -> None:
    """Prints an explanation for people."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(markup=False, emoji=False)
    console.print(Text(f"{found.chosen}: {found.reason}"))
    arms = Table("prompt", "predicted", "cautious advantage", box=None)
    for view in found.arms:
        arms.add_row(Text(view.arm), f"{view.predicted:.3f}", f"{view.advantage:+.4f}")
    console.print(arms)
    table = Table(f"feature, for '{found.explained}'", "value", "adds", box=None)
    for one in found.contributions:
        value = "" if one.value is None else f"{one.value:+.2f} sd"
        table.add_row(one.feature, value, f"{one.contribution:+.4f}")
    if found.contributions:
        console.print(table)
    for near in found.similar:
        outcomes = ", ".join(f"{name} {value:.2f}" for name, value in near.outcomes.items())
        console.print(Text(f"{near.distance:.2f}  {near.text}\n      {outcomes}"))
