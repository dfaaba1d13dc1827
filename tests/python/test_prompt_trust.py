"""How much of predictions is believed."""

from __future__ import annotations

import numpy as np
import pytest

from prompt_oirl.choice.trust import trust_in
from prompt_oirl.models.outcomes import Outcomes


def outcomes_of(value: np.ndarray, weight: np.ndarray) -> Outcomes:
    return Outcomes(np.zeros((len(value), 1)), value, weight, np.arange(len(value)))


def test_the_slope_by_hand() -> None:
    value = np.array([[1.0, 0.0], [0.0, np.nan], [1.0, 1.0]])
    weight = np.array([[2.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    means = [3 / 4, 1 / 2]
    unseen = np.array([[0.95, 0.3], [0.55, 0.9], [0.85, 0.6]])
    above = below = 0.0
    for row in range(3):
        for arm in range(2):
            if weight[row, arm]:
                claimed = unseen[row, arm] - means[arm]
                above += weight[row, arm] * claimed * (value[row, arm] - means[arm])
                below += weight[row, arm] * claimed**2
    assert above / below > 1  # a shy model is not made bolder
    assert trust_in(outcomes_of(value, weight), unseen) == 1.0
    bolder = np.array(means) + 10 * (unseen - means)
    assert trust_in(outcomes_of(value, weight), bolder) == pytest.approx(above / below / 10)


def test_truth_is_believed_noise_is_not_and_the_contrary_never() -> None:
    rng = np.random.default_rng(0)
    chance = rng.uniform(0.1, 0.9, (4000, 2))
    value = (rng.random(chance.shape) < chance).astype(float)
    log = outcomes_of(value, np.ones_like(value))
    assert trust_in(log, chance) == pytest.approx(1, abs=0.1)
    assert trust_in(log, rng.permutation(chance)) < 0.1
    assert trust_in(log, 1 - chance) == 0.0
    assert trust_in(log, np.tile(log.arm_means, (4000, 1))) == 0.0
