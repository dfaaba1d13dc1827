"""What the log already knows of a query that comes again.

    key       [M]       hash of the normalised text of a logged query
    total     [M, K]    sum of its outcomes under each arm
    count     [M, K]    how many runs

The prediction for a query that was logged is drawn towards its own outcomes:

    (prior · predicted + total) / (prior + count)

``prior`` is how many runs a prediction is worth: the number that predicts a rerun best from the
other reruns of the same text (each left out in turn), beside predictions that did not see the text.
Without reruns nothing is known of that, and nothing is remembered. Texts are kept as hashes only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.audit.normalise import normalised
from prompt_oirl.logs.log import PromptLog
from prompt_oirl.models.outcomes import Floats, averaged

PRIORS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
LEAST_RERUNS = 100


@dataclass(frozen=True)
class Memory:
    """Outcomes of logged queries; see the layout above. Empty where ``prior`` is infinite."""

    key: NDArray[np.str_]
    total: Floats
    count: Floats
    prior: float

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.key.tolist())}

    def recall(self, texts: Sequence[str], predicted: Floats) -> Floats:
        """Predictions ``[..., Q, K]`` drawn towards what is remembered of each text."""
        if not len(self.key):
            return predicted
        rows = np.array([self._rows.get(text_key(text), -1) for text in texts], dtype=np.int64)
        known = np.flatnonzero(rows >= 0)
        found = predicted.copy()
        total, count = self.total[rows[known]], self.count[rows[known]]
        found[..., known, :] = (self.prior * predicted[..., known, :] + total) / (
            self.prior + count
        )
        return found


def text_key(text: str) -> str:
    """The key of a text: equal for texts that differ in case, spaces or quotation marks only."""
    return hashlib.sha256(normalised(text).encode(errors="surrogatepass")).hexdigest()[:20]


def remembered(log: PromptLog, unseen: Floats) -> Memory:
    """The memory of a log.

    Args:
        log: whose outcomes are remembered.
        unseen: predictions of its distinct texts by models that did not see them, ``[R, K]``.
    """
    texts, value, weight, _ = averaged(log)
    total = np.nan_to_num(value) * weight
    prior = _best_prior(log, texts, total, weight, unseen)
    if np.isinf(prior):
        empty = np.zeros((0, len(log.arms)))
        return Memory(np.array([], dtype=str), empty, empty, prior)
    keys, place = np.unique([text_key(text) for text in texts], return_inverse=True)
    sums, counts = np.zeros((2, len(keys), len(log.arms)))
    np.add.at(sums, place, total)
    np.add.at(counts, place, weight)
    return Memory(keys, sums, counts, prior)


def _best_prior(
    log: PromptLog, texts: list[str], total: Floats, weight: Floats, unseen: Floats
) -> float:
    place = {text: row for row, text in enumerate(texts)}
    row = np.array([place[text] for text in log.texts])[log.query]
    others = weight[row, log.arm] - 1
    again = others > 0
    if again.sum() < LEAST_RERUNS:
        return float("inf")
    row, arm, y = row[again], log.arm[again], log.outcome[again]
    rest, count = total[row, arm] - y, others[again]
    predicted = unseen[row, arm]
    errors = [
        float((((prior * predicted + rest) / (prior + count) - y) ** 2).mean()) for prior in PRIORS
    ]
    best = int(np.argmin(errors))
    if errors[best] >= float(((predicted - y) ** 2).mean()):
        return float("inf")
    return PRIORS[best]
