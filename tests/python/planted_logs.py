"""Small logs and outcomes in which it is known which prompt is better where."""

from __future__ import annotations

import numpy as np

from prompt_oirl.logs.log import Arm, PromptLog, Query
from prompt_oirl.models.outcomes import Floats, Outcomes

NOUNS = ("apples", "books", "chairs", "drums", "eggs", "flags", "gates", "hats", "irons", "jars")
PLACES = ("market", "school", "garden", "harbour", "library", "kitchen", "station", "museum")


def planted_outcomes(
    rows: int = 400, arms: int = 3, seed: int = 0, missing: float = 0.0
) -> Outcomes:
    """The sign of column 0 decides between arms 0 and 1; further arms succeed half of the time."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 5))
    chance = np.full((rows, arms), 0.5)
    chance[:, 0] = np.where(x[:, 0] > 0, 0.9, 0.15)
    chance[:, 1] = np.where(x[:, 0] > 0, 0.15, 0.9)
    value = (rng.random((rows, arms)) < chance).astype(float)
    value[rng.random((rows, arms)) < missing] = np.nan
    weight = np.where(np.isnan(value), 0.0, 1.0)
    return Outcomes(x, value, weight, np.arange(rows))


def query_text(numeric: bool, number: int, rng: np.random.Generator) -> str:
    """A text of one of two kinds: sums with numbers, or questions in words."""
    noun, place = rng.choice(NOUNS), rng.choice(PLACES)
    if numeric:
        return f"At the {place} there are {number} {noun}. How many {noun} are left of {number}?"
    return (
        f"Which colour have the {noun} of the {place} with the name {chr(97 + number % 26)}{noun}?"
    )


def planted_log(
    queries: int = 200,
    seed: int = 0,
    better: float = 0.95,
    worse: float = 0.2,
    runs: int = 1,
    splits: bool = False,
) -> PromptLog:
    """Prompt 'steps' is better on texts with numbers, 'short' on others, 'poor' on none.

    With ``better = worse`` no prompt is better anywhere. 'steps' costs 3, 'short' 1, 'poor' 0.5.
    """
    rng = np.random.default_rng(seed)
    arms = (Arm("steps", "Think in steps."), Arm("short", "Be brief."), Arm("poor", "Sing."))
    made, cells = [], []
    for i in range(queries):
        numeric = bool(rng.integers(2))
        split = ("train" if i % 4 else "test") if splits else ""
        made.append(
            Query(f"q{i}", f"{query_text(numeric, 10 + i, rng)} ({i})", f"g{i // 2}", split)
        )
        chances = (better, worse, 0.1) if numeric else (worse, better, 0.1)
        for arm, chance in enumerate(chances):
            for run in range(runs):
                cells.append((i, arm, float(rng.random() < chance), run))
    query, arm, outcome, run = (np.array(column) for column in zip(*cells))
    cost = np.array([3.0, 1.0, 0.5])[arm]
    return PromptLog("planted", tuple(made), arms, query, arm, outcome, run, cost)


def text_log(outcomes: Floats, texts: list[str], groups: list[str] | None = None) -> PromptLog:
    """A log of a grid ``[Q, K]`` and its texts; every query its own group by default."""
    groups = groups or [f"g{i}" for i in range(len(texts))]
    queries = [Query(f"q{i}", text, group) for i, (text, group) in enumerate(zip(texts, groups))]
    arms = [Arm(f"arm{k}", f"prompt {k}") for k in range(outcomes.shape[1])]
    return PromptLog.from_grid("texts", queries, arms, outcomes)
