"""``treeward prompt responses``: which of several responses to return, learned from known ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from search.cli.prompt import options

if TYPE_CHECKING:
    from prompt_oirl.responses.evaluation import ResponseTrial
    from prompt_oirl.responses.reading import ResponseReading

HELP = """Choose one of several responses to a query, by what was learned from known ones.

A line is {"query", "response", "correct"}, or {"query", "responses": [...], "correct": [...]}, or a
trace of 'treeward solve --trace'.

Example:  treeward prompt responses evaluate responses.jsonl
"""
FIT_HELP = """Fit a selector of responses and save it in a folder.

Whether it should be used, 'treeward prompt responses evaluate' says.

Example:  treeward prompt responses fit responses.jsonl --out response-selector/
"""
EVALUATE_HELP = """Say what a learned choice would gain over majority and first response.

Groups of queries are held out in turn, near duplicates together.
Exit code: 0 deploy, 3 hold, 4 insufficient evidence.

Example:  treeward prompt responses evaluate responses.jsonl --json
"""
SELECT_HELP = """Choose the response of each query, with a saved selector.

'-' is stdin. Correctness need not be known.

Example:  treeward prompt responses select new.jsonl --selector response-selector/ --json
"""
NEEDED = (
    'name a file of responses: a line is {"query", "response", "correct"}, or a trace of '
    "'treeward solve --trace'; the bundled example has no texts of answers"
)

File = Annotated[
    Path | None, typer.Argument(help="JSONL or a trace; '-' for stdin.", show_default=False)
]
Column = Annotated[
    list[str] | None, typer.Option(help="field=column, where names are unusual; repeat.")
]
GraderName = Annotated[
    str,
    typer.Option(
        "--grader",
        help="Finds final answers, for votes: numeric, gsm8k, multiple-choice, exact or math.",
    ),
]
Model = Annotated[str, typer.Option(help="logistic or boosting.")]
RuleName = Annotated[
    str, typer.Option(help="vote: the answer of the highest sum of scores; best: one response.")
]
Folder = Path("response-selector")

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


@app.command("fit", help=FIT_HELP)
def fit(
    file: File = None,
    out: Annotated[Path, typer.Option(help="Folder of the selector.")] = Folder,
    column: Column = None,
    model: Model = "logistic",
    grader: GraderName = "numeric",
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    from prompt_oirl.responses.groups import with_joined_groups
    from prompt_oirl.responses.selector import fit_response_selector
    from search.cli.assemble import status_line

    reading = _read(file, column, grader)
    with status_line("fitting", as_json) as say:
        say(f"{len(reading.responses.text)} responses")
        selector = fit_response_selector(with_joined_groups(reading.responses), model, seed=seed)
    selector.save(out)
    record = {
        "folder": str(out),
        "model": model,
        **selector.about,
        "lines": reading.rows,
        "problems": len(reading.problems),
    }
    if as_json:
        print(json.dumps(record, allow_nan=False))
        return
    print(
        f"{record['responses']} responses to {record['queries']} queries, {record['known']} of "
        f"known correctness, {100 * float(selector.about['correct']):.1f} % of those right"
    )
    print(f"saved in {out}")


@app.command("evaluate", help=EVALUATE_HELP)
def evaluate(
    file: File = None,
    column: Column = None,
    model: Model = "logistic",
    rule: RuleName = "vote",
    grader: GraderName = "numeric",
    folds: Annotated[int, typer.Option(min=2, help="Parts held out in turn.")] = 5,
    worthwhile: Annotated[
        float, typer.Option(min=0, help="Least gain, in outcomes, that is worth the trouble.")
    ] = 0.005,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    from prompt_oirl.responses.evaluation import evaluate_responses
    from prompt_oirl.responses.groups import with_joined_groups
    from prompt_oirl.responses.selector import check_rule
    from prompt_oirl.responses.verdict import response_verdict
    from search.cli.assemble import progress_bar

    check_rule(rule)
    reading = _read(file, column, grader)
    with progress_bar(folds, "held-out groups", as_json) as advance:
        trial = evaluate_responses(
            with_joined_groups(reading.responses), model, folds, seed, advance
        )
    decision = response_verdict(trial, rule, worthwhile)
    if as_json:
        record = _record(trial, rule) | {
            "model": model,
            "lines": reading.rows,
            "problems": len(reading.problems),
            "verdict": decision.word,
            "reason": decision.reason,
        }
        print(json.dumps(record, allow_nan=False))
    else:
        _show(trial, rule)
        print(f"{decision.word}: {decision.reason}")
    if decision.exit_code:
        raise typer.Exit(decision.exit_code)


@app.command("select", help=SELECT_HELP)
def select(
    file: File = None,
    selector: Annotated[Path, typer.Option(help="Folder of a saved selector.")] = Folder,
    column: Column = None,
    rule: RuleName = "vote",
    grader: GraderName = "numeric",
    as_json: options.AsJson = False,
) -> None:
    from prompt_oirl.responses.selector import ResponseSelector, check_rule, choose

    check_rule(rule)
    loaded = ResponseSelector.load(selector)
    reading = _read(file, column, grader)
    responses = reading.responses
    scores = loaded.scores(responses)
    chosen = choose(responses, scores, rule).tolist()
    records = [
        {
            "query_id": responses.query_id[query],
            "query": responses.query_text[query],
            "response": responses.text[row],
            "answer": responses.answer[row],
            "place": int((rows == row).argmax()),
            "score": float(scores[row]),
            "scores": scores[rows].tolist(),
        }
        for query, (row, rows) in enumerate(zip(chosen, responses.rows_by_query()))
    ]
    if as_json:
        counts = {"lines": reading.rows, "problems": len(reading.problems)}
        print(json.dumps({"choices": records, **counts}, allow_nan=False))
    elif len(records) == 1:
        print(records[0]["response"])
    else:
        for record in records:
            name, text = (" ".join(record[key].split()) for key in ("query_id", "response"))
            print(f"{record['score']:.3f}\t{name}\t{text}")


def _read(file: Path | None, column: list[str] | None, grader: str) -> ResponseReading:
    """The responses of a file; lines that cannot be used are counted on stderr."""
    import sys

    from prompt_oirl.errors import BadLog
    from prompt_oirl.responses.fields import parse_fields
    from prompt_oirl.responses.reading import read_responses
    from reward_bridge.verifiers.grader import load_grader
    from search.cli.assemble import load_verifier

    if file is None:
        raise BadLog(NEEDED)
    mapping = parse_fields(column or [])
    reading = read_responses(file, load_grader(grader), load_verifier(), mapping)
    if reading.problems:
        count, first = len(reading.problems), reading.problems[0]
        print(
            f"treeward: {count} of {reading.rows} lines cannot be used and are left out; "
            f"first: {first}",
            file=sys.stderr,
        )
    return reading


def _record(trial: ResponseTrial, rule: str) -> dict[str, Any]:
    within = trial.auc_within
    return {
        "rule": rule,
        "queries": trial.queries,
        "left_out": trial.left_out,
        "responses": trial.responses,
        "value": trial.value,
        "gain": {
            one: {name: {"mean": gain.mean, "ci95": gain.ci95} for name, gain in gains.items()}
            for one, gains in trial.gain.items()
        },
        "auc": trial.auc,
        "auc_within_query": within if within == within else None,
    }


def _show(trial: ResponseTrial, rule: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from prompt_oirl.responses.evaluation import BASELINES

    table = Table(
        title=f"{trial.queries} queries, {trial.responses} responses", title_justify="left"
    )
    table.add_column("choice")
    for title in ("right", *(f"gain over {name}, points" for name in BASELINES)):
        table.add_column(title, justify="right")
    titles = {
        "vote": "learned, weighted vote",
        "best": "learned, best response",
        "majority": "majority of answers",
        "first": "first response",
        "longest": "longest response",
        "random": "random response",
        "oracle": "oracle (some response is right)",
    }
    for name, title in titles.items():
        gains = trial.gain.get(name, {})
        shown = [
            f"{100 * gain.mean:+.2f} [{100 * gain.ci95[0]:+.2f}, {100 * gain.ci95[1]:+.2f}]"
            for gain in gains.values()
        ]
        mark = " (judged)" if name == rule else ""
        table.add_row(f"{title}{mark}", f"{100 * trial.value[name]:.1f} %", *shown)
    left = f"; {trial.left_out} queries of unknown correctness left out" if trial.left_out else ""
    table.caption = f"AUC {trial.auc:.3f}, within a query {trial.auc_within:.3f}{left}"
    Console(markup=False, emoji=False).print(table)
