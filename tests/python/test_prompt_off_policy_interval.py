"""Intervals: errors by group, degrees of freedom, the bootstrap, and how often they cover."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from benchmarks import off_policy_simulation as simulation
from prompt_oirl.errors import NotIdentified
from prompt_oirl.off_policy.cluster_bootstrap import bootstrap_interval, bootstrap_values
from prompt_oirl.off_policy.estimators import ESTIMATORS, DoublyRobust, estimated_value
from prompt_oirl.off_policy.evidence import Evidence
from prompt_oirl.off_policy.interval import (
    asymptotic_interval,
    effective_degrees_of_freedom,
    group_sums,
)

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("TREEWARD_DATA") or ROOT.parent / "shared/data") / "prompt_logs"


def some_evidence(seed: int, rows: int) -> Evidence:
    draw = np.random.default_rng(seed)
    chosen = draw.random(rows)
    return Evidence(draw.integers(0, 2, rows) * 1.0, draw.exponential(1, rows), chosen, chosen)


class TestAsymptotic:
    def test_by_hand(self) -> None:
        influence = np.array([1.0, 2.0, -1.0, -2.0])
        found = asymptotic_interval(0.5, influence, np.array([0, 0, 1, 1]))
        # group sums 3 and -3: variance 2/1 * 18 / 16; one degree of freedom
        assert found.standard_error == pytest.approx(1.5)
        assert found.degrees_of_freedom == 1
        assert found.high - 0.5 == pytest.approx(1.5 * t.ppf(0.975, 1))
        assert found.low + found.high == pytest.approx(1.0)

    def test_single_queries_give_the_usual_standard_error(self) -> None:
        values = np.random.default_rng(0).normal(size=500)
        found = asymptotic_interval(0.0, values - values.mean(), np.arange(500))
        assert found.standard_error == pytest.approx(values.std(ddof=1) / np.sqrt(500))

    def test_copies_within_a_group_tell_nothing_new(self) -> None:
        values = np.random.default_rng(1).normal(size=100)
        values -= values.mean()
        once = asymptotic_interval(0.0, values, np.arange(100))
        copied = asymptotic_interval(0.0, np.repeat(values, 5), np.repeat(np.arange(100), 5))
        assert copied.standard_error == pytest.approx(once.standard_error)
        assert copied.degrees_of_freedom == pytest.approx(once.degrees_of_freedom)

    def test_a_wider_level_is_wider(self) -> None:
        values = np.array([-1.0, 0.5, 0.5, 0.0])
        narrow = asymptotic_interval(0.0, values, np.arange(4), 0.8)
        wide = asymptotic_interval(0.0, values, np.arange(4), 0.99)
        assert wide.high > narrow.high

    def test_one_group_is_refused(self) -> None:
        with pytest.raises(NotIdentified, match="at least 2 groups, not 1"):
            asymptotic_interval(0.0, np.zeros(5), np.zeros(5, dtype=np.int64))

    def test_unknown_value_is_refused(self) -> None:
        with pytest.raises(NotIdentified, match="agrees with the target"):
            asymptotic_interval(np.nan, np.zeros(5), np.arange(5))


class TestDegreesOfFreedom:
    def test_normal_sums_have_nearly_all(self) -> None:
        sums = np.random.default_rng(2).normal(size=20_000)
        assert effective_degrees_of_freedom(sums) == pytest.approx(20_000, rel=0.05)

    def test_one_that_makes_it_all_leaves_few(self) -> None:
        sums = np.zeros(1000)
        sums[0] = 1.0
        assert effective_degrees_of_freedom(sums) == pytest.approx(2.0, rel=0.01)

    def test_equal_squares_leave_all(self) -> None:
        assert effective_degrees_of_freedom(np.array([1.0, -1.0, 1.0, -1.0])) == 3

    def test_scale_does_not_matter(self) -> None:
        sums = np.random.default_rng(3).standard_t(4, size=300)
        assert effective_degrees_of_freedom(sums * 1e-3) == pytest.approx(
            effective_degrees_of_freedom(sums)
        )


class TestBootstrap:
    # Not switch-dr: its threshold is kept in the bootstrap, and chosen anew on copied rows.
    @pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "switch-dr"])
    def test_matches_resampling_the_rows_themselves(self, name: str) -> None:
        """The mean over resamples, and their spread, against estimates on copied rows."""
        evidence, group = some_evidence(4, 90), np.arange(90) // 3
        estimator = ESTIMATORS[name]
        values = bootstrap_values(estimator, evidence, group, 4000, seed=1)
        draw, copied = np.random.default_rng(2), []
        for _ in range(1500):
            rows = (draw.integers(0, 30, 30)[:, None] * 3 + np.arange(3)).ravel()
            columns = (evidence.outcome, evidence.weight, evidence.chosen, evidence.expected)
            copied.append(
                estimated_value(estimator, Evidence(*(column[rows] for column in columns)))
            )
        error = np.std(copied) / np.sqrt(1500)
        assert values.mean() == pytest.approx(np.mean(copied), abs=5 * error)
        assert values.std() == pytest.approx(np.std(copied), rel=0.1)

    def test_agrees_with_the_asymptotic_interval_on_many_groups(self) -> None:
        evidence, group = some_evidence(5, 3000), np.arange(3000) // 2
        estimator = DoublyRobust()
        drawn = bootstrap_interval(estimator, evidence, group, resamples=4000, seed=3)
        value = estimated_value(estimator, evidence)
        exact = asymptotic_interval(value, estimator.influence(evidence), group)
        assert drawn.standard_error == pytest.approx(exact.standard_error, rel=0.05)
        assert drawn.low == pytest.approx(exact.low, abs=0.2 * exact.standard_error)
        assert drawn.high == pytest.approx(exact.high, abs=0.2 * exact.standard_error)

    def test_a_seed_repeats_itself(self) -> None:
        case = DoublyRobust(), some_evidence(6, 50), np.arange(50)
        first, second = bootstrap_interval(*case, seed=7), bootstrap_interval(*case, seed=7)
        assert (first.low, first.high) == (second.low, second.high)
        values = bootstrap_values(*case, 100, seed=7)
        assert (values == bootstrap_values(*case, 100, seed=7)).all()
        assert (values != bootstrap_values(*case, 100, seed=8)).any()

    def test_one_group_is_refused(self) -> None:
        with pytest.raises(NotIdentified, match="at least 2 groups"):
            bootstrap_interval(DoublyRobust(), some_evidence(0, 5), np.zeros(5, dtype=np.int64))


def synthetic_grid(queries: int, seed: int) -> simulation.Grid:
    """Reruns of questions in groups of three; which of four prompts works depends on a word."""
    draw = np.random.default_rng(seed)
    kind = np.repeat(draw.integers(0, 2, queries // 3), 3)
    hard = np.repeat(draw.random(queries // 3), 3)
    chance = np.stack([0.6 + 0 * kind, 0.3 + 0.5 * kind, 0.8 - 0.5 * kind, 0.2 + 0 * kind], axis=1)
    outcomes = (draw.random((queries, 4)) < chance * (0.6 + 0.4 * hard[:, None])) * 1.0
    texts = [f"how {'much' if k else 'many'} is item {i // 3}?" for i, k in enumerate(kind)]
    return simulation.Grid("made up", "test", texts, np.arange(queries) // 3, outcomes)


@pytest.fixture(scope="module")
def made_up() -> tuple[simulation.Grid, simulation.Population]:
    grid = synthetic_grid(1200, seed=9)
    return grid, simulation.make_population(grid, seed=0)


@pytest.mark.parametrize("logging", ["uniform", "epsilon-greedy", "softmax"])
def test_doubly_robust_intervals_cover(
    made_up: tuple[simulation.Grid, simulation.Population], logging: str
) -> None:
    found = simulation.row(*made_up, logging, replicates=250, seed=1)
    # 250 replicates of 95 % have a standard error of 1.4 points; two dependent targets
    assert 0.90 <= found["coverage"] <= 0.99
    for target in found["targets"].values():
        assert abs(target["bias"]) < 4 * target["rmse"]["dr"] / np.sqrt(250)
        if logging == "uniform":  # the model sees enough of every arm to help
            assert target["rmse"]["dr"] < target["rmse"]["ips"]


def test_ignoring_groups_covers_too_rarely() -> None:
    """What the error by group is for: five copies of each query as if they were five queries."""
    draw, covered = np.random.default_rng(10), {True: 0, False: 0}
    for _ in range(200):
        outcome = np.repeat(draw.random(60) < 0.5, 5) * 1.0
        flat = np.zeros(300)
        evidence = Evidence(outcome, np.ones(300), flat, flat)
        value = estimated_value(DoublyRobust(), evidence)
        influence = DoublyRobust().influence(evidence)
        for grouped in covered:
            group = np.arange(300) // 5 if grouped else np.arange(300)
            found = asymptotic_interval(value, influence, group)
            covered[grouped] += found.low <= 0.5 <= found.high
    assert covered[True] > 0.9 * 200
    assert covered[False] < 0.75 * 200


def test_drawn_logs_follow_the_logging_policy(
    made_up: tuple[simulation.Grid, simulation.Population],
) -> None:
    population = made_up[1]
    logging = population.logging["softmax"]
    draw = np.random.default_rng(3)
    count, expected = np.zeros(4), np.zeros(4)
    for _ in range(20):
        drawn = simulation.draw_decisions(population, logging, draw)
        count += np.bincount(drawn.arm, minlength=4)
        expected += logging[drawn.query].sum(axis=0)
        rows = np.arange(len(drawn))
        assert (drawn.outcome == population.outcomes[drawn.query, drawn.arm]).all()
        assert (drawn.propensity == logging[drawn.query, drawn.arm][rows]).all()
        # queries of one drawn group come together, three each
        assert (group_sums(np.ones((len(drawn), 1)), drawn.group) == 3).all()
    error = np.sqrt(expected * (1 - expected / expected.sum()))
    assert (np.abs(count - expected) < 5 * error).all()


def test_coverage_on_a_real_log() -> None:
    path = DATA / "oirl_tiger13b_gsm8k_test6.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no logs in {DATA}; set TREEWARD_DATA")
    (grid,) = simulation.full_grids(path)
    population = simulation.make_population(grid, seed=0)
    found = simulation.row(grid, population, "uniform", replicates=200, seed=2)
    assert 0.90 <= found["coverage"] <= 0.99
