"""Off-policy estimators against hand-made numbers, a plain reference, and Open Bandit Pipeline."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import open_bandit_pipeline
from prompt_oirl.logs.log import Floats
from prompt_oirl.off_policy.decisions import LoggedDecisions
from prompt_oirl.off_policy.estimators import (
    ESTIMATORS,
    DoublyRobust,
    InversePropensity,
    SelfNormalisedInversePropensity,
    SwitchDoublyRobust,
    estimated_value,
)
from prompt_oirl.off_policy.estimators.switch_doubly_robust import chosen_threshold
from prompt_oirl.off_policy.evidence import Evidence, gather_evidence

THRESHOLD = 1.5


def random_case(seed: int, rows: int = 60) -> tuple[LoggedDecisions, Floats, Floats]:
    """Decisions, a stochastic target and predictions of an outcome model."""
    draw = np.random.default_rng(seed)
    arms = int(draw.integers(2, 6))
    logging = draw.dirichlet(np.ones(arms), size=rows) * 0.9 + 0.1 / arms
    arm = np.array([draw.choice(arms, p=row / row.sum()) for row in logging])
    decisions = LoggedDecisions(
        arms,
        np.arange(rows),
        arm,
        draw.random(rows).round(1),
        logging[np.arange(rows), arm],
        np.arange(rows) // 2,
    )
    return decisions, draw.dirichlet(np.ones(arms), size=rows), draw.random((rows, arms))


def reference(decisions: LoggedDecisions, target: Floats, predictions: Floats) -> dict[str, float]:
    """Every estimator as its definition reads, row by row."""
    rows = range(len(decisions))
    a, r, p = decisions.arm, decisions.outcome, decisions.propensity
    w = [target[i][a[i]] / p[i] for i in rows]
    v = [sum(target[i][k] * predictions[i][k] for k in range(decisions.arms)) for i in rows]
    e = [r[i] - predictions[i][a[i]] for i in rows]
    n = len(decisions)
    small = [w[i] <= THRESHOLD for i in rows]
    return {
        "dm": sum(v) / n,
        "ips": sum(w[i] * r[i] for i in rows) / n,
        "snips": sum(w[i] * r[i] for i in rows) / sum(w),
        "dr": sum(v[i] + w[i] * e[i] for i in rows) / n,
        "switch-dr": sum(v[i] + (w[i] * e[i] if small[i] else 0.0) for i in rows) / n,
        "sndr": sum(v) / n + sum(w[i] * e[i] for i in rows) / sum(w),
    }


def ours(decisions: LoggedDecisions, target: Floats, predictions: Floats) -> dict[str, float]:
    evidence = gather_evidence(decisions, target, predictions)
    known = {**ESTIMATORS, "switch-dr": SwitchDoublyRobust(THRESHOLD)}
    return {name: estimated_value(estimator, evidence) for name, estimator in known.items()}


def test_by_hand() -> None:
    # Two arms, logged evenly; the target always takes arm 0; weights 2, 0, 2, 0.
    decisions = LoggedDecisions(
        2,
        np.arange(4),
        np.array([0, 1, 0, 1]),
        np.array([1.0, 1.0, 0.0, 0.0]),
        np.full(4, 0.5),
        np.arange(4),
    )
    target = np.array([[1.0, 0.0]] * 4)
    predictions = np.array([[0.5, 0.0], [0.5, 0.0], [0.25, 0.0], [0.75, 0.0]])
    found = ours(decisions, target, predictions)
    # residuals of rows 0 and 2 are 0.5 and -0.25; only weights of at most 1.5 correct the switch
    expected = {"dm": 0.5, "ips": 0.5, "snips": 0.5, "dr": 0.625, "switch-dr": 0.5, "sndr": 0.625}
    assert found == pytest.approx(expected, abs=1e-15)


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_agrees_with_the_definitions(seed: int) -> None:
    case = random_case(seed)
    assert ours(*case) == pytest.approx(reference(*case), abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_open_bandit_pipeline(seed: int) -> None:
    if not open_bandit_pipeline.installed():
        pytest.skip("Open Bandit Pipeline (obp) cannot be imported")
    case = random_case(seed, rows=300)
    theirs = open_bandit_pipeline.estimates(*case, THRESHOLD)
    assert ours(*case) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("estimator", [InversePropensity(), DoublyRobust()])
def test_unbiased_whatever_the_model(estimator: InversePropensity | DoublyRobust) -> None:
    """The exact expectation, over all logs that could have been made."""
    draw = np.random.default_rng(5)
    outcomes, predictions = draw.random((3, 3)), draw.random((3, 3))
    logging = draw.dirichlet(np.ones(3), size=3)
    target = draw.dirichlet(np.ones(3), size=3)
    expectation, rows = 0.0, np.arange(3)
    for arms in itertools.product(range(3), repeat=3):
        arm = np.array(arms)
        chosen = logging[rows, arm]
        decisions = LoggedDecisions(3, rows, arm, outcomes[rows, arm], chosen, rows)
        evidence = gather_evidence(decisions, target, predictions)
        expectation += chosen.prod() * estimated_value(estimator, evidence)
    assert expectation == pytest.approx((target * outcomes).sum(axis=1).mean(), abs=1e-12)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_doubly_robust_is_exact_with_a_perfect_model(seed: int) -> None:
    decisions, target, predictions = random_case(seed)
    perfect = predictions[np.arange(len(decisions)), decisions.arm]
    decisions = LoggedDecisions(
        decisions.arms,
        decisions.query,
        decisions.arm,
        perfect,
        decisions.propensity * 0.3,  # wrong propensities do no harm then
        decisions.group,
    )
    found = ours(decisions, target, predictions)
    assert found["dr"] == pytest.approx(found["dm"], abs=1e-12)
    assert found["sndr"] == pytest.approx(found["dm"], abs=1e-12)


def test_switch_goes_from_the_model_to_doubly_robust() -> None:
    evidence = gather_evidence(*random_case(3))
    values = {name: estimated_value(ESTIMATORS[name], evidence) for name in ("dm", "dr")}
    assert estimated_value(SwitchDoublyRobust(0.0), evidence) == pytest.approx(values["dm"])
    assert estimated_value(SwitchDoublyRobust(np.inf), evidence) == pytest.approx(values["dr"])
    assert values["dm"] != pytest.approx(values["dr"])


def test_chosen_threshold_leaves_out_one_enormous_weight() -> None:
    rows = 2000
    weight = np.ones(rows)
    weight[0] = 60.0
    half = np.full(rows, 0.5)
    outcome = np.tile([0.0, 1.0], rows // 2)
    assert chosen_threshold(Evidence(outcome, weight, half, half)) == 60.0  # its mass, 0.03, counts
    heavy = Evidence(outcome, np.where(weight > 1, 6.0, weight), half, half)
    assert chosen_threshold(heavy) == 6.0
    # A residual that alone makes the variance larger than the square of its mass:
    few = slice(0, 40)
    noisy = Evidence(outcome[few] * 0 + 0.5, np.full(40, 0.01), half[few], half[few])
    noisy.weight[0], noisy.outcome[0] = 0.5, 200.0
    assert chosen_threshold(noisy) < 0.5


def test_chosen_threshold_without_agreement() -> None:
    assert chosen_threshold(Evidence(np.ones(3), np.zeros(3), np.ones(3), np.ones(3))) == 0.0


def test_self_normalised_moves_with_the_outcomes() -> None:
    decisions, target, _ = random_case(8)
    evidence = gather_evidence(decisions, target)
    shifted = Evidence(evidence.outcome + 3, evidence.weight, evidence.chosen, evidence.expected)
    snips = SelfNormalisedInversePropensity()
    assert estimated_value(snips, shifted) == pytest.approx(estimated_value(snips, evidence) + 3)
    assert estimated_value(InversePropensity(), shifted) != pytest.approx(
        estimated_value(InversePropensity(), evidence) + 3
    )


@pytest.mark.parametrize("name", ESTIMATORS)
def test_influence_is_the_derivative(name: str) -> None:
    """Weighting one decision a little more moves the estimate by its influence / N."""
    evidence = gather_evidence(*random_case(11))
    estimator = ESTIMATORS[name]
    terms, step = estimator.terms(evidence), 1e-6
    influence = estimator.influence(evidence)
    rows = len(terms)
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    for row in range(0, rows, 7):
        share = np.full(rows, 1.0)
        share[row] += step
        moved = estimator.combine(share @ terms / share.sum())
        slope = (moved - estimator.combine(terms.mean(axis=0))) / step
        assert slope == pytest.approx(influence[row] / rows, abs=1e-5)


def test_self_normalised_without_agreement_is_unknown() -> None:
    evidence = Evidence(np.ones(3), np.zeros(3), np.ones(3), np.ones(3))
    assert np.isnan(estimated_value(ESTIMATORS["snips"], evidence))
    assert np.isnan(estimated_value(ESTIMATORS["sndr"], evidence))
