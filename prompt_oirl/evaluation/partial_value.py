"""What choices are worth where most queries were run under one prompt: doubly robust estimates."""

from __future__ import annotations

import numpy as np

from prompt_oirl.choice.partial_evidence import PartialEvidence
from prompt_oirl.errors import NoSupport
from prompt_oirl.evaluation.value import Value, nothing_known
from prompt_oirl.models.outcomes import Indices
from prompt_oirl.off_policy.interval import Interval


def partial_value(evidence: PartialEvidence, chosen: Indices, best_single: Indices) -> Value:
    """Values of choices, estimated; unknown, with the reason in ``refusal``, without support.

    What the best arm of every query would reach cannot be estimated: ``oracle`` is None. Values may
    leave 0..1 a little. Among single arms, those without support do not count.

    Args:
        evidence: its predictions are of models that did not see the query's group.
        chosen: the chosen arm of each query, ``[Q]``.
        best_single: the best single arm of the rows that query's selector was fitted on, ``[Q]``.
    """
    tested = np.unique(evidence.row)
    left_out = len(chosen) - len(tested)
    try:
        gain = evidence.gain(chosen, best_single)
    except NoSupport as error:
        return nothing_known(len(chosen), str(error))
    value, base = evidence.value(chosen).estimate, evidence.value(best_single).estimate
    single, error_of = evidence.constants()
    single = single[np.isfinite(error_of)]
    nan = float("nan")
    return Value(
        rows=len(tested),
        rows_left_out=left_out,
        value=value,
        best_single_train=base,
        gain=gain.estimate,
        gain_ci95=(gain.low, gain.high),
        gain_p=_two_sided_p(gain),
        deviates=float((chosen != best_single)[tested].mean()),
        random=float(single.mean()) if len(single) else nan,
        worst_single=float(single.min()) if len(single) else nan,
        hindsight_best=float(single.max()) if len(single) else nan,
        lookup=None,
        oracle=None,
        regret=None,
        headroom_captured=None,
        estimated=f"doubly robust, propensities {evidence.propensities}",
    )


def _two_sided_p(gain: Interval) -> float:
    from scipy.stats import t

    if gain.standard_error == 0:
        return 1.0 if gain.estimate == 0 else 0.0
    score = abs(gain.estimate) / gain.standard_error
    return float(2 * t.sf(score, gain.degrees_of_freedom))
