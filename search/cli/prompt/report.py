"""``treeward prompt report``: one HTML page of audit, evaluation and choice."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from search.cli.prompt import options

HELP = """Write one static HTML page: audit, evaluation, selector, settings and hashes of the data.

What is not given as JSON of the other commands is computed from the log.

Example:  treeward prompt report log.jsonl --selector selector/ --out report.html
"""


def report(
    log: options.Log = None,
    column: options.Column = None,
    audit: Annotated[Path | None, typer.Option(help="What 'prompt audit --json' printed.")] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="What 'prompt evaluate --json' printed.")
    ] = None,
    selector: Annotated[Path | None, typer.Option(help="Folder of a saved selector.")] = None,
    vectors: options.Vectors = None,
    out: Annotated[Path, typer.Option(help="The page.")] = Path("report.html"),
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    from prompt_oirl.errors import BadLog
    from prompt_oirl.report.page import read_result, report_page, sha256_of
    from search.cli.outputs import check_outputs
    from search.cli.prompt.audit import example_log

    if vectors is not None and selector is None:
        raise BadLog("--vectors goes with --selector")
    path = log or example_log()
    check_outputs([out], [path, audit, evaluation, vectors])
    hashes = {path.name: sha256_of(path)}
    found = read_result(audit, "audit") if audit else None
    measured = read_result(evaluation, "evaluation") if evaluation else None
    _check_kinds(audit, found, evaluation, measured)
    _check_names(path, {audit: [found], evaluation: (measured or {}).get("rows")})
    config: dict[str, Any] = {"seed": seed}
    if found is None or measured is None:
        found, measured, settings = _computed(path, column, found, measured, seed, as_json)
        config |= settings
    choice = None
    if selector is not None:
        choice, settings = _selector_facts(selector, vectors)
        config |= settings
        hashes["selector.json"] = sha256_of(selector / "selector.json")
    page = report_page(found, measured, choice, config, hashes).encode("utf-8", "replace")
    try:
        out.write_bytes(page)
    except OSError as error:
        raise BadLog(f"cannot write {out}: {error.strerror or error}") from error
    if as_json:
        print(json.dumps({"report": str(out), "bytes": len(page), "sha256": hashes}))
    else:
        print(f"wrote {out}")


def _check_kinds(audit: Path | None, found: Any, evaluation: Path | None, measured: Any) -> None:
    """Refuses JSON of other commands, of which the page would show next to nothing."""
    from prompt_oirl.audit.report import FORMAT
    from prompt_oirl.errors import BadLog

    if audit and found.get("format") != FORMAT:
        raise BadLog(f"{audit} is not what 'prompt audit --json' printed: no format '{FORMAT}'")
    rows = measured.get("rows") if evaluation else None
    if evaluation and not (isinstance(rows, list) and rows):
        raise BadLog(f"{evaluation} is not what 'prompt evaluate --json' printed: no 'rows'")


def _check_names(path: Path, given: dict[Path | None, Any]) -> None:
    """Refuses results of another log, whose numbers would stand beside this one's hash."""
    from prompt_oirl.errors import BadLog
    from prompt_oirl.logs.metadata import read_metadata

    name = read_metadata(path).name
    for place, records in given.items():
        for record in records if place and isinstance(records, list) else []:
            other = record.get("log", name) if isinstance(record, dict) else name
            if other != name:
                raise BadLog(f"{place} is of the log '{other}', not of '{name}'")


def _computed(
    path: Path, column: list[str] | None, found: Any, measured: Any, seed: int, hidden: bool
) -> tuple[Any, Any, dict[str, Any]]:
    from prompt_oirl.audit import merged_groups
    from prompt_oirl.choice.selector import Settings
    from prompt_oirl.evaluation.protocols import grouped_trial, with_groups
    from prompt_oirl.evaluation.row import report_row, trial_value
    from prompt_oirl.evaluation.verdict import verdict
    from prompt_oirl.logs.columns import parse_mapping
    from search.cli.assemble import progress_bar
    from search.cli.prompt.audit import audit_of
    from search.cli.prompt.reading import reading_for_command

    reading = reading_for_command(path, column)
    if found is None:
        found = audit_of(path, reading, parse_mapping(column or []), seed=seed).to_json()
    settings = Settings()
    if measured is None:
        grouped = with_groups(reading.log, merged_groups(reading.log))
        with progress_bar(5, "held-out groups", hidden) as advance:
            trial = grouped_trial(grouped, settings, 5, seed, None, advance)
        decision = verdict(trial_value(trial, seed), False)
        row = report_row(trial, "grouped", seed)
        measured = {"rows": [row], "verdict": decision.word, "reason": decision.reason}
        return found, measured, asdict(settings)
    return found, measured, {}


def _selector_facts(folder: Path, vectors: Path | None) -> tuple[dict[str, Any], dict[str, Any]]:
    from search.cli.prompt.reading import selector_from

    loaded = selector_from(folder, vectors)
    facts: dict[str, Any] = {
        **loaded.about,
        "prompts": ", ".join(arm.name for arm in loaded.arms),
        "default prompt": loaded.default.name,
        "rule": loaded.rule.kind,
        "margin": float(loaded.rule.margin),
        "gain on unseen groups of the log": float(loaded.rule.gain),
        "its standard error": float(loaded.rule.gain_error),
    }
    return facts, asdict(loaded.settings)
