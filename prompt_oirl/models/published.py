"""The published reward model of Prompt-OIRL, as a baseline and for prompts that were never tried.

Sun, Hüyük, van der Schaar: Query-Dependent Prompt Evaluation and Optimization with Offline Inverse
RL (ICLR 2024). One gradient-boosted classifier on the concatenated features of query and prompt:
XGBoost, depth 10, eta 0.001, 2000 rounds, no further settings. After so many rounds a factor of
(1 − 0.001)^2000 = 0.135 of the start is still there: scores are shrunk to one half. Here eta is
0.02 and there are 100 rounds, with the same factor (0.133), in a twentieth of the time. Its query
and prompt vectors were OpenAI embeddings, of which those of the queries are not released; features
made here take their place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.errors import NotIdentified
from prompt_oirl.features import QueryFeatures
from prompt_oirl.models.forest import Forest
from prompt_oirl.models.outcomes import Floats, Outcomes

SETTINGS = {
    "objective": "binary",
    "max_depth": 10,
    "num_leaves": 1023,
    "learning_rate": 0.02,
    "lambda_l2": 1.0,
    "min_data_in_leaf": 1,
    "min_sum_hessian_in_leaf": 1.0,
    "boost_from_average": False,  # as the published one, it starts at one half
    "verbose": -1,
    "deterministic": True,
    "force_row_wise": True,
}
ROUNDS = 100
THRESHOLD = 0.5


class PublishedModel:
    """Probability of success from the features of a query and of a prompt's text.

    Args:
        rounds: trees.
        allow_one_prompt: fit on one prompt all the same. Then every prompt gets the same score on
            a query, and the argmax over prompts is an accident of their order.
    """

    def __init__(self, rounds: int = ROUNDS, allow_one_prompt: bool = False) -> None:
        self.rounds = rounds
        self.allow_one_prompt = allow_one_prompt
        self.forest = Forest(1)

    def fit(self, outcomes: Outcomes, prompts: list[str], seed: int = 0) -> PublishedModel:
        """Learns from all cells; returns itself.

        Args:
            outcomes: of the log.
            prompts: text of each arm, ``[K]``.
            seed: of the trees.

        Raises:
            NotIdentified: there is one prompt only.
        """
        import lightgbm

        if len(set(prompts)) < 2 and not self.allow_one_prompt:
            raise NotIdentified(
                "with one prompt the prompt's features are constant, so no preference among "
                "prompts can be learned; the choice would be an accident of their order"
            )
        self.prompt_features = QueryFeatures(16, seed=seed).fit(prompts)
        row, arm = np.nonzero(outcomes.weight > 0)
        x = self._joined(outcomes.x, prompts, row, arm)
        value, weight = outcomes.value[row, arm], outcomes.weight[row, arm]
        # A mean of reruns is so many successes and so many failures of the same row.
        labels = np.repeat([1, 0], len(row))
        counts = np.concatenate([weight * value, weight * (1 - value)])
        used = counts > 0
        data = lightgbm.Dataset(np.vstack([x, x])[used], labels[used], weight=counts[used])
        booster = lightgbm.train({**SETTINGS, "seed": seed}, data, self.rounds)
        self.forest = Forest(1)
        self.forest.add(booster, 0)
        return self

    def predict(self, x: Floats, prompts: list[str]) -> Floats:
        """Probability of success under each prompt, tried before or not, ``[Q, n]``."""
        row, arm = np.divmod(np.arange(len(x) * len(prompts)), len(prompts))
        raw = self.forest.predict(self._joined(x, prompts, row, arm))[:, 0]
        scores: Floats = 1 / (1 + np.exp(-raw))
        return scores.reshape(len(x), len(prompts))

    def _joined(
        self, x: Floats, prompts: list[str], row: NDArray[np.int64], arm: NDArray[np.int64]
    ) -> Floats:
        return np.hstack([x[row], self.prompt_features.transform(prompts)[arm]])


def published_choice(tried: Floats, held_out: Floats | None = None) -> NDArray[np.int64]:
    """The published decision rules.

    Without held-out prompts the tried prompt of the highest score (there called "eqn. 2" or
    OIRL-0). With them (OIRL-10) the best held-out prompt where every tried one scores below 0.5.

    Args:
        tried: scores of the prompts trained on, ``[Q, K]``.
        held_out: scores of further prompts, ``[Q, n]``.

    Returns:
        Indices into the tried prompts followed by the held-out ones, ``[Q]``.
    """
    chosen = tried.argmax(axis=1)
    if held_out is None:
        return chosen
    hopeless = tried.max(axis=1) < THRESHOLD
    return np.where(hopeless, tried.shape[1] + held_out.argmax(axis=1), chosen)
