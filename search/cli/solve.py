"""``treeward solve``: one problem, or a file of them."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from search.bundled import POLICY, REWARD
from search.cli import options

HELP = """Solve one problem, or a file of them, by search.

A puzzle is given as its numbers, with a target or without (24). With a --model of your own the
problem is a prompt, taken as it is; --puzzle makes it a puzzle. A file has one JSON object a
line: {"numbers": [4, 5, 6, 10], "target": 24}, {"prompt": "..."}, or {"messages": [...]} for a
model with a chat template.

Example:  treeward solve "4 5 6 10" --algorithm mcts --budget-tokens 1000
"""


def solve(
    problem: Annotated[
        str | None, typer.Argument(help="A puzzle, or a prompt with --model.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="A JSONL file of problems.")] = None,
    puzzle: Annotated[
        bool, typer.Option("--puzzle", help="The problem is a puzzle, also with --model.")
    ] = False,
    algorithm: Annotated[
        str, typer.Option(help="greedy, best_of_n, beam, best_first, mcts, …")
    ] = "mcts",
    option: Annotated[
        list[str] | None, typer.Option(help="An option of the algorithm, name=value; repeat.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="The policy: a folder, a hub name, or the bundled one.")
    ] = POLICY,
    reward: Annotated[
        str | None,
        typer.Option(help="The reward model, or 'none'; the bundled one with the bundled policy."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="A selector's folder: it chooses the prompt of each problem."),
    ] = None,
    prompt_vectors: Annotated[
        Path | None,
        typer.Option(help="Vectors of the problems, for a selector that was fitted with vectors."),
    ] = None,
    verifier: Annotated[
        bool,
        typer.Option(
            "--verifier/--no-verifier",
            help="Let the statement's own check steer and end the search.",
        ),
    ] = True,
    grader: Annotated[
        str | None,
        typer.Option(
            help="Reads the answers of prompts, so that equal ones vote together: numeric, gsm8k, "
            "multiple-choice, exact or math; without one an answer is the last line."
        ),
    ] = None,
    aggregate: options.Aggregate = "last",
    budget_tokens: Annotated[
        int, typer.Option(help="Policy tokens a problem, prompt included.")
    ] = 1000,
    budget_seconds: Annotated[
        float | None, typer.Option(help="Wall-clock seconds a problem.")
    ] = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    delimiter: options.Delimiter = None,
    step_regex: options.StepRegex = None,
    max_step_tokens: options.MaxStepTokens = 128,
    seed: options.Seed = 0,
    dtype: options.Dtype = "float32",
    pool_tokens: options.PoolTokens = 131_072,
    compiled: options.Compiled = False,
    max_live: options.MaxLive = 32,
    threads: options.Threads = None,
    trace: Annotated[Path | None, typer.Option(help="Write every tree to this JSONL file.")] = None,
    trust_remote_code: options.TrustRemoteCode = False,
    as_json: options.AsJson = False,
) -> None:
    from reward_bridge.aggregation import aggregator
    from search.budget import Budget
    from search.cli import assemble
    from search.cli.interrupts import noted_requests
    from search.engine import Search
    from search.errors import BadProblem, TreewardError
    from search.problem import Problem, read_problems, with_unique_ids
    from search.puzzles.problems import parse_puzzle
    from search.result import SearchResult
    from search.trace import TraceWriter, result_record

    if (problem is None) == (file is None):
        raise BadProblem("give one problem, or a --file of them")
    if puzzle and file is not None:
        raise BadProblem("--puzzle goes with a typed problem; a line of a --file has its numbers")
    if prompt_vectors is not None and prompts is None:
        raise BadProblem("--prompt-vectors goes with --prompts")
    problems: list[Problem]
    unused: list[str] = []
    if file is not None:
        problems, bad_lines = read_problems(file)
        for line in bad_lines:
            print(f"treeward: {line}", file=sys.stderr)
        unused = [str(line) for line in bad_lines]
    elif puzzle or model == POLICY:
        problems = [parse_puzzle(problem or "")]
    else:
        problems = [Problem(prompt=problem or "")]
    problems = list(with_unique_ids(problems))
    arms: dict[str, str] = {}
    if prompts is not None:
        from prompt_oirl.apply import with_chosen_prompts
        from search.cli.prompt.reading import selector_from

        problems, names, faults = with_chosen_prompts(
            problems, selector_from(prompts, prompt_vectors)
        )
        if faults and not problems:
            raise faults[0]
        for fault in faults:
            print(f"treeward: {fault}", file=sys.stderr)
        unused += [str(fault) for fault in faults]
        arms = {one.id: name for one, name in zip(problems, names, strict=True)}
    budget = Budget(policy_tokens=budget_tokens, seconds=budget_seconds)
    rules = assemble.step_rules(delimiter, step_regex, max_step_tokens)
    sampling = assemble.given_sampling(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p
    )
    aggregate_with = aggregator(aggregate)
    given_options = assemble.parse_options(option or [])
    reward = reward or (REWARD if model == POLICY else assemble.NONE)

    def judged(one: Problem) -> bool:
        """Of a prompt alone the verifier has no opinion: there the reward model selects."""
        return verifier and {"numbers", "target"} <= one.facts.keys()

    for verdicts in {judged(one) for one in problems}:
        assemble.check_settings(
            [(algorithm, given_options, budget)], reward != assemble.NONE, verdicts, dtype, max_live
        )
    checks = assemble.load_verifier(grader)
    assemble.use_threads(threads)
    # Before the models are loaded: a path that cannot be written should not cost their loading.
    writer = TraceWriter(trace) if trace is not None else None
    if trace and file and trace.exists() and file.is_file() and trace.samefile(file):
        raise BadProblem(f"--trace {trace} would overwrite the problems of --file {file}")
    policy = assemble.load_policy(model, dtype, pool_tokens, trust_remote_code, compiled)
    reward_model = assemble.load_reward(
        reward, policy, dtype, pool_tokens, trust_remote_code, compiled
    )
    search = Search(
        policy,
        reward=reward_model,
        verifier=checks,
        judge=judged,
        algorithm=algorithm,
        options=given_options,
        budget=budget,
        rules=rules,
        sampling=assemble.sampling_for(policy, sampling),
        aggregate=aggregate_with,
        seed=seed,
        max_live=max_live,
    )
    results: list[SearchResult] = []
    stopped: Exception | KeyboardInterrupt | None = None
    untraced: TreewardError | None = None
    hidden = as_json or len(problems) == 1
    try:
        with (
            assemble.progress_bar(len(problems), algorithm, hidden) as advance,
            noted_requests() as asked_to_end,
        ):
            for result in search.solve_many(problems, asked_to_end):
                results.append(result)
                if writer is not None:
                    try:
                        writer.write(result)
                    except TreewardError as error:
                        untraced, writer = error, None
                advance()
            if asked_to_end():
                stopped = KeyboardInterrupt()
    except (Exception, KeyboardInterrupt) as error:
        if not results and not isinstance(error, KeyboardInterrupt):
            raise
        stopped = error  # told once the results that are there are printed
    place = {one.id: number for number, one in enumerate(problems)}
    results.sort(key=lambda result: place[result.problem.id])  # they come as they finish
    if as_json:
        chosen = [{"arm": arms[r.problem.id]} if arms else {} for r in results]
        record = {
            "results": [{**result_record(r), **arm} for r, arm in zip(results, chosen)],
            "bad_lines": unused,
            "interrupted": isinstance(stopped, KeyboardInterrupt),
        }
        print(json.dumps(record, allow_nan=False))
    else:
        from search.cli.render import print_results

        print_results(results, judged)
        used = (arms[result.problem.id] for result in results if arms)
        for name, count in Counter(used).most_common():
            print(f"prompt '{name}': {count} problem{'s' if count > 1 else ''}")
    for result in results:
        if result.status == "failed":
            print(f"treeward: {result.error}", file=sys.stderr)
    if untraced is not None:
        print(f"treeward: {untraced}", file=sys.stderr)
    if stopped is not None:
        done = sum(result.status != "interrupted" for result in results)
        assemble.break_off(stopped, f"{done} of {len(problems)} problems are done")
    if unused or untraced or any(result.status == "failed" for result in results):
        raise typer.Exit(1)
