"""A selector: the prompt for each query, fitted once on a log and then only read.

texts ─▶ features ─▶ members of the ensemble ─▶ cautious advantage over the default ─▶ arm
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.choice.artefact import load_selector, save_selector
from prompt_oirl.choice.baseline import Baseline, clustered_means, inverse_propensities
from prompt_oirl.choice.cost import check_costs, choose_at_price, choose_within
from prompt_oirl.choice.cross_fit import cross_fit
from prompt_oirl.choice.memory import Memory, remembered
from prompt_oirl.choice.partial_evidence import PartialEvidence, partial_evidence
from prompt_oirl.choice.rule import Rule, calibrated_rule, check_kind
from prompt_oirl.choice.trust import believed, trust_in
from prompt_oirl.choice.unseen_prompts import UnseenPrompts, fit_unseen
from prompt_oirl.errors import BadLog, NotIdentified
from prompt_oirl.features import QueryFeatures
from prompt_oirl.features.query_features import Vectors
from prompt_oirl.features.structure import NAMES
from prompt_oirl.logs.log import Arm, PromptLog
from prompt_oirl.logs.order import in_canonical_order
from prompt_oirl.models import DEFAULT
from prompt_oirl.models.blend import Blend, as_probabilities
from prompt_oirl.models.outcomes import Floats, Outcomes, averaged, distinct_texts
from prompt_oirl.models.retried_arms import retried_arms

LEAST_QUERIES = 20
CALIBRATED_BY, BEST_SINGLE = "calibrated by", "best single"  # in what a selector says about itself


@dataclass(frozen=True)
class Settings:
    """How a selector is fitted.

    Attributes:
        models: names of :data:`prompt_oirl.models.MODELS`, blended with equal weights.
        folds, repeats: of the cross-fit; their product is the number of members.
        text_size: columns of the text embedding.
        kind, z, clear_of_noise: of the rule (:mod:`prompt_oirl.choice.rule`).
        default: name of the prompt to fall back to; empty for the best single one of the log.
        ensemble: keep all members of the cross-fit, so that the spread of every query counts; else
            one blend is fitted on all rows once the rule is found, which is as many times faster.
            ``worst`` needs an ensemble.

    ``worst``, and ``lower`` with a ``z`` above 0, need two repeats or more.
    """

    models: tuple[str, ...] = DEFAULT
    folds: int = 4
    repeats: int = 2
    text_size: int = 64
    kind: str = "lower"
    z: float = 1.0
    clear_of_noise: float = 2.5  # seven margins are tried: one of them is lucky more often
    default: str = ""
    ensemble: bool = False


@dataclass(frozen=True)
class Choice:
    """What a selector chose for some queries.

    Attributes:
        arms: index of the chosen arm, ``[Q]``.
        value: predicted outcome of every arm, ``[Q, K]``, cut to 0..1.
        advantage: cautious advantage over the default, ``[Q, K]``; 0 for the default itself.
        fell_back: whether the default was taken, ``[Q]``.
    """

    arms: NDArray[np.int64]
    value: Floats
    advantage: Floats
    fell_back: NDArray[np.bool_]


@dataclass(frozen=True)
class UnseenScores:
    """What new prompts are expected to reach.

    Attributes:
        value: predicted outcome, ``[Q, n]``, cut to 0..1.
        advantage: predicted advantage over the default less the usual error of a new prompt's mean
            outcome, ``[Q, n]``.
    """

    value: Floats
    advantage: Floats


@dataclass(frozen=True)
class Selector:
    """A fitted selector.

    Attributes:
        arms: what it chooses from.
        features: of query texts.
        members: of the ensemble.
        rule: how predictions become choices.
        settings: it was fitted with.
        memory: of the logged queries.
        means: mean outcome of each arm on the log, ``[K]``; comparable ones where arms were run on
            different queries.
        trust: share of a prediction's difference from its arm's mean that is believed, in 0..1.
        costs: mean cost of each arm on the log, or mean tokens where it has no costs; NaN where
            neither is known, ``[K]``.
        about: facts of the log it was fitted on, for reports.
        unseen: scores new prompts by their texts; None unless it was fitted for that.
        baseline: what the log was like on average, for drift; None in selectors saved without.
    """

    arms: tuple[Arm, ...]
    features: QueryFeatures
    members: tuple[Blend, ...]
    rule: Rule
    settings: Settings
    memory: Memory
    means: Floats
    trust: float
    costs: Floats
    about: dict[str, float | int | str] = field(default_factory=dict)
    unseen: UnseenPrompts | None = None
    baseline: Baseline | None = None

    @property
    def default(self) -> Arm:
        """The arm to fall back to."""
        return self.arms[self.rule.default]

    def predictions(self, texts: Sequence[str]) -> Floats:
        """Predicted outcome by member, ``[members, Q, K]``."""
        return self.memory.recall(texts, self._predicted_anew(texts))

    def _predicted_anew(self, texts: Sequence[str]) -> Floats:
        x = self.features.transform(texts)
        return np.stack([member.predict(x) for member in self.members])

    def choose(
        self, texts: Sequence[str], price: float | None = None, budget: float | None = None
    ) -> Choice:
        """The prompt for each text.

        Args:
            texts: of the queries.
            price: outcomes that a unit of cost is worth; cheaper prompts are then preferred.
            budget: mean cost of a query over these texts; the price is chosen to keep it.

        Raises:
            BadLog: both are given, costs are unknown, or the budget is below the cheapest arm.
        """
        if price is not None and budget is not None:
            raise BadLog("give a price of cost or a budget, not both")
        if not len(texts):
            empty = np.zeros((0, len(self.arms)))
            none = np.zeros(0, dtype=np.int64)
            return Choice(none, empty, empty, none.astype(bool))
        anew = self._predicted_anew(texts)
        advantage = self.rule.cautious(self.memory.recall(texts, anew))
        advantage[:, self.rule.default] = 0.0
        if price is not None:
            check_costs(self.costs)
            arms = choose_at_price(self.rule, advantage, self.means, self.costs, price)
        elif budget is not None:
            arms = choose_within(self.rule, advantage, self.means, self.costs, budget)
        else:
            arms = self.rule.choose(advantage)
        expected = believed(anew.mean(axis=0), self.means, self.trust)
        value = as_probabilities(self.memory.recall(texts, expected))
        return Choice(arms, value, advantage, arms == self.rule.default)

    def top(
        self,
        texts: Sequence[str],
        count: int,
        price: float | None = None,
        budget: float | None = None,
    ) -> NDArray[np.int64]:
        """The ``count`` best arms of each text by cautious advantage, ``[Q, count]``; first the one
        that :meth:`choose` takes. For a search that tries several prompts."""
        choice = self.choose(texts, price, budget)
        if not 1 <= count <= len(self.arms):
            raise BadLog(f"top {count} of {len(self.arms)} prompts does not exist")
        order = np.where(np.isfinite(choice.advantage), -choice.advantage, np.inf)
        order[np.arange(len(order)), choice.arms] = -np.inf
        return np.argsort(order, axis=1, kind="stable")[:, :count]

    def score_unseen(self, texts: Sequence[str], prompts: Sequence[str]) -> UnseenScores:
        """What prompts that were never tried are expected to reach.

        Nothing is chosen here: what the scores are worth, ``unseen.evidence`` says.

        Raises:
            NotIdentified: the selector was not fitted to score new prompts.
            BadLog: one of them is a logged prompt, or empty.
        """
        if self.unseen is None:
            raise NotIdentified(
                "this selector knows its logged prompts only; fit it with --unseen-prompts to "
                "score others"
            )
        logged = {arm.text: arm.name for arm in self.arms}
        for prompt in prompts:
            if prompt in logged:
                raise BadLog(f"'{prompt}' is no new prompt: it was logged as '{logged[prompt]}'")
            if not prompt.strip():
                raise BadLog("a new prompt is empty")
        if not len(texts) or not len(prompts):
            empty = np.zeros((len(texts), len(prompts)))
            return UnseenScores(empty, empty)
        known = self._predicted_anew(texts).mean(axis=0)
        found = self.unseen.predict(prompts, known)
        caution = self.unseen.evidence.level_error
        return UnseenScores(
            as_probabilities(found), found - known[:, [self.rule.default]] - caution
        )

    def save(self, folder: str | Path) -> None:
        """Writes the selector into a folder (:mod:`prompt_oirl.choice.artefact`)."""
        save_selector(self, folder)

    @classmethod
    def load(cls, folder: str | Path, vectors: Vectors | None = None) -> Selector:
        """Reads a selector; BadArtefact where that is impossible."""
        return load_selector(folder, vectors)

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """The choice as probabilities, ``[Q, K]``: 1 at the chosen arm."""
        choice = self.choose(texts)
        return np.eye(len(self.arms))[choice.arms]


def fit_selector(
    log: PromptLog,
    settings: Settings | None = None,
    seed: int = 0,
    vectors: Vectors | None = None,
    unseen_prompts: bool = False,
) -> Selector:
    """Fits a selector on a log.

    Args:
        log: cells may be missing. Whether to leave the default is decided on queries that were run
            under several prompts, or, where most were run under one, by doubly robust estimates
            (:mod:`prompt_oirl.choice.partial_evidence`); ``about`` says which.
        settings: the defaults otherwise.
        seed: of folds, text embedding and trees.
        vectors: vectors of texts in addition to the features made here.
        unseen_prompts: also learn to score prompts that were never tried, by their texts, and try
            that on every logged prompt in turn, which takes as many further fits.

    Raises:
        NotIdentified: the log has one prompt, so nothing is known of which prompt is better where;
            or fewer than three, with ``unseen_prompts``.
        BadLog: too few queries, outcomes that are all the same, or settings that do not exist.
    """
    log = in_canonical_order(log)
    settings = settings or Settings()
    if settings.kind == "worst" and not settings.ensemble:
        raise BadLog("the worst of one model is no worst case: 'worst' needs an ensemble")
    check_kind(settings.kind, settings.z, settings.repeats)
    if not settings.models:
        raise BadLog("no model is named")
    default = log.arm_index(settings.default) if settings.default else None
    check_identified(log)
    texts, value, weight, group = averaged(log)
    features = QueryFeatures(settings.text_size, vectors, seed).fit(texts)
    outcomes = Outcomes(features.transform(texts), value, weight, group)
    unseen_fit = None
    if unseen_prompts:
        prompts = [arm.text for arm in log.arms]
        unseen_fit = fit_unseen(
            outcomes, prompts, settings.models, settings.folds, settings.clear_of_noise, seed
        )
    fitted = cross_fit(outcomes, settings.models, settings.folds, settings.repeats, seed)
    unseen = fitted.unseen.mean(axis=0)
    means = np.maximum(outcomes.comparable_means, 0.0)
    partial = None
    row = distinct_texts(log)[1]
    if outcomes.few_pairs:
        partial = partial_evidence(log, row, group, unseen, outcomes.x, seed)
        means = np.clip(partial.constants()[0], 0.0, 1.0)
        default = partial.best_single if default is None else default
    rule = calibrated_rule(
        outcomes,
        fitted.unseen,
        settings.kind,
        settings.z,
        settings.clear_of_noise,
        default=default,
        own_spread=settings.ensemble and settings.repeats > 1,
        measure=partial.gain_over_default if partial else None,
    )
    members = fitted.members
    if not settings.ensemble:
        members = (Blend(settings.models).fit(outcomes, seed),)
    trust = trust_in(outcomes, unseen, means)
    expected = as_probabilities(believed(unseen, means, trust))
    about: dict[str, float | int | str] = {
        "log": log.name,
        "queries": len(log.queries),
        "cells": len(log.outcome),
        **_calibrated_by(log, partial),
    }
    return Selector(
        log.arms,
        features,
        members,
        rule,
        settings,
        remembered(log, unseen),
        means,
        trust,
        mean_costs(log),
        about,
        unseen_fit,
        Baseline(
            clustered_means(outcomes.x[:, : len(NAMES)], group),
            clustered_means(value - expected, group, inverse_propensities(log, row, len(texts))),
        ),
    )


def _calibrated_by(log: PromptLog, partial: PartialEvidence | None) -> dict[str, str]:
    if partial is None:
        return {CALIBRATED_BY: "pairs of outcomes"}
    return {
        CALIBRATED_BY: f"doubly robust estimates, propensities {partial.propensities}",
        BEST_SINGLE: log.arm_names[partial.best_single],
    }


def mean_costs(log: PromptLog) -> Floats:
    """Mean cost of each arm, or mean tokens where no cost is known, ``[K]``; NaN if neither is."""
    measure = log.tokens if np.isnan(log.cost).all() else log.cost
    known = ~np.isnan(measure)
    counts = np.bincount(log.arm[known], minlength=len(log.arms))
    sums = np.bincount(log.arm[known], measure[known], minlength=len(log.arms))
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def check_identified(log: PromptLog) -> None:
    """Whether a log can say anything of which prompt suits which query.

    Raises:
        NotIdentified: it has outcomes of one prompt only, or a prompt was run depending on the
            outcome of another.
        BadLog: too few queries, or outcomes that are all the same.
    """
    run = np.unique(log.arm)
    if len(run) < 2:
        raise NotIdentified(
            f"{log.name}: all outcomes are of one prompt"
            + (f" ('{log.arms[run[0]].name}')" if len(run) else "")
            + "; which prompt is better on which query cannot be learned from it"
        )
    retried = retried_arms(log.grid())
    if retried:
        raise NotIdentified(
            f"{log.name}: {retried[0].sentence(log.arm_names)}; leave it out of the log, or run "
            "both on the same queries"
        )
    # A text counts once, in the first of its groups, as models see it.
    group_of: dict[str, int] = {}
    for text, group in zip(log.texts, log.groups.tolist()):
        group_of.setdefault(text, group)
    if len(group_of) < LEAST_QUERIES:
        raise BadLog(
            f"{log.name}: {len(group_of)} different queries are too few; {LEAST_QUERIES} needed"
        )
    if len(set(group_of.values())) < 2:
        raise BadLog(f"{log.name}: all queries are in one group, so nothing can be validated")
    if log.outcome.min() == log.outcome.max():
        raise BadLog(f"{log.name}: every outcome is {log.outcome[0]:g}; there is nothing to learn")
