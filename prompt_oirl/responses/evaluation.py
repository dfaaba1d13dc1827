"""What a choice of responses is worth: grouped cross-validation beside what needs no learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from prompt_oirl.choice.cross_fit import group_folds
from prompt_oirl.errors import BadLog
from prompt_oirl.evaluation.bootstrap import clustered_interval
from prompt_oirl.evaluation.calibration import area_under_curve
from prompt_oirl.models.outcomes import Floats
from prompt_oirl.responses.response_set import ResponseSet
from prompt_oirl.responses.selector import RULES, check_learnable, choose, fit_response_selector

BASELINES = ("majority", "first")


@dataclass(frozen=True)
class Gain:
    """A mean difference in outcomes and its 95 % interval, groups of queries drawn together."""

    mean: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class ResponseTrial:
    """Shares of queries answered correctly.

    Attributes:
        queries: how many took part: all of whose responses are of known correctness.
        left_out: queries that did not.
        responses: of those that took part.
        value: by rule of choice, and of ``first``, ``random``, ``majority``, ``longest`` and
            ``oracle``.
        gain: of each rule over each of :data:`BASELINES`: ``gain[rule][baseline]``.
        auc: of the scores over all responses.
        auc_within: of the scores between a right and a wrong response of one query, all such pairs
            alike; NaN where no query has both.
    """

    queries: int
    left_out: int
    responses: int
    value: dict[str, float]
    gain: dict[str, dict[str, Gain]]
    auc: float
    auc_within: float


def unseen_scores(
    responses: ResponseSet,
    model: str = "logistic",
    folds: int = 5,
    seed: int = 0,
    progress: Callable[[], None] | None = None,
) -> Floats:
    """Scores ``[N]``, each by a model that did not see the group of its query.

    Raises:
        BadLog: there are fewer groups than folds, or a model cannot be fitted.
    """
    groups = len(np.unique(responses.group))
    if groups < folds:
        raise BadLog(f"{groups} groups of queries cannot make {folds} folds")
    fold = group_folds(responses.group, folds, seed)
    scores = np.zeros(len(responses.text))
    for number in range(folds):
        held = fold == number
        fitted = fit_response_selector(responses.only_queries(~held), model, seed=seed)
        scores[held[responses.query]] = fitted.scores(responses.only_queries(held))
        if progress is not None:
            progress()
    return scores


def evaluate_responses(
    responses: ResponseSet,
    model: str = "logistic",
    folds: int = 5,
    seed: int = 0,
    progress: Callable[[], None] | None = None,
) -> ResponseTrial:
    """Tries the choice of responses on queries whose groups were not seen.

    Args:
        responses: queries with a response of unknown correctness are left out.
        model: of :data:`prompt_oirl.responses.selector.MODELS`.
        folds: parts of the groups held out in turn.
        seed: of folds, embedding, trees and bootstrap.
        progress: called after each fold.

    Raises:
        BadLog: no query is known in full, there is nothing to choose between, nothing to learn, or
            too few groups.
    """
    known = np.array(
        [not np.isnan(responses.correct[rows]).any() for rows in responses.rows_by_query()]
    )
    left_out = int((~known).sum())
    responses = responses.only_queries(known)
    if not len(responses.text):
        raise BadLog("no query has only responses of known correctness")
    queries = len(responses.query_text)
    count = np.bincount(responses.query, minlength=queries)
    if count.max() == 1:
        raise BadLog(
            "every query has one response, so there is nothing to choose between; "
            "are responses of one query given different names?"
        )
    check_learnable(responses)
    scores = unseen_scores(responses, model, folds, seed, progress)
    correct = responses.correct
    order = np.arange(len(correct), dtype=float)
    length = np.array([len(text) for text in responses.text], dtype=float)
    outcome = {rule: correct[choose(responses, scores, rule)] for rule in RULES}
    outcome["first"] = correct[choose(responses, -order, "best")]
    outcome["random"] = np.bincount(responses.query, correct, minlength=queries) / count
    outcome["majority"] = correct[choose(responses, np.ones(len(correct)), "vote")]
    outcome["longest"] = correct[choose(responses, length, "best")]
    outcome["oracle"] = correct[choose(responses, correct, "best")]

    def gain(rule: str, baseline: str) -> Gain:
        difference = outcome[rule] - outcome[baseline]
        interval = clustered_interval(difference, responses.group, seed=seed)
        return Gain(float(difference.mean()), interval)

    return ResponseTrial(
        queries,
        left_out,
        len(responses.text),
        {name: float(values.mean()) for name, values in outcome.items()},
        {rule: {name: gain(rule, name) for name in BASELINES} for rule in RULES},
        area_under_curve(correct, scores),
        auc_within(responses, scores),
    )


def auc_within(responses: ResponseSet, scores: Floats) -> float:
    """How often a right response of a query has a higher score than a wrong one; equals count half.

    Outcomes above a half are right here. NaN where no query has both.
    """
    higher, pairs = 0.0, 0
    for rows in responses.rows_by_query():
        right = responses.correct[rows] > 0.5
        ahead = scores[rows[right]][:, None] - scores[rows[~right]]
        higher += float((ahead > 0).sum() + 0.5 * (ahead == 0).sum())
        pairs += ahead.size
    return higher / pairs if pairs else float("nan")
