"""Verifiers: what the statement itself says about an answer, and graders against a known one."""

from __future__ import annotations

from reward_bridge.verifiers.arithmetic import ArithmeticVerifier
from reward_bridge.verifiers.exact import ExactGrader
from reward_bridge.verifiers.extraction_report import ExtractionReport, extraction_report
from reward_bridge.verifiers.grader import GRADERS, GoldVerifier, Grader, load_grader
from reward_bridge.verifiers.gsm8k import Gsm8kGrader
from reward_bridge.verifiers.math import MathGrader
from reward_bridge.verifiers.multiple_choice import MultipleChoiceGrader
from reward_bridge.verifiers.numeric import NumericGrader
from reward_bridge.verifiers.oirl_released import ReleasedOirlGrader

__all__ = [
    "GRADERS",
    "ArithmeticVerifier",
    "ExactGrader",
    "ExtractionReport",
    "GoldVerifier",
    "Grader",
    "Gsm8kGrader",
    "MathGrader",
    "MultipleChoiceGrader",
    "NumericGrader",
    "ReleasedOirlGrader",
    "extraction_report",
    "load_grader",
]
