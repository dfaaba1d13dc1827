"""How many cells a rule needs: cells of a full grid are revealed as if they were run.

Groups are dealt into a pool and a held-out third. From a few random cells of the pool on, a rule
chooses batches; after each the model is fitted on what is revealed, and the value of its choices
(the arm of the highest probability) is taken on the held-out groups, all of whose outcomes are
known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_oirl.active.design import choose_cells
from prompt_oirl.active.factors import FACTORS, query_factors
from prompt_oirl.active.posterior import Floats, Indices, fit_posterior
from prompt_oirl.choice.cross_fit import group_folds
from prompt_oirl.errors import BadLog
from prompt_oirl.logs.log import PromptLog

TEXT_SIZE = 32


@dataclass(frozen=True)
class Simulation:
    """Curves of one rule.

    Attributes:
        cells: revealed cells, ``[steps]``.
        value: value on held-out groups at each, ``[seeds, steps]``.
        full: the same with all cells of the pool, ``[seeds]``.
        best_single: of the arm with the best mean in the pool, ``[seeds]``.
        random_arm: of an arm at random, ``[seeds]``.
    """

    cells: Indices
    value: Floats
    full: Floats
    best_single: Floats
    random_arm: Floats

    def cells_to(self, target: float) -> tuple[int | None, int | None]:
        """Cells after which the mean value over seeds first reaches a target, and after which it
        stays there; None where it does not within the budget."""
        mean = self.value.mean(axis=0)
        reached = np.flatnonzero(mean >= target)
        below = np.flatnonzero(mean < target)
        stays = below[-1] + 1 if len(below) else 0
        return (
            int(self.cells[reached[0]]) if len(reached) else None,
            int(self.cells[stays]) if stays < len(self.cells) else None,
        )


def simulate(
    log: PromptLog,
    rule: str,
    budget: int = 1500,
    start: int = 32,
    batch: int = 16,
    growth: float = 1 / 8,
    seeds: int = 24,
    factors: int = FACTORS,
    first_seed: int = 0,
) -> Simulation:
    """Reveals cells by a rule.

    Args:
        log: a full grid.
        rule: of :data:`prompt_oirl.active.design.RULES`, or ``random``.
        budget: cells to reveal.
        start: random cells to begin with, the same for every rule.
        batch: cells a step at least; after many cells ``growth`` of their number.
        growth: see ``batch``.
        seeds: repetitions, each with another pool.
        factors: of queries.
        first_seed: of the repetitions.

    Raises:
        BadLog: a cell is missing.
    """
    from prompt_oirl.features import QueryFeatures

    grid = log.grid()
    if np.isnan(grid).any():
        raise BadLog(f"{log.name}: cells can be revealed only where all of them were run")
    x = QueryFeatures(TEXT_SIZE).fit(log.texts).transform(log.texts)
    z, groups = query_factors(x, factors), log.groups
    steps = [start]
    while steps[-1] < budget:
        steps.append(steps[-1] + max(batch, int(steps[-1] * growth)))
    value, ends = np.zeros((seeds, len(steps))), np.zeros((seeds, 3))
    for i in range(seeds):
        seed = first_seed + i
        held = group_folds(groups, 3, seed) == 0
        if steps[-1] > grid[~held].size:
            raise BadLog(f"{log.name}: {grid[~held].size} cells are fewer than the {budget} wanted")
        value[i] = _one_curve(z[~held], grid[~held], z[held], grid[held], rule, steps, seed)
        best = grid[~held].mean(axis=0).argmax()
        full = _value_of_model(
            z[~held], grid[~held], np.ones_like(grid[~held], dtype=bool), z[held], grid[held]
        )
        ends[i] = full, grid[held][:, best].mean(), grid[held].mean()
    return Simulation(np.array(steps), value, ends[:, 0], ends[:, 1], ends[:, 2])


def _value_of_model(
    z: Floats, grid: Floats, known: np.ndarray, held_z: Floats, held: Floats
) -> float:
    query, arm = np.nonzero(known)
    posterior = fit_posterior(z, query, arm, grid[query, arm], grid.shape[1])
    chosen = posterior.logits(held_z).argmax(axis=1)
    return float(held[np.arange(len(held)), chosen].mean())


def _one_curve(
    z: Floats,
    grid: Floats,
    held_z: Floats,
    held: Floats,
    rule: str,
    steps: list[int],
    seed: int,
) -> Floats:
    rng = np.random.default_rng(seed)
    left = np.ones(grid.shape, dtype=bool)
    left.ravel()[rng.permutation(grid.size)[: steps[0]]] = False
    posterior, values = None, []
    for number, cells in enumerate(steps):
        query, arm = np.nonzero(~left)
        posterior = fit_posterior(z, query, arm, grid[query, arm], grid.shape[1], start=posterior)
        chosen = posterior.logits(held_z).argmax(axis=1)
        values.append(held[np.arange(len(held)), chosen].mean())
        if number + 1 == len(steps):
            break
        more = steps[number + 1] - cells
        if rule == "random":
            still = np.flatnonzero(left.ravel())
            left.ravel()[rng.permutation(still)[:more]] = False
        else:
            design = choose_cells(posterior, z, left, more, rule, seed=seed + number)
            left[design.query, design.arm] = False
    return np.array(values)
