"""What drift may conclude: repeated texts, reruns with propensities, few groups, words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_prompt_drift import SMALL, asked, log_of

from prompt_oirl.choice.baseline import clustered_means, inverse_propensities
from prompt_oirl.choice.selector import Selector, fit_selector
from prompt_oirl.logs.log import Arm, PromptLog, Query
from prompt_oirl.operation.drift import drift
from prompt_oirl.operation.wording import permutations_for, wording_shift

ARMS = (Arm("long"), Arm("short"))
LONGER = " If each costs $3.50, what is that in percent of 20 dollars? Explain it, please."
ASIDES = ("please", "now", "exactly", "today", "quickly", "sir")


def repeated_log(count: int, seed: int) -> PromptLog:
    """Every second question is short, easy and asked five times; the others are asked once."""
    rng = np.random.default_rng([seed, 7])
    queries, rates = [], []
    for number, query in enumerate(asked(count, seed)):
        long = bool(number % 2)
        for time in range(1 if long else 5):
            text = query.text + LONGER * long
            queries.append(replace(query, id=f"{query.id}-{time}", text=text))
            rates.append(0.3 if long else 0.9)
    grid = (rng.random((len(queries), 2)) < np.array(rates)[:, None]).astype(float)
    return PromptLog.from_grid("made", queries, ARMS, grid)


def grouped_log(sizes: list[int], seed: int, rare: float = 0.5) -> PromptLog:
    """Groups of paraphrases, alike in length and in how hard they are."""
    rng = np.random.default_rng([seed, 8])
    queries, rates = [], []
    for number, (size, one) in enumerate(zip(sizes, asked(len(sizes), seed))):
        text = one.text + LONGER * (rng.random() < rare)
        hard = rng.random()
        for version in range(size):
            aside = " ".join(rng.choice(ASIDES, 4))
            queries.append(Query(f"q{number}-{version}", f"{text} {aside}", f"g{seed}-{number}"))
            rates.append(hard)
    grid = (rng.random((len(queries), 2)) < np.array(rates)[:, None]).astype(float)
    return PromptLog.from_grid("made", queries, ARMS, grid)


@pytest.fixture(scope="module", params=[0.5, 0.1])
def of_groups(request: pytest.FixtureRequest) -> tuple[Selector, float]:
    """A selector of 300 pairs of paraphrases, and the part of long ones."""
    return fit_selector(grouped_log([2] * 300, 1000, request.param), SMALL), request.param


def test_a_log_does_not_drift_against_itself_where_texts_repeat() -> None:
    log = repeated_log(300, 1)
    found = drift(fit_selector(log, SMALL), log)
    assert not found.drifted
    features = [one.change for one in found.changes if one.kind == "feature"]
    assert len(features) > 10
    assert features == pytest.approx([0] * len(features), abs=1e-9)


def test_other_queries_with_the_same_repeats_do_not_drift() -> None:
    selector = fit_selector(repeated_log(300, 1), SMALL)
    found = drift(selector, repeated_log(200, 2))
    assert not found.drifted
    assert {"feature", "arm", "calibration"} <= {one.kind for one in found.changes}


def rerun_policy_log(runs: list[int], seed: int = 0) -> PromptLog:
    """Every query as often as said, each time with one prompt; hard ones mostly with the second,
    and only easy ones succeed."""
    rng = np.random.default_rng(seed)
    easy = rng.random(len(runs)) < 0.5
    query = np.repeat(np.arange(len(runs)), runs)
    share = np.where(easy, 0.8, 0.2)[query]  # of the first prompt
    arm = (rng.random(len(query)) >= share).astype(np.int64)
    propensity = np.where(arm == 0, share, 1 - share)
    queries = tuple(Query(f"q{i}", f"text {i}", f"g{i}") for i in range(len(runs)))
    outcome = easy[query].astype(float)
    return PromptLog("made", queries, ARMS, query, arm, outcome, propensity=propensity)


@pytest.mark.parametrize("most", [1, 2, 4])
def test_weighted_means_are_those_over_all_queries_however_often_they_were_run(most: int) -> None:
    count = 20_000
    log = rerun_policy_log([most] * count)
    weight = inverse_propensities(log, np.arange(count), count)
    mean = clustered_means(log.grid(), np.arange(count), weight).mean
    assert mean == pytest.approx([0.5, 0.5], abs=0.03)


def test_the_weight_of_a_single_run_is_one_over_its_propensity() -> None:
    log = rerun_policy_log([1] * 50)
    weight = inverse_propensities(log, np.arange(50), 50)
    assert weight[log.query, log.arm] == pytest.approx(1 / log.propensity)
    assert np.count_nonzero(weight) == 50


def test_the_variance_of_a_mean_is_right_where_one_group_is_large() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(41), [30, *[1] * 40])
    found, means = [], []
    for _ in range(2000):
        of = clustered_means(rng.normal(size=41)[group][:, None], group)
        found.append(of.covariance[0, 0])
        means.append(of.mean[0])
    assert np.mean(found) == pytest.approx(np.var(means), rel=0.1)


@pytest.mark.parametrize("sizes", [[60], [30, 30], [110, *[1] * 10]])
def test_from_few_groups_nothing_is_concluded(
    of_groups: tuple[Selector, float], sizes: list[int]
) -> None:
    selector, rare = of_groups
    for seed in range(4):
        found = drift(selector, grouped_log(sizes, seed, rare), grouped_log([2] * 50, 1000, rare))
        assert (found.drifted, found.judged) == (False, False)
        assert {one.kind for one in found.changes} <= {"wording"}
        assert {"feature", "arm", "calibration"} <= {one.kind for one in found.untested}
        assert all("needed" in one.reason for one in found.untested)


@pytest.mark.parametrize("sizes", [[20] * 6, [30] * 20, [20, *[2] * 30]])
def test_few_groups_that_are_alike_by_chance_are_no_drift(
    of_groups: tuple[Selector, float], sizes: list[int]
) -> None:
    selector, rare = of_groups
    reports = [drift(selector, grouped_log(sizes, seed, rare)) for seed in range(12)]
    assert sum(one.drifted for one in reports) <= 1


def test_a_large_change_is_found_in_six_groups() -> None:
    selector = fit_selector(grouped_log([2] * 300, 1000, 0.1), SMALL)
    found = drift(selector, grouped_log([20] * 6, 3, 1.0))
    assert found.judged
    assert "sentences" in {one.name for one in found.changes if one.drift}


@pytest.mark.parametrize("sizes", [[6] * 20, [30] * 20, [40, *[2] * 60]])
def test_groups_of_another_size_are_no_other_wording(sizes: list[int]) -> None:
    log = grouped_log([2] * 100, 1000)
    p_values = [wording_shift(log, grouped_log(sizes, seed), 99)[1] for seed in range(5)]
    assert sum(p < 0.05 for p in p_values) <= 1


def test_other_words_alone_are_drift() -> None:
    log = log_of(asked(300, 1), 1)
    other = ("cots", "digs", "bards", "ankles", "peers", "corns", "beaks", "stairs")
    found = drift(fit_selector(log, SMALL), log_of(asked(300, 2, other), 2), log)
    assert [one.kind for one in found.changes if one.drift] == ["wording"]


def test_there_are_as_many_permutations_as_tests_need() -> None:
    for tests in (1, 10, 45):
        least = tests / (1 + permutations_for(tests, 0.01))
        assert 0.004 < least < 0.01
    log = log_of(asked(100, 1), 1)
    assert permutations_for(45, 0.0) == 0
    _, p = wording_shift(log, log_of(asked(100, 2), 2), 100_000)  # stops long before
    assert p > 0.01
