"""What the engine asks of a language model, a reward model and a verifier.

The engine depends on these shapes only. ``search.backends`` implements the first,
``reward_bridge`` the other two.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from search.budget import TokenUse
from search.problem import Problem
from search.ranges import FLOAT32_MAX, INT32_MAX, check_number, check_whole

DrawMode = Literal["sample", "distinct", "greedy", "top"]
EndOfSegment = Literal["stop", "eos", "length"]


@dataclass(frozen=True)
class Sampling:
    """How next tokens are drawn.

    Attributes:
        temperature: ≥ 0; 0 keeps only the most probable token.
        top_k: tokens kept, by probability; 0 keeps all of them.
        top_p: in (0, 1]: the smallest set of tokens with at least this mass is kept.
        min_p: in [0, 1): tokens below this share of the largest probability are dropped.

    Raises:
        ValueError: a value out of range.
    """

    temperature: float = 1.0
    top_k: int = 64
    top_p: float = 1.0
    min_p: float = 0.0

    def __post_init__(self) -> None:
        check_number(
            "temperature",
            self.temperature,
            lambda value: 0 <= value <= FLOAT32_MAX,
            f"a number from 0 to {FLOAT32_MAX:g}",
        )
        check_whole("top_k", self.top_k, 0, INT32_MAX)
        check_number("top_p", self.top_p, lambda value: 0 < value <= 1, "in (0, 1]")
        check_number("min_p", self.min_p, lambda value: 0 <= value < 1, "in [0, 1)")


@dataclass(frozen=True)
class StepRules:
    """When a step ends. Whatever comes first ends it; the delimiter belongs to the step it closes.

    Attributes:
        delimiters: texts or token-id tuples that close a step: at the token that completes one. A
            text is found however its tokens spell it, token ids are compared as they are.
        regex: pattern searched in the decoded step; a match closes the step at that token.
        max_step_tokens: a longer step is cut (and is not finished).
        max_path_tokens: prompt and answer together; ``None`` for what the model allows.

    Raises:
        ValueError: an empty delimiter, a malformed regex, or a number out of range.
    """

    delimiters: tuple[str | tuple[int, ...], ...] = ("\n",)
    regex: str | None = None
    max_step_tokens: int = 128
    max_path_tokens: int | None = None

    def __post_init__(self) -> None:
        for delimiter in self.delimiters:
            if not delimiter:
                raise ValueError(f"the delimiter {delimiter!r} of steps is empty")
            if not isinstance(delimiter, str | tuple | list):
                raise ValueError(f"a delimiter is a text or token ids, not {delimiter!r}")
            if not isinstance(delimiter, str):
                for token in delimiter:
                    check_whole(f"a token of the delimiter {delimiter!r}", token, 0, INT32_MAX)
        if self.regex is not None:
            try:
                re.compile(self.regex)
            except (re.error, TypeError, OverflowError, RecursionError) as error:
                raise ValueError(f"the step regex {self.regex!r} is malformed: {error}") from error
        check_whole("max_step_tokens", self.max_step_tokens, 1, INT32_MAX)
        if self.max_path_tokens is not None:
            check_whole("max_path_tokens", self.max_path_tokens, 2, INT32_MAX)


@dataclass(frozen=True)
class Segment:
    """A drawn segment of tokens.

    Attributes:
        request: the number given to :meth:`LanguageModel.expand`.
        draw: number of the draw under its state.
        state: where the segment ends; -1 when nothing was left to draw.
        end: ``stop`` (a step's end), ``eos``, or ``length`` (cut: not finished).
        tokens: its token ids, end included.
        logprob: natural log-probability under the model.
    """

    tree: int
    request: int
    draw: int
    state: int
    end: EndOfSegment
    tokens: list[int]
    logprob: float


@dataclass
class StepReport:
    """What one step of a language model did.

    Attributes:
        segments: segments that ended.
        exhausted: trees whose row limit stopped them.
        failed: trees whose numbers went wrong, with the reason.
        seconds: time inside the model's forward pass.
    """

    segments: list[Segment] = field(default_factory=list)
    exhausted: set[int] = field(default_factory=set)
    failed: dict[int, Exception] = field(default_factory=dict)
    seconds: float = 0.0


class LanguageModel(Protocol):
    """A policy over token states, held per problem in a tree.

    A state is a number within its tree; state 0 is the prompt. ``expand`` only queues work;
    ``step`` runs one token of all queued draws of all trees as one batch.
    """

    name: str

    def encode(self, problem: Problem) -> list[int]: ...

    def decode(self, tokens: Sequence[int]) -> str: ...

    def check(self, rules: StepRules, sampling: Sampling) -> None:
        """Raises for rules or sampling with which the model can open no tree."""
        ...

    def open(self, prompt: Sequence[int], seed: int, rules: StepRules, sampling: Sampling) -> int:
        """Starts a tree; returns its number."""
        ...

    def close(self, tree: int) -> None:
        """Frees the tree and its pages."""
        ...

    def expand(
        self,
        tree: int,
        state: int,
        request: int,
        mode: DrawMode,
        count: int,
        first_draw: int,
        max_tokens: int = 0,
    ) -> None:
        """Queues ``count`` draws after a state."""
        ...

    def cancel(self, tree: int) -> None:
        """Drops the tree's queued draws."""
        ...

    def length(self, tree: int, state: int) -> int:
        """Tokens from the start of the prompt to a state."""
        ...

    def path_limit(self, rules: StepRules) -> int:
        """Tokens that prompt and answer may have together."""
        ...

    def step(self, trees: Sequence[int], row_limits: Sequence[int | None]) -> StepReport:
        """Runs the next token of every queued draw of these trees."""
        ...

    def usage(self, tree: int) -> TokenUse: ...

    def wasted(self, tree: int) -> int:
        """Computed tokens that no finished segment goes through."""
        ...


@dataclass(frozen=True)
class RewardSpec:
    """What a reward means.

    Attributes:
        name: shown in results and traces.
        kind: ``process`` (a score a step) or ``prefix`` (a score of any prefix of tokens).
        scope: ``step`` (this step is right) or ``cumulative`` (the whole prefix is good).
        range: lowest and highest score.
        comparable: across ``problems``, or only ``within`` one.
        reads: the policy's ``tokens``, or a step's ``text``. What reads text is not asked about
            steps without any, such as an end of sequence alone: they keep the score before them.
        on_overflow: what happens beyond the context: always ``refuse``; nothing is cut in silence,
            and the path ends where it has no score.
        elsewhere: it is computed by another device or machine: ``score`` runs in a thread of its
            own beside the policy, one call at a time, and the other methods may be called
            meanwhile. The end of a run waits for the call under way.
    """

    name: str
    kind: Literal["process", "prefix"] = "process"
    scope: Literal["step", "cumulative"] = "cumulative"
    range: tuple[float, float] = (0.0, 1.0)
    comparable: Literal["problems", "within"] = "problems"
    reads: Literal["tokens", "text"] = "tokens"
    on_overflow: Literal["refuse"] = "refuse"
    elsewhere: bool = False


@dataclass(frozen=True)
class RewardRequest:
    """A step to score: the tree, the reward model's state before it, and the step itself."""

    tree: int
    parent: Any
    tokens: Sequence[int]
    text: str


@dataclass(frozen=True)
class RewardResult:
    """A step's score, or why there is none.

    Attributes:
        state: the reward model's state after the step; parent of the next request.
        score: within the spec's range; ``None`` when status is not ``ok``.
        status: ``ok``; ``too_long`` (beyond the context: the path ends there); ``not_finite``, or
            ``refused`` (no room), which end the search.
        message: one sentence when status is not ``ok``.
    """

    state: Any
    score: float | None
    status: Literal["ok", "too_long", "not_finite", "refused"] = "ok"
    message: str = ""


class RewardModel(Protocol):
    """Scores steps of many problems in one batch, keeping its own state per node."""

    spec: RewardSpec

    def open(self, problem: Problem, prompt_tokens: Sequence[int]) -> tuple[int, Any]:
        """Starts a tree for a problem; returns its number and the state before the first step."""
        ...

    def close(self, tree: int) -> None: ...

    def score(self, requests: Sequence[RewardRequest]) -> list[RewardResult]:
        """One result a request, in order."""
        ...

    def usage(self, tree: int) -> TokenUse: ...

    def take_seconds(self) -> float:
        """Seconds inside the model's forward pass since the last call; not asked ``elsewhere``."""
        ...


@dataclass(frozen=True)
class Verdict:
    """What a verifier says of a finished answer.

    Attributes:
        right: ``True``, ``False``, or ``None`` when it cannot tell.
        key: canonical form of the answer, for voting; ``None`` when there is no answer.
        answer: the answer as text.
    """

    right: bool | None
    key: str | None
    answer: str | None


class Verifier(Protocol):
    """Checks answers by what the statement itself says; never sees a stored answer."""

    name: str

    def check(self, problem: Problem, steps: Sequence[str]) -> Verdict:
        """Judges a finished path of steps."""
        ...

    def allows(self, problem: Problem, steps: Sequence[str]) -> bool:
        """Whether an unfinished path breaks no rule of the statement so far."""
        ...

    def canonical_key(
        self, problem: Problem, steps: Sequence[str]
    ) -> tuple[str | None, str | None]:
        """(key for voting, answer as text) without judging it; both ``None`` when missing."""
        ...


class Aggregator(Protocol):
    """Turns the step scores of a path into one value; pure."""

    def __call__(self, scores: Sequence[float | None], /) -> float | None: ...
