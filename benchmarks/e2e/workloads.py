"""The workloads, and the shape of a tree that every alternative fills with its own tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# vLLM finds whole blocks of 32 tokens again, and of a prompt it computes one token at least. With
# 256 and steps of 32 or 64, that is a block again for every child; with 257 it is that token.
PROMPTS = (256, 257)
QUICK_PROMPTS = (32, 33)


@dataclass(frozen=True)
class Workload:
    """A search as the engine is asked for it.

    Attributes:
        name: as in the report.
        algorithm: of the engine.
        options: of the algorithm.
        step_tokens: every step has exactly so many tokens.
        depth: steps of a path at most.
        at_once: expansions that may run at the same time.
        scored: a reward model scores every step.
    """

    name: str
    algorithm: str
    options: Mapping[str, Any]
    step_tokens: int
    depth: int
    at_once: int = 1 << 20
    scored: bool = False


LEVELS = {"width": 16, "branching": 4, "root_branching": 64, "rounds": 1}
WORKLOADS = (
    Workload("flat", "best_of_n", {"n": 64, "max_in_flight": 64}, 64, 1),
    Workload("tree", "beam", {**LEVELS, "max_in_flight": 64, "max_depth": 8}, 32, 8),
    Workload(
        "mcts",
        "mcts",
        {"simulations": 64, "max_in_flight": 16, "max_depth": 8},
        32,
        8,
        at_once=16,
    ),
    Workload(
        "tree_reward", "beam", {**LEVELS, "max_in_flight": 64, "max_depth": 8}, 32, 8, scored=True
    ),
)


def quick(workload: Workload) -> Workload:
    """A small relative of a workload, to see that everything runs."""
    small: dict[str, dict[str, Any]] = {
        "best_of_n": {"n": 8, "max_in_flight": 8},
        "beam": {"width": 2, "branching": 2, "root_branching": 4, "rounds": 1, "max_depth": 2},
        "mcts": {"simulations": 6, "max_in_flight": 3, "max_depth": 2},
    }
    return Workload(
        workload.name,
        workload.algorithm,
        small[workload.algorithm],
        8,
        min(workload.depth, 2),
        min(workload.at_once, 3),
        workload.scored,
    )


@dataclass(frozen=True)
class Expansion:
    """``children`` new steps under node ``parent``."""

    parent: int
    children: int


@dataclass
class Shape:
    """A tree without its tokens: who was expanded, and when at the earliest.

    Nodes are numbered in the order of the expansions, the prompt being 0. A wave holds expansions
    that need nothing of each other, so an engine that works in batches can run it at once.
    """

    step_tokens: int
    waves: list[list[Expansion]] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Sampled tokens."""
        steps = sum(expansion.children for wave in self.waves for expansion in wave)
        return steps * self.step_tokens


def shape_of(parents: Sequence[int], step_tokens: int, at_once: int) -> Shape:
    """The shape of a finished tree.

    Args:
        parents: row of the parent of every node, in the order of creation; -1 for the prompt.
        step_tokens: tokens of a step.
        at_once: expansions of a wave at most.
    """
    groups: list[Expansion] = []
    for parent in parents[1:]:
        if groups and groups[-1].parent == parent:
            groups[-1] = Expansion(parent, groups[-1].children + 1)
        else:
            groups.append(Expansion(parent, 1))
    shape = Shape(step_tokens)
    known = 1
    next_known = 1
    wave: list[Expansion] = []
    for group in groups:
        if group.parent >= known or len(wave) == at_once:
            shape.waves.append(wave)
            wave = []
            known = next_known
        wave.append(group)
        next_known += group.children
    if wave:
        shape.waves.append(wave)
    return shape
