"""Off-policy estimates against the truth, on logs where every query was run under every prompt.

For each log and split, whole groups are dealt into two halves:

    half A    full information: the best single arm, and a reward model, are learned here
    half B    the population: its value under a policy is known exactly, as the mean over its grid

    one replicate    groups of B drawn with replacement -> queries
                     one arm a query, drawn by the logging policy -> outcomes, propensities
                     -> estimates of each target's value, with intervals

Groups are drawn because the intervals are about a superpopulation of groups; were the queries of B
kept as they are, the intervals would cover too often. A group drawn twice counts as two groups: to
the population they are independent draws.

Logging policies: uniform; epsilon-greedy around the best arm of A; softmax of the reward model's
score. Target policies: the best arm of A, and the reward model's best arm for each query.

Run:  python -m benchmarks.off_policy_simulation --data DATA --replicates 500
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import open_bandit_pipeline
from prompt_oirl.logs.log import Floats, Indices
from prompt_oirl.off_policy.cross_fitting import cross_fitted_outcomes, grouped_folds
from prompt_oirl.off_policy.decisions import LoggedDecisions
from prompt_oirl.off_policy.estimate import text_features
from prompt_oirl.off_policy.estimators import (
    ESTIMATORS,
    DoublyRobust,
    SwitchDoublyRobust,
    estimated_value,
)
from prompt_oirl.off_policy.estimators.switch_doubly_robust import chosen_threshold
from prompt_oirl.off_policy.evidence import Evidence, gather_evidence
from prompt_oirl.off_policy.interval import asymptotic_interval
from prompt_oirl.off_policy.outcome_models import ShrunkenRidge

EPSILON = 0.3  # share of the epsilon-greedy policy's choices that are uniform
TEMPERATURE = 0.1  # of the softmax, in units of the outcome
COMPONENTS = 32  # features of a query
FOLDS = 5
LEVEL = 0.95


@dataclass(frozen=True)
class Grid:
    """A log of which every cell was run: ``outcomes`` [Q, K] beside the queries."""

    log: str
    split: str
    texts: list[str]
    group: Indices
    outcomes: Floats


@dataclass(frozen=True)
class Population:
    """Half B with its policies.

    Attributes:
        features: of each query, ``[n, D]``.
        outcomes: of every arm for each query, ``[n, K]``.
        order, start, size: the queries of group g are ``order[start[g] : start[g] + size[g]]``.
        logging, targets: probabilities ``[n, K]`` of each policy, by name.
    """

    features: Floats
    outcomes: Floats
    order: Indices
    start: Indices
    size: Indices
    logging: dict[str, Floats]
    targets: dict[str, Floats]


@dataclass
class Tally:
    """What the replicates gave for one target: errors by estimator, and whether DR covered."""

    value: float
    covered: list[bool] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)
    errors: dict[str, list[float]] = field(default_factory=dict)
    peer_errors: dict[str, list[float]] = field(default_factory=dict)
    disagreement: float = 0.0
    peer_model_errors: list[float] = field(default_factory=list)

    def add(
        self, evidence: Evidence, decisions: LoggedDecisions, threshold: float
    ) -> dict[str, float]:
        """Adds one replicate; returns the estimates."""
        estimates = {}
        for name, estimator in ESTIMATORS.items():
            if isinstance(estimator, SwitchDoublyRobust):
                estimator = SwitchDoublyRobust(threshold)
            estimates[name] = estimated_value(estimator, evidence)
            self.errors.setdefault(name, []).append(estimates[name] - self.value)
        influence = DoublyRobust().influence(evidence)
        found = asymptotic_interval(estimates["dr"], influence, decisions.group, LEVEL)
        self.covered.append(found.low <= self.value <= found.high)
        self.widths.append(found.high - found.low)
        return estimates

    def compare(self, ours: dict[str, float], theirs: dict[str, float]) -> None:
        """Adds another library's estimates from the same replicate."""
        for name, estimate in theirs.items():
            self.peer_errors.setdefault(name, []).append(estimate - self.value)
            if np.isfinite(ours[name]) and np.isfinite(estimate):
                self.disagreement = max(self.disagreement, abs(ours[name] - estimate))


def rows(data_folder: Path, replicates: int = 500, seed: int = 0) -> list[dict[str, Any]]:
    """One row for each log, split and logging policy; see ``row`` for the keys."""
    return list(iterate_rows(data_folder, replicates, seed))


def iterate_rows(
    data_folder: Path, replicates: int, seed: int, peer_models: int = 0
) -> Iterator[dict[str, Any]]:
    """The rows as they come; for ``peer_models`` see ``row``."""
    for path in sorted(Path(data_folder).glob("*.jsonl.gz")):
        for grid in full_grids(path):
            population = make_population(grid, seed)
            for logging in population.logging:
                yield row(grid, population, logging, replicates, seed, peer_models)


def full_grids(path: Path) -> list[Grid]:
    """A grid for each split of a log, of the arms that were run on all its queries."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        lines = [json.loads(line) for line in stream]
    grids = []
    for split in sorted({line["split"] for line in lines}):
        here = [line for line in lines if line["split"] == split]
        arms = [arm for arm in here[0]["y"] if all(line["y"].get(arm) is not None for line in here)]
        groups = np.array([line["group"] for line in here])
        grids.append(
            Grid(
                path.name.removesuffix(".jsonl.gz"),
                split,
                [line["query"] for line in here],
                np.unique(groups, return_inverse=True)[1],
                np.array([[line["y"][arm] for arm in arms] for line in here], dtype=np.float64),
            )
        )
    return grids


def make_population(grid: Grid, seed: int) -> Population:
    """Deals the groups into halves, learns on A, and describes B."""
    features = principal_components(text_features(grid.texts, seed), COMPONENTS)
    deal = np.random.default_rng(seed).permutation(grid.group.max() + 1) % 2
    learn = deal[grid.group] == 0
    arms = grid.outcomes.shape[1]
    query, arm = np.divmod(np.arange(learn.sum() * arms), arms)
    model = ShrunkenRidge().fit(features[learn][query], arm, grid.outcomes[learn][query, arm], arms)
    score = model.predict(features[~learn])
    best = np.eye(arms)[np.full(len(score), grid.outcomes[learn].mean(axis=0).argmax())]
    exponential = np.exp((score - score.max(axis=1, keepdims=True)) / TEMPERATURE)
    group = np.unique(grid.group[~learn], return_inverse=True)[1]
    size = np.bincount(group)
    return Population(
        features[~learn],
        grid.outcomes[~learn],
        np.argsort(group, kind="stable"),
        np.cumsum(size) - size,
        size,
        {
            "uniform": np.full_like(score, 1 / arms),
            "epsilon-greedy": EPSILON / arms + (1 - EPSILON) * best,
            "softmax": exponential / exponential.sum(axis=1, keepdims=True),
        },
        {"best single": best, "argmax": np.eye(arms)[score.argmax(axis=1)]},
    )


def principal_components(features: Floats, size: int) -> Floats:
    """The first directions of features ``[Q, D]``, ``[Q, size]``, so that a replicate is fast."""
    centred = features - features.mean(axis=0)
    directions = np.linalg.eigh(centred.T @ centred)[1][:, ::-1]
    return centred @ directions[:, :size]


def draw_decisions(
    population: Population, logging: Floats, draw: np.random.Generator
) -> LoggedDecisions:
    """One log of the population: groups with replacement, then an arm for each query."""
    groups = len(population.size)
    drawn = draw.integers(0, groups, groups)
    size = population.size[drawn]
    ends = np.cumsum(size)
    within = np.arange(ends[-1]) - np.repeat(ends - size, size)
    query = population.order[np.repeat(population.start[drawn], size) + within]
    chance = draw.random(len(query))[:, None]
    arms = logging.shape[1]
    arm = np.minimum((np.cumsum(logging[query], axis=1) < chance).sum(axis=1), arms - 1)
    return LoggedDecisions(
        arms,
        query,
        arm,
        population.outcomes[query, arm],
        logging[query, arm],
        np.repeat(np.arange(groups), size),
    )


def row(
    grid: Grid,
    population: Population,
    logging: str,
    replicates: int,
    seed: int,
    peer_models: int = 0,
) -> dict[str, Any]:
    """The simulation of one log under one logging policy.

    Keys: ``log, protocol, split, logging, arms, queries, groups, replicates``; ``coverage`` of the
    doubly robust 95 % intervals over both targets; and ``targets``, for each its exact ``value``,
    ``coverage``, mean ``width``, ``bias`` of DR, and ``rmse`` by estimator. With Open Bandit
    Pipeline there: ``open_bandit_rmse`` by estimator, and the largest ``open_bandit_difference``
    between its estimates and these from the same predictions; else None. In the first
    ``peer_models`` replicates it also fits its own regression, and ``own_regression`` has the RMSE
    of doubly robust with either model in these.
    """
    outcomes = population.outcomes
    tallies = {
        name: Tally(float((table * outcomes).sum(axis=1).mean()))
        for name, table in population.targets.items()
    }
    compared = open_bandit_pipeline.installed()
    for replicate in range(replicates):
        draw = np.random.default_rng([seed, replicate])
        decisions = draw_decisions(population, population.logging[logging], draw)
        fold = grouped_folds(decisions.group, FOLDS, replicate)
        features = population.features[decisions.query]
        predictions = cross_fitted_outcomes(ShrunkenRidge(), features, decisions, fold)
        peer = None
        if compared and replicate < peer_models:
            peer = open_bandit_pipeline.own_predictions(decisions, features, FOLDS)
        for name, table in population.targets.items():
            target = table[decisions.query]
            evidence = gather_evidence(decisions, target, predictions)
            threshold = chosen_threshold(evidence)
            ours = tallies[name].add(evidence, decisions, threshold)
            if compared:
                theirs = open_bandit_pipeline.estimates(decisions, target, predictions, threshold)
                tallies[name].compare(ours, theirs)
            if peer is not None:
                theirs = open_bandit_pipeline.estimates(decisions, target, peer, threshold)
                tallies[name].peer_model_errors.append(theirs["dr"] - tallies[name].value)
    everything = [covered for tally in tallies.values() for covered in tally.covered]
    return {
        "log": grid.log,
        "protocol": "off-policy",
        "split": grid.split,
        "logging": logging,
        "arms": outcomes.shape[1],
        "queries": len(outcomes),
        "groups": len(population.size),
        "replicates": replicates,
        "coverage": float(np.mean(everything)),
        "targets": {name: _summary(tally) for name, tally in tallies.items()},
    }


def _summary(tally: Tally) -> dict[str, Any]:
    modelled = len(tally.peer_model_errors)
    return {
        "value": tally.value,
        "coverage": float(np.mean(tally.covered)),
        "width": float(np.mean(tally.widths)),
        "bias": float(np.mean(tally.errors["dr"])),
        "rmse": {name: _root_mean_square(errors) for name, errors in tally.errors.items()},
        "open_bandit_rmse": {
            name: _root_mean_square(errors) for name, errors in tally.peer_errors.items()
        }
        or None,
        "open_bandit_difference": tally.disagreement if tally.peer_errors else None,
        "own_regression": {
            "open_bandit": _root_mean_square(tally.peer_model_errors),
            "treeward": _root_mean_square(tally.errors["dr"][:modelled]),
            "replicates": modelled,
        }
        if modelled
        else None,
    }


def _root_mean_square(errors: list[float]) -> float:
    return float(np.sqrt(np.nanmean(np.square(errors))))


def main() -> None:
    import argparse

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of full-grid logs")
    parser.add_argument("--replicates", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--peer-models", type=int, default=0, help="replicates with the other library's regression"
    )
    parser.add_argument("--json", action="store_true", help="one JSON row a line")
    options = parser.parse_args()
    found_rows = iterate_rows(options.data, options.replicates, options.seed, options.peer_models)
    for found in found_rows:
        if options.json:
            print(json.dumps(found), flush=True)
            continue
        for name, target in found["targets"].items():
            errors = "  ".join(f"{key} {value:.4f}" for key, value in target["rmse"].items())
            print(
                f"{found['log']:28s} {found['split']:5s} {found['logging']:14s} {name:11s} "
                f"coverage {target['coverage']:.3f} (cell {found['coverage']:.3f})  rmse {errors}",
                file=sys.stdout,
                flush=True,
            )


if __name__ == "__main__":
    main()
