"""What models learn from: one row a distinct query text, reruns averaged.

x         [R, columns]   features
value     [R, K]         mean outcome of the text under each arm; NaN where it was never run
weight    [R, K]         how many runs that mean is of; 0 where there was none
group     [R]            rows of one group stay on one side of every split
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.logs.log import PromptLog
from prompt_oirl.models.adjusted_means import adjusted_means, best_arm, is_complete, plain_means

FEW_PAIRS = 0.5  # share of rows run under several arms below which a log is partial

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Outcomes:
    """Averaged outcomes of distinct texts; see the layout above."""

    x: Floats
    value: Floats
    weight: Floats
    group: Indices

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, keep: NDArray[np.bool_] | Indices) -> Outcomes:
        """Some of the rows."""
        return Outcomes(self.x[keep], self.value[keep], self.weight[keep], self.group[keep])

    @property
    def best_single(self) -> int:
        """The arm of the highest mean, the first of equals; where arms were run on different rows,
        by what rows say that were run under several."""
        return best_arm(self.value, self.weight)

    @property
    def few_pairs(self) -> bool:
        """Whether most texts were run under one arm only, so that hardly any outcomes compare."""
        return few_pairs(self.weight > 0)

    @property
    def comparable_means(self) -> Floats:
        """As :attr:`arm_means`, but as if every arm had been run on the same rows."""
        if is_complete(self.weight):
            return self.arm_means
        mean = np.clip(adjusted_means(self.value, self.weight).mean, 0.0, 1.0)
        return np.where(np.isnan(mean), -np.inf, mean)

    @property
    def arm_means(self) -> Floats:
        """Weighted mean outcome of each arm, ``[K]``; -inf for an arm that was never run."""
        return plain_means(self.value, self.weight)


def few_pairs(run: NDArray[np.bool_]) -> bool:
    """Whether most rows were run under one arm only, of rows and arms ``[R, K]``."""
    tried = run.sum(axis=1)
    return bool((tried > 1).sum() < FEW_PAIRS * (tried > 0).sum())


def distinct_texts(log: PromptLog) -> tuple[list[str], Indices]:
    """The distinct texts of a log, and for every query which of them it has, ``[Q]``."""
    texts = list(dict.fromkeys(log.texts))
    place = {text: i for i, text in enumerate(texts)}
    return texts, np.array([place[text] for text in log.texts], dtype=np.int64)


def averaged(log: PromptLog) -> tuple[list[str], Floats, Floats, Indices]:
    """Texts, mean outcomes ``[R, K]``, their weights ``[R, K]`` and groups ``[R]`` of a log.

    Where one text is in several groups, it belongs to the first of them.
    """
    texts, row = distinct_texts(log)
    shape = len(texts), len(log.arms)
    flat = row[log.query] * shape[1] + log.arm
    weight = np.bincount(flat, minlength=shape[0] * shape[1]).astype(float).reshape(shape)
    total = np.bincount(flat, log.outcome, minlength=shape[0] * shape[1]).reshape(shape)
    value = np.where(weight > 0, total / np.where(weight > 0, weight, 1), np.nan)
    group = np.zeros(len(texts), dtype=np.int64)
    group[row[::-1]] = log.groups[::-1]
    return texts, value, weight, group
