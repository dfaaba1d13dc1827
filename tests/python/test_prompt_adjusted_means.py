"""Arms that were run on different queries, compared on those they share."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from rich.table import Table

from prompt_oirl.audit.coverage import coverage
from prompt_oirl.choice.selector import fit_selector
from prompt_oirl.evaluation.protocols import grouped_trial
from prompt_oirl.evaluation.row import report_row
from prompt_oirl.evaluation.value import value_of
from prompt_oirl.logs.log import Arm, PromptLog, Query
from prompt_oirl.models.adjusted_means import (
    AdjustedMeans,
    adjusted_means,
    best_arm,
    is_complete,
    plain_means,
)
from prompt_oirl.models.outcomes import Floats, Outcomes
from prompt_oirl.off_policy import estimate_value
from prompt_oirl.off_policy.best_single import BestSingle
from search.cli.prompt.tables import evaluation_table


def random_grid(seed: int, missing: float) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    value = rng.random((40, 4))
    weight = rng.integers(1, 4, size=value.shape).astype(float)
    weight[rng.random(value.shape) < missing] = 0
    return np.where(weight > 0, value, np.nan), weight


def two_way_effects(value: Floats, weight: Floats) -> Floats:
    """Least squares with a column for every row and every arm; effects that add up to 0."""
    row, arm = np.nonzero(weight)
    design = np.zeros((len(row), sum(value.shape)))
    design[np.arange(len(row)), row] = design[np.arange(len(row)), len(value) + arm] = 1
    root = np.sqrt(weight[row, arm])
    found = np.linalg.lstsq(design * root[:, None], value[row, arm] * root, rcond=None)[0]
    effects = found[len(value) :]
    return np.asarray(effects - effects.mean())


@pytest.mark.parametrize("seed", range(5))
def test_effects_are_those_of_least_squares(seed: int) -> None:
    value, weight = random_grid(seed, missing=0.4)
    found = adjusted_means(value, weight)
    assert found.mean - found.mean.mean() == pytest.approx(two_way_effects(value, weight))


def test_a_full_grid_keeps_its_plain_means() -> None:
    value, weight = random_grid(0, missing=0.0)
    assert is_complete(np.ones_like(weight))
    assert adjusted_means(value, np.ones_like(weight)).mean == pytest.approx(value.mean(axis=0))
    reruns = np.broadcast_to(weight[:, :1], weight.shape)
    expected = np.average(value, axis=0, weights=reruns[:, 0])
    assert is_complete(reruns)
    assert adjusted_means(value, reruns).mean == pytest.approx(expected)


def test_a_prompt_that_was_run_more_often_on_easy_queries_is_not_the_best_for_it() -> None:
    value = np.tile([[1.0, 1.0], [0.5, 0.6]], (20, 1))
    weight = np.tile([[10.0, 1.0], [1.0, 1.0]], (20, 1))
    assert not is_complete(weight)
    assert plain_means(value, weight).argmax() == 0
    assert best_arm(value, weight) == 1


def test_an_arm_run_everywhere_keeps_its_plain_mean() -> None:
    value, _ = random_grid(1, missing=0.0)
    value[10:, 2] = value[30:, 3] = np.nan
    found = adjusted_means(value, (~np.isnan(value)).astype(float))
    assert found.mean[:2] == pytest.approx(value[:, :2].mean(axis=0))


def test_errors_are_those_of_repeated_draws() -> None:
    rng = np.random.default_rng(0)
    weight = (rng.random((60, 3)) < (0.9, 0.6, 0.2)).astype(float)
    level = rng.normal(size=(60, 1))
    found = [
        adjusted_means(np.where(weight > 0, level + rng.normal(size=(60, 3)), np.nan), weight)
        for _ in range(400)
    ]
    effects = np.array([one.mean - one.mean.mean() for one in found])
    claimed = np.mean([one.error for one in found], axis=0)
    assert effects.std(axis=0) == pytest.approx(claimed, rel=0.12)
    assert claimed[2] > 1.3 * claimed[0]


def test_parts_that_share_no_row_keep_their_levels() -> None:
    value = np.full((4, 4), np.nan)
    value[:2, :2] = [[0.2, 0.4], [0.4, 0.6]]
    value[2:, 2] = [0.9, 0.7]
    found = adjusted_means(value, (~np.isnan(value)).astype(float))
    assert found.mean[:3] == pytest.approx([0.3, 0.5, 0.8])
    assert np.isnan(found.mean[3])
    assert np.isinf(found.error[3])
    assert found.best == 1  # so few rows say little of another part


def test_a_lone_arm_on_few_easy_rows_is_not_the_best() -> None:
    rng = np.random.default_rng(0)
    value = np.full((203, 3), np.nan)
    value[:200, :2] = rng.random((200, 2)) < (0.7, 0.5)
    value[200:, 2] = 1.0
    found = adjusted_means(value, (~np.isnan(value)).astype(float))
    assert found.mean[2] == 1.0
    assert found.best == 0


def test_luck_on_few_rows_does_not_make_the_best_arm() -> None:
    error = np.array([0.02, 0.2, np.inf])
    found = AdjustedMeans(np.array([0.6, 0.9, np.nan]), error, np.array([0.0, 0.2, np.inf]))
    assert found.best == 0


@pytest.mark.parametrize("rows", [2, 4, 10, 20])
def test_an_arm_that_was_hardly_run_makes_no_other_less_sure(rows: int) -> None:
    """Its own error is in every effect, which all have in common: differences are what counts."""
    taken = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        value = np.full((200, 3), np.nan)
        value[:, :2] = rng.random((200, 2)) < (0.6, 0.5)
        value[:rows, 2] = rng.random(rows) < 0.5
        found = adjusted_means(value, (~np.isnan(value)).astype(float))
        taken += found.best == 2
    assert taken <= 8  # 2 standard errors are passed in 2.3 % of draws where arms are equal


def test_errors_from_the_arm_run_most_are_those_of_repeated_draws() -> None:
    rng = np.random.default_rng(0)
    weight = (rng.random((60, 3)) < (0.9, 0.6, 0.2)).astype(float)
    level = rng.normal(size=(60, 1))
    found = [
        adjusted_means(np.where(weight > 0, level + rng.normal(size=(60, 3)), np.nan), weight)
        for _ in range(400)
    ]
    differences = np.array([one.mean - one.mean[0] for one in found])
    claimed = np.mean([one.error_from_most_run for one in found], axis=0)
    assert claimed[0] == 0
    assert differences.std(axis=0)[1:] == pytest.approx(claimed[1:], rel=0.12)


def uneven_log() -> PromptLog:
    """Every fifth query is easy, and only there the worst prompt was run as well."""
    rng = np.random.default_rng(0)
    chance = np.where(np.arange(400)[:, None] % 5 == 0, (0.95, 0.85, 0.75), (0.45, 0.35, 0.25))
    grid = (rng.random((400, 3)) < chance).astype(float)
    grid[np.arange(400) % 5 > 0, 2] = np.nan
    words = rng.choice(
        ["apple", "river", "train", "boy", "shop", "eggs", "money", "box"], size=(400, 3)
    )
    queries = [Query(str(i), f"{' '.join(w)} {i}", str(i)) for i, w in enumerate(words)]
    return PromptLog.from_grid("uneven", queries, [Arm("a"), Arm("b"), Arm("c")], grid)


def test_a_worse_prompt_on_easy_queries_is_no_default() -> None:
    log = uneven_log()
    plain = np.nanmean(log.grid(), axis=0)
    assert plain.argmax() == 2
    selector = fit_selector(log)
    assert selector.default.name == "a"
    assert selector.means[0] == pytest.approx(plain[0])
    assert selector.means[0] > selector.means[2]
    assert set(grouped_trial(log).best_single) == {0}


def test_hindsight_compares_arms_on_the_same_rows() -> None:
    log = uneven_log()
    chosen = np.zeros(400, dtype=np.int64)
    found = value_of(log.grid(), log.groups, chosen, chosen)
    assert found.hindsight_best == pytest.approx(found.value)
    assert found.worst_single < found.value


def test_the_audit_says_that_plain_means_mislead() -> None:
    log = uneven_log()
    (finding,) = [f for f in coverage(log) if "comparable_means" in f.counts]
    assert finding.severity == "warning"
    assert finding.counts["arms"] == ["c"]
    assert "'c' is 0." in finding.sentence
    never = replace(log, arms=(*log.arms, Arm("d")))
    (finding,) = [f for f in coverage(never) if "comparable_means" in f.counts]
    assert set(finding.counts["comparable_means"]) == {"a", "b", "c"}
    json.dumps(finding.to_json(), allow_nan=False)
    everywhere = log.only_arms(["a", "b"])
    assert not [f for f in coverage(everywhere) if "comparable_means" in f.counts]


def test_outcomes_of_a_full_grid_are_as_before() -> None:
    value, _ = random_grid(2, missing=0.0)
    weight = np.ones_like(value)
    some = Outcomes(value, value, weight, np.arange(len(value)))
    assert some.best_single == value.mean(axis=0).argmax()
    assert some.comparable_means.tolist() == some.arm_means.tolist()


def test_the_target_best_compares_arms_on_shared_queries() -> None:
    table = BestSingle().probabilities(uneven_log())
    assert (table.argmax(axis=1) == 0).all()
    assert estimate_value(uneven_log(), BestSingle()).choices["a"] == 1


def test_queries_that_tell_nothing_of_the_choice_are_counted_for_people() -> None:
    log = uneven_log()
    trial = replace(grouped_trial(log), chosen=np.full(400, 2))
    row = report_row(trial, "grouped")
    assert (row["rows"], row["rows_left_out"]) == (80, 320)
    table = evaluation_table(row)
    assert isinstance(table, Table)
    assert "; 320 more lack an outcome" in str(table.caption)
