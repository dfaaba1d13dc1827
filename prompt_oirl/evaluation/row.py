"""One row of a report: a trial in the numbers that decide."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from prompt_oirl.evaluation.calibration import calibration
from prompt_oirl.evaluation.partial_value import partial_value
from prompt_oirl.evaluation.protocols import Trial
from prompt_oirl.evaluation.value import Value, nothing_known, value_of


def trial_value(trial: Trial, seed: int = 0, greedy: bool = False) -> Value:
    """The value of a trial's choices, by the rule or greedy; estimated where most queries were run
    under one prompt."""
    chosen = trial.greedy if greedy else trial.chosen
    run = ~np.isnan(trial.outcome).all(axis=1)
    if trial.few_pairs and len(np.unique(trial.groups[run])) < 2:
        return nothing_known(
            len(chosen), "the tested queries are of one group, which has no interval"
        )
    if trial.partial_evidence is not None:
        return partial_value(trial.partial_evidence, chosen, trial.best_single)
    return value_of(trial.outcome, trial.groups, chosen, trial.best_single, trial.lookup, seed)


def report_row(trial: Trial, protocol: str, seed: int = 0) -> dict[str, Any]:
    """A row as JSON: the fields of :class:`Value` and :class:`Calibration`, and what was tried.

    ``greedy_value`` and ``greedy_gain`` are of the highest predicted outcome without a default to
    fall back to, as published methods choose.
    """
    value = trial_value(trial, seed)
    greedy = trial_value(trial, seed, greedy=True)
    quality = calibration(trial.outcome, trial.predicted, trial.base_rate)
    return {
        "log": trial.log.name,
        "protocol": protocol,
        "arms": len(trial.log.arms),
        "groups": len(set(trial.groups.tolist())),
        **asdict(value),
        "gain_ci95": list(value.gain_ci95),
        "greedy_value": greedy.value,
        "greedy_gain": greedy.gain,
        "greedy_gain_ci95": list(greedy.gain_ci95),
        "auc": quality.auc,
        "auc_within_arm": quality.auc_within_arm,
        "brier_skill": quality.brier_skill,
        "ece": quality.ece,
        "reliability": [list(entry) for entry in quality.bins],
    }
