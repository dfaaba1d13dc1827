"""Estimators of the value of a policy from another policy's log, one a file."""

from __future__ import annotations

from prompt_oirl.off_policy.estimators.direct_method import DirectMethod
from prompt_oirl.off_policy.estimators.doubly_robust import DoublyRobust
from prompt_oirl.off_policy.estimators.estimator import Estimator, estimated_value
from prompt_oirl.off_policy.estimators.inverse_propensity import InversePropensity
from prompt_oirl.off_policy.estimators.self_normalised_doubly_robust import (
    SelfNormalisedDoublyRobust,
)
from prompt_oirl.off_policy.estimators.self_normalised_inverse_propensity import (
    SelfNormalisedInversePropensity,
)
from prompt_oirl.off_policy.estimators.switch_doubly_robust import SwitchDoublyRobust

ESTIMATORS: dict[str, Estimator] = {
    estimator.name: estimator
    for estimator in (
        DirectMethod(),
        InversePropensity(),
        SelfNormalisedInversePropensity(),
        DoublyRobust(),
        SwitchDoublyRobust(),
        SelfNormalisedDoublyRobust(),
    )
}

__all__ = [
    "ESTIMATORS",
    "DirectMethod",
    "DoublyRobust",
    "Estimator",
    "InversePropensity",
    "SelfNormalisedDoublyRobust",
    "SelfNormalisedInversePropensity",
    "SwitchDoublyRobust",
    "estimated_value",
]
