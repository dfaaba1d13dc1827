"""What a search gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from search.budget import Ledger
from search.errors import TreewardError
from search.problem import Problem


@dataclass(frozen=True)
class StepOfPath:
    """One step of the answer's path.

    Attributes:
        text: its text.
        logprob: log-probability under the policy.
        score: the reward model's score of the step, if any.
        value: the aggregated value of the path up to here, if any.
        visits: how often the search came through.
    """

    text: str
    logprob: float
    score: float | None
    value: float | None
    visits: int


@dataclass
class SearchResult:
    """The outcome of one problem.

    Attributes:
        problem: what was asked.
        status: ``finished`` (the algorithm was done), ``budget`` (a limit ended it; the best so
            far is given), ``interrupted`` (it was told to stop; the best so far, or nothing where
            no step had ended), or ``failed`` (``error`` says why).
        limit: the limit that ended it, when status is ``budget``.
        answer: text of the answer; ``None`` when no path was finished.
        text: the whole continuation of the best path, finished or not.
        steps: its steps.
        finished: whether that path reached an end of sequence.
        right: the verifier's verdict; ``None`` without one.
        score: value of the best path, if a reward model was used.
        votes: (answer, weight), heaviest first, where the algorithm votes.
        ledger: every cost.
        tree: the whole tree as arrays, one row a node (see ``search.trace``).
        run: the settings of the search as plain data: model, algorithm, options, seed, budget, ….
        error: one sentence when status is ``failed``.
        error_type: what :meth:`search.engine.Search.solve` raises with it.
    """

    problem: Problem
    status: Literal["finished", "budget", "interrupted", "failed"]
    ledger: Ledger
    limit: str | None = None
    answer: str | None = None
    text: str = ""
    steps: list[StepOfPath] = field(default_factory=list)
    finished: bool = False
    right: bool | None = None
    score: float | None = None
    votes: list[tuple[str, float]] = field(default_factory=list)
    tree: dict[str, Any] = field(default_factory=dict, repr=False)
    run: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    error_type: type[TreewardError] = TreewardError
