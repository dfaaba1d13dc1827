"""Results on a terminal: the winning path as a tree, and tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from search.problem import Problem
from search.result import SearchResult


def print_results(
    results: Sequence[SearchResult], judged: Callable[[Problem], bool] = lambda problem: True
) -> None:
    """One tree a problem: the steps of the best path, what they are worth, and the cost.

    Args:
        results: of the problems.
        judged: whether a verifier's verdict counted in the search of a problem.
    """
    console = Console()
    for result in results:
        if result.status != "failed":
            console.print(result_tree(result))
    if len(results) > 1:
        console.print(_summary(results, judged), highlight=False)


def _summary(results: Sequence[SearchResult], judged: Callable[[Problem], bool]) -> str:
    """How many are solved; where nothing was checked, how many have an answer."""
    checked = [result for result in results if judged(result.problem)]
    others = [result for result in results if not judged(result.problem)]
    parts = []
    if checked:
        parts.append(f"{sum(one.right is True for one in checked)} of {len(checked)} solved")
    if others:
        answered = sum(one.answer is not None for one in others)
        parts.append(f"{answered} of {len(others)} answered, not checked")
    return "; ".join(parts)


def result_tree(result: SearchResult) -> Tree:
    """The winning path of one problem as a tree."""
    name = result.problem.prompt.strip() or result.problem.id
    root = Tree(Text.assemble((name, "bold"), "  ", _verdict(result)))
    branch = root
    for step in result.steps:
        notes = [f"p {_probability(step.logprob)}"]
        if step.score is not None:
            notes.append(f"reward {step.score:.3f}")
        notes.append(f"visits {step.visits}")
        branch = branch.add(Text.assemble(step.text.strip(), "  ", (", ".join(notes), "dim")))
    ledger = result.ledger
    cost = (
        f"policy {ledger.policy.computed} tokens, reward {ledger.reward.computed} tokens, "
        f"{ledger.nodes} nodes, {ledger.seconds:.2f} s"
    )
    if result.status == "budget":
        cost += f", stopped by the budget of {result.limit}"
    if result.status == "interrupted":
        cost += ", interrupted"
    root.add(Text(cost, "dim"))
    return root


def _probability(logprob: float) -> str:
    import math

    return f"{math.exp(logprob):.3f}"


def _verdict(result: SearchResult) -> Text:
    if result.answer is None:
        return Text("no answer", "yellow")
    if result.right is True:
        return Text.assemble((result.answer, "green"), " ✓")
    if result.right is False:
        return Text.assemble((result.answer, "red"), " ✗")
    return Text(result.answer)


def evaluation_table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """The rows of an evaluation as a table for people."""
    table = Table(
        title=title,
        box=box.SIMPLE,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        caption="means a puzzle: policy+reward tokens charged, those computed, seconds",
    )
    table.add_column("algorithm", no_wrap=True)
    for name in ("budget", "solved", "95 %", "tokens", "computed", "s", "minus best_of_n"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        low, high = row["ci95"]
        difference = row.get("minus_best_of_n")
        paired = ""
        if difference is not None:
            a, b = row["minus_best_of_n_ci95"]
            paired = f"{100 * difference:+.1f} ({100 * a:+.0f}…{100 * b:+.0f})"
        table.add_row(
            row["algorithm"],
            str(row["budget_tokens"]),
            f"{100 * row['accuracy']:.1f}",
            f"{100 * low:.0f}…{100 * high:.0f}",
            _both(row["policy_tokens_charged_mean"], row["reward_tokens_charged_mean"]),
            _both(row["policy_tokens_mean"], row["reward_tokens_mean"]),
            f"{row['seconds_mean']:.3f}",
            paired,
        )
    return table


def _both(policy: float, reward: float) -> str:
    return f"{policy:.0f}+{reward:.0f}"


def bench_table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """The rows of a benchmark, with a column for every key that the first row has."""
    table = Table(title=title, box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    columns = [name for name in (rows[0] if rows else {}) if not name.endswith("_spread")]
    for name in columns:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in columns))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)
