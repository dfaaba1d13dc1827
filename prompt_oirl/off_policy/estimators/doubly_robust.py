"""Doubly robust: the model's prediction, corrected by the weighted residuals that were seen."""

from __future__ import annotations

from dataclasses import dataclass

from prompt_oirl.logs.log import Floats
from prompt_oirl.off_policy.evidence import Evidence


def doubly_robust_scores(evidence: Evidence) -> Floats:
    """sum_a pi(a|x) q(x, a) + w (r - q(x, a)) of every decision, ``[N]``."""
    return evidence.expected + evidence.weight * (evidence.outcome - evidence.chosen)


@dataclass(frozen=True)
class DoublyRobust:
    """V = mean of sum_a pi(a|x) q(x, a) + w (r - q(x, a)).

    Right when either the propensities or the model are. With logged propensities it is unbiased
    whatever the model, and a good model only shortens the interval.

    Source: Dudik, Langford & Li, ICML 2011, equation 1; Dudik, Erhan, Langford & Li, Statistical
    Science 2014, section 3.
    """

    name: str = "dr"
    uses_outcome_model: bool = True
    uses_weights: bool = True

    def terms(self, evidence: Evidence) -> Floats:
        """The corrected predictions, ``[N, 1]``."""
        return doubly_robust_scores(evidence)[:, None]

    def combine(self, means: Floats) -> Floats:
        """The mean itself."""
        return means[..., 0]

    def influence(self, evidence: Evidence) -> Floats:
        """The centred corrected predictions, ``[N]``."""
        scores = doubly_robust_scores(evidence)
        return scores - scores.mean()
