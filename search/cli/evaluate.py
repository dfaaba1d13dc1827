"""``treeward evaluate``: algorithms side by side at equal budgets."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from search.bundled import POLICY, REWARD

HELP = """Compare algorithms on a suite of puzzles at equal budgets of policy tokens.

Without --file the suite game24 is all 1,362 solvable puzzles; countdown is the held-out ones.

Example:  treeward evaluate --algorithms greedy,mcts --budget-tokens 500,1000 --limit 50
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
    aggregate: Annotated[
        str, typer.Option(help="How step scores become a value: last, min, mean, product, …")
    ] = "last",
    temperature: Annotated[
        float | None, typer.Option(help="Sampling temperature; by default the model's own.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Next tokens kept, the most probable.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Probability of the tokens kept.")] = None,
    min_p: Annotated[
        float | None, typer.Option(help="Least share of the largest probability that is kept.")
    ] = None,
    delimiter: Annotated[
        list[str] | None,
        typer.Option(
            help=r"Text that ends a step, \n a line end, \t a tab; repeat. \n by default."
        ),
    ] = None,
    step_regex: Annotated[
        str | None, typer.Option(help="A step ends where this is found in it.")
    ] = None,
    max_step_tokens: Annotated[int, typer.Option(help="A longer step is cut.")] = 128,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    pool_tokens: Annotated[
        int, typer.Option(help="Tokens of keys and values kept, for each model.")
    ] = 262_144,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the models first; takes up to a minute.")
    ] = False,
    max_live: Annotated[int, typer.Option(help="Problems in flight at once.")] = 32,
    threads: Annotated[int | None, typer.Option(help="Threads; all cores by default.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the models.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
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
        if name not in known.names():
            raise BadProblem(f"unknown algorithm '{name}'; known: {', '.join(known.names())}")
    try:
        budgets = [int(text) for text in budget_tokens.split(",")]
    except ValueError:
        raise BadProblem(f"budgets are whole numbers with commas, not {budget_tokens!r}") from None
    for budget in budgets:
        Budget(policy_tokens=budget)
    sampling = assemble.given_sampling(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p
    )
    rules = assemble.step_rules(delimiter, step_regex, max_step_tokens)
    aggregate_with = aggregator(aggregate)
    options: dict[str, dict[str, object]] = {}
    for pair in option or []:
        owner, dot, rest = pair.partition(".")
        if not dot or owner not in names:
            raise BadProblem(f"an option is given as algorithm.name=value, not {pair!r}")
        options.setdefault(owner, {}).update(assemble.parse_options([rest]))
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
                options=options,
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

        mode = "" if verifier else ", selected by the reward alone"
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
