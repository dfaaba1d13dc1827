"""What a search may spend, and what it has spent."""

from __future__ import annotations

from dataclasses import dataclass, field

from search.errors import BudgetTooSmall
from search.ranges import check_number, check_whole

MOST = 2**60


@dataclass(frozen=True)
class Budget:
    """Limits of one problem's search; ``None`` means no limit.

    Tokens are rows that the search would send through a model alone, the prompt included, because
    that is what costs. What others spare it (a shared prompt) or cost it (a full pool, whose pages
    are evicted and computed again) does not count, so that its tree depends on nobody else. The
    policy limit is never exceeded; the others are checked after each step, scores included, and so
    are overrun by at most one step. Seconds run on while a step waits to be scored with those of
    other problems.

    Attributes:
        policy_tokens: of the language model.
        reward_tokens: of the reward model.
        nodes: nodes of the tree, the root not counted.
        seconds: wall-clock time since the search began.

    Raises:
        BudgetTooSmall: a limit is zero or negative.
        ValueError: a count is no whole number, or beyond 2^60.
    """

    policy_tokens: int | None = None
    reward_tokens: int | None = None
    nodes: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("policy_tokens", "reward_tokens", "nodes", "seconds"):
            limit = getattr(self, name)
            if limit is not None:
                check_number(f"the budget of {name}", limit, lambda _: True, "a number")
            if limit is not None and not limit > 0:
                raise BudgetTooSmall(
                    f"the budget of {limit} {name} allows nothing; give more than 0"
                )
            if limit is not None and name != "seconds":
                check_whole(f"the budget of {name}", limit, 1, MOST)


@dataclass
class TokenUse:
    """Tokens of one model in one search.

    Attributes:
        computed: rows sent through the model.
        unique: distinct tokens of the tree among them (prompt included).
        recomputed: rows that this search had computed before (their pages were evicted, or their
            logits let go).
        reused: prompt tokens found in pages that another tree had filled.
        wasted: computed tokens of segments that were dropped unfinished.
    """

    computed: int = 0
    unique: int = 0
    recomputed: int = 0
    reused: int = 0
    wasted: int = 0

    @property
    def charged(self) -> int:
        """What counts against a budget: every distinct token, whoever computed it."""
        return self.unique + self.reused

    @property
    def recompute_ratio(self) -> float:
        """Tokens computed over distinct tokens; 1.0 when nothing was computed twice."""
        return self.computed / self.unique if self.unique else 1.0


@dataclass
class Ledger:
    """Every cost of one search; all numbers that a user sees come from here.

    Attributes:
        policy: tokens of the language model.
        reward: tokens of the reward model.
        nodes: nodes of the tree, the root not counted.
        segments: segments drawn, repeats included.
        steps: model steps that the search took part in.
        seconds: wall-clock time from the start to the result.
    """

    policy: TokenUse = field(default_factory=TokenUse)
    reward: TokenUse = field(default_factory=TokenUse)
    nodes: int = 0
    segments: int = 0
    steps: int = 0
    seconds: float = 0.0

    def exceeds(self, budget: Budget) -> str | None:
        """The name of the first limit that is used up, or ``None``."""
        spent = {
            "policy_tokens": self.policy.charged,
            "reward_tokens": self.reward.charged,
            "nodes": self.nodes,
            "seconds": self.seconds,
        }
        for name, amount in spent.items():
            limit = getattr(budget, name)
            if limit is not None and amount >= limit:
                return name
        return None


@dataclass
class PhaseSeconds:
    """Wall-clock seconds of a run by phase."""

    policy_forward: float = 0.0
    reward_forward: float = 0.0
    total: float = 0.0

    @property
    def overhead_share(self) -> float:
        """Share of wall time outside the forward passes of both models."""
        if self.total <= 0:
            return 0.0
        return max(0.0, 1.0 - (self.policy_forward + self.reward_forward) / self.total)
