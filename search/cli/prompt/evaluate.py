"""``treeward prompt evaluate``: what a selector would gain, and whether to use it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from search.cli.prompt import options

HELP = """Say what choosing a prompt per query would gain on queries not seen.

Exit code: 0 deploy, 3 hold, 4 insufficient evidence. By default groups of queries are held out in
turn, near duplicates together (nested cross-validation); --protocol split uses the log's own train
and test rows instead, and holds where a group, or a near duplicate, is on both sides. Where most
queries were run under one prompt, the gain is a doubly robust estimate.

Example:  treeward prompt evaluate log.jsonl --json
"""


def evaluate(
    log: options.Log = None,
    column: options.Column = None,
    protocol: Annotated[str, typer.Option(help="grouped or split.")] = "grouped",
    outer_folds: Annotated[int, typer.Option(min=2, help="Parts held out in turn.")] = 5,
    models: options.Models = "advantage,interaction,neighbours",
    kind: options.Kind = "lower",
    z: options.Z = 1.0,
    default: options.Default = "",
    folds: options.Folds = 4,
    repeats: options.Repeats = 2,
    ensemble: options.Ensemble = False,
    worthwhile: Annotated[
        float, typer.Option(min=0, help="Least gain, in outcomes, that is worth the trouble.")
    ] = 0.005,
    vectors: options.Vectors = None,
    encoder: options.Encoder = "",
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    from prompt_oirl.audit import merged_groups
    from prompt_oirl.errors import BadLog
    from prompt_oirl.evaluation.protocols import grouped_trial, split_trial, with_groups
    from prompt_oirl.evaluation.row import report_row, trial_value
    from prompt_oirl.evaluation.verdict import verdict
    from search.cli.assemble import progress_bar
    from search.cli.prompt.reading import read_for_command, settings_from, vectors_from

    if protocol not in ("grouped", "split"):
        raise BadLog(f"unknown protocol '{protocol}'; known: grouped, split")
    settings = settings_from(models, kind, z, default, folds, repeats, ensemble)
    found = read_for_command(log, column)
    given = vectors_from(vectors, encoder)
    found = with_groups(found, merged_groups(found))
    leaks = False
    if protocol == "grouped":
        with progress_bar(outer_folds, "held-out groups", as_json) as advance:
            trial = grouped_trial(found, settings, outer_folds, seed, given, advance)
    else:
        trial = split_trial(found, settings, seed, vectors=given)
        leaks = bool(trial.seen.any())
    row = report_row(trial, protocol, seed)
    decision = verdict(trial_value(trial, seed), leaks, worthwhile)
    if as_json:
        record = {"rows": [_finite(row)], "verdict": decision.word, "reason": decision.reason}
        print(json.dumps(record, allow_nan=False))
    else:
        from rich.console import Console

        from search.cli.prompt.tables import evaluation_table

        console = Console(markup=False, emoji=False)
        console.print(evaluation_table(row))
        console.print(f"{decision.word}: {decision.reason}", markup=False, highlight=False)
    if decision.exit_code:
        raise typer.Exit(decision.exit_code)


def _finite(row: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(row, dict):
        return {key: _finite(value) for key, value in row.items()}
    if isinstance(row, list):
        return [_finite(value) for value in row]
    return None if row != row else row
