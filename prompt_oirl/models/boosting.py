"""Gradient-boosted trees a prompt (LightGBM: Ke et al., NeurIPS 2017).

``PerArmBoosting`` predicts each prompt's outcome. ``AdvantageBoosting`` predicts how much better
than the best single prompt each other prompt is: what makes a query hard for all prompts cancels
in the difference, so trees are spent on what decides. Where hardly any query was run under two
prompts, the outcome is compared with what is predicted for the prompt that was run most (the
X-learner: Künzel, Sekhon, Bickel & Yu, PNAS 2019).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.models.forest import Forest
from prompt_oirl.models.outcomes import Floats, Outcomes

COLUMNS = 80  # structure and the first of text and vectors; later ones are noise to trees
SETTINGS: dict[str, Any] = {
    "learning_rate": 0.05,
    "num_leaves": 8,
    "min_data_in_leaf": 30,
    "lambda_l2": 10.0,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "verbose": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,  # members of an ensemble are fitted side by side
}


def _boost(
    x: Floats, target: Floats, weight: Floats, objective: str, rounds: int, settings: dict[str, Any]
) -> Any:
    """A booster on the rows of positive weight; ``None`` where there are too few."""
    import lightgbm

    known = weight > 0
    if known.sum() < 2 * settings["min_data_in_leaf"]:
        return None
    data = lightgbm.Dataset(x[known][:, :COLUMNS], target[known], weight=weight[known])
    return lightgbm.train({**settings, "objective": objective}, data, rounds)


class PerArmBoosting:
    """One booster a prompt, trained by cross-entropy on the mean outcome.

    Args:
        rounds: trees a prompt.
        **settings: of LightGBM, in place of :data:`SETTINGS`.
    """

    def __init__(self, rounds: int = 120, **settings: Any) -> None:
        self.rounds = rounds
        self.settings = {**SETTINGS, **settings}
        self.forest = Forest(0)

    def fit(self, outcomes: Outcomes, seed: int = 0) -> PerArmBoosting:
        """Learns; returns itself."""
        value, weight = outcomes.value, outcomes.weight
        self.forest = Forest(value.shape[1])
        for arm in range(value.shape[1]):
            settings = {**self.settings, "seed": seed + arm}
            target = np.nan_to_num(value[:, arm])
            booster = _boost(
                outcomes.x, target, weight[:, arm], "cross_entropy", self.rounds, settings
            )
            if booster is not None:
                self.forest.add(booster, arm)
            else:
                mean = float(np.clip(outcomes.arm_means[arm], 1e-3, 1 - 1e-3))
                self.forest.offset[arm] = np.log(mean / (1 - mean))
        return self

    def predict(self, x: Floats) -> Floats:
        """Probability of success under each arm, ``[Q, K]``."""
        result: Floats = 1 / (1 + np.exp(-self.forest.predict(x)))
        return result

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The trees."""
        return self.forest.arrays()

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> PerArmBoosting:
        """The model that gave these arrays."""
        self = cls()
        self.forest = Forest.from_arrays(arrays)
        return self


class AdvantageBoosting:
    """One booster for the level of the best single prompt, one a prompt for its difference.

    In a log of few pairs the prompt that was run most takes the place of the best single one.

    Args:
        rounds: trees a prompt.
        **settings: of LightGBM, in place of :data:`SETTINGS`.
    """

    def __init__(self, rounds: int = 80, **settings: Any) -> None:
        self.rounds = rounds
        stronger = {"lambda_l2": 20.0, "min_data_in_leaf": 40}
        self.settings = {**SETTINGS, **stronger, **settings}
        self.forest = Forest(0)
        self.reference = 0

    def fit(self, outcomes: Outcomes, seed: int = 0) -> AdvantageBoosting:
        """Learns; returns itself."""
        value, weight = outcomes.value, outcomes.weight
        self.forest = Forest(value.shape[1])
        partial = outcomes.few_pairs
        self.reference = int(weight.sum(axis=0).argmax()) if partial else outcomes.best_single
        base, runs = np.nan_to_num(value[:, self.reference]), weight[:, self.reference]
        means = np.maximum(outcomes.arm_means, 0.0)
        order = list(range(value.shape[1]))
        if partial:
            order = [self.reference, *(arm for arm in order if arm != self.reference)]
        for arm in order:
            settings = {**self.settings, "seed": seed + arm}
            if arm == self.reference:
                target, count, mean = base, runs, means[arm]
            else:
                target = np.nan_to_num(value[:, arm]) - base
                count, mean = np.minimum(runs, weight[:, arm]), means[arm] - means[self.reference]
            booster = _boost(outcomes.x, target, count, "l2", self.rounds, settings)
            if booster is not None:
                self.forest.add(booster, arm)
            else:
                self.forest.offset[arm] = mean
            if partial and arm == self.reference:
                alone = runs == 0
                usual = self.forest.predict(outcomes.x[:, :COLUMNS])[:, arm]
                base, runs = np.where(alone, usual, base), np.where(alone, np.inf, runs)
        return self

    def predict(self, x: Floats) -> Floats:
        """Expected outcome of each arm, ``[Q, K]``."""
        columns = self.forest.predict(x)
        base = columns[:, [self.reference]].copy()
        columns[:, self.reference] = 0.0
        return base + columns

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The trees, and which arm is the reference."""
        return {**self.forest.arrays(), "reference": np.array(self.reference)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> AdvantageBoosting:
        """The model that gave these arrays."""
        self = cls()
        self.forest = Forest.from_arrays(arrays)
        self.reference = int(arrays["reference"])
        return self
