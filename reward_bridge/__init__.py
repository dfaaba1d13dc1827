"""Everything that says how good a state is: reward models, aggregation of scores, verifiers."""

from __future__ import annotations

from reward_bridge.aggregation import aggregator
from reward_bridge.causal import CausalRewardModel
from reward_bridge.format import RewardFormat

__all__ = ["CausalRewardModel", "RewardFormat", "aggregator"]
