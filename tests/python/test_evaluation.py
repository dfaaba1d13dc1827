"""Statistics of an evaluation against known values, and the rows that it reports."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import tiny_search
from rich.console import Console

from reward_bridge.causal import CausalRewardModel
from reward_bridge.verifiers import ArithmeticVerifier
from search import bundled
from search.cli.render import evaluation_table
from search.errors import BadProblem, TreewardError
from search.evaluation.run import evaluate
from search.evaluation.statistics import paired_difference, wilson_interval
from search.evaluation.suites import load_suite, parse_rows
from search.interfaces import StepRules
from search.problem import Problem
from search.puzzles.problems import puzzle_problem

KEYS = {
    "algorithm",
    "budget_tokens",
    "accuracy",
    "ci95",
    "policy_tokens_charged_mean",
    "policy_tokens_mean",
    "reward_tokens_charged_mean",
    "reward_tokens_mean",
    "seconds_mean",
    "recompute_ratio_policy",
    "recompute_ratio_reward",
}


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [
        (0, 10, 0.0, 0.27754),  # Brown, Cai and DasGupta, Statistical Science 2001
        (10, 10, 0.72246, 1.0),
        (5, 10, 0.23659, 0.76341),
        (81, 263, 0.25525, 0.36617),  # Newcombe, Statistics in Medicine 1998
        (15, 148, 0.06235, 0.16051),
        (1, 29, 0.00611, 0.17176),
    ],
)
def test_wilson_intervals_as_published(hits: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(hits, total) == pytest.approx((low, high), abs=1e-3)


def test_wilson_of_nothing_is_everything() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def pairs(both: int, ours: int, theirs: int, neither: int) -> tuple[list[bool], list[bool]]:
    """Problems that both methods solve, only ours, only theirs, and neither."""
    counts = (both, ours, theirs, neither)
    cells = [(True, True), (True, False), (False, True), (False, False)]
    each = [cell for cell, count in zip(cells, counts) for _ in range(count)]
    return [a for a, _ in each], [b for _, b in each]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # Worked by hand: centre (b - c) / (n + 2), variance ((b + c + 2) / (n + 2) - centre²)
        # / (n + 2).
        ((60, 20, 0, 20), (0.2, 0.1144, 0.2778)),
        ((30, 5, 12, 53), (-0.07, -0.1513, 0.0141)),
        ((8, 0, 0, 0), (0.0, -0.2772, 0.2772)),
        ((0, 1, 0, 0), (1.0, -0.7335, 1.0)),
        ((0, 0, 0, 0), (0.0, -1.0, 1.0)),
    ],
)
def test_paired_difference_and_its_interval(
    counts: tuple[int, int, int, int], expected: tuple[float, float, float]
) -> None:
    assert paired_difference(*pairs(*counts)) == pytest.approx(expected, abs=2e-4)


def test_pairing_matters() -> None:
    """Equal accuracies: the more the problems differ, the wider the interval."""
    wins = [True] * 50 + [False] * 50
    same, opposite = paired_difference(wins, wins), paired_difference(wins, wins[::-1])
    assert same[0] == opposite[0] == 0.0
    assert -0.03 < same[1] == -same[2] < 0
    assert opposite[1] == -opposite[2] < -0.1


def test_swapping_the_methods_swaps_the_sign() -> None:
    a, b = pairs(40, 13, 6, 20)
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert there == pytest.approx((-back[0], -back[2], -back[1]))
    assert there[1] < there[0] < there[2]


@pytest.mark.parametrize("total", [1, 5, 20, 60, 200])
@pytest.mark.parametrize(
    "shares", [(0.5, 0.2, 0.1), (0.9, 0.05, 0.03), (0.97, 0.01, 0.02), (0.2, 0.6, 0.1), (1.0, 0, 0)]
)
def test_intervals_hold_the_truth_as_often_as_they_say(
    total: int, shares: tuple[float, float, float]
) -> None:
    """Over draws of problems that both methods, only ours, or only theirs solve in these shares."""
    generator = np.random.default_rng(5)
    draws = generator.multinomial(total, [*shares, 1 - sum(shares)], size=1500)
    truth = shares[1] - shares[2]
    held = []
    for counts, times in zip(*np.unique(draws, axis=0, return_counts=True)):
        difference, low, high = paired_difference(*pairs(*counts))
        assert low <= difference <= high
        held.append(times * (low <= truth <= high))
    assert sum(held) / len(draws) >= 0.935  # 0.95, less 2.7 standard errors


def test_methods_on_different_problems_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="3 and 2"):
        paired_difference([True] * 3, [True] * 2)


@pytest.fixture(scope="module")
def parts(folders: Path) -> tuple[object, CausalRewardModel]:
    folder = tiny_models.made(folders, kind="phi", favour="\n", characters=tiny_models.PUZZLE)
    scorer = tiny_models.made(
        folders, characters=tiny_models.PUZZLE, head="TokenClassification", num_labels=2
    )
    model = tiny_models.policy(folder)
    return model, CausalRewardModel(str(scorer), model.tokenizer)


@pytest.mark.parametrize("judge", [True, False])
def test_rows_of_an_evaluation(parts: tuple, judge: bool) -> None:
    model, reward = parts
    problems = [puzzle_problem([1, 1, 4, n]) for n in range(4, 9)]
    algorithms, budgets = ["greedy", "best_of_n", "beam", "mcts"], [60, 150]
    rows = evaluate(problems, algorithms, budgets, model, reward, ArithmeticVerifier(), judge=judge)
    assert [(row["budget_tokens"], row["algorithm"]) for row in rows] == [
        (budget, name) for budget in budgets for name in algorithms
    ]
    for row in rows:
        assert set(row) >= KEYS
        assert 0 <= row["ci95"][0] <= row["accuracy"] <= row["ci95"][1] <= 1
        assert 0 < row["policy_tokens_charged_mean"] <= row["budget_tokens"]
        assert row["recompute_ratio_policy"] == 1.0
        assert row["recompute_ratio_reward"] in (1.0, None)
        assert ("minus_best_of_n" in row) == (row["algorithm"] != "best_of_n")
    json.dumps(rows, allow_nan=False)
    again = evaluate(
        problems, algorithms, budgets, model, reward, ArithmeticVerifier(), judge=judge
    )
    for row, other in zip(rows, again):
        for name in KEYS - {"seconds_mean"}:
            assert row[name] == other[name]


def test_what_is_compared_is_what_the_budget_limits(folders: Path) -> None:
    """A long prompt in common is computed once, but each problem is charged for it."""
    model = tiny_search.policy(folders, fresh=True)
    problems = [Problem("abcdefgh" * 16 + f"{tail}\n", id=tail) for tail in "abcd"]
    judge, rules = tiny_search.ToyVerifier(), StepRules(max_step_tokens=6)
    (row,) = evaluate(problems, ["greedy"], [170], model, None, judge, rules=rules)
    alone = [
        evaluate([one], ["greedy"], [170], fresh, None, judge, rules=rules)[0]
        for one in problems
        for fresh in [tiny_search.policy(folders, fresh=True)]
    ]
    charged = [one["policy_tokens_charged_mean"] for one in alone]
    assert charged == [one["policy_tokens_mean"] for one in alone]
    assert row["policy_tokens_charged_mean"] == sum(charged) / 4
    assert row["policy_tokens_mean"] <= row["policy_tokens_charged_mean"] - 3 * 128 / 4
    assert f" {sum(charged) / 4:.0f}+0 " in table_text([row])


def table_text(rows: list[dict[str, Any]]) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(evaluation_table(rows, "title"))
    return console.export_text()


def test_equal_problems_are_counted_each(parts: tuple) -> None:
    model, _ = parts
    problems = [puzzle_problem([1, 1, 4, 6])] * 3
    (row,) = evaluate(problems, ["best_of_n"], [60], model, None, ArithmeticVerifier())
    assert row["problems"] == 3


def test_a_failed_search_is_counted_and_named(parts: tuple) -> None:
    model, _ = parts
    problems = [puzzle_problem([1, 1, 4, 6]), Problem("Ω", id="odd")]
    (row,) = evaluate(problems, ["greedy"], [60], model, None, ArithmeticVerifier())
    assert (row["problems"], row["failed"]) == (2, 1)
    assert row["first_error"].startswith("odd: ")
    assert row["accuracy"] in (0.0, 0.5)
    (row,) = evaluate(problems[:1], ["greedy"], [60], model, None, ArithmeticVerifier())
    assert (row["failed"], row["first_error"]) == (0, None)


def test_a_row_of_failures_is_no_row(parts: tuple) -> None:
    model, _ = parts
    with pytest.raises(TreewardError, match=r"greedy at 60 tokens: .*cannot read"):
        evaluate([Problem("Ω")], ["greedy"], [60], model, None, ArithmeticVerifier())
    with pytest.raises(TreewardError, match="no problems"):
        evaluate([], ["greedy"], [60], model, None, ArithmeticVerifier())


@pytest.mark.parametrize("text", ["901", "1000-901", "0-5", "a-b", "1-2-3", "", "-5", "²-³"])
def test_rows_are_given_as_a_range(text: str) -> None:
    with pytest.raises(BadProblem, match="rows are given as 901-1000"):
        parse_rows(text)
    assert parse_rows("901-1000") == (901, 1000)
    assert parse_rows("7-7") == (7, 7)


def test_suites() -> None:
    assert len(load_suite("game24", None, None, None)) == 1362
    assert len(load_suite("game24", None, None, 5)) == 5
    held_out = load_suite("countdown", None, None, 20)
    assert len(held_out) == 20
    assert all(problem.facts["target"] != 24 for problem in held_out)
    with pytest.raises(BadProblem, match="unknown suite 'chess'; known: game24, countdown"):
        load_suite("chess", None, None, None)
    with pytest.raises(BadProblem, match="--rows"):
        load_suite("game24", None, "1-5", None)
    with pytest.raises(BadProblem, match="takes no --file"):
        load_suite("countdown", Path("x.csv"), None, None)


@pytest.mark.skipif(len(bundled.available()) < 2, reason="the bundled models are not there")
def test_bundled_models_solve_puzzles_by_search() -> None:
    policy = tiny_models.policy(Path(bundled.resolve(bundled.POLICY)))
    reward = CausalRewardModel(bundled.resolve(bundled.REWARD), policy.tokenizer)
    problems = load_suite("game24", None, None, None)[::90]
    rows = evaluate(problems, ["greedy", "mcts"], [1000], policy, reward, ArithmeticVerifier())
    greedy, mcts = (row["accuracy"] for row in rows)
    assert mcts > greedy
    assert mcts >= 0.6
    assert all(row["recompute_ratio_policy"] == 1.0 for row in rows)
