"""What a log with one prompt a query says of choices: doubly robust scores.

Where a query was run under one prompt only, no two outcomes can be compared. Each decision of the
log then scores every arm by its predicted outcome, corrected where the arm was run:

    score(a) = q(x, a) + 1{a was run} / μ(a | x) · (outcome − q(x, a))

with q a prediction that did not see the query's group, and μ the propensity, from the log or
estimated out of fold. The mean of score(chosen) − score(default) estimates the gain of choices, and
is right where either q or μ is. A text that was run under every arm needs no estimate: its scores
are its outcomes. But where the log has propensities and a text came by chance under every arm, its
decisions stay among the others: without them, those would not have been made with μ.

Estimated propensities are cut from below: a little bias, instead of a few outcomes that decide.

Source: Dudík, Langford & Li, ICML 2011; cutting weights as in Ionides, "Truncated importance
sampling", Journal of Computational and Graphical Statistics 2008; scores of every arm for learning
a choice as in Athey & Wager, "Policy learning with observational data", Econometrica 2021.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.errors import NoSupport
from prompt_oirl.logs.log import PromptLog
from prompt_oirl.models.adjusted_means import CAUTION
from prompt_oirl.models.outcomes import Floats, Indices
from prompt_oirl.off_policy.cross_fitting import grouped_folds
from prompt_oirl.off_policy.decisions import LoggedDecisions
from prompt_oirl.off_policy.interval import Interval, asymptotic_interval
from prompt_oirl.off_policy.overlap import FEW, SupportLimits, check_support, measure_overlap
from prompt_oirl.off_policy.propensity import LogisticPropensity, calibration

FOLDS = 5
LEAST_EFFECTIVE = 10.0  # decisions, where the choice leaves the default, that tell of either arm
INVERSE_PENALTIES = (0.0001, 0.001, 0.01, 0.1)  # of propensities: the likeliest counts
USUAL = 3.0  # features beyond, in standard deviations, are cut for propensities
CHANCE = 1.001  # propensities of all arms that add up to more are not those of one draw
TRIMMED = 0.02  # an estimated propensity below counts as this: 50 decisions at most
WIDENED_AT = 2.5  # standard errors at which Student's quantile takes the place of the normal one


@dataclass(frozen=True)
class PartialEvidence:
    """Scores of every arm, first of ``N`` single decisions, then of texts run under every arm.

    Attributes:
        decisions: the single ones, with propensities, ``N`` of them; ``query`` is the row.
        probabilities: of every arm at every decision, ``[N, K]``, where they are estimated; those
            of ``decisions`` are trimmed.
        propensities: ``logged``, ``estimated``, or ``estimated, but at odds with the log``: with
            how often arms were chosen.
        row: of each score, ``[U]``.
        score: of every arm, ``[U, K]``; for an arm that was never run, what is predicted.
        weight: how many queries a score stands for, ``[U]``.
        group: ``[U]``.
        arm_names: ``[K]``.
    """

    decisions: LoggedDecisions
    probabilities: Floats | None
    propensities: str
    row: Indices
    score: Floats
    weight: Floats
    group: Indices
    arm_names: tuple[str, ...]

    def gain(self, chosen: Indices, default: Indices | int) -> Interval:
        """The gain of choices over the default arm.

        Args:
            chosen: arm of each row, ``[R]``.
            default: of each row, ``[R]``, or of all.

        Raises:
            NoSupport: the log does not hold what the choices, or the default, would do.
            NotIdentified: fewer than two groups.
        """
        default = np.broadcast_to(default, chosen.shape)
        self.check(chosen, default)
        return self._mean(self._scores(chosen) - self._scores(default))

    def value(self, chosen: Indices) -> Interval:
        """The value of choices, whose support is not checked here.

        Raises:
            NotIdentified: fewer than two groups.
        """
        return self._mean(self._scores(chosen))

    def _scores(self, arms: Indices) -> Floats:
        return self.score[np.arange(len(self.row)), arms[self.row]]

    def gain_over_default(self, chosen: Indices, default: int) -> tuple[float, float]:
        """The gain of choices ``[R]`` and its standard error, clustered by group.

        The error is widened as Student's quantile is where few decisions make most of the variance,
        and infinite without support.
        """
        from scipy.stats import norm, t

        if (chosen == default).all():
            return 0.0, 0.0
        try:
            found = self.gain(chosen, default)
        except NoSupport:
            return 0.0, float("inf")
        widened = t.isf(norm.sf(WIDENED_AT), found.degrees_of_freedom) / WIDENED_AT
        return found.estimate, found.standard_error * float(widened)

    def constants(self) -> tuple[Floats, Floats]:
        """The value of each arm for every query and its standard error, both ``[K]``.

        For an arm without support the value is the plain mean of what was seen (0 without any), and
        the error infinite.
        """
        found = [self._mean(column) for column in self.score.T]
        value = np.array([one.estimate for one in found])
        error = np.array([one.standard_error for one in found])
        for arm in range(self.decisions.arms):
            try:
                self._check_all(np.full(self._rows, arm))
            except NoSupport:
                mine = self.decisions.arm == arm
                value[arm] = self.decisions.outcome[mine].mean() if mine.any() else 0.0
                error[arm] = np.inf
        return value, error

    @property
    def best_single(self) -> int:
        """The arm whose value less :data:`CAUTION` standard errors is highest.

        An arm that was hardly ever run may look best by luck, and its few outcomes may be so much
        alike that its error is too small. So an arm that fewer than :data:`FEW` decisions tell of,
        effectively, does not count, unless all are such; nor does one without support. Where none
        has support, it is the arm that was run most.
        """
        value, error = self.constants()
        known = np.isfinite(error)
        if not known.any():
            return int(np.bincount(self.decisions.arm, minlength=self.decisions.arms).argmax())
        often = known & (self._effective() >= FEW)
        return int(
            np.argmax(np.where(often if often.any() else known, value - CAUTION * error, -np.inf))
        )

    def _effective(self) -> Floats:
        """How many decisions tell of each arm, by Kish's formula, ``[K]``."""
        arms = self.decisions.arms
        weight = 1 / self.decisions.propensity
        total = np.bincount(self.decisions.arm, weight, minlength=arms)
        squares = np.bincount(self.decisions.arm, weight**2, minlength=arms)
        complete = self.weight[len(self.decisions) :].sum()
        return total**2 / np.where(squares > 0, squares, 1.0) + complete

    def check(self, chosen: Indices, default: Indices) -> None:
        """Whether the log holds what choices ``[R]`` and the default ``[R]`` would do.

        Where choices leave the default, both arms must have been run often enough there: elsewhere
        the two cancel, and would hide that nothing is known.

        Raises:
            NoSupport: it does not.
        """
        self._check_all(chosen)
        self._check_all(default)
        left = (chosen != default)[self.decisions.query]
        if not left.any():
            return
        some = _some(self.decisions, left)
        for arms in (chosen, default):
            found = measure_overlap(some, self._one_hot(arms[some.query]), SupportLimits())
            if found.effective_sample_size < LEAST_EFFECTIVE or found.mean_weight_deviation < -4:
                raise NoSupport(
                    f"of the {len(some)} queries where the default would be left, effectively "
                    f"{found.effective_sample_size:.0f} tell of the choice there"
                )

    def _check_all(self, arms: Indices) -> None:
        if len(self.decisions):
            limits = SupportLimits()
            target = self._one_hot(arms[self.decisions.query])
            overlap = measure_overlap(self.decisions, target, limits, self.probabilities)
            check_support(overlap, limits, list(self.arm_names))

    def _one_hot(self, arms: Indices) -> Floats:
        return np.eye(self.decisions.arms)[arms]

    @property
    def _rows(self) -> int:
        return int(self.row.max()) + 1

    def _mean(self, values: Floats) -> Interval:
        total = self.weight.sum()
        mean = float(self.weight @ values / total)
        # Weights whose mean is 1 make the mean of weighted influences that of the estimate.
        influence = self.weight * (values - mean) * len(values) / total
        return asymptotic_interval(mean, influence, self.group)


def partial_evidence(
    log: PromptLog, row: Indices, group: Indices, predicted: Floats, x: Floats, seed: int = 0
) -> PartialEvidence:
    """The evidence of a log.

    Args:
        log: every cell one decision.
        row: of each query, ``[Q]``; queries of one text share one.
        group: of each row, ``[R]``.
        predicted: outcome of every arm for each row, by models that did not see its group,
            ``[R, K]``.
        x: features of each row, ``[R, D]``, for propensities where some are missing in the log.
        seed: of the folds.

    Raises:
        NotIdentified: propensities must be estimated, and the decisions are of one group.
    """
    decisions = LoggedDecisions.from_log(log)
    decisions = replace(decisions, query=row[log.query], group=group[row[log.query]])
    size = len(predicted) * decisions.arms
    flat = decisions.query * decisions.arms + decisions.arm
    count = np.bincount(flat, minlength=size).reshape(predicted.shape)
    total = np.bincount(flat, decisions.outcome, minlength=size).reshape(predicted.shape)
    run = count.sum(axis=0) > 0
    complete: NDArray[np.bool_] = np.all(count[:, run] > 0, axis=1)
    designed = complete & ~_by_chance(decisions, flat, count)
    if np.isfinite(decisions.propensity[~designed[decisions.query]]).all():
        complete = designed
    single = _some(decisions, ~complete[decisions.query])
    q = np.clip(predicted, 0.0, 1.0)
    single, probabilities, source = _with_propensities(single, x, seed)

    score = q[single.query]
    place = np.arange(len(single)), single.arm
    score[place] += (single.outcome - score[place]) / single.propensity
    full = np.flatnonzero(complete)
    known = np.where(run, total[full] / np.maximum(count[full], 1), q[full])
    return PartialEvidence(
        single,
        probabilities,
        source,
        np.concatenate([single.query, full]),
        np.concatenate([score, known]),
        np.concatenate([np.ones(len(single)), count[full].sum(axis=1) / run.sum()]),
        np.concatenate([single.group, group[full]]),
        tuple(log.arm_names),
    )


def _by_chance(
    decisions: LoggedDecisions, flat: Indices, count: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Whether the arms of each row were drawn, each with its logged propensity, ``[R]``."""
    total = np.bincount(flat, decisions.propensity, minlength=count.size).reshape(count.shape)
    return (total / np.maximum(count, 1)).sum(axis=1) <= CHANCE  # NaN, not logged: no


def _some(decisions: LoggedDecisions, keep: NDArray[np.bool_]) -> LoggedDecisions:
    columns = ("query", "arm", "outcome", "propensity", "group")
    return replace(decisions, **{name: getattr(decisions, name)[keep] for name in columns})


def _with_propensities(
    decisions: LoggedDecisions, x: Floats, seed: int
) -> tuple[LoggedDecisions, Floats | None, str]:
    if np.isfinite(decisions.propensity).all():
        return decisions, None, "logged"
    # A regression that extrapolates to one odd query would give it the weight of hundreds.
    rows = np.clip(x[decisions.query], -USUAL, USUAL)
    folds = min(FOLDS, len(np.unique(decisions.group)))
    fold = grouped_folds(decisions.group, folds, seed)
    place = np.arange(len(decisions)), decisions.arm
    # Errors of propensities are multiplied by all that is not predicted: a policy that hardly looks
    # at the query must not be taken for one that does.
    tables = [
        LogisticPropensity(inverse_penalty=penalty).cross_fitted(rows, decisions, fold)
        for penalty in INVERSE_PENALTIES
    ]
    probabilities = max(tables, key=lambda table: float(np.log(table[place]).sum()))
    fits = calibration(probabilities, decisions).adequate
    source = "estimated" if fits else "estimated, but at odds with the log"
    trimmed = np.maximum(probabilities[place], TRIMMED)
    return replace(decisions, propensity=trimmed), probabilities, source
