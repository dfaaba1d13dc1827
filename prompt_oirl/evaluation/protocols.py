"""How a selector is tried on queries that it has not seen.

``grouped`` is the honest way: groups are dealt into folds, and each fold is chosen for by a
selector that was fitted, calibrated and given its default on the other folds alone (nested
cross-validation: the margin is chosen by an inner cross-fit). ``split`` uses the log's own train
and test rows, as published; the audit says whether those are apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.choice.cross_fit import group_folds
from prompt_oirl.choice.partial_evidence import PartialEvidence, partial_evidence
from prompt_oirl.choice.selector import (
    BEST_SINGLE,
    Selector,
    Settings,
    check_identified,
    fit_selector,
)
from prompt_oirl.errors import BadLog, NotIdentified
from prompt_oirl.evaluation.lookup import lookup_choice, seen_before
from prompt_oirl.evaluation.value import mean_of_known
from prompt_oirl.features.query_features import Vectors
from prompt_oirl.logs.log import PromptLog
from prompt_oirl.logs.order import in_canonical_order
from prompt_oirl.models.adjusted_means import best_arm
from prompt_oirl.models.outcomes import Floats, Indices, averaged, few_pairs
from prompt_oirl.off_policy.estimate import text_features

Progress = Callable[[], None]


@dataclass(frozen=True)
class Trial:
    """What happened to every tested query.

    Attributes:
        log: the tested queries, by id (:mod:`prompt_oirl.logs.order`).
        outcome: ``[Q, K]``, NaN where not run.
        groups: ``[Q]``.
        chosen: arm of the rule, ``[Q]``.
        greedy: arm of the highest predicted outcome, without default or margin, ``[Q]``.
        best_single: best single arm of the training rows, ``[Q]``.
        lookup: arm of the table of questions already seen, ``[Q]``.
        seen: whether the question, or another of its group, was among the training queries,
            ``[Q]``.
        predicted: outcome predicted for each arm, ``[Q, K]``.
        cautious: predicted cautious advantage over the default, ``[Q, K]``.
        base_rate: mean outcome of each arm on the training rows, ``[Q, K]``.
    """

    log: PromptLog
    outcome: Floats
    groups: Indices
    chosen: Indices
    greedy: Indices
    best_single: Indices
    lookup: Indices
    seen: NDArray[np.bool_]
    predicted: Floats
    cautious: Floats
    base_rate: Floats

    @property
    def few_pairs(self) -> bool:
        """Whether most tested queries were run under one arm."""
        return few_pairs(~np.isnan(self.outcome))

    @cached_property
    def partial_evidence(self) -> PartialEvidence | None:
        """Doubly robust scores where most tested queries were run under one arm, else None.

        Raises:
            NotIdentified: propensities must be estimated, and the queries are of one group.
        """
        if not self.few_pairs:
            return None
        row = np.arange(len(self.outcome))
        x = text_features(self.log.texts)
        return partial_evidence(self.log, row, self.groups, self.predicted, x)


def with_groups(log: PromptLog, groups: Indices) -> PromptLog:
    """The log with other groups, ``[Q]``: e.g. near duplicates joined by the audit."""
    queries = tuple(
        replace(query, group=str(group)) for query, group in zip(log.queries, groups.tolist())
    )
    return replace(log, queries=queries)


def grouped_trial(
    log: PromptLog,
    settings: Settings | None = None,
    folds: int = 5,
    seed: int = 0,
    vectors: Vectors | None = None,
    progress: Progress | None = None,
) -> Trial:
    """Every query of a log, chosen for by a selector that did not see its group.

    Raises:
        NotIdentified, BadLog: a selector cannot be fitted on the log, or not without one of the
            folds; or there are fewer groups than folds.
    """
    log = in_canonical_order(log)
    check_identified(log)
    groups = log.groups
    if len(np.unique(groups)) < folds:
        raise BadLog(f"{log.name}: {len(np.unique(groups))} groups cannot make {folds} folds")
    fold = group_folds(groups, folds, seed)
    for number in range(folds):
        _check_rest(log, fold != number)
    trials, rows = [], []
    for number in range(folds):
        inside = fold == number
        train, test = log.only_queries(~inside), log.only_queries(inside)
        trials.append(_trial(train, test, settings, seed + number, vectors))
        rows.append(np.flatnonzero(inside))
        if progress is not None:
            progress()
    return _joined(log, trials, np.concatenate(rows))


def _check_rest(log: PromptLog, rest: NDArray[np.bool_]) -> None:
    """Whether what is left without a fold can be learned from, said of what is left."""
    try:
        check_identified(log.only_queries(rest))
    except (BadLog, NotIdentified) as error:
        reason = str(error).removeprefix(f"{log.name}: ")
        raise type(error)(
            f"{log.name}: without a held-out fold {rest.sum()} of {len(rest)} queries are left: "
            f"{reason}"
        ) from error


def split_trial(
    log: PromptLog,
    settings: Settings | None = None,
    seed: int = 0,
    train: str = "train",
    test: str = "test",
    vectors: Vectors | None = None,
) -> Trial:
    """The log's own test queries, chosen for by a selector fitted on its own training queries.

    Only arms that were run on both sides take part.

    Raises:
        BadLog: one of the splits is empty.
    """
    log = in_canonical_order(log)
    splits = np.array([query.split for query in log.queries])
    for name in (train, test):
        if not (splits == name).any():
            raise BadLog(f"{log.name}: no query is in the split '{name}'")
    sides = [log.only_queries(splits == name) for name in (train, test)]
    common = [
        arm.name for i, arm in enumerate(log.arms) if all((side.arm == i).any() for side in sides)
    ]
    fitted, tested = (side.only_arms(common) for side in sides)
    check_identified(fitted)
    return _trial(fitted, tested, settings, seed, vectors)


def _trial(
    train: PromptLog,
    test: PromptLog,
    settings: Settings | None,
    seed: int,
    vectors: Vectors | None,
) -> Trial:
    selector: Selector = fit_selector(train, settings, seed, vectors)
    choice = selector.choose(test.texts)
    grid = train.grid()
    rate = mean_of_known(grid, axis=0)
    _, value, weight, _ = averaged(train)
    best = best_arm(value, weight)  # as the selector finds the arm that it falls back to
    if BEST_SINGLE in selector.about:  # plain means are unfair where the log's own choice is not
        best = train.arm_index(str(selector.about[BEST_SINGLE]))
    rate = np.where(np.isnan(rate), np.nanmean(rate), rate)
    size = len(test.queries)
    return Trial(
        log=test,
        outcome=test.grid(),
        groups=test.groups,
        chosen=choice.arms,
        greedy=choice.value.argmax(axis=1),
        best_single=np.full(size, best, dtype=np.int64),
        lookup=lookup_choice(train, test, best),
        seen=seen_before(train, test),
        predicted=choice.value,
        cautious=choice.advantage,
        base_rate=np.tile(rate, (size, 1)),
    )


def _joined(log: PromptLog, trials: list[Trial], rows: NDArray[np.int64]) -> Trial:
    order = np.argsort(rows)

    def join(name: str) -> NDArray:
        return np.concatenate([getattr(trial, name) for trial in trials])[order]

    names = [field.name for field in fields(Trial)][3:]
    return Trial(log, log.grid(), log.groups, **{name: join(name) for name in names})
