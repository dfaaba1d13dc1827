"""The value of a policy from a log that another policy made (off-policy evaluation)."""

from prompt_oirl.off_policy.decisions import LoggedDecisions
from prompt_oirl.off_policy.estimate import OffPolicyEstimate, estimate_value
from prompt_oirl.off_policy.estimators import ESTIMATORS
from prompt_oirl.off_policy.overlap import Overlap, SupportLimits
from prompt_oirl.off_policy.policy import FixedArm, GivenProbabilities, Policy, SelectorPolicy

__all__ = [
    "ESTIMATORS",
    "FixedArm",
    "GivenProbabilities",
    "LoggedDecisions",
    "OffPolicyEstimate",
    "Overlap",
    "Policy",
    "SelectorPolicy",
    "SupportLimits",
    "estimate_value",
]
