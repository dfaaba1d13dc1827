"""How the gain depends on the number of prompts: all 63 subsets of the six, grouped folds.

With one prompt there is nothing to choose, and fitting is refused; the constant baselines are what
a "gain" at one prompt must be compared with.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.prompts.logs import LLAMA, fully_run, log_named
from prompt_oirl.audit import merged_groups
from prompt_oirl.choice.cross_fit import cross_fit, group_folds
from prompt_oirl.choice.rule import calibrated_rule
from prompt_oirl.choice.selector import Settings, fit_selector
from prompt_oirl.errors import NotIdentified
from prompt_oirl.evaluation.protocols import with_groups
from prompt_oirl.features import QueryFeatures
from prompt_oirl.logs.log import PromptLog
from prompt_oirl.models.outcomes import Floats, Outcomes, averaged

FOLDS = 3
# A model in closed form: there are 3 × 63 ensembles a log.
SETTINGS = Settings(models=("interaction",))


def rows(data: Path, seed: int) -> Iterator[dict[str, Any]]:
    """One row a log and number of prompts: means over the subsets."""
    for name in LLAMA:
        log = fully_run(log_named(data, name))
        log = with_groups(log, merged_groups(log))
        yield {"log": log.name, "protocol": "one prompt", "arms": 1, "refused": _refusal(log, seed)}
        yield from _curve(log, seed)


def _refusal(log: PromptLog, seed: int) -> str:
    try:
        fit_selector(log.only_arms(log.arm_names[:1]), seed=seed)
    except NotIdentified as error:
        return str(error)
    raise AssertionError("a log of one prompt was not refused")


def _curve(log: PromptLog, seed: int) -> Iterator[dict[str, Any]]:
    texts, value, weight, group = averaged(log)
    fold = group_folds(group, FOLDS, seed)
    folds = []
    for number in range(FOLDS):
        inside = fold == number
        features = QueryFeatures(seed=seed).fit([t for t, i in zip(texts, inside) if not i])
        outcomes = Outcomes(features.transform(texts), value, weight, group)
        folds.append((outcomes.rows(~inside), outcomes.rows(inside)))
    arms = value.shape[1]
    total = weight[:, 0].sum()
    for count in range(1, arms + 1):
        found = np.array(
            [_subset(folds, list(some), seed) for some in combinations(range(arms), count)]
        )
        mean = found.mean(axis=0) / total
        yield {
            "log": log.name,
            "arms": count,
            "subsets": len(found),
            "value": mean[0],
            "greedy_value": mean[1],
            "best_single_train": mean[2],
            "gain": mean[0] - mean[2],
            "worst_constant": mean[3],
            "best_constant": mean[4],
        }


def _subset(folds: list[tuple[Outcomes, Outcomes]], arms: list[int], seed: int) -> Floats:
    """Sums over test rows: rule, greedy, best single on train, worst and best constant arm."""
    sums = np.zeros(3)
    constants = np.zeros(len(arms))
    for train, test in folds:
        inner = Outcomes(train.x, train.value[:, arms], train.weight[:, arms], train.group)
        gold, weight = test.value[:, arms], test.weight[:, 0]
        best = inner.best_single
        chosen = greedy = np.full(len(test), best)
        if len(arms) > 1:
            fitted = cross_fit(inner, SETTINGS.models, SETTINGS.folds, SETTINGS.repeats, seed)
            rule = calibrated_rule(inner, fitted.unseen, SETTINGS.kind, SETTINGS.z)
            members = np.stack([member.predict(test.x) for member in fitted.members])
            chosen = rule.choose(rule.cautious(members))
            greedy = members.mean(axis=0).argmax(axis=1)
        row = np.arange(len(test))
        sums += [weight @ gold[row, arm] for arm in (chosen, greedy, best)]
        constants += weight @ gold
    return np.array([*sums, constants.min(), constants.max()])
