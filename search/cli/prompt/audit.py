"""``treeward prompt audit``: whether a log can be trusted, before anything is learned from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.cli.prompt import options

if TYPE_CHECKING:
    from prompt_oirl.audit import AuditReport
    from prompt_oirl.logs.read import LogReading

HELP = """Check a log of prompts for leakage, corrupt arms, and what else misleads.

Without a log the bundled example is checked. Exit code 2 if there is an error, such as queries of
the test split that the train split already has; --allow-leakage waives errors of leakage only.

Example:  treeward prompt audit log.jsonl --near-threshold 0.9 --json
"""


def audit(
    log: Annotated[
        Path | None, typer.Argument(help="A log: JSONL, CSV or Parquet; by default the example.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="field=column, where names are unusual; repeat.")
    ] = None,
    split_column: Annotated[
        str | None, typer.Option(help="The column of the split; the same as --column split=….")
    ] = None,
    near_threshold: Annotated[
        float, typer.Option(help="Least similarity of wording that counts as near, in (0, 1].")
    ] = 0.9,
    allow_leakage: Annotated[
        bool, typer.Option("--allow-leakage", help="Report leakage without failing.")
    ] = False,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=options.LARGEST_SEED, help="Seed of the bootstrap of the rerun ceiling."
        ),
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from prompt_oirl.audit.run import CHECKS
    from prompt_oirl.logs.columns import parse_mapping
    from prompt_oirl.logs.read import read_log
    from search.cli.assemble import progress_bar

    pairs = [*(column or []), *([f"split={split_column}"] if split_column else [])]
    mapping = parse_mapping(pairs)
    path = log or example_log()
    with progress_bar(CHECKS + 1, "audit", as_json) as advance:
        reading = read_log(path, **mapping)  # type: ignore[arg-type]  # names are fields
        advance()
        report = audit_of(
            path, reading, mapping, near_threshold=near_threshold, seed=seed, progress=advance
        )
    failed = report.fails(allow_leakage)
    if as_json:
        record = {**report.to_json(), "allow_leakage": allow_leakage, "failed": failed}
        print(json.dumps(record, allow_nan=False))
    else:
        from rich.console import Console

        from prompt_oirl.audit.table import audit_table, verdict

        console = Console(markup=False, emoji=False)
        console.print(audit_table(report))
        console.print(verdict(report, allow_leakage), markup=False, highlight=False)
    if failed:
        raise typer.Exit(2)


def audit_of(
    path: Path, reading: LogReading, mapping: Mapping[str, str], **options: Any
) -> AuditReport:
    """The audit of a log with all that its file tells: lines and columns that were not used, and
    gold answers."""
    from prompt_oirl.audit import audit as run
    from prompt_oirl.audit.gold_column import gold_column, read_golds

    return run(
        reading.log,
        golds=read_golds(path, reading.unused, mapping.get("id", "")),
        problems=reading.problems,
        unused=[name for name in reading.unused if name != gold_column(reading.unused)],
        **options,
    )


def example_log() -> Path:
    """The log that treeward brings.

    Raises:
        BadLog: this installation has none.
    """
    from prompt_oirl.errors import BadLog

    try:
        from prompt_oirl.bundled import example_log_path
    except ImportError:
        raise BadLog("this installation has no example log; name one: prompt audit LOG") from None
    return Path(example_log_path())
