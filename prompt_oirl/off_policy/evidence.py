"""What every estimator starts from: for each decision, its weight and its predicted outcomes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_oirl.logs.log import Floats
from prompt_oirl.off_policy.decisions import LoggedDecisions


@dataclass(frozen=True)
class Evidence:
    """One row for each decision, all ``[N]``.

    Attributes:
        outcome: r, that was seen.
        weight: pi(a|x) / mu(a|x) of the arm that was chosen; 0 where the target never chooses it.
        chosen: q(x, a), the outcome predicted for the arm that was chosen.
        expected: sum over a of pi(a|x) q(x, a), the outcome predicted for the target policy.
    """

    outcome: Floats
    weight: Floats
    chosen: Floats
    expected: Floats


def importance_weights(decisions: LoggedDecisions, target: Floats) -> Floats:
    """pi(a|x) / mu(a|x) of every decision, ``[N]``, from the target's probabilities ``[N, K]``."""
    rows = np.arange(len(decisions))
    return target[rows, decisions.arm] / decisions.propensity


def gather_evidence(
    decisions: LoggedDecisions, target: Floats, predictions: Floats | None = None
) -> Evidence:
    """The evidence on a target policy.

    Args:
        decisions: with known propensities.
        target: probability of every arm under the target at every decision, ``[N, K]``.
        predictions: of the outcome of every arm at every decision, ``[N, K]``, from a model that
            did not see the decision's group; without them, zeros.
    """
    weight = importance_weights(decisions, target)
    if predictions is None:
        zeros = np.zeros(len(decisions))
        return Evidence(decisions.outcome, weight, zeros, zeros)
    chosen = predictions[np.arange(len(decisions)), decisions.arm]
    expected = np.einsum("nk,nk->n", target, predictions)
    return Evidence(decisions.outcome, weight, chosen, expected)
