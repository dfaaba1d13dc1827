"""Target policies: which arm to use for each query, as probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.log import Arm, Floats, PromptLog


class Policy(Protocol):
    """A policy whose value is wanted."""

    @property
    def name(self) -> str:
        """For reports."""

    def probabilities(self, log: PromptLog) -> Floats:
        """Of every arm for every query of the log, ``[Q, K]``; rows sum to 1."""


class TextSelector(Protocol):
    """Anything that gives probabilities of its arms for texts, such as a fitted selector."""

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms that it chooses from, ``K'`` of them."""

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Of its arms for each text, ``[Q, K']``."""


@dataclass(frozen=True)
class FixedArm:
    """The same arm for every query."""

    arm: str

    @property
    def name(self) -> str:
        """The arm's name."""
        return self.arm

    def probabilities(self, log: PromptLog) -> Floats:
        """Ones in the arm's column, ``[Q, K]``.

        Raises:
            BadLog: the log has no such arm.
        """
        chosen = np.zeros((len(log.queries), len(log.arms)))
        chosen[:, log.arm_index(self.arm)] = 1.0
        return chosen


@dataclass(frozen=True)
class GivenProbabilities:
    """Probabilities made elsewhere, ``table`` [Q, K] in the order of the log's queries and arms."""

    name: str
    table: Floats

    def probabilities(self, log: PromptLog) -> Floats:
        """The table itself."""
        return self.table


@dataclass(frozen=True)
class SelectorPolicy:
    """What a selector would choose from the texts of the queries.

    The log must not be the one that the selector was fitted on: its value there is too good.
    """

    name: str
    selector: TextSelector

    def probabilities(self, log: PromptLog) -> Floats:
        """Of every arm for every query, ``[Q, K]``.

        Raises:
            BadLog: the selector may choose an arm that the log does not have.
        """
        found = self.selector.probabilities(log.texts)
        table = np.zeros((len(log.queries), len(log.arms)))
        for column, arm in zip(found.T, self.selector.arms):
            if arm.name in log.arm_names:
                table[:, log.arm_index(arm.name)] = column
            elif column.any():
                raise BadLog(
                    f"{log.name}: the selector '{self.name}' chooses the arm '{arm.name}', "
                    "which the log does not have"
                )
        return table


def policy_table(policy: Policy, log: PromptLog) -> Floats:
    """The probabilities of a policy, checked, ``[Q, K]``.

    Raises:
        BadLog: they have another shape, are negative or not finite, or do not sum to 1.
    """
    table = np.asarray(policy.probabilities(log), dtype=np.float64)
    shape = len(log.queries), len(log.arms)
    if table.shape != shape:
        raise BadLog(
            f"{log.name}: the policy '{policy.name}' gives probabilities {table.shape}, "
            f"not {shape} for {shape[0]} queries and {shape[1]} arms"
        )
    wrong = ~(table >= 0).all(axis=1) | ~(np.abs(table.sum(axis=1) - 1) <= 1e-6)
    if wrong.any():
        query = log.queries[int(np.argmax(wrong))]
        raise BadLog(
            f"{log.name}: the probabilities of the policy '{policy.name}' for the query "
            f"'{query.id}' are not a distribution: {table[int(np.argmax(wrong))].tolist()}"
        )
    return table
