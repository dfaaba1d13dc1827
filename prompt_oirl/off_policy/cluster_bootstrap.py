"""Intervals from resampled groups."""

from __future__ import annotations

import numpy as np

from prompt_oirl.errors import NotIdentified
from prompt_oirl.logs.log import Floats, Indices
from prompt_oirl.off_policy.estimators import Estimator
from prompt_oirl.off_policy.evidence import Evidence
from prompt_oirl.off_policy.interval import Interval, group_sums

DRAWS_AT_ONCE = 2_000_000  # counts of groups held in memory


def bootstrap_interval(
    estimator: Estimator,
    evidence: Evidence,
    group: Indices,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """A percentile interval over resamples of whole groups, drawn with replacement.

    About the same superpopulation of groups as ``asymptotic_interval``. The predictions of the
    outcome model and a chosen threshold are kept as they are: only the decisions are resampled.

    Source: Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; whole groups
    as in Field & Welsh, "Bootstrapping clustered data", JRSS B 2007.

    Raises:
        NotIdentified: fewer than two groups, or hardly any resample has a value.
    """
    values = bootstrap_values(estimator, evidence, group, resamples, seed)
    values = values[np.isfinite(values)]
    if len(values) < resamples / 2:
        raise NotIdentified("too few logged decisions agree with the target for a bootstrap")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    error = float(values.std(ddof=1))
    return Interval(float(low), float(high), level, error, float("nan"), "bootstrap")


def bootstrap_values(
    estimator: Estimator, evidence: Evidence, group: Indices, resamples: int, seed: int
) -> Floats:
    """The estimate on each resample of the groups, ``[resamples]``.

    Raises:
        NotIdentified: fewer than two groups.
    """
    terms = estimator.terms(evidence)
    sums = group_sums(np.column_stack([terms, np.ones(len(terms))]), group)
    groups = len(sums)
    if groups < 2:
        raise NotIdentified(f"an interval needs queries of at least 2 groups, not {groups}")
    draw = np.random.default_rng(seed)
    chunk = max(1, DRAWS_AT_ONCE // groups)
    values = []
    for start in range(0, resamples, chunk):
        count = min(chunk, resamples - start)
        times = draw.multinomial(groups, np.full(groups, 1 / groups), size=count)
        totals = times @ sums
        values.append(estimator.combine(totals[:, :-1] / totals[:, -1:]))
    return np.concatenate(values)
