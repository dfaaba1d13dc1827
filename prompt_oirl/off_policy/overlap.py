"""Overlap: does the log hold enough of what the target policy would do?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from prompt_oirl.errors import NoSupport
from prompt_oirl.logs.log import Floats, Indices
from prompt_oirl.off_policy.decisions import LoggedDecisions
from prompt_oirl.off_policy.evidence import importance_weights
from prompt_oirl.off_policy.interval import group_sums

FEW = 50.0  # effective decisions below which an interval is hardly worth having
HEAVY = 0.1  # share of the total weight in one decision
ROUNDED = 1e-9  # what is below is 0, rounded


@dataclass(frozen=True)
class SupportLimits:
    """When a value is refused.

    Attributes:
        least_propensity: arms chosen with less than this probability count as not supported.
        most_mass: of the target's probability that may fall on arms without support, in [0, 1].
    """

    least_propensity: float = 0.005
    most_mass: float = 0.01


@dataclass(frozen=True)
class Overlap:
    """How a log and a target policy overlap.

    Attributes:
        decisions: in the log, ``N``.
        agreeing: decisions whose arm the target may choose.
        effective_sample_size: (sum w)^2 / sum w^2, in 0..N: as many decisions of the target itself
            would tell as much. Source: Kish, "Survey Sampling", 1965, section 8.2.
        mean_weight: 1 in expectation where support holds.
        mean_weight_error: its cluster-robust standard error, not below that of independent
            decisions: sums of two or three groups may be equal by chance. NaN with one group.
        groups: of the decisions.
        largest_weight: of a decision.
        largest_share: of the total weight in one decision, in [0, 1].
        least_propensity: of a decision that agrees with the target; NaN if none does.
        never_chosen: the target's probability mass, in [0, 1], on each arm that no decision chose:
            index of the arm to mass, without zeros.
        rarely_chosen: the target's mass on arms that were chosen with less than the limit.
    """

    decisions: int
    agreeing: int
    effective_sample_size: float
    mean_weight: float
    mean_weight_error: float
    groups: int
    largest_weight: float
    largest_share: float
    least_propensity: float
    never_chosen: dict[int, float]
    rarely_chosen: float

    @property
    def mean_weight_deviation(self) -> float:
        """Of the mean weight from 1, in standard errors as they would be were it 1.

        The variance of the weights grows with their mean, as that of a count does: the error that
        belongs to a mean of 1 is the observed one / sqrt(mean). A few groups tell that error badly:
        the deviation is the normal one of the same probability as Student's with so many groups.
        One group tells of itself only: NaN.
        """
        from scipy.stats import norm, t

        if self.groups < 2:
            return float("nan")
        if abs(self.mean_weight - 1) < ROUNDED:
            return 0.0
        away = self.mean_weight - 1
        if self.mean_weight_error < ROUNDED:
            chance = 0.5**self.groups  # that all groups are alike, each as likely as not
        else:
            scale = self.mean_weight_error / np.sqrt(self.mean_weight)
            chance = t.sf(abs(away) / scale, self.groups - 1)
        return float(np.copysign(norm.isf(chance), away))

    def warnings(self) -> list[str]:
        """One sentence for each reason to doubt an estimate that is not refused."""
        found = []
        size = self.effective_sample_size
        if size < FEW:
            found.append(
                f"the effective sample size is {size:.0f} of {self.decisions} decisions: "
                "the interval rests on few of them"
            )
        if self.largest_share > HEAVY:
            found.append(f"one decision has {self.largest_share:.0%} of the total weight")
        if abs(self.mean_weight_deviation) > 3:
            found.append(
                f"the mean weight is {self.mean_weight:.3f} ± {self.mean_weight_error:.3f} "
                "instead of 1: propensities are wrong, or support is missing"
            )
        return found

    def as_record(self, arm_names: list[str]) -> dict[str, Any]:
        """Plain values for JSON."""
        record = dict(vars(self))
        record["never_chosen"] = {arm_names[arm]: mass for arm, mass in self.never_chosen.items()}
        for name in ("least_propensity", "mean_weight_error"):
            if np.isnan(record[name]):
                record[name] = None
        return record


def measure_overlap(
    decisions: LoggedDecisions,
    target: Floats,
    limits: SupportLimits,
    propensities: Floats | None = None,
) -> Overlap:
    """The overlap of a log with a target's probabilities ``[N, K]``.

    Args:
        decisions: with known propensities.
        target: probability of every arm under the target at every decision, ``[N, K]``.
        limits: say what is rarely chosen.
        propensities: of every arm at every decision, ``[N, K]``, where they are known. Where only
            those of chosen arms are, the mass on rarely chosen arms is estimated from the weights:
            the mean of w 1{mu < limit}.
    """
    weight = importance_weights(decisions, target)
    total = float(weight.sum())
    agreeing = weight > 0
    counts = np.bincount(decisions.arm, minlength=decisions.arms)
    masses = target.mean(axis=0)
    never = {int(arm): float(masses[arm]) for arm in np.flatnonzero((counts == 0) & (masses > 0))}
    if propensities is None:
        rare = float(np.where(decisions.propensity < limits.least_propensity, weight, 0.0).mean())
    else:
        low = (propensities < limits.least_propensity) & (counts > 0)
        rare = float(np.where(low, target, 0.0).sum(axis=1).mean())
    mean_error, groups = _error_of_mean(weight, decisions.group)
    return Overlap(
        decisions=len(decisions),
        agreeing=int(agreeing.sum()),
        effective_sample_size=total**2 / float((weight**2).sum()) if total else 0.0,
        mean_weight=float(weight.mean()),
        mean_weight_error=mean_error,
        groups=groups,
        largest_weight=float(weight.max()),
        largest_share=float(weight.max()) / total if total else 0.0,
        least_propensity=(
            float(decisions.propensity[agreeing].min()) if agreeing.any() else float("nan")
        ),
        never_chosen=never,
        rarely_chosen=min(rare, 1.0),
    )


def _error_of_mean(weight: Floats, group: Indices) -> tuple[float, int]:
    sums = group_sums((weight - weight.mean())[:, None], group)[:, 0]
    groups = len(sums)
    if groups < 2:
        return float("nan"), groups
    clustered = np.sqrt(groups / (groups - 1) * (sums**2).sum())
    independent = np.sqrt(len(weight)) * weight.std()
    return float(max(clustered, independent)) / len(weight), groups


def check_support(overlap: Overlap, limits: SupportLimits, arm_names: list[str]) -> None:
    """Refuses what the log cannot tell.

    Raises:
        NoSupport: too much of the target's mass is on arms that were never chosen, or hardly ever;
            or no decision agrees with the target; or the weights show that mass is missing (their
            mean is below 1 by more than the limit and four standard errors, of two groups or more).
    """
    missing = sum(overlap.never_chosen.values())
    if missing > limits.most_mass:
        names = ", ".join(f"'{arm_names[arm]}'" for arm in overlap.never_chosen)
        raise NoSupport(
            f"the target chooses {names} with probability {missing:.3f}, "
            f"but the log never does; at most {limits.most_mass:g} is allowed"
        )
    if overlap.rarely_chosen > limits.most_mass:
        raise NoSupport(
            f"the target chooses with probability {overlap.rarely_chosen:.3f} arms that the log "
            f"chose with a propensity below {limits.least_propensity:g}; "
            f"at most {limits.most_mass:g} is allowed"
        )
    if overlap.agreeing == 0:
        raise NoSupport(
            f"none of the {overlap.decisions} logged decisions agrees with the target policy"
        )
    gap = 1 - overlap.mean_weight
    if gap > limits.most_mass and overlap.mean_weight_deviation < -4:
        raise NoSupport(
            f"about {gap:.3f} of the target's choices are of arms that the log never tries on such "
            f"queries (the mean weight is {overlap.mean_weight:.3f} instead of 1); "
            f"at most {limits.most_mass:g} is allowed"
        )
