"""A log of prompts tried on queries: what everything else in this package reads.

    queries   q0      q1      q2      …      text, group, split
    arms      a0      a1      …              name, text of the prompt
    cells     (query, arm, run) → outcome, and where known: cost, tokens, latency, propensity

    cell      query  arm  run  outcome  cost  tokens  latency  propensity
      0         0     0    0     1.0    0.01    120     1.4        nan
      1         0     1    0     0.0     …
      2         1     0    0     …

Cells are in any order and may be missing. In a full grid every query was tried under every arm; in
a partial log (one arm a query, chosen by some policy) the propensity is the probability with which
that arm was chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.errors import BadLog

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
MEASURES = ("cost", "tokens", "latency", "propensity")


@dataclass(frozen=True)
class Query:
    """One query as it was logged.

    Attributes:
        id: unique in its log.
        text: what was asked, without any prompt around it.
        group: queries that must stay on one side of a split (reruns, paraphrases of one question).
        split: as in the log, e.g. ``train`` or ``test``; empty where the log has none.
    """

    id: str
    text: str
    group: str
    split: str = ""


@dataclass(frozen=True)
class Arm:
    """One prompt: its name, and its text where the log has it (else empty)."""

    name: str
    text: str = ""


def numbered(names: Sequence[str]) -> Indices:
    """A number for each name, in the order of the names sorted; equal names, equal numbers."""
    number = {name: place for place, name in enumerate(sorted(set(names)))}
    return np.array([number[name] for name in names], dtype=np.int64)


def _unknown() -> Floats:
    return np.empty(0)


@dataclass(frozen=True)
class PromptLog:
    """Queries, arms and the cells that were run.

    Attributes:
        name: of the log, for reports.
        queries: ``Q`` of them.
        arms: ``K`` of them.
        query: index into ``queries`` of each cell, ``[N]``.
        arm: index into ``arms`` of each cell, ``[N]``.
        outcome: in [0, 1], ``[N]``.
        run: number of the rerun of its (query, arm), ``[N]``.
        cost, tokens, latency, propensity: ``[N]``, NaN where unknown. Money, tokens of the answer,
            seconds, and the probability in (0, 1] with which the logging policy chose the arm.

    Raises:
        BadLog: lengths differ, an index or an outcome is out of range, or ids repeat.
    """

    name: str
    queries: tuple[Query, ...]
    arms: tuple[Arm, ...]
    query: Indices
    arm: Indices
    outcome: Floats
    run: Indices = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    cost: Floats = field(default_factory=_unknown)
    tokens: Floats = field(default_factory=_unknown)
    latency: Floats = field(default_factory=_unknown)
    propensity: Floats = field(default_factory=_unknown)

    def __post_init__(self) -> None:
        n = len(self.query)
        if len(self.run) == 0:
            object.__setattr__(self, "run", np.zeros(n, dtype=np.int64))
        for name in MEASURES:
            if len(getattr(self, name)) == 0:
                object.__setattr__(self, name, np.full(n, np.nan))
        for name in ("arm", "outcome", "run", *MEASURES):
            if len(getattr(self, name)) != n:
                raise BadLog(f"{self.name}: {n} cells but {len(getattr(self, name))} of '{name}'")
        self._check_names("query id", [query.id for query in self.queries])
        self._check_names("arm", [arm.name for arm in self.arms])
        for name, size in (("query", len(self.queries)), ("arm", len(self.arms))):
            index = getattr(self, name)
            if n and (index.min() < 0 or index.max() >= size):
                raise BadLog(f"{self.name}: a cell names {name} {index.max()} of {size}")
        wrong = ~((self.outcome >= 0) & (self.outcome <= 1))
        if wrong.any():
            first = int(np.argmax(wrong))
            raise BadLog(
                f"{self.name}: outcome {self.outcome[first]} of query "
                f"'{self.queries[self.query[first]].id}' under '{self.arms[self.arm[first]].name}' "
                "is not in 0..1"
            )
        wrong = (self.propensity <= 0) | (self.propensity > 1)
        if wrong.any():
            first = int(np.argmax(wrong))
            raise BadLog(f"{self.name}: propensity {self.propensity[first]} is not in (0, 1]")

    def _check_names(self, kind: str, names: Sequence[str]) -> None:
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise BadLog(f"{self.name}: the {kind} '{name}' appears twice")
            seen.add(name)

    @property
    def texts(self) -> list[str]:
        """The text of every query, ``[Q]``."""
        return [query.text for query in self.queries]

    @property
    def arm_names(self) -> list[str]:
        """The name of every arm, ``[K]``."""
        return [arm.name for arm in self.arms]

    @property
    def groups(self) -> Indices:
        """A number for the group of every query, ``[Q]``; equal numbers, equal groups."""
        return numbered([query.group for query in self.queries])

    def arm_index(self, name: str) -> int:
        """The index of an arm.

        Raises:
            BadLog: there is no such arm.
        """
        names = self.arm_names
        if name not in names:
            raise BadLog(f"{self.name}: no arm '{name}'; there are {', '.join(names)}")
        return names.index(name)

    def grid(self, measure: str = "outcome") -> Floats:
        """Means over reruns, ``[Q, K]``; NaN where a query was not run under an arm."""
        values = getattr(self, measure)
        known = ~np.isnan(values)
        shape = len(self.queries), len(self.arms)
        flat = self.query[known] * shape[1] + self.arm[known]
        size = shape[0] * shape[1]
        counts = np.bincount(flat, minlength=size)
        sums = np.bincount(flat, weights=values[known], minlength=size)
        with np.errstate(invalid="ignore"):
            return (sums / np.where(counts > 0, counts, np.nan)).reshape(shape)

    def only_queries(self, keep: NDArray[np.bool_] | Indices) -> PromptLog:
        """The log of some queries: a mask ``[Q]`` or indices in the order wanted."""
        rows = np.flatnonzero(keep) if keep.dtype == bool else keep
        place = np.full(len(self.queries), -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        cells = place[self.query] >= 0
        log = self._cells(cells)
        queries = tuple(self.queries[row] for row in rows)
        return replace(log, queries=queries, query=place[log.query])

    def only_arms(self, names: Sequence[str]) -> PromptLog:
        """The log of some arms, in the order given.

        Raises:
            BadLog: there is no such arm.
        """
        wanted = [self.arm_index(name) for name in names]
        place = np.full(len(self.arms), -1, dtype=np.int64)
        place[wanted] = np.arange(len(wanted))
        log = self._cells(place[self.arm] >= 0)
        return replace(log, arms=tuple(self.arms[i] for i in wanted), arm=place[log.arm])

    def _cells(self, keep: NDArray[np.bool_]) -> PromptLog:
        columns = {name: getattr(self, name)[keep] for name in ("outcome", "run", *MEASURES)}
        # Indices are put right by the caller; here they still refer to all queries and arms.
        return replace(self, query=self.query[keep], arm=self.arm[keep], **columns)

    @classmethod
    def from_grid(
        cls,
        name: str,
        queries: Sequence[Query],
        arms: Sequence[Arm],
        outcomes: Floats,
        **measures: Floats,
    ) -> PromptLog:
        """A log from grids ``[Q, K]``, NaN where a cell was not run."""
        query, arm = np.nonzero(~np.isnan(outcomes))
        columns = {key: grid[query, arm] for key, grid in measures.items()}
        return cls(
            name,
            tuple(queries),
            tuple(arms),
            query.astype(np.int64),
            arm.astype(np.int64),
            outcomes[query, arm].astype(np.float64),
            **columns,  # type: ignore[arg-type]
        )
