"""Grader of GSM8K: the number after ``####``, in the answer as in the gold.

An answer without ``####`` is read by its last number, as the evaluation of Cobbe et al., "Training
Verifiers to Solve Math Word Problems" (arXiv:2110.14168) asks for the marker and most later logs
have none. Numbers keep their commas and signs (``numeric.py``).
"""

from __future__ import annotations

from reward_bridge.verifiers.numeric import Number, NumericGrader, numbers

MARKER = "####"


class Gsm8kGrader(NumericGrader):
    """Compares the number after the last ``####``, or the last number, with the gold one."""

    name = "gsm8k"

    def final_number(self, answer: str) -> Number | None:
        """The first number after the last ``####``; without one the last number."""
        _, marker, after = answer.rpartition(MARKER)
        if marker and (found := numbers(after)):
            return found[0]
        found = numbers(answer)
        return found[-1] if found else None

    def gold_number(self, gold: str) -> Number | None:
        """The number of the gold answer, read the same way."""
        return self.final_number(gold)
