"""Open Bandit Pipeline's estimates from the same decisions, where it is installed.

Its metadata bars Python 3.10 and later, but the estimators run there: versions 0.4.1 and 0.5.7 both
work when installed without their pinned requirements,

    pip install --no-deps --ignore-requires-python obp==0.5.7 pandas seaborn

Source: Saito, Aihara, Matsutani & Narita, "Open Bandit Dataset and Pipeline", NeurIPS 2021.
"""

from __future__ import annotations

import numpy as np

from prompt_oirl.logs.log import Floats
from prompt_oirl.off_policy.decisions import LoggedDecisions


def installed() -> bool:
    """Whether its estimators can be imported."""
    try:
        import obp.ope  # noqa: F401
    except ImportError:
        return False
    return True


def estimates(
    decisions: LoggedDecisions, target: Floats, predictions: Floats, threshold: float
) -> dict[str, float]:
    """Its estimates under this project's names of the estimators.

    Args:
        decisions: with known propensities.
        target: probability of every arm under the target, ``[N, K]``.
        predictions: of the outcome of every arm, ``[N, K]``.
        threshold: of the switch estimator.
    """
    from obp import ope

    known = {
        "dm": ope.DirectMethod(),
        "ips": ope.InverseProbabilityWeighting(),
        "snips": ope.SelfNormalizedInverseProbabilityWeighting(),
        "dr": ope.DoublyRobust(),
        "switch-dr": _switch(threshold),
        "sndr": ope.SelfNormalizedDoublyRobust(),
    }
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            name: float(
                estimator.estimate_policy_value(
                    reward=decisions.outcome,
                    action=decisions.arm,
                    pscore=decisions.propensity,
                    action_dist=target[:, :, None],
                    estimated_rewards_by_reg_model=predictions[:, :, None],
                )
            )
            for name, estimator in known.items()
        }


def own_predictions(decisions: LoggedDecisions, features: Floats, folds: int) -> Floats:
    """The predictions, ``[N, K]``, of its own cross-fitted regression on features ``[N, D]``.

    Its settings are those of its examples: logistic regression on the features beside an indicator
    of the arm, in folds that take no notice of groups. Outcomes must be 0 or 1.
    """
    from obp.ope import RegressionModel
    from sklearn.linear_model import LogisticRegression

    model = RegressionModel(
        n_actions=decisions.arms, base_model=LogisticRegression(C=100, max_iter=1000)
    )
    found = model.fit_predict(
        context=features,
        action=decisions.arm,
        reward=decisions.outcome,
        n_folds=folds,
        random_state=0,
    )
    return np.asarray(found)[:, :, 0]


def _switch(threshold: float):  # type: ignore[no-untyped-def]
    """The name of the threshold changed between its versions."""
    from obp import ope

    try:
        return ope.SwitchDoublyRobust(lambda_=threshold)
    except TypeError:
        return ope.SwitchDoublyRobust(tau=threshold)
