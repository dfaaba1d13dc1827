"""Verifiers: what the statement itself says about an answer."""

from __future__ import annotations

from reward_bridge.verifiers.arithmetic import ArithmeticVerifier

__all__ = ["ArithmeticVerifier"]
