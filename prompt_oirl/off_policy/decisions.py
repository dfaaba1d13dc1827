"""A partial log as arrays: one row for each decision of the policy that made the log.

    row   query  arm  outcome  propensity  group
    0     0      2    1.0      0.25        0
    1     1      0    0.0      0.70        1
    2     2      2    0.0      0.25        1       queries 1 and 2 are variants of one question

A row is a decision: for a query x the logging policy drew arm a with probability mu(a|x), and the
outcome r under that arm was seen. The outcomes of the other arms were not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.log import Floats, Indices, PromptLog


@dataclass(frozen=True)
class LoggedDecisions:
    """What the logging policy did.

    Attributes:
        arms: how many there are, ``K``.
        query: index of the query of each decision, ``[N]``.
        arm: index of the arm chosen, ``[N]``.
        outcome: in [0, 1], ``[N]``.
        propensity: with which the arm was chosen, in (0, 1], ``[N]``; NaN where unknown.
        group: a number for the group of the query, ``[N]``. Decisions of one group depend on each
            other; decisions of different groups do not.
    """

    arms: int
    query: Indices
    arm: Indices
    outcome: Floats
    propensity: Floats
    group: Indices

    def __len__(self) -> int:
        return len(self.arm)

    @classmethod
    def from_log(cls, log: PromptLog) -> LoggedDecisions:
        """One decision for each cell of a log, in its order.

        Raises:
            BadLog: the log has no cell.
        """
        if len(log.query) == 0:
            raise BadLog(f"{log.name}: the log has no outcome to estimate from")
        return cls(
            len(log.arms),
            log.query,
            log.arm,
            log.outcome,
            log.propensity,
            np.asarray(log.groups, dtype=np.int64)[log.query],
        )
