"""Inverse propensity scoring: reweight what was seen."""

from __future__ import annotations

from dataclasses import dataclass

from prompt_oirl.logs.log import Floats
from prompt_oirl.off_policy.evidence import Evidence


@dataclass(frozen=True)
class InversePropensity:
    """V = mean of w r, with w = pi(a|x) / mu(a|x).

    Unbiased where propensities are right and support holds; its variance grows with the weights.

    Source: Horvitz & Thompson, JASA 1952; for policies Dudik, Langford & Li, ICML 2011,
    section 2.1 (there IPS).
    """

    name: str = "ips"
    uses_outcome_model: bool = False
    uses_weights: bool = True

    def terms(self, evidence: Evidence) -> Floats:
        """The weighted outcomes, ``[N, 1]``."""
        return (evidence.weight * evidence.outcome)[:, None]

    def combine(self, means: Floats) -> Floats:
        """The mean itself."""
        return means[..., 0]

    def influence(self, evidence: Evidence) -> Floats:
        """The centred weighted outcomes, ``[N]``."""
        weighted = evidence.weight * evidence.outcome
        return weighted - weighted.mean()
