"""The policy of always using the best arm, chosen without the queries on which it is valued."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_oirl.errors import NotIdentified
from prompt_oirl.logs.log import Floats, PromptLog
from prompt_oirl.models.adjusted_means import best_arm
from prompt_oirl.models.outcomes import few_pairs
from prompt_oirl.off_policy.cross_fitting import grouped_folds, splits
from prompt_oirl.off_policy.decisions import LoggedDecisions


@dataclass(frozen=True)
class BestSingle:
    """For the queries of each fold, the arm that was best on the other folds.

    The arm that looks best on some queries looks better there than it is; chosen on other groups,
    it gets no such credit. Where most queries were run under several arms, arms are compared by
    what those queries say, since propensities may leave out what made them easy. Elsewhere by
    self-normalised inverse propensity scoring, which for propensities that do not depend on the
    query is the plain mean of each arm.

    Attributes:
        folds: of whole groups.
        seed: of the folds.
    """

    folds: int = 5
    seed: int = 0

    @property
    def name(self) -> str:
        """As on the command line."""
        return "best"

    def probabilities(self, log: PromptLog) -> Floats:
        """A one in each row, ``[Q, K]``.

        Raises:
            NotIdentified: the log has fewer groups than folds.
        """
        decisions = LoggedDecisions.from_log(log)
        fold = grouped_folds(np.asarray(log.groups, dtype=np.int64), self.folds, self.seed)
        table = np.zeros((len(log.queries), len(log.arms)))
        grid = log.grid()
        run = ~np.isnan(grid)
        pairs = not few_pairs(run)
        for rest, held_out in splits(fold):
            if pairs:
                best = best_arm(grid[rest], run[rest].astype(float))
            else:
                best = best_weighted_arm(decisions, rest[decisions.query])
            table[held_out, best] = 1.0
        return table


def best_weighted_arm(decisions: LoggedDecisions, rows: np.ndarray) -> int:
    """The arm with the largest weighted mean outcome in some rows (a mask ``[N]``).

    Raises:
        NotIdentified: there are no rows.
    """
    weight = np.where(np.isnan(decisions.propensity), 1.0, 1 / decisions.propensity)[rows]
    arm, outcome = decisions.arm[rows], decisions.outcome[rows]
    if len(arm) == 0:
        raise NotIdentified("there is no outcome to choose the best arm from")
    total = np.bincount(arm, weights=weight, minlength=decisions.arms)
    gained = np.bincount(arm, weights=weight * outcome, minlength=decisions.arms)
    with np.errstate(invalid="ignore"):
        return int(np.nanargmax(gained / np.where(total > 0, total, np.nan)))
