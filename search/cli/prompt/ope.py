"""``treeward prompt ope``: the value of a policy from a log that another policy made."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.cli.prompt import options

if TYPE_CHECKING:
    from prompt_oirl.logs.log import PromptLog
    from prompt_oirl.off_policy import OffPolicyEstimate, Policy

HELP = """Estimate what another choice of prompts would have gained, from a partial log.

The log has one prompt a query, and best also the propensity with which it was chosen. The target is
an arm, 'best' (the best single arm, chosen on other queries), a selector's folder, or a CSV file
with the columns query, arm and, if wanted, probability. Exit code 2 without support.

Example:  treeward prompt ope log.jsonl --target best --estimator dr --json
"""


def ope(
    log: Annotated[
        Path | None, typer.Argument(help="A log: JSONL, CSV or Parquet; by default the example.")
    ] = None,
    target: Annotated[
        str, typer.Option(help="'best', an arm, a selector's folder, or a CSV file.")
    ] = "best",
    vectors: options.Vectors = None,
    estimator: Annotated[str, typer.Option(help="dm, ips, snips, dr, switch-dr or sndr.")] = "dr",
    interval: Annotated[str, typer.Option(help="asymptotic or bootstrap.")] = "asymptotic",
    level: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Probability of covering the value.")
    ] = 0.95,
    least_propensity: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Below it an arm has no support.")
    ] = 0.005,
    most_unsupported: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Of the target's choices, without refusal.")
    ] = 0.01,
    switch_threshold: Annotated[
        float | None,
        typer.Option(min=0.0, help="Largest weight of switch-dr; by default from the data."),
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Of whole groups, for cross-fitting.")] = 5,
    resamples: Annotated[int, typer.Option(min=100, help="Of the bootstrap.")] = 2000,
    seed: Annotated[
        int, typer.Option(min=0, max=options.LARGEST_SEED, help="Seed of folds and resamples.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    from prompt_oirl.errors import BadLog
    from prompt_oirl.logs.order import in_canonical_order
    from prompt_oirl.logs.read import read_log
    from prompt_oirl.off_policy import ESTIMATORS, SupportLimits, estimate_value
    from prompt_oirl.off_policy.estimators import SwitchDoublyRobust
    from search.cli.prompt.audit import example_log

    if estimator not in ESTIMATORS:
        raise BadLog(f"unknown estimator '{estimator}'; known: {', '.join(ESTIMATORS)}")
    chosen = ESTIMATORS[estimator]
    if isinstance(chosen, SwitchDoublyRobust):
        chosen = SwitchDoublyRobust(switch_threshold)
    elif switch_threshold is not None:
        raise BadLog(f"--switch-threshold belongs to switch-dr, not to {estimator}")
    log = log or example_log()
    reading = read_log(log)
    read = in_canonical_order(reading.log)
    if reading.problems:
        lines = len({problem.line for problem in reading.problems})
        print(
            f"treeward: {lines} line{'s' if lines > 1 else ''} of {log} could not be used, "
            f"first: {reading.problems[0]}",
            file=sys.stderr,
        )
    found = estimate_value(
        read,
        find_policy(target, read, folds, seed, vectors),
        estimator=chosen,
        limits=SupportLimits(least_propensity, most_unsupported),
        interval=interval,
        level=level,
        folds=folds,
        resamples=resamples,
        seed=seed,
    )
    if as_json:
        print(json.dumps(found.as_record(), allow_nan=False))
    else:
        show(found)


def find_policy(
    target: str, log: PromptLog, folds: int, seed: int, vectors: Path | None = None
) -> Policy:
    """The policy that is meant: an arm of the log, ``best``, a CSV file or a selector's folder.

    Raises:
        BadLog: it is none of these.
    """
    from prompt_oirl.errors import BadLog
    from prompt_oirl.off_policy.best_single import BestSingle
    from prompt_oirl.off_policy.policy import FixedArm, SelectorPolicy
    from prompt_oirl.off_policy.policy_file import PolicyFile

    path = Path(target)
    if vectors is not None and not path.is_dir():
        raise BadLog(f"--vectors goes with a selector's folder, which '{target}' is not")
    if target in log.arm_names:
        return FixedArm(target)
    if target == "best":
        return BestSingle(folds, seed)
    if path.is_dir():
        from search.cli.prompt.reading import selector_from

        return SelectorPolicy(target, selector_from(path, vectors))
    if path.is_file():
        return PolicyFile(path)
    raise BadLog(
        f"{log.name}: the target '{target}' is no file or folder, not 'best', and no arm; "
        f"the arms are {', '.join(log.arm_names)}"
    )


def show(found: OffPolicyEstimate) -> None:
    """Prints an estimate for people."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    overlap, ends, gain = found.overlap, found.interval, found.gain_interval
    kept = sorted(found.choices.items(), key=lambda item: -item[1])
    choices = ", ".join(f"{name} {mass:.1%}" for name, mass in kept if mass >= 0.0005)
    table = Table(show_header=False, box=None)
    rows = {
        "target": found.policy,
        "value": f"{found.value:.4f}  [{ends.low:.4f}, {ends.high:.4f}]",
        "of the log": f"{found.logged_value:.4f}",
        "gain": f"{found.gain:+.4f}  [{gain.low:+.4f}, {gain.high:+.4f}]",
        "interval": f"{ends.level:.1%}, {ends.method}, by group",
        "estimator": found.estimator,
        "propensities": found.propensities,
        "decisions": f"{found.decisions} in {found.groups} groups, {overlap.agreeing} agree",
        "effective size": f"{overlap.effective_sample_size:.1f}",
        "choices": choices,
    }
    for name, value in rows.items():
        table.add_row(name, Text(value))  # a Text, since names may hold brackets
    console = Console(markup=False, emoji=False)
    console.print(table)
    for warning in found.warnings:
        console.print(f"warning: {warning}", markup=False, highlight=False)
