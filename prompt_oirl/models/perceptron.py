"""A small multilayer perceptron with one output a prompt, trained by cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.models.outcomes import Floats, Outcomes


class Perceptron:
    """One hidden layer shared by all prompts.

    Args:
        hidden: units of the hidden layer.
        epochs: passes over the queries.
        decay: of the weights (AdamW).
    """

    def __init__(self, hidden: int = 32, epochs: int = 30, decay: float = 0.3) -> None:
        self.hidden = hidden
        self.epochs = epochs
        self.decay = decay

    def fit(self, outcomes: Outcomes, seed: int = 0) -> Perceptron:
        """Learns; returns itself."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        x = torch.from_numpy(outcomes.x).float()
        value = torch.from_numpy(np.nan_to_num(outcomes.value)).float()
        weight = torch.from_numpy(outcomes.weight).float()
        first = torch.nn.Linear(x.shape[1], self.hidden)
        second = torch.nn.Linear(self.hidden, value.shape[1])
        means = np.clip(np.maximum(outcomes.arm_means, 0), 1e-3, 1 - 1e-3)
        with torch.no_grad():
            first.weight.normal_(0, x.shape[1] ** -0.5, generator=generator)
            second.weight.normal_(0, 0.1 * self.hidden**-0.5, generator=generator)
            first.bias.zero_()
            second.bias.copy_(torch.from_numpy(np.log(means / (1 - means))))
        parameters = [*first.parameters(), *second.parameters()]
        optimiser = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=self.decay)
        for _ in range(self.epochs):
            for batch in torch.randperm(len(x), generator=generator).split(128):
                hidden = torch.relu(first(x[batch]))
                hidden = hidden * (torch.rand(hidden.shape, generator=generator) > 0.3) / 0.7
                loss = torch.nn.functional.binary_cross_entropy_with_logits(
                    second(hidden), value[batch], weight[batch], reduction="sum"
                )
                optimiser.zero_grad()
                (loss / weight[batch].sum().clamp_min(1)).backward()
                optimiser.step()
        self.layers = [part.detach().numpy().astype(np.float64) for part in parameters]
        return self

    def predict(self, x: Floats) -> Floats:
        """Probability of success under each arm, ``[Q, K]``."""
        first, bias, second, offset = self.layers
        logits = np.maximum(x @ first.T + bias, 0) @ second.T + offset
        result: Floats = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
        return result

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Weights and biases of both layers."""
        return {f"layer{i}": layer for i, layer in enumerate(self.layers)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Perceptron:
        """The model that gave these arrays."""
        self = cls()
        self.layers = [arrays[f"layer{i}"] for i in range(4)]
        return self
