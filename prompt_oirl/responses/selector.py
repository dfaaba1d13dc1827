"""Scores responses, and chooses one of each query.

best     the response of the highest probability to be correct
vote     the answer of the highest sum of probabilities, and of its responses the best one
         (weighted majority: Li et al., DIVERSE, ACL 2023)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.errors import BadLog
from prompt_oirl.models.linear import PerArmLogistic
from prompt_oirl.models.outcomes import Floats, Outcomes
from prompt_oirl.responses.artefact import load_response_selector, save_response_selector
from prompt_oirl.responses.features import ResponseFeatures
from prompt_oirl.responses.response_set import ResponseSet

MODELS = ("logistic", "boosting")  # of prompt_oirl.models, each of one column
RULES = ("best", "vote")
LEAST_RESPONSES = 20


@dataclass(frozen=True)
class ResponseSelector:
    """A fitted scorer.

    Attributes:
        features: of responses.
        model: of one column, the probability to be correct.
        name: of the model, of :data:`MODELS`.
        about: facts of what it was fitted on, for reports.
    """

    features: ResponseFeatures
    model: Any
    name: str = "logistic"
    about: dict[str, float | int | str] = field(default_factory=dict)

    def scores(self, responses: ResponseSet) -> Floats:
        """Probability of each response to be correct, ``[N]``."""
        predicted = self.model.predict(self.features.transform(responses))[:, 0]
        return np.clip(predicted, 0.0, 1.0)

    def choose(self, responses: ResponseSet, rule: str = "vote") -> NDArray[np.int64]:
        """Index of the chosen response of each query, ``[Q]``."""
        return choose(responses, self.scores(responses), rule)

    def save(self, folder: str | Path) -> None:
        """Writes the selector into a folder (:mod:`prompt_oirl.responses.artefact`)."""
        save_response_selector(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> ResponseSelector:
        """Reads a selector; BadArtefact where that is impossible."""
        return load_response_selector(folder)


def fit_response_selector(
    responses: ResponseSet, model: str = "logistic", text_size: int = 32, seed: int = 0
) -> ResponseSelector:
    """Learns from responses of known correctness.

    Args:
        responses: those of unknown correctness count for agreement only.
        model: ``logistic`` or ``boosting`` (LightGBM).
        text_size: columns of the text embedding.
        seed: of embedding and trees.

    Raises:
        BadLog: the model is unknown, too few are known, or all are alike.
    """
    from prompt_oirl.models.boosting import PerArmBoosting

    if model not in MODELS:
        raise BadLog(f"unknown model of responses '{model}'; known: {', '.join(MODELS)}")
    known = ~np.isnan(responses.correct)
    check_learnable(responses)
    value = responses.correct[known]
    features = ResponseFeatures(text_size, seed).fit(responses)
    x = features.transform(responses)[known]
    weight = np.ones((len(value), 1))
    outcomes = Outcomes(x, value[:, None], weight, responses.group[responses.query][known])
    fitted = PerArmLogistic() if model == "logistic" else PerArmBoosting()
    about: dict[str, float | int | str] = {
        "queries": len(responses.query_text),
        "responses": len(responses.text),
        "known": int(known.sum()),
        "correct": float(value.mean()),
    }
    return ResponseSelector(features, fitted.fit(outcomes, seed), model, about)


def check_learnable(responses: ResponseSet) -> None:
    """Whether anything can be learned from responses.

    Raises:
        BadLog: too few are of known correctness, or all of those are alike.
    """
    value = responses.correct[~np.isnan(responses.correct)]
    if len(value) < LEAST_RESPONSES:
        raise BadLog(
            f"{len(value)} responses of known correctness are too few; {LEAST_RESPONSES} needed"
        )
    if value.min() == value.max():
        raise BadLog(f"every response has correctness {value[0]:g}; there is nothing to learn")


def choose(responses: ResponseSet, scores: Floats, rule: str = "vote") -> NDArray[np.int64]:
    """Index of the chosen response of each query, ``[Q]``; the earliest of equals.

    With all scores 1, ``vote`` is the plain majority.

    Raises:
        BadLog: the rule is unknown.
    """
    check_rule(rule)
    chosen = np.zeros(len(responses.query_text), dtype=np.int64)
    for query, rows in enumerate(responses.rows_by_query()):
        if rule == "vote":
            total: dict[str, float] = {}
            for row in rows:
                answer = responses.answer[row]
                if answer is not None:
                    total[answer] = total.get(answer, 0.0) + float(scores[row])
            if total:
                winner = max(total, key=total.__getitem__)
                rows = np.array([row for row in rows if responses.answer[row] == winner])
        chosen[query] = rows[int(scores[rows].argmax())]
    return chosen


def check_rule(rule: str) -> None:
    """Whether there is such a rule.

    Raises:
        BadLog: there is none.
    """
    if rule not in RULES:
        raise BadLog(f"unknown rule of choice '{rule}'; known: {', '.join(RULES)}")
