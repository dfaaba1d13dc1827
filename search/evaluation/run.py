"""Runs algorithms at equal budgets over a suite and makes the rows of the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from search.budget import Budget
from search.engine import Search
from search.errors import BadProblem, TreewardError
from search.evaluation.statistics import paired_difference, wilson_interval
from search.interfaces import (
    Aggregator,
    LanguageModel,
    RewardModel,
    Sampling,
    StepRules,
    Verifier,
)
from search.problem import Problem, with_unique_ids
from search.result import SearchResult


def needs_reward(algorithm: str, judge: bool) -> bool:
    """Whether the reward has any say: a single path, or samples that are all checked, need none."""
    if algorithm == "greedy":
        return False
    return not (algorithm == "best_of_n" and judge)


def evaluate(
    problems: Sequence[Problem],
    algorithms: Sequence[str],
    budgets: Sequence[int],
    model: LanguageModel,
    reward: RewardModel | None,
    verifier: Verifier,
    judge: bool = True,
    seed: int = 0,
    options: dict[str, dict[str, Any]] | None = None,
    max_live: int = 32,
    rules: StepRules | None = None,
    sampling: Sampling | None = None,
    aggregate: Aggregator | None = None,
    progress: Callable[[str, int, SearchResult], None] | None = None,
    rows: list[dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """One row an algorithm and budget, with paired differences to best-of-n where it ran.

    What to compare are the tokens charged, which the budgets limit and which do not depend on the
    other problems (``policy_tokens_charged_mean``); ``policy_tokens_mean`` is what was computed.

    Args:
        problems: what every algorithm solves.
        algorithms: names.
        budgets: policy tokens a problem, prompt included.
        model: the policy.
        reward: guides the algorithms that use one.
        verifier: checks the returned answer, and with ``judge`` every finished path.
        judge: let verdicts end a search; otherwise the reward alone selects.
        seed: of every search.
        options: options by algorithm.
        max_live: problems in flight at once.
        rules: when a step ends; by default at a line end.
        sampling: how tokens are drawn; by default as the model says.
        aggregate: makes a path's value of its step scores; by default the last one.
        progress: called after each problem.
        rows: where rows go as they are done; it keeps them if the run breaks off.

    Raises:
        ValueError: an option of an algorithm is wrong; told before the first search.
        TreewardError: a budget is wrong (told before the first search too), there are no problems,
            or every search of a row failed. A problem whose search failed counts as not solved;
            ``failed`` and ``first_error`` of the row say so.
    """
    if not problems:
        raise BadProblem("there are no problems to evaluate")
    problems = list(with_unique_ids(problems))
    # All of them before the first row: a wrong budget or option should not cost finished rows.
    cells = [(budget, algorithm) for budget in budgets for algorithm in algorithms]
    searches = [
        Search(
            model,
            reward=reward if needs_reward(algorithm, judge) else None,
            verifier=verifier,
            judge=judge,
            algorithm=algorithm,
            options=(options or {}).get(algorithm),
            budget=Budget(policy_tokens=budget),
            seed=seed,
            max_live=max_live,
            rules=rules,
            sampling=sampling,
            aggregate=aggregate,
        )
        for budget, algorithm in cells
    ]
    rows = [] if rows is None else rows
    right: dict[tuple[str, int], list[bool]] = {}
    try:
        for (budget, algorithm), search in zip(cells, searches, strict=True):
            started = time.perf_counter()
            results: dict[str, SearchResult] = {}
            for result in search.solve_many(problems):
                results[result.problem.id] = result
                if progress is not None:
                    progress(algorithm, budget, result)
            seconds = time.perf_counter() - started
            ordered = [results[problem.id] for problem in problems]
            found = [is_right(result, verifier) for result in ordered]
            row = _row(algorithm, budget, ordered, found, seconds)
            if row["failed"] == len(ordered):
                raise TreewardError(f"{algorithm} at {budget} tokens: {row['first_error']}")
            right[algorithm, budget] = found
            rows.append(row | {"overhead_share": search.seconds.overhead_share})
    finally:
        _compare(rows, right)
    return rows


def is_right(result: SearchResult, verifier: Verifier) -> bool:
    """Whether the returned answer is right by the statement, checked again from its text."""
    if not result.finished:
        return False
    return verifier.check(result.problem, [result.text]).right is True


def _compare(rows: Sequence[dict[str, Any]], right: dict[tuple[str, int], list[bool]]) -> None:
    for row in rows:
        other = right.get(("best_of_n", row["budget_tokens"]))
        if other is not None and row["algorithm"] != "best_of_n":
            mine = right[row["algorithm"], row["budget_tokens"]]
            difference, low, high = paired_difference(mine, other)
            row["minus_best_of_n"] = difference
            row["minus_best_of_n_ci95"] = [low, high]


def _row(
    algorithm: str,
    budget: int,
    results: Sequence[SearchResult],
    right: Sequence[bool],
    seconds: float,
) -> dict[str, Any]:
    n = len(results)
    policy = [result.ledger.policy for result in results]
    reward = [result.ledger.reward for result in results]
    errors = [result.error for result in results if result.status == "failed"]
    low, high = wilson_interval(sum(right), n)
    return {
        "algorithm": algorithm,
        "budget_tokens": budget,
        "problems": n,
        "failed": len(errors),
        "first_error": errors[0] if errors else None,
        "accuracy": sum(right) / n,
        "ci95": [low, high],
        "policy_tokens_charged_mean": sum(use.charged for use in policy) / n,
        "reward_tokens_charged_mean": sum(use.charged for use in reward) / n,
        "policy_tokens_mean": sum(use.computed for use in policy) / n,
        "reward_tokens_mean": sum(use.computed for use in reward) / n,
        "seconds_mean": seconds / n,
        "recompute_ratio_policy": _ratio(policy),
        "recompute_ratio_reward": _ratio(reward),
    }


def _ratio(uses: Sequence[Any]) -> float | None:
    unique = sum(use.unique for use in uses)
    return sum(use.computed for use in uses) / unique if unique else None
