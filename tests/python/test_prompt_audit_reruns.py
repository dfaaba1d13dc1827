"""Audit of a log: what reruns of the same questions say about the gain of choosing per question."""

from __future__ import annotations

import numpy as np
import pytest

from prompt_oirl.audit import audit, rerun_ceiling
from prompt_oirl.audit.rerun_ceiling import intra_group_correlation
from prompt_oirl.logs import Arm, PromptLog, Query


def grouped_log(outcomes: np.ndarray, groups: np.ndarray) -> PromptLog:
    """Reruns as queries of their own in one group."""
    queries = [Query(f"q{i}", f"question {g}", f"g{g}") for i, g in enumerate(groups)]
    arms = [Arm("abcdef"[k]) for k in range(outcomes.shape[1])]
    return PromptLog.from_grid("made", queries, arms, outcomes)


def reference_choice(outcomes: np.ndarray, groups: np.ndarray) -> float:
    """The leave-one-out value, row by row."""
    total = 0.0
    for row in range(len(outcomes)):
        others = [i for i in range(len(outcomes)) if groups[i] == groups[row] and i != row]
        elsewhere = outcomes[groups != groups[row]].mean(axis=0)
        means = outcomes[others].mean(axis=0).round(9)
        best = max(range(outcomes.shape[1]), key=lambda k: (means[k], elsewhere[k]))
        total += outcomes[row, best]
    return total / len(outcomes)


def random_reruns(seed: int, skill: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes ``[rows, 3]`` of 60 questions, with 2 to 5 reruns, and the question of each row."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(60), generator.integers(2, 6, 60))
    chance = 0.5 + skill * (generator.random((60, 3)) - 0.5)
    return (generator.random((len(groups), 3)) < chance[groups]).astype(float), groups


@pytest.mark.parametrize("seed", range(5))
def test_value_agrees_with_a_loop(seed: int) -> None:
    outcomes, groups = random_reruns(seed)
    ceiling = rerun_ceiling(grouped_log(outcomes, groups))
    assert ceiling is not None
    assert ceiling.value == pytest.approx(reference_choice(outcomes, groups))
    assert ceiling.best_single == pytest.approx(outcomes.mean(axis=0).max())
    assert ceiling.gain == pytest.approx(ceiling.value - ceiling.best_single)
    low, high = ceiling.gain_ci95
    assert low < ceiling.gain < high


def test_runs_of_one_query_are_reruns_too() -> None:
    outcomes, groups = random_reruns(3)
    expected = rerun_ceiling(grouped_log(outcomes, groups))
    queries = tuple(Query(f"q{g}", f"question {g}", f"g{g}") for g in range(60))
    run = np.concatenate([np.arange(count) for count in np.bincount(groups)])
    rows, arms = len(outcomes), 3
    log = PromptLog(
        "made",
        queries,
        tuple(Arm("abc"[k]) for k in range(arms)),
        np.repeat(groups, arms),
        np.tile(np.arange(arms), rows),
        outcomes.ravel(),
        np.repeat(run, arms),
    )
    assert rerun_ceiling(log) == expected


def test_rows_of_other_arms_do_not_count() -> None:
    outcomes, groups = random_reruns(1)
    wider = np.concatenate([outcomes, np.full((len(outcomes), 1), np.nan)], axis=1)
    wider[::7, 3] = 1.0
    narrow, wide = (rerun_ceiling(grouped_log(o, groups)) for o in (outcomes, wider))
    assert narrow is not None
    assert narrow == wide


def test_noise_has_no_ceiling() -> None:
    """Where the question tells nothing, choosing by reruns gains nothing, unlike the oracle."""
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(800), 4)
    outcomes = (generator.random((3200, 3)) < [0.7, 0.5, 0.5]).astype(float)
    log = grouped_log(outcomes, groups)
    ceiling = rerun_ceiling(log)
    assert ceiling is not None
    assert ceiling.gain < 0
    assert outcomes.max(axis=1).mean() > 0.9
    assert all(abs(value) < 0.06 for value in ceiling.intra_question_correlation.values())
    (found,) = audit(log).named("rerun-ceiling")
    assert found.severity == "warning"


def test_interval_covers_the_truth() -> None:
    """With many reruns of two arms, the gain is E max(p, q) - max(E p, E q) = 1/6 for uniform."""
    inside = 0
    for seed in range(40):
        generator = np.random.default_rng(seed)
        groups = np.repeat(np.arange(150), 25)
        chance = generator.random((150, 2))
        outcomes = (generator.random((len(groups), 2)) < chance[groups]).astype(float)
        ceiling = rerun_ceiling(grouped_log(outcomes, groups), replicates=400, seed=seed)
        assert ceiling is not None
        low, high = ceiling.gain_ci95
        inside += low <= 1 / 6 <= high
    assert inside >= 33


def test_copies_are_named() -> None:
    outcomes, groups = random_reruns(0)
    first = outcomes[np.searchsorted(groups, groups)]
    (found,) = audit(grouped_log(first, groups)).named("rerun-ceiling")
    assert "never differ" in found.sentence


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_an_arm_that_never_varies_hides_no_copies(order: list[int]) -> None:
    groups = np.repeat(np.arange(40), 3)
    copies = np.random.default_rng(1).integers(0, 2, 40)[groups].astype(float)
    outcomes = np.stack([copies, np.ones(120)], axis=1)[:, order]
    (finding,) = audit(grouped_log(outcomes, groups)).named("rerun-ceiling")
    assert "The reruns never differ" in finding.sentence


def test_without_reruns() -> None:
    outcomes, _ = random_reruns(0)
    log = grouped_log(outcomes, np.arange(len(outcomes)))
    assert rerun_ceiling(log) is None
    (found,) = audit(log).named("rerun-ceiling")
    assert found.severity == "note"
    assert "unknown" in found.sentence


def test_the_seed_decides() -> None:
    log = grouped_log(*random_reruns(0))
    assert rerun_ceiling(log, seed=1) == rerun_ceiling(log, seed=1)
    assert rerun_ceiling(log, seed=1) != rerun_ceiling(log, seed=2)


class TestIntraGroupCorrelation:
    """The one-way analysis of variance."""

    def test_published_example(self) -> None:
        """Table 2 of Shrout and Fleiss: six targets, four judges, ICC(1,1) = .17."""
        ratings = np.array(
            [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
        )
        found = intra_group_correlation(ratings.ravel().astype(float), np.repeat(np.arange(6), 4))
        assert found == pytest.approx(0.166, abs=5e-4)

    def test_equal_reruns(self) -> None:
        values = np.repeat([0.0, 1.0, 1.0, 0.0], 3)
        assert intra_group_correlation(values, np.repeat(np.arange(4), 3)) == pytest.approx(1.0)

    def test_unequal_sizes_recover_the_truth(self) -> None:
        generator = np.random.default_rng(0)
        groups = np.repeat(np.arange(4000), generator.integers(2, 8, 4000))
        values = generator.normal(size=4000)[groups] + 2 * generator.normal(size=len(groups))
        assert intra_group_correlation(values, groups) == pytest.approx(0.2, abs=0.02)

    def test_nothing_varies(self) -> None:
        assert np.isnan(intra_group_correlation(np.ones(6), np.repeat([0, 1], 3)))
        assert np.isnan(intra_group_correlation(np.arange(3.0), np.arange(3)))
