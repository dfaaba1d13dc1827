"""Where a search stands in its tree: nodes as the models see them, and what is on its way there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from search.interfaces import Segment


@dataclass
class Place:
    """A node as the models see it.

    A node may lie inside a step: after one token, or where a step was cut. Then ``open_tokens``
    are the tokens since the last step that ended, and ``steps``, ``scores`` and ``reward_state``
    are those of that step, so that a step is read and scored as a whole and never in pieces.
    """

    state: int
    text: str = ""
    steps: tuple[str, ...] = ()
    open_tokens: tuple[int, ...] = ()
    before_open: tuple[int, ...] = ()  # the token before them; none where the answer begins
    scores: tuple[float | None, ...] = ()
    reward_state: Any = None
    score: float | None = None
    value: float | None = None


@dataclass
class Reached:
    """What is known of the state where a segment ends, and of any draw that ends there again."""

    segment: Segment
    place: Place
    waits: bool = False  # for its score
    terminal: bool = False
    verdict: int = -1
    answer: int = -1


@dataclass
class Work:
    """A task of the machine under way."""

    task: Any
    drawn: list[Segment] = field(default_factory=list)
    returned: int = 0
    exhausted: bool = False
