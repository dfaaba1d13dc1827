"""``treeward evaluate``: algorithms side by side at equal budgets."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from search.bundled import POLICY, REWARD
from search.cli import options

HELP = """Compare algorithms on a suite of puzzles at equal budgets of policy tokens.

Without --file the suite game24 is all 1,362 solvable puzzles; countdown is the held-out ones.

Example:  treeward evaluate --algorithms best_of_n,mcts --budget-tokens 500,1000 --limit 50
"""


def evaluate(
    suite: Annotated[str, typer.Option(help="game24 or countdown.")] = "game24",
    file: Annotated[Path | None, typer.Option(help="A 24.csv of ranked puzzles.")] = None,
    rows: Annotated[str | None, typer.Option(help="Ranks of the file, as 901-1000.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many problems, evenly spread.")
    ] = None,
    algorithms: Annotated[
        str, typer.Option(help="Names, with commas.")
    ] = "greedy,best_of_n,beam,mcts",
    budget_tokens: Annotated[
        str, typer.Option(help="Policy tokens a problem, with commas.")
    ] = "1000",
    option: Annotated[list[str] | None, typer.Option(help="algorithm.name=value; repeat.")] = None,
    model: Annotated[
        str, typer.Option(help="The policy: a folder, a hub name, or the bundled one.")
    ] = POLICY,
    reward: Annotated[str, typer.Option(help="The reward model, or 'none'.")] = REWARD,
    verifier: Annotated[
        bool,
        typer.Option(
            "--verifier/--no-verifier",
            help="Let the statement's own check end a search; without it the reward selects.",
        ),
    ] = True,
    aggregate: options.Aggregate = "last",
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    delimiter: options.Delimiter = None,
    step_regex: options.StepRegex = None,
    max_step_tokens: options.MaxStepTokens = 128,
    seed: options.Seed = 0,
    dtype: options.Dtype = "float32",
    pool_tokens: options.PoolTokens = 262_144,
    compiled: options.Compiled = False,
    max_live: options.MaxLive = 32,
    threads: options.Threads = None,
    trust_remote_code: options.TrustRemoteCode = False,
    as_json: options.AsJson = False,
) -> None:
    from reward_bridge.aggregation import aggregator
    from search import algorithms as known
    from search.budget import Budget
    from search.cli import assemble
    from search.errors import BadProblem
    from search.evaluation.run import evaluate as run
    from search.evaluation.suites import load_suite

    names = [name.strip() for name in algorithms.split(",") if name.strip()]
    if not names:
        raise BadProblem(f"no algorithm is named; known: {', '.join(known.names())}")
    for name in names:
        known.describe(name)
    try:
        budgets = [int(text) for text in budget_tokens.split(",")]
    except ValueError:
        raise BadProblem(f"budgets are whole numbers with commas, not {budget_tokens!r}") from None
    sampling = assemble.given_sampling(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p
    )
    rules = assemble.step_rules(delimiter, step_regex, max_step_tokens)
    aggregate_with = aggregator(aggregate)
    given_options: dict[str, dict[str, object]] = {}
    for pair in option or []:
        owner, dot, rest = pair.partition(".")
        if not dot or owner not in names:
            raise BadProblem(f"an option is given as algorithm.name=value, not {pair!r}")
        given_options.setdefault(owner, {}).update(assemble.parse_options([rest]))
    assemble.check_settings(
        [
            (name, given_options.get(name, {}), Budget(policy_tokens=budget))
            for name in names
            for budget in budgets
        ],
        reward != assemble.NONE,
        verifier,
        dtype,
        max_live,
    )
    problems = load_suite(suite, file, rows, limit)
    assemble.use_threads(threads)
    policy = assemble.load_policy(model, dtype, pool_tokens, trust_remote_code, compiled)
    reward_model = assemble.load_reward(
        reward, policy, dtype, pool_tokens, trust_remote_code, compiled
    )
    total = len(problems) * len(names) * len(budgets)
    table: list[dict[str, Any]] = []
    stopped: Exception | KeyboardInterrupt | None = None
    try:
        with assemble.progress_bar(total, suite, as_json) as advance:
            run(
                problems,
                names,
                budgets,
                policy,
                reward_model,
                assemble.load_verifier(),
                judge=verifier,
                seed=seed,
                options=given_options,
                max_live=max_live,
                rules=rules,
                sampling=assemble.sampling_for(policy, sampling),
                aggregate=aggregate_with,
                progress=lambda *_: advance(),
                rows=table,
            )
    except (Exception, KeyboardInterrupt) as error:
        if not table and not isinstance(error, KeyboardInterrupt):
            raise
        stopped = error  # told once the rows that are done are printed
    if as_json:
        record = {"rows": table, "interrupted": isinstance(stopped, KeyboardInterrupt)}
        print(json.dumps(record, allow_nan=False))
    elif table:
        from rich.console import Console

        from search.cli.render import evaluation_table

        selector = "policy" if reward == assemble.NONE else "reward"
        mode = "" if verifier else f", selected by the {selector} alone"
        Console().print(evaluation_table(table, f"{suite}, {len(problems)} puzzles{mode}"))
    for row in table:
        if row["failed"]:
            print(
                f"treeward: {row['failed']} of {row['problems']} searches by {row['algorithm']} at "
                f"{row['budget_tokens']} tokens failed, first: {row['first_error']}",
                file=sys.stderr,
            )
    if stopped is not None:
        assemble.break_off(stopped, f"{len(table)} of {len(names) * len(budgets)} rows are done")
    if any(row["failed"] for row in table):
        raise typer.Exit(1)
