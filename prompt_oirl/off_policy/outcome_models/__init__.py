"""Models of the outcome of each arm for a query, one a file; any that fits the protocol will do."""

from prompt_oirl.off_policy.outcome_models.arm_means import ArmMeans
from prompt_oirl.off_policy.outcome_models.outcome_model import FittedOutcomes, OutcomeModel
from prompt_oirl.off_policy.outcome_models.per_arm_logistic import PerArmLogistic
from prompt_oirl.off_policy.outcome_models.shrunken_ridge import ShrunkenRidge

__all__ = ["ArmMeans", "FittedOutcomes", "OutcomeModel", "PerArmLogistic", "ShrunkenRidge"]
