"""Whether new queries and outcomes are still those that a selector was fitted on.

    features     mean of each structural feature, against the log's
    wording      whether a classifier can tell new queries from those of a reference log
                 (:mod:`prompt_oirl.operation.wording`)
    arms         realised minus predicted outcome of each prompt, against the log's
    calibration  predicted minus realised outcome of all prompts together, against the log's
    gain         whether the choices lose to the default prompt

Predictions take into account which queries a prompt was run on, so that a log whose policy gave
easy queries to one prompt is not taken for a change of that prompt: as far as models can tell
queries apart, and without that reserve where every cell has its propensity, since errors are then
weighted by one over it. The log's own errors of prediction are those of models that did not see the
query (:mod:`prompt_oirl.choice.baseline`). As there, a text counts once however often it was asked,
except for the gain, which is what queries got. Differences of means have the sampling errors of
both logs, by groups, and are tested by Student's distribution (Welch).

All p-values are adjusted together (Holm). A change is drift only if it is also large enough to
matter: with many queries every difference is significant. What too few queries or groups say
nothing of is not tested, and named.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.choice.baseline import (
    ClusteredMeans,
    blended_means,
    clustered_means,
    inverse_propensities,
)
from prompt_oirl.choice.memory import text_key
from prompt_oirl.choice.selector import Selector
from prompt_oirl.errors import BadArtefact, BadLog
from prompt_oirl.evaluation.bootstrap import clustered_interval
from prompt_oirl.evaluation.multiple import holm
from prompt_oirl.features.structure import NAMES
from prompt_oirl.logs.log import PromptLog
from prompt_oirl.logs.order import in_canonical_order
from prompt_oirl.models.outcomes import Floats, Indices, averaged, distinct_texts
from prompt_oirl.operation.design_effect import design_effect
from prompt_oirl.operation.mean_tests import difference, loss
from prompt_oirl.operation.wording import permutations_for, wording_shift

LEAST_FEATURE = 0.2  # standard deviations
LEAST_OUTCOME = 0.03
LEAST_AUC = 0.6
LEAST_QUERIES = 20
# Effective ones (Kish). Simulated without drift (groups of 12 to 30 paraphrases, of one size or
# with a large one), 3 groups give up to 2.5 % of false alarms at alpha .01, 5 or more at most 1.
LEAST_GROUPS = 5.0
QUERIES = "different queries in one of the logs"
GROUPS = "effective groups of queries in one of the logs"
TOGETHER = "predicted − realised"


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
class Untested:
    """What could not be tested.

    Attributes:
        kind, name: as of a :class:`Change`; for features, all of them.
        reason: what there is too little of.
    """

    kind: str
    name: str
    reason: str


@dataclass(frozen=True)
class DriftReport:
    """What has changed.

    Attributes:
        log: name of the new log.
        queries, cells: its size.
        changes: all tests, smallest p-value first.
        untested: what there was too little for.
        gain: mean realised gain over the default on queries that were run under both prompts and
            are new to the selector; None without any.
        gain_ci95: its interval by groups; None with fewer than two.
        gain_queries: how many such queries.
    """

    log: str
    queries: int
    cells: int
    changes: tuple[Change, ...]
    untested: tuple[Untested, ...]
    gain: float | None
    gain_ci95: tuple[float, float] | None
    gain_queries: int

    @property
    def drifted(self) -> bool:
        """Whether anything has changed, or the choices now lose to the default."""
        return any(change.drift for change in self.changes)

    @property
    def judged(self) -> bool:
        """Whether both queries and outcomes could be tested: else that nothing was found does not
        mean that nothing has changed."""
        kinds = {change.kind for change in self.changes}
        return "feature" in kinds and bool(kinds & {"arm", "calibration"})


class _Tests:
    """Tests as they are made, and what could not be tested."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str, float, float, float]] = []  # kind, name, change, p, least
        self.left: list[Untested] = []

    def add(self, kind: str, name: str, change: float, p: float, least: float) -> None:
        """A test with its p-value, and the least change that matters."""
        self.made.append((kind, name, change, p, least))

    def enough(self, kind: str, name: str, found: float, least: float, what: str) -> bool:
        """Whether there is enough for a test; else it is noted as not made."""
        if found >= least - 1e-9:
            return True
        reason = f"{found:.4g} {what}; {least:g} needed"
        self.left.append(Untested(kind, name, reason))
        return False

    def changes(self, alpha: float) -> tuple[Change, ...]:
        """All tests, adjusted, smallest p-value first."""
        adjusted = holm([one[3] for one in self.made])
        changes = [
            Change(kind, name, change, p, p < alpha and abs(change) >= least)
            for (kind, name, change, _, least), p in zip(self.made, adjusted)
        ]
        return tuple(sorted(changes, key=lambda one: (one.p, -abs(one.change))))


def drift(
    selector: Selector,
    log: PromptLog,
    reference: PromptLog | None = None,
    alpha: float = 0.01,
    permutations: int | None = None,
    seed: int = 0,
) -> DriftReport:
    """Compares a new log with what a selector was fitted on.

    Args:
        selector: in use.
        log: new queries and outcomes; prompts that the selector does not know are left out.
        reference: the log it was fitted on, for the test of wording.
        alpha: chance of any false alarm among the tests.
        permutations: of the test of wording, at most; by default as many as it needs to alarm by
            itself at this alpha.
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
    texts, value, _, group = averaged(log)
    row = distinct_texts(log)[1]
    choice = selector.choose(texts)
    # What it remembers of a query may be this very outcome.
    fresh = ~np.isin([text_key(text) for text in texts], selector.memory.key)

    tests = _Tests()
    x = selector.features.transform(texts)[:, : len(NAMES)]
    used = np.flatnonzero(selector.features.scale[: len(NAMES)] > 0)
    _test_features(tests, selector.baseline.features, x, used, group)
    weight = inverse_propensities(log, row, len(texts))
    old = selector.baseline.errors.columns(arms)
    _test_outcomes(tests, known, old, value - choice.value[:, arms], group, weight, fresh)
    # What was realised was so for every query, however often its text was asked.
    gain = _realised_gain(log.grid(), arms, choice.arms[row], selector.rule.default)
    both = ~np.isnan(gain) & fresh[row]
    gain, of = gain[both], group[row][both]
    _test_gain(tests, gain, of)
    if reference is not None:
        _test_wording(tests, reference, log, alpha, permutations, seed)
    return DriftReport(
        log.name,
        len(log.queries),
        len(log.outcome),
        tests.changes(alpha),
        tuple(tests.left),
        float(gain.mean()) if len(gain) else None,
        clustered_interval(gain, of, seed=seed) if len(np.unique(of)) > 1 else None,
        len(gain),
    )


def _test_features(
    tests: _Tests, old: ClusteredMeans, x: Floats, used: Indices, group: Indices
) -> None:
    """Tests of the columns of ``x`` that are used."""
    new = clustered_means(x, group)
    groups = min(float(new.groups[0]), float(old.groups[0]))
    if not tests.enough("feature", "all", groups, LEAST_GROUPS, GROUPS):
        return
    alike = design_effect(x, group)
    for column in used:
        sides = new.columns(column[None]), old.columns(column[None])
        tests.add("feature", NAMES[column], *difference(*sides, alike), LEAST_FEATURE)


def _test_outcomes(
    tests: _Tests,
    names: list[str],
    old: ClusteredMeans,
    error: Floats,
    group: Indices,
    weight: Floats,
    fresh: NDArray[np.bool_],
) -> None:
    """Tests of every prompt, and of all prompts together on ``fresh`` rows."""
    new = clustered_means(error, group, weight)
    alike = design_effect(error, group, weight)
    rows, groups = np.minimum(new.rows, old.rows), np.minimum(new.groups, old.groups)
    for k, name in enumerate(names):
        if tests.enough("arm", name, float(rows[k]), LEAST_QUERIES, QUERIES) and tests.enough(
            "arm", name, float(groups[k]), LEAST_GROUPS, GROUPS
        ):
            sides = new.columns(np.array([k])), old.columns(np.array([k]))
            tests.add("arm", name, *difference(*sides, alike), LEAST_OUTCOME)
    usable = (old.rows >= LEAST_QUERIES) & (old.groups >= LEAST_GROUPS)
    cells = np.where(usable, clustered_means(error[fresh], group[fresh], weight[fresh]).rows, 0.0)
    if not tests.enough("calibration", TOGETHER, float(cells.sum()), 1, "outcomes of new queries"):
        return
    share = cells / cells.sum()
    new = blended_means(error[fresh], group[fresh], weight[fresh], share)
    if tests.enough("calibration", TOGETHER, float(new.groups[0]), LEAST_GROUPS, GROUPS):
        change, p = difference(new, old.blended(share), alike)
        tests.add("calibration", TOGETHER, -change, p, LEAST_OUTCOME)


def _test_gain(tests: _Tests, gain: Floats, group: Indices) -> None:
    name, what = "over the default", "new queries that were run under both prompts"
    if tests.enough("gain", name, len(gain), LEAST_QUERIES, what):
        of = clustered_means(gain[:, None], group)
        if tests.enough("gain", name, float(of.groups[0]), LEAST_GROUPS, GROUPS):
            tests.add("gain", name, *loss(of), 0.0)


def _test_wording(
    tests: _Tests,
    reference: PromptLog,
    log: PromptLog,
    alpha: float,
    permutations: int | None,
    seed: int,
) -> None:
    groups = min(len(np.unique(side.groups)) for side in (reference, log))
    if tests.enough("wording", "classifier", groups, LEAST_GROUPS, "groups in one of the logs"):
        if permutations is None:
            permutations = permutations_for(len(tests.made) + 1, alpha)
        auc, p = wording_shift(reference, log, permutations, seed)
        tests.add("wording", "classifier", auc - 0.5, p, LEAST_AUC - 0.5)


def _realised_gain(grid: Floats, arms: Indices, chosen: Indices, default: int) -> Floats:
    """Outcome of the chosen prompt minus that of the default, ``[Q]``; NaN where either is."""
    place = {int(arm): k for k, arm in enumerate(arms)}
    if default not in place:
        return np.full(len(grid), np.nan)
    column = np.array([place.get(int(arm), -1) for arm in chosen])
    mine = np.where(column >= 0, grid[np.arange(len(grid)), column], np.nan)
    return np.asarray(mine - grid[:, place[default]])
