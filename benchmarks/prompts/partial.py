"""Selectors fitted on logs with one prompt a query, valued where every outcome is known.

From each full grid, and from two made ones in which the truth is planted, logs are drawn: three
quarters of the groups, one prompt a text by a uniform or an ε-greedy policy that looks at the
query, its propensity logged. The selector's choices are then valued on the other quarter, beside
its own default. On ``planted`` two prompts each suit one kind of query; on ``additive`` prompts and
queries differ, but nothing is gained by choosing per query. On these two propensities are hidden as
well, and a sharp softmax policy hardly ever runs the other prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.prompts.logs import fully_run, log_named
from prompt_oirl.audit import merged_groups
from prompt_oirl.choice.cross_fit import group_folds
from prompt_oirl.choice.selector import Settings, fit_selector
from prompt_oirl.evaluation.protocols import with_groups
from prompt_oirl.features import QueryFeatures
from prompt_oirl.logs.log import Arm, PromptLog, Query
from prompt_oirl.models.linear import Interaction
from prompt_oirl.models.outcomes import Floats, Indices, Outcomes, averaged

LOGS = ("oirl_llama2_mawps", "oirl_llama2_svamp", "oirl_gpt35_mawps_test6")
MADE = ("planted", "additive")
CASES = (("uniform", True), ("epsilon-greedy", True))  # and whether propensities are logged
FURTHER_CASES = (("uniform", False), ("epsilon-greedy", False), ("softmax", True))
SEEDS = 20
MOST_QUERIES = 1500
EPSILON = 0.3
# Fewer members than by default, and the text embedding is made once a log: there are 200 fits.
SETTINGS = Settings(folds=3, repeats=1, text_size=0, kind="mean")


@dataclass(frozen=True)
class Population:
    """Texts with their chances of success ``[R, K]``, groups ``[R]`` and vectors ``[R, D]``."""

    name: str
    texts: list[str]
    chance: Floats
    group: Indices
    vectors: Floats

    def vectors_of(self, texts: Sequence[str]) -> Floats:
        """The vectors of some texts."""
        place = {text: row for row, text in enumerate(self.texts)}
        return self.vectors[[place[text] for text in texts]]


def rows(data: Path, seed: int) -> Iterator[dict[str, Any]]:
    """One row a log and logging policy: means over the seeds, and how often the default is left."""
    for population in _populations(data, seed):
        made = population.name in MADE
        for policy, given in (*CASES, *(FURTHER_CASES if made else ())):
            yield summary(population, policy, seed, given=given)


def summary(
    population: Population, policy: str, seed: int, seeds: int = SEEDS, given: bool = True
) -> dict[str, Any]:
    """What the selectors of several draws are worth; without ``given`` propensities are hidden."""
    found = np.array([_one(population, policy, [seed, s], given) for s in range(seeds)])
    gain, base, best, left = found.T
    return {
        "log": population.name,
        "logging": policy,
        "arms": population.chance.shape[1],
        "seeds": seeds,
        "propensities": "logged" if given else "estimated",
        "value": float((base + gain).mean()),
        "best_single_train": float(base.mean()),
        "best_single": float(best.mean()),
        "gain": float(gain.mean()),
        "least_gain": float(gain.min()),
        "most_gain": float(gain.max()),
        "left_the_default": int(left.sum()),
        "harmful": int((gain < 0).sum()),
    }


def _one(
    population: Population, policy: str, seed: list[int], given: bool
) -> tuple[float, float, float, bool]:
    rng = np.random.default_rng(seed)
    tested = group_folds(population.group, 4, int(rng.integers(1 << 30))) == 0
    probability = _logging(population, policy, tested)
    arms = probability.shape[1]
    logged = rng.permutation(np.flatnonzero(~tested))[:MOST_QUERIES]
    below = rng.random((len(logged), 1)) > np.cumsum(probability[logged], axis=1)
    arm = np.minimum(below.sum(axis=1), arms - 1)
    outcome = (rng.random(len(logged)) < population.chance[logged, arm]).astype(float)
    log = PromptLog(
        population.name,
        tuple(Query(f"q{r}", population.texts[r], f"g{population.group[r]}") for r in logged),
        tuple(Arm(f"arm{k}") for k in range(arms)),
        np.arange(len(logged)),
        arm,
        outcome,
        propensity=probability[logged, arm] if given else np.full(len(logged), np.nan),
    )
    made = fit_selector(log, SETTINGS, seed[-1], population.vectors_of)
    truth = population.chance[tested]
    chosen = made.choose([population.texts[r] for r in np.flatnonzero(tested)]).arms
    default = made.rule.default
    gain = truth[np.arange(len(truth)), chosen] - truth[:, default]
    means = truth.mean(axis=0)
    left = bool((chosen != default).any())
    return float(gain.mean()), float(means[default]), float(means.max()), left


def _logging(population: Population, policy: str, tested: np.ndarray) -> Floats:
    """Probabilities of the logging policy ``[R, K]``; what it knows, it knows from other rows."""
    chance = population.chance
    arms = chance.shape[1]
    if policy == "uniform":
        return np.full(chance.shape, 1 / arms)
    known = Outcomes(population.vectors, chance, np.ones_like(chance), population.group)
    score = Interaction().fit(known.rows(tested)).predict(population.vectors)
    if policy == "softmax":
        weight = np.exp((score - score.max(axis=1, keepdims=True)) / 0.1)
        return np.asarray(weight / weight.sum(axis=1, keepdims=True))
    return np.eye(arms)[score.argmax(axis=1)] * (1 - EPSILON) + EPSILON / arms


def _populations(data: Path, seed: int) -> Iterator[Population]:
    for name in LOGS:
        if not (data / f"{name}.jsonl.gz").exists():
            continue
        log = fully_run(log_named(data, name))
        log = with_groups(log, merged_groups(log))
        texts, value, _, group = averaged(log)
        yield Population(name, texts, value, group, _vectors(texts, seed))
    for name in MADE:
        yield _made(name, seed)


def _made(name: str, seed: int, size: int = 2000) -> Population:
    rng = np.random.default_rng(seed)
    numeric = rng.integers(0, 2, size) == 1
    nouns, places = rng.choice(["apples", "books", "drums", "eggs"], (2, size))
    texts = [
        f"{i} {place} hold {i % 7} {noun}. How many {noun} are left of {i % 7}?"
        if kind
        else f"Which colour have the {noun} that lie near the {place} of house {i}?"
        for i, (kind, noun, place) in enumerate(zip(numeric, nouns, places))
    ]
    suited = [[0.85, 0.25, 0.5, 0.4]], [[0.25, 0.85, 0.5, 0.4]]
    level = [[0.75, 0.65, 0.73, 0.6]], [[0.35, 0.25, 0.33, 0.2]]
    first, second = suited if name == "planted" else level
    chance = np.where(numeric[:, None], first, second)
    return Population(name, texts, chance, np.arange(size), _vectors(texts, seed))


def _vectors(texts: list[str], seed: int) -> Floats:
    return QueryFeatures(64, seed=seed).fit(texts).transform(texts)
