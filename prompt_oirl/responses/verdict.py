"""Whether to use a selector of responses, by the words of :mod:`prompt_oirl.evaluation.verdict`.

It must beat two choices that need no learning, the majority of final answers and the first
response: which of the two is the better one is not known beforehand. As both must be beaten, each
can be tested at its own level.
"""

from __future__ import annotations

from prompt_oirl.evaluation.verdict import WORTHWHILE, Verdict
from prompt_oirl.responses.evaluation import BASELINES, Gain, ResponseTrial

TITLES = {"majority": "the majority of answers", "first": "the first response"}


def response_verdict(
    trial: ResponseTrial, rule: str = "vote", worthwhile: float = WORTHWHILE
) -> Verdict:
    """What the evidence allows.

    Args:
        trial: on unseen groups.
        rule: of choice that is judged, of :data:`prompt_oirl.responses.selector.RULES`.
        worthwhile: gain, in outcomes, below which a selector is not worth the trouble.
    """
    gains = trial.gain[rule]
    shown = {name: f"over {TITLES[name]} {_points(gains[name])}" for name in BASELINES}
    if all(gains[name].ci95[0] > 0 for name in BASELINES):
        return Verdict("deploy", "gain " + ", ".join(shown.values()))
    for name in BASELINES:
        if gains[name].ci95[1] < worthwhile:
            return Verdict(
                "hold", f"a gain of {100 * worthwhile:g} points is ruled out: {shown[name]}"
            )
    open_ = [shown[name] for name in BASELINES if gains[name].ci95[0] <= 0]
    return Verdict("insufficient evidence", "the interval of the gain holds 0: " + ", ".join(open_))


def _points(gain: Gain) -> str:
    low, high = gain.ci95
    return f"{100 * gain.mean:+.2f} points [{100 * low:+.2f}, {100 * high:+.2f}]"
