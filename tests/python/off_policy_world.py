"""A made log whose every outcome is known, those of prompts that were not chosen too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_oirl.logs.log import Arm, Floats, PromptLog, Query

ARMS = ("direct", "steps", "plan")


@dataclass(frozen=True)
class World:
    """What could have happened: outcomes [Q, K] under every arm, beside the log of what did."""

    log: PromptLog
    outcomes: Floats
    logging: Floats
    features: Floats


def make_world(queries: int = 900, seed: int = 0, propensities: bool = True) -> World:
    """'many' queries do better with 'steps', 'much' queries with 'direct'; pairs are groups."""
    draw = np.random.default_rng(seed)
    kind = np.repeat(draw.integers(0, 2, (queries + 1) // 2), 2)[:queries]
    chance = np.stack([0.7 - 0.5 * kind, 0.3 + 0.5 * kind, np.full(queries, 0.4)], axis=1)
    outcomes = (draw.random((queries, 3)) < chance) * 1.0
    # The logging policy prefers what works, so that plain means of arms are too good.
    logging = np.stack([0.6 - 0.4 * kind, 0.2 + 0.4 * kind, np.full(queries, 0.2)], axis=1)
    arm = (np.cumsum(logging, axis=1) < draw.random(queries)[:, None]).sum(axis=1)
    rows = np.arange(queries)
    words = ("much sugar", "many apples")
    asked = [Query(f"q{i}", f"how {words[kind[i]]} in box {i // 2}?", f"g{i // 2}") for i in rows]
    log = PromptLog(
        "made",
        tuple(asked),
        tuple(Arm(name) for name in ARMS),
        rows,
        arm,
        outcomes[rows, arm],
        propensity=logging[rows, arm] if propensities else np.full(queries, np.nan),
    )
    return World(log, outcomes, logging, kind[:, None] * 1.0)
