"""Whether to use a selector: deploy, hold, or not enough evidence."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

from prompt_oirl.evaluation.value import Value

EXIT_CODES = {"deploy": 0, "hold": 3, "insufficient evidence": 4}
WORTHWHILE = 0.005
LEAST_TELLING = 6  # groups: signs of five agree by chance in one of 32, more than 2.5 %


@dataclass(frozen=True)
class Verdict:
    """A word of :data:`EXIT_CODES` and the sentence that goes with it."""

    word: str
    reason: str

    @property
    def exit_code(self) -> int:
        """Of the command that came to it."""
        return EXIT_CODES[self.word]


def verdict(value: Value, leaks: bool, worthwhile: float = WORTHWHILE) -> Verdict:
    """What the evidence allows.

    Args:
        value: of a trial on unseen groups.
        leaks: whether tested queries were in the training rows.
        worthwhile: gain, in outcomes, below which changing prompts is not worth the trouble.
    """
    if value.refusal:
        return Verdict(
            "insufficient evidence",
            f"{value.refusal}; 'treeward prompt next' says what to run, and 'treeward prompt ope' "
            "what a single prompt is worth, where the log supports that",
        )
    if value.rows == 0:
        return Verdict(
            "insufficient evidence",
            "no tested query was run under both the chosen and the best single prompt",
        )
    low, high = value.gain_ci95
    gain = f"{100 * value.gain:+.2f} points [{100 * low:+.2f}, {100 * high:+.2f}]"
    if value.estimated:
        gain += f" (estimated: {value.estimated})"
    if leaks:
        return Verdict(
            "hold",
            "tested queries, or others of their groups, are among the training queries; "
            f"{gain} means little",
        )
    if isnan(low) and value.compared_groups == 1 and value.rows > 1:
        return Verdict(
            "insufficient evidence",
            "only one group of queries tells of leaving the best single prompt",
        )
    if isnan(low):
        return Verdict(
            "insufficient evidence", "the tested queries are of one group, which has no interval"
        )
    if low > 0 and value.telling_groups is not None and value.telling_groups < LEAST_TELLING:
        return Verdict(
            "insufficient evidence",
            f"the prompts fare differently in {value.telling_groups} groups of queries only, and "
            f"fewer than {LEAST_TELLING} may agree by chance: {gain}",
        )
    if low > 0:
        return Verdict("deploy", f"gain over the best single prompt {gain}")
    if value.deviates == 0:
        return Verdict(
            "hold", "no margin showed a gain clear of noise, so the default prompt is always taken"
        )
    if value.compared_groups is not None and value.compared_groups < LEAST_TELLING:
        return Verdict(
            "insufficient evidence",
            f"only {value.compared_groups} groups of queries tell of leaving the best single "
            f"prompt, and {LEAST_TELLING} are needed: {gain}",
        )
    if high < worthwhile:
        return Verdict("hold", f"a gain of {100 * worthwhile:g} points is ruled out: {gain}")
    return Verdict("insufficient evidence", f"the interval of the gain holds 0: {gain}")
