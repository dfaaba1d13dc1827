"""What the estimators have in common: each is a smooth function of means over decisions.

So one description serves three uses: the estimate itself, its influence function (for asymptotic
intervals), and its value on resampled groups (for the bootstrap), which needs only sums.
"""

from __future__ import annotations

from typing import Protocol

from prompt_oirl.logs.log import Floats
from prompt_oirl.off_policy.evidence import Evidence


class Estimator(Protocol):
    """An estimator of the value of a target policy."""

    @property
    def name(self) -> str:
        """As on the command line."""

    @property
    def uses_outcome_model(self) -> bool:
        """Whether it reads the predictions of an outcome model."""

    @property
    def uses_weights(self) -> bool:
        """Whether it reads the importance weights, so that it needs support."""

    def terms(self, evidence: Evidence) -> Floats:
        """What is averaged over decisions, ``[N, C]``."""

    def combine(self, means: Floats) -> Floats:
        """The estimate, ``[...]``, from the means of the terms, ``[..., C]``."""

    def influence(self, evidence: Evidence) -> Floats:
        """The influence of each decision on the estimate, ``[N]``, with mean 0.

        The estimate minus the true value is, to first order, the mean of these.
        """


def estimated_value(estimator: Estimator, evidence: Evidence) -> float:
    """The estimate of one estimator."""
    return float(estimator.combine(estimator.terms(evidence).mean(axis=0)))
