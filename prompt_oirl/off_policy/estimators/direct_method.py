"""The direct method: trust the outcome model."""

from __future__ import annotations

from dataclasses import dataclass

from prompt_oirl.logs.log import Floats
from prompt_oirl.off_policy.evidence import Evidence


@dataclass(frozen=True)
class DirectMethod:
    """V = mean of sum_a pi(a|x) q(x, a).

    Low variance, but biased by every error of the model, and its interval knows nothing of that
    bias: it only tells how far the mean prediction would move with other queries.

    Source: Dudik, Langford & Li, "Doubly robust policy evaluation and learning", ICML 2011,
    section 2.1 (there DM).
    """

    name: str = "dm"
    uses_outcome_model: bool = True
    uses_weights: bool = False

    def terms(self, evidence: Evidence) -> Floats:
        """The prediction for the target, ``[N, 1]``."""
        return evidence.expected[:, None]

    def combine(self, means: Floats) -> Floats:
        """The mean itself."""
        return means[..., 0]

    def influence(self, evidence: Evidence) -> Floats:
        """The centred predictions, ``[N]``."""
        return evidence.expected - evidence.expected.mean()
