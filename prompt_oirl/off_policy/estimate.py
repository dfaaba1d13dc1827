"""The value of a target policy from a log, with an interval, or a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prompt_oirl.errors import BadLog, NotIdentified
from prompt_oirl.logs.log import Floats, PromptLog
from prompt_oirl.logs.order import canonical_order
from prompt_oirl.models.retried_arms import retried_arms
from prompt_oirl.off_policy.cluster_bootstrap import bootstrap_interval
from prompt_oirl.off_policy.cross_fitting import cross_fitted_outcomes, grouped_folds
from prompt_oirl.off_policy.decisions import LoggedDecisions
from prompt_oirl.off_policy.estimators import DoublyRobust, Estimator, estimated_value
from prompt_oirl.off_policy.evidence import gather_evidence
from prompt_oirl.off_policy.interval import Interval, asymptotic_interval
from prompt_oirl.off_policy.outcome_models import OutcomeModel, ShrunkenRidge
from prompt_oirl.off_policy.overlap import Overlap, SupportLimits, check_support, measure_overlap
from prompt_oirl.off_policy.policy import Policy, policy_table
from prompt_oirl.off_policy.propensity import Calibration, LogisticPropensity, calibration


@dataclass(frozen=True)
class OffPolicyEstimate:
    """What a log tells of a policy.

    Attributes:
        log, policy, estimator: their names.
        value: the estimated mean outcome under the policy.
        interval: for it; about a superpopulation of groups, see ``interval.py``.
        logged_value: the mean outcome of the log as it is.
        gain: ``value`` - ``logged_value``.
        gain_interval: for the gain; asymptotic, paired within groups.
        decisions, groups: in the log.
        choices: the policy's mean probability of each arm, by name.
        overlap: of log and policy.
        propensities: ``logged``, ``estimated``, or ``even`` (1/K, for a full grid).
        calibration: of the propensities where they were estimated, else None.
        warnings: one sentence each.
        arm_names: ``[K]``.
    """

    log: str
    policy: str
    estimator: str
    value: float
    interval: Interval
    logged_value: float
    gain: float
    gain_interval: Interval
    decisions: int
    groups: int
    choices: dict[str, float]
    overlap: Overlap
    propensities: str
    calibration: Calibration | None
    warnings: tuple[str, ...]
    arm_names: tuple[str, ...]

    def as_record(self) -> dict[str, Any]:
        """Plain values for JSON."""
        record = dict(vars(self))
        del record["arm_names"]
        record["overlap"] = self.overlap.as_record(list(self.arm_names))
        record["calibration"] = vars(self.calibration) if self.calibration else None
        record["warnings"] = list(self.warnings)
        for name in ("interval", "gain_interval"):
            plain = dict(vars(getattr(self, name)))
            if np.isnan(plain["degrees_of_freedom"]):
                plain["degrees_of_freedom"] = None
            record[name] = plain
        return record


def estimate_value(
    log: PromptLog,
    policy: Policy,
    *,
    estimator: Estimator | None = None,
    features: Floats | None = None,
    outcome_model: OutcomeModel | None = None,
    propensity_model: LogisticPropensity | None = None,
    limits: SupportLimits | None = None,
    interval: str = "asymptotic",
    level: float = 0.95,
    folds: int = 5,
    resamples: int = 2000,
    seed: int = 0,
) -> OffPolicyEstimate:
    """Estimates the mean outcome that a policy would have had on such queries as the log's.

    The population is a superpopulation of groups of queries, of which the log is a random sample,
    with the logging policy's draws of arms: see ``interval.py``. Every cell of the log is one
    decision; queries without a cell tell nothing and count for nothing.

    Args:
        log: each cell one decision. Propensities are estimated unless every cell has one.
        policy: the target.
        estimator: of the value; doubly robust unless given.
        features: of each query, ``[Q, D]``; by default made from the texts.
        outcome_model: of outcomes; ``ShrunkenRidge`` unless given.
        propensity_model: used only where propensities are missing.
        limits: when to refuse.
        interval: ``asymptotic`` or ``bootstrap``.
        level: the wanted probability of covering, in (0, 1).
        folds: of whole groups, for cross-fitting; fewer where there are fewer groups.
        resamples: of the bootstrap.
        seed: of folds, features and resamples.

    Raises:
        NoSupport: the log does not hold what the target would do.
        NotIdentified: fewer than two groups, or an arm that was run by the outcome of another.
        BadLog: the log is empty, the policy's probabilities are no distributions, or ``interval``
            or the shape of ``features`` is wrong.
    """
    if interval not in ("asymptotic", "bootstrap"):
        raise BadLog(f"an interval is 'asymptotic' or 'bootstrap', not '{interval}'")
    estimator = estimator or DoublyRobust()
    limits = limits or SupportLimits()
    decisions = LoggedDecisions.from_log(log)
    retried = retried_arms(log.grid())
    if retried:
        raise NotIdentified(
            f"{log.name}: {retried[0].sentence(log.arm_names)}: a propensity tells how an arm was "
            "chosen for a query, not for an outcome"
        )
    fold = grouped_folds(decisions.group, min(folds, max(2, _groups(decisions))), seed)
    warnings: list[str] = []
    source = "logged"
    if not np.isfinite(decisions.propensity).any() and is_full_grid(decisions):
        warnings.append(
            "every query was run under every arm: there is nothing to reweight, "
            "so each arm counts with propensity 1/K, and a plain evaluation tells more"
        )
        source = "even"
        even = np.full(len(decisions), 1 / decisions.arms)
        decisions, log = replace(decisions, propensity=even), replace(log, propensity=even)
    logged = bool(np.isfinite(decisions.propensity).all())
    rows = None
    if estimator.uses_outcome_model or not logged:
        rows = _query_features(log, features, seed)[decisions.query]

    probabilities, check = None, None
    if not logged:
        source = "estimated"
        assert rows is not None
        model = propensity_model or LogisticPropensity()
        probabilities = model.cross_fitted(rows, decisions, fold)
        check = calibration(probabilities, decisions)
        chosen = probabilities[np.arange(len(decisions)), decisions.arm]
        warnings += _propensity_warnings(decisions, check, log.arm_names)
        decisions = replace(decisions, propensity=chosen)
        log = replace(log, propensity=chosen)

    target = policy_table(policy, log)[decisions.query]
    overlap = measure_overlap(decisions, target, limits, probabilities)
    check_support(overlap, limits, log.arm_names)
    warnings += overlap.warnings()

    predictions = None
    if estimator.uses_outcome_model:
        assert rows is not None
        predictions = cross_fitted_outcomes(outcome_model or ShrunkenRidge(), rows, decisions, fold)
        if not estimator.uses_weights:
            warnings.append("the interval of the direct method ignores the model's own error")
    evidence = gather_evidence(decisions, target, predictions)
    value = estimated_value(estimator, evidence)
    influence = estimator.influence(evidence)
    found = asymptotic_interval(value, influence, decisions.group, level)
    if interval == "bootstrap":
        found = bootstrap_interval(estimator, evidence, decisions.group, level, resamples, seed)
    mean = float(decisions.outcome.mean())
    gain = asymptotic_interval(
        value - mean, influence - (decisions.outcome - mean), decisions.group, level
    )
    return OffPolicyEstimate(
        log=log.name,
        policy=policy.name,
        estimator=estimator.name,
        value=value,
        interval=found,
        logged_value=mean,
        gain=value - mean,
        gain_interval=gain,
        decisions=len(decisions),
        groups=_groups(decisions),
        choices={name: float(mass) for name, mass in zip(log.arm_names, target.mean(axis=0))},
        overlap=overlap,
        propensities=source,
        calibration=check,
        warnings=tuple(warnings),
        arm_names=tuple(log.arm_names),
    )


def is_full_grid(decisions: LoggedDecisions) -> bool:
    """Whether every query with an outcome has equally many under every arm."""
    query = np.unique(decisions.query, return_inverse=True)[1]
    cells = np.bincount(query * decisions.arms + decisions.arm)
    return cells.size == (query.max() + 1) * decisions.arms and bool((cells == cells[0]).all())


def _groups(decisions: LoggedDecisions) -> int:
    return len(np.unique(decisions.group))


def _query_features(log: PromptLog, features: Floats | None, seed: int) -> Floats:
    """The given features, or those of the texts, ``[Q, D]``."""
    if features is None:
        order = canonical_order(log)
        found = np.array(text_features([log.texts[i] for i in order], seed))
        return found[np.argsort(order)]
    if features.ndim != 2 or len(features) != len(log.queries):
        raise BadLog(
            f"{log.name}: features {features.shape} are not [{len(log.queries)}, D], "
            "a row for each query"
        )
    return features


def text_features(texts: Sequence[str], seed: int = 0, size: int = 32) -> Floats:
    """Dense features of texts, ``[Q, D]``; they are learned from texts alone, not outcomes."""
    from prompt_oirl.features.query_features import QueryFeatures

    return QueryFeatures(text_size=size, seed=seed).fit(texts).transform(texts)


def _propensity_warnings(
    decisions: LoggedDecisions, check: Calibration, arm_names: list[str]
) -> list[str]:
    known = int(np.isfinite(decisions.propensity).sum())
    found = [
        "propensities are estimated from the texts: the value is right only if the logging policy "
        "looked at nothing else that bears on the outcome"
    ]
    if known:
        found.append(
            f"{known} of {len(decisions)} propensities are in the log, but were estimated too, "
            "since the others are missing"
        )
    if not check.adequate:
        found.append(
            f"estimated propensities do not fit the choices of '{arm_names[check.worst_arm]}': "
            f"off by {check.worst:.1f} standard errors"
        )
    return found
