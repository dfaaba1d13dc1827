"""The published protocol: the log's own split, no fallback, highest score wins.

On SVAMP and MAWPS every test question is also a training question, so the table of seen questions
stands beside each row, and no row of this section says anything of new questions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.prompts.logs import LLAMA, log_named
from prompt_oirl.evaluation.calibration import calibration
from prompt_oirl.evaluation.protocols import Trial, split_trial
from prompt_oirl.evaluation.row import report_row
from prompt_oirl.evaluation.value import value_of
from prompt_oirl.features import QueryFeatures
from prompt_oirl.logs.log import PromptLog
from prompt_oirl.models.outcomes import Outcomes, averaged
from prompt_oirl.models.published import PublishedModel, published_choice

PUBLISHED = {"oirl_llama2_gsm8k": 0.258, "oirl_llama2_mawps": 0.686, "oirl_llama2_svamp": 0.672}


def rows(data: Path, seed: int) -> Iterator[dict[str, Any]]:
    """Ours, then the published model, for each log of the published split."""
    for name in LLAMA:
        log = log_named(data, name)
        trial = split_trial(log, seed=seed)
        row = report_row(trial, "published", seed)
        yield {
            **row,
            "value": row["greedy_value"],
            "gain": row["greedy_gain"],
            "gain_ci95": row["greedy_gain_ci95"],
            "with_fallback": row["value"],
            "published_value": PUBLISHED[name],
            "test_questions_seen": float(_seen(log)),
        }
        yield _published_model(log, trial, seed)


def _seen(log: PromptLog) -> float:
    train = {query.group for query in log.queries if query.split == "train"}
    return float(np.mean([q.group in train for q in log.queries if q.split == "test"]))


def _published_model(log: PromptLog, trial: Trial, seed: int) -> dict[str, Any]:
    """The published model on features made here, with both of its decision rules."""
    names = trial.log.arm_names
    train = log.only_queries(np.array([q.split == "train" for q in log.queries])).only_arms(names)
    texts, value, weight, group = averaged(train)
    features = QueryFeatures(seed=seed).fit(texts)
    outcomes = Outcomes(features.transform(texts), value, weight, group)
    prompts = [arm.text for arm in train.arms]
    model = PublishedModel().fit(outcomes, prompts, seed)
    test = log.only_queries(np.array([q.split == "test" for q in log.queries]))
    new = [arm.name for arm in test.arms if arm.name not in names]
    both = test.only_arms([*names, *new])
    x = features.transform(both.texts)
    tried = model.predict(x, prompts)
    held_out = model.predict(x, [arm.text for arm in both.arms[len(names) :]])
    grid = both.grid()
    chosen = value_of(grid, both.groups, published_choice(tried), trial.best_single, seed=seed)
    mixed = published_choice(tried, held_out)
    quality = calibration(grid[:, : len(names)], tried, trial.base_rate)
    unseen = calibration(grid[:, len(names) :], held_out, np.full_like(held_out, np.nanmean(value)))
    return {
        "log": log.name,
        "protocol": "published, their model on our features",
        "arms": len(names),
        "value": chosen.value,
        "best_single_train": chosen.best_single_train,
        "gain": chosen.gain,
        "gain_ci95": list(chosen.gain_ci95),
        "with_held_out_prompts": float(np.nanmean(grid[np.arange(len(grid)), mixed])),
        "auc": quality.auc,
        "brier_skill": quality.brier_skill,
        "unseen_prompts_auc": unseen.auc,
        "unseen_prompts_brier_skill": unseen.brier_skill,
    }
