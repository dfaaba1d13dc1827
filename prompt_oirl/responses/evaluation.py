"""What a choice of responses is worth: grouped cross-validation beside what needs no learning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_oirl.choice.cross_fit import group_folds
from prompt_oirl.errors import BadLog
from prompt_oirl.evaluation.bootstrap import clustered_interval
from prompt_oirl.evaluation.calibration import area_under_curve
from prompt_oirl.models.outcomes import Floats
from prompt_oirl.responses.response_set import ResponseSet
from prompt_oirl.responses.selector import RULES, choose, fit_response_selector


@dataclass(frozen=True)
class ResponseTrial:
    """Shares of queries answered correctly.

    Attributes:
        queries: how many took part: all of whose responses are of known correctness.
        value: by rule of choice, and of ``first``, ``random``, ``majority``, ``longest`` and
            ``oracle``.
        gain: of each rule over the majority.
        gain_ci95: its interval by groups.
        auc: of the scores over all responses.
    """

    queries: int
    value: dict[str, float]
    gain: dict[str, float]
    gain_ci95: dict[str, tuple[float, float]]
    auc: float


def unseen_scores(
    responses: ResponseSet, model: str = "logistic", folds: int = 5, seed: int = 0
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
    return scores


def evaluate_responses(
    responses: ResponseSet, model: str = "logistic", folds: int = 5, seed: int = 0
) -> ResponseTrial:
    """Tries the choice of responses on queries whose groups were not seen."""
    unknown = np.bincount(
        responses.query, np.isnan(responses.correct), minlength=len(responses.query_text)
    )
    responses = responses.only_queries(unknown == 0)
    if not len(responses.text):
        raise BadLog("no query has only responses of known correctness")
    scores = unseen_scores(responses, model, folds, seed)
    correct, queries = responses.correct, len(responses.query_text)
    count = np.bincount(responses.query, minlength=queries)
    order = np.arange(len(correct), dtype=float)
    length = np.array([len(text) for text in responses.text], dtype=float)
    outcome = {rule: correct[choose(responses, scores, rule)] for rule in RULES}
    outcome["first"] = correct[choose(responses, -order, "best")]
    outcome["random"] = np.bincount(responses.query, correct, minlength=queries) / count
    outcome["majority"] = correct[choose(responses, np.ones(len(correct)), "vote")]
    outcome["longest"] = correct[choose(responses, length, "best")]
    outcome["oracle"] = correct[choose(responses, correct, "best")]
    gain = {rule: outcome[rule] - outcome["majority"] for rule in RULES}
    return ResponseTrial(
        queries,
        {name: float(values.mean()) for name, values in outcome.items()},
        {rule: float(values.mean()) for rule, values in gain.items()},
        {rule: clustered_interval(gain[rule], responses.group, seed=seed) for rule in RULES},
        area_under_curve(correct, scores),
    )
