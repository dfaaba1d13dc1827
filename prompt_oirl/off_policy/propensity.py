"""Propensities where the log has none: how the logging policy seems to have chosen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_oirl.logs.log import Floats, Indices
from prompt_oirl.off_policy.cross_fitting import splits
from prompt_oirl.off_policy.decisions import LoggedDecisions
from prompt_oirl.off_policy.interval import group_sums

FALSE_ALARMS = 0.001  # probability that a calibrated model is called inadequate


@dataclass(frozen=True)
class LogisticPropensity:
    """mu(a|x) by multinomial logistic regression on features of the query, fitted out of fold.

    Estimated propensities are right only if the features hold all that the logging policy looked at
    and that also bears on the outcome; no log can prove that.

    Source: Rosenbaum & Rubin, Biometrika 1983 (propensity scores); weights cut as in Ionides,
    "Truncated importance sampling", Journal of Computational and Graphical Statistics 2008.

    Attributes:
        least: probabilities below are raised to this, then all are divided by their sum.
        inverse_penalty: scikit-learn's C, on features of unit variance.
    """

    least: float = 0.005
    inverse_penalty: float = 0.1

    def cross_fitted(self, features: Floats, decisions: LoggedDecisions, fold: Indices) -> Floats:
        """The probability of every arm at every decision, ``[N, K]``; 0 for arms never chosen.

        Args:
            features: of the query of each decision, ``[N, D]``.
            decisions: whose arms are explained.
            fold: of each decision, ``[N]``; a decision is predicted by the other folds.
        """
        probabilities = np.zeros((len(decisions), decisions.arms))
        for rest, held_out in splits(fold):
            probabilities[held_out] = self._fit_predict(
                features[rest], decisions.arm[rest], features[held_out], decisions.arms
            )
        chosen = np.bincount(decisions.arm, minlength=decisions.arms) > 0
        probabilities[:, chosen] = np.maximum(probabilities[:, chosen], self.least)
        return probabilities / probabilities.sum(axis=1, keepdims=True)

    def _fit_predict(self, features: Floats, arm: Indices, new: Floats, arms: int) -> Floats:
        from sklearn.linear_model import LogisticRegression

        found = np.zeros((len(new), arms))
        seen = np.unique(arm)
        if len(seen) == 1:
            found[:, seen[0]] = 1.0
            return found
        centre, spread = features.mean(axis=0), features.std(axis=0)
        scale = np.where(spread > 0, spread, 1.0)
        model = LogisticRegression(C=self.inverse_penalty, max_iter=1000)
        model.fit((features - centre) / scale, arm)
        found[:, seen] = model.predict_proba((new - centre) / scale)
        return found


@dataclass(frozen=True)
class Calibration:
    """Whether estimated propensities agree with how often arms were chosen.

    Attributes:
        error: mean of |observed frequency - mean probability| over arms and bins of probability,
            weighted by the rows of each bin, in [0, 1].
        worst: the largest such difference in standard errors.
        worst_arm: index of the arm where it is.
        adequate: whether all differences could be chance, by Student's test of the sums of groups.
    """

    error: float
    worst: float
    worst_arm: int
    adequate: bool


def calibration(probabilities: Floats, decisions: LoggedDecisions, bins: int = 10) -> Calibration:
    """Compares probabilities ``[N, K]`` with choices, arm by arm, in bins of equally many rows.

    The standard error of a difference is cluster-robust: rows of one group are not independent.

    Source: reliability diagrams, Murphy & Winkler, JRSS C 1977; expected calibration error as in
    Naeini, Cooper & Hauskrecht, AAAI 2015.
    """
    from scipy.stats import t

    total, worst, worst_arm, compared, least_p = 0.0, 0.0, 0, 0, 1.0
    rows = len(decisions)
    for arm in range(decisions.arms):
        wanted = probabilities[:, arm]
        difference = (decisions.arm == arm) - wanted
        edges = np.unique(np.quantile(wanted, np.linspace(0, 1, bins + 1)[1:-1]))
        place = np.searchsorted(edges, wanted, side="right")
        for number in np.unique(place):
            inside = place == number
            total += abs(float(difference[inside].sum()))
            # Where almost no choice is expected, its count is far from normal.
            expected = float(wanted[inside].sum())
            if min(expected, inside.sum() - expected) < 10:
                continue
            sums = group_sums(difference[inside, None], decisions.group[inside])[:, 0]
            if len(sums) < 2:
                continue  # one group tells of itself only
            compared += 1
            error = np.sqrt(len(sums) * sums.var(ddof=1))
            score = abs(float(sums.sum())) / max(float(error), 1e-12)
            least_p = min(least_p, float(2 * t.sf(score, len(sums) - 1)))
            if score > worst:
                worst, worst_arm = score, arm
    adequate = least_p * compared >= FALSE_ALARMS or not compared  # Bonferroni's bound
    return Calibration(total / (rows * decisions.arms), worst, worst_arm, adequate)
