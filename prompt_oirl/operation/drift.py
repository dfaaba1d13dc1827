"""Whether new queries and outcomes are still those that a selector was fitted on.

    features     mean of each structural feature, against the log's
    wording      whether a classifier can tell new queries from those of a reference log (two-sample
                 test of Lopez-Paz and Oquab, ICLR 2017; p-value by permuting whole groups)
    arms         realised minus predicted outcome of each prompt, against the log's
    calibration  predicted minus realised outcome of all prompts together, against the log's
    gain         whether the choices lose to the default prompt

Predictions take into account which queries a prompt was run on, so that a log whose policy gave
easy queries to one prompt is not taken for a change of that prompt: as far as models can tell
queries apart, and without that reserve where every cell has its propensity, since errors are then
weighted by one over it. The log's own errors of prediction are those of models that did not see the
query (:mod:`prompt_oirl.choice.baseline`). Differences of means have the sampling errors of both
logs, by groups, and are tested by Student's distribution (Welch).

All p-values are adjusted together (Holm). A change is drift only if it is also large enough to
matter: with many queries every difference is significant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_oirl.choice.baseline import ClusteredMeans, clustered_means, inverse_propensities
from prompt_oirl.choice.memory import text_key
from prompt_oirl.choice.selector import Selector
from prompt_oirl.errors import BadArtefact, BadLog
from prompt_oirl.evaluation.bootstrap import clustered_interval
from prompt_oirl.evaluation.calibration import area_under_curve
from prompt_oirl.evaluation.multiple import holm
from prompt_oirl.features.structure import NAMES
from prompt_oirl.logs.log import PromptLog
from prompt_oirl.logs.order import in_canonical_order
from prompt_oirl.models.outcomes import Floats, Indices

LEAST_FEATURE = 0.2  # standard deviations
LEAST_OUTCOME = 0.03
LEAST_AUC = 0.6
LEAST_QUERIES = 20
MOST_COMPARED = 1500  # queries a side of the classifier


@dataclass(frozen=True)
class Change:
    """One tested difference.

    Attributes:
        kind: ``feature``, ``wording``, ``arm``, ``calibration`` or ``gain``.
        name: of the feature or prompt.
        change: new minus old: standard deviations for a feature, AUC − 0.5 for wording, outcomes
            (less what was predicted for these queries) else; for the gain, the gain.
        p: p-value, adjusted for all tests.
        drift: significant and large enough.
    """

    kind: str
    name: str
    change: float
    p: float
    drift: bool


@dataclass(frozen=True)
class DriftReport:
    """What has changed.

    Attributes:
        log: name of the new log.
        queries, cells: its size.
        changes: all tests, smallest p-value first.
        gain: mean realised gain over the default on queries that were run under both prompts and
            are new to the selector; None without any.
        gain_ci95: its interval by groups.
        gain_queries: how many such queries.
    """

    log: str
    queries: int
    cells: int
    changes: tuple[Change, ...]
    gain: float | None
    gain_ci95: tuple[float, float] | None
    gain_queries: int

    @property
    def drifted(self) -> bool:
        """Whether anything has changed, or the choices now lose to the default."""
        return any(change.drift for change in self.changes)


def drift(
    selector: Selector,
    log: PromptLog,
    reference: PromptLog | None = None,
    alpha: float = 0.01,
    permutations: int = 500,
    seed: int = 0,
) -> DriftReport:
    """Compares a new log with what a selector was fitted on.

    Args:
        selector: in use.
        log: new queries and outcomes; prompts that the selector does not know are left out.
        reference: the log it was fitted on, for the test of wording.
        alpha: chance of any false alarm among the tests.
        permutations: of the test of wording.
        seed: of permutations and bootstrap.

    Raises:
        BadLog: fewer than 20 queries, or no prompt that the selector knows.
        BadArtefact: the selector was saved by a version that kept nothing to compare with.
    """
    if selector.baseline is None:
        raise BadArtefact(
            "this selector was saved by a version that did not keep the errors of its predictions, "
            "so nothing can be compared with them; fit it again"
        )
    known = [arm.name for arm in selector.arms if arm.name in log.arm_names]
    if not known:
        raise BadLog(f"{log.name}: none of its prompts is known to the selector")
    if len(log.queries) < LEAST_QUERIES:
        raise BadLog(f"{log.name}: {len(log.queries)} queries are too few; {LEAST_QUERIES} needed")
    log = in_canonical_order(log.only_arms(known))
    arms = np.array([[arm.name for arm in selector.arms].index(name) for name in known])
    groups, grid = log.groups, log.grid()
    choice = selector.choose(log.texts)
    found: list[tuple[str, str, float, float, float]] = []  # kind, name, change, p, least

    old = selector.baseline.features
    new = clustered_means(selector.features.transform(log.texts)[:, : len(NAMES)], groups)
    for column, name in enumerate(NAMES):
        if selector.features.scale[column] > 0:
            share = np.eye(len(NAMES))[column]
            found.append(("feature", name, *_difference(new, old, share), LEAST_FEATURE))
    error = grid - choice.value[:, arms]
    weight = inverse_propensities(log, np.arange(len(grid)), len(grid))
    old = selector.baseline.errors.columns(arms)
    new = clustered_means(error, groups, weight)
    for k in np.flatnonzero(np.minimum(new.rows, old.rows) >= LEAST_QUERIES):
        share = np.eye(len(known))[k]
        found.append(("arm", known[k], *_difference(new, old, share), LEAST_OUTCOME))
    # What it remembers of a query may be this very outcome.
    fresh = ~np.isin([text_key(text) for text in log.texts], selector.memory.key)
    new = clustered_means(error[fresh], groups[fresh], weight[fresh])
    cells = np.where(old.rows >= LEAST_QUERIES, new.rows, 0.0)
    if cells.any():
        change, p = _difference(new, old, cells / cells.sum())
        found.append(("calibration", "predicted − realised", -change, p, LEAST_OUTCOME))
    gain = _realised_gain(grid, arms, choice.arms, selector.rule.default)
    both = ~np.isnan(gain) & fresh
    if both.sum() >= LEAST_QUERIES:
        found.append(("gain", "over the default", *_loss(gain[both], groups[both]), 0.0))
    if reference is not None:
        auc, p = wording_shift(reference, log, permutations, seed)
        found.append(("wording", "classifier", auc - 0.5, p, LEAST_AUC - 0.5))

    adjusted = holm([one[3] for one in found])
    changes = [
        Change(kind, name, change, p, p < alpha and abs(change) >= least)
        for (kind, name, change, _, least), p in zip(found, adjusted)
    ]
    return DriftReport(
        log.name,
        len(log.queries),
        len(log.outcome),
        tuple(sorted(changes, key=lambda one: (one.p, -abs(one.change)))),
        float(gain[both].mean()) if both.any() else None,
        clustered_interval(gain[both], groups[both], seed=seed) if both.any() else None,
        int(both.sum()),
    )


def _difference(new: ClusteredMeans, old: ClusteredMeans, share: Floats) -> tuple[float, float]:
    """New minus old mean, columns weighted by ``share``, and two-sided p-value of "it is 0"."""
    from scipy.stats import t

    used = share > 0
    weight, square = share[used], np.ix_(used, used)
    change = float(weight @ (new.mean - old.mean)[used])
    variance = np.array([weight @ side.covariance[square] @ weight for side in (new, old)])
    rows = np.array([side.rows[used].sum() for side in (new, old)])
    groups = np.array([side.groups[used].max() for side in (new, old)])
    # Where few outcomes are all alike, their own variance is too small: then that of both counts.
    pooled = (variance * rows**2).sum() / rows.sum() * (1 / rows).sum()
    whole = max(float(variance.sum()), float(pooled))
    if whole <= 0:
        return change, 1.0 if change == 0 else 0.0
    freedom = variance.sum() ** 2 / (variance**2 / np.maximum(groups - 1, 1)).sum()
    return change, float(2 * t.sf(abs(change) / np.sqrt(whole), freedom))


def _loss(gain: Floats, groups: Indices) -> tuple[float, float]:
    """Mean gain, and p-value of "it is not below 0"."""
    from scipy.stats import t

    of = clustered_means(gain[:, None], groups)
    mean, variance = float(of.mean[0]), float(of.covariance[0, 0])
    if variance <= 0:
        return mean, 1.0 if mean >= 0 else 0.0
    return mean, float(t.cdf(mean / np.sqrt(variance), max(int(of.groups[0]) - 1, 1)))


def _realised_gain(grid: Floats, arms: Indices, chosen: Indices, default: int) -> Floats:
    """Outcome of the chosen prompt minus that of the default, ``[Q]``; NaN where either is."""
    place = {int(arm): k for k, arm in enumerate(arms)}
    if default not in place:
        return np.full(len(grid), np.nan)
    column = np.array([place.get(int(arm), -1) for arm in chosen])
    mine = np.where(column >= 0, grid[np.arange(len(grid)), column], np.nan)
    return np.asarray(mine - grid[:, place[default]])


def wording_shift(
    reference: PromptLog, log: PromptLog, permutations: int = 500, seed: int = 0
) -> tuple[float, float]:
    """AUC of a classifier of new against old queries, and its p-value.

    Features are made from both sides together, so that neither is favoured. The classifier is ridge
    regression, each query predicted without itself (from the hat matrix), so that permuting labels
    costs one product of matrices. Distinct texts that are on both sides count on both.
    """
    from prompt_oirl.features import QueryFeatures

    rng = np.random.default_rng(seed)
    texts: list[str] = []
    groups: list[str] = []
    sizes = []
    for side, one in enumerate((reference, log)):
        unique = {query.text: query.group for query in in_canonical_order(one).queries}
        kept = rng.permutation(len(unique))[:MOST_COMPARED]
        pairs = list(unique.items())
        texts += [pairs[i][0] for i in kept]
        groups += [f"{side} {pairs[i][1]}" for i in kept]
        sizes.append(len(kept))
    label = np.repeat([0.0, 1.0], sizes)
    x = QueryFeatures(32, seed=seed).fit(texts).transform(texts)
    x = np.hstack([np.ones((len(x), 1)), x])
    penalty = np.full(x.shape[1], 30.0)
    penalty[0] = 1e-6
    hat = x @ np.linalg.solve(x.T @ x + np.diag(penalty), x.T)
    own = np.diag(hat)
    _, place, count = np.unique(groups, return_inverse=True, return_counts=True)
    first = np.array([label[place == g][0] for g in range(len(count))])

    def auc(labels: Floats) -> float:
        return area_under_curve(labels, (hat @ labels - own * labels) / (1 - own))

    seen = auc(label)
    higher = sum(auc(rng.permutation(first)[place]) >= seen for _ in range(permutations))
    return seen, (1 + higher) / (1 + permutations)
