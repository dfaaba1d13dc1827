"""``treeward prompt grade``: from the texts of answers to a log, and how far to trust it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

HELP = """Grade answers against known ones, and report where extractors disagree.

A line is {"id", "query", "arm", "answer", "gold"}; the other fields of a log are kept.

Example:  treeward prompt grade answers.jsonl --grader gsm8k --out log.jsonl
"""
COMPARED = {"numeric": "gsm8k,oirl-released", "gsm8k": "numeric,oirl-released", "math": "numeric"}


def grade(
    answers: Annotated[Path, typer.Argument(help="JSONL with the answers.", show_default=False)],
    grader: Annotated[
        str, typer.Option(help="numeric, gsm8k, multiple-choice, exact, math or oirl-released.")
    ] = "numeric",
    out: Annotated[Path | None, typer.Option(help="The log to write: .jsonl or .jsonl.gz.")] = None,
    report: Annotated[Path | None, typer.Option(help="Where to write the report, as JSON.")] = None,
    compare: Annotated[
        str | None,
        typer.Option(help="Extractors to compare with, with commas; 'none' for no other."),
    ] = None,
    answer_field: Annotated[
        str, typer.Option(help="The field with the answer's text, where a line has several.")
    ] = "",
    length_cap: Annotated[
        int | None, typer.Option(min=1, help="Most characters that an answer could have.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from prompt_oirl.logs.grade import grade_answers, load_graders
    from prompt_oirl.logs.metadata import metadata_path
    from prompt_oirl.logs.write import write_log
    from search.cli.assemble import progress_bar
    from search.cli.outputs import check_outputs

    written = [] if out is None else [out, metadata_path(out)]
    check_outputs([*written, report], [answers, metadata_path(answers)])
    named = COMPARED.get(grader, "none") if compare is None else compare
    others = [name.strip() for name in named.split(",") if name.strip() not in ("", "none")]
    graders = load_graders([grader, *others])
    first = graders.pop(grader)
    with progress_bar(_lines(answers), grader, as_json) as advance:
        graded = grade_answers(
            answers, first, graders, length_cap, advance, answer_field=answer_field
        )
    reading = graded.reading
    record: dict[str, Any] = {
        "grader": grader,
        "log": None if out is None else str(out),
        "queries": len(reading.log.queries),
        "arms": reading.log.arm_names,
        "cells": len(reading.log.outcome),
        "problems": len(reading.problems),
        "first_problems": [str(problem) for problem in reading.problems[:5]],
        "truncated_by_arm": {
            arm: {"answers": count, "truncated": cut} for arm, (count, cut) in graded.by_arm.items()
        },
        **graded.report.as_record(graded.answers),
    }
    for entry in (*record["disagreements"], *record["truncated_examples"]):
        entry["line"] = graded.lines[entry["index"]]
    if out is not None:
        write_log(reading.log, out)
    if report is not None:
        _write(report, json.dumps(record, indent=1) + "\n")
    if as_json:
        print(json.dumps(record))
    else:
        _show(record)


def _lines(path: Path) -> int:
    from prompt_oirl.errors import BadLog

    try:
        with open(path, "rb") as file:
            return sum(1 for _ in file)
    except OSError as error:
        raise BadLog(f"cannot read {path}: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    from prompt_oirl.errors import BadLog

    try:
        path.write_text(text, encoding="ascii")  # with what UTF-8 lacks as escapes
    except OSError as error:
        raise BadLog(f"cannot write {path}: {error.strerror}") from error


def _show(record: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from search.cli.prompt.import_log import print_problems

    console = Console(markup=False, emoji=False)
    table = Table(title=f"{record['answers']} answers, graded by {record['grader']}")
    for title in ("extractor", "right", "no answer found"):
        table.add_column(title, justify="left" if title == "extractor" else "right")
    for name, accuracy in record["accuracy"].items():
        shown = "–" if accuracy is None else f"{100 * accuracy:.1f} %"
        table.add_row(name, shown, str(record["unread"][name]))
    console.print(table)
    for pair in record["disagreeing"]:
        one, other = pair["extractors"]
        console.print(f"{one} and {other} disagree on {pair['answers']} answers")
    for entry in record["disagreements"][:3]:
        read = ", ".join(f"{name} {key}" for name, key in entry["keys"].items())
        console.print(f"  line {entry['line']}: {read}", markup=False, highlight=False)
    for name, count in record["unreadable_golds"].items():
        if count:
            console.print(f"{name} cannot read the known answer of {count} answers")
    for name, count in record["timeouts"].items():
        console.print(f"{name} took too long on {count} answers")
    signs = ", ".join(f"{sign} {count}" for sign, count in record["truncation_signs"].items())
    console.print(f"{record['truncated']} answers look truncated{f' ({signs})' if signs else ''}")
    for arm, counts in record["truncated_by_arm"].items():
        if counts["truncated"]:
            text = f"  {arm}: {counts['truncated']} of {counts['answers']}"
            console.print(text, markup=False, highlight=False)
    if record["log"]:
        console.print(f"{record['log']}: {record['cells']} cells", highlight=False)
    print_problems(record["problems"], record["first_problems"])
