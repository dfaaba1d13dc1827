"""The baseline without any model: look the question up among those already seen.

A published split may hold the same question on both sides. What such a table gains is the part of
a result that is memory, not choice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.audit.normalise import normalised
from prompt_oirl.logs.log import PromptLog


def seen_before(train: PromptLog, test: PromptLog) -> NDArray[np.bool_]:
    """Whether each question of ``test``, or another of its group, is in ``train``, ``[Q]``.

    Questions are the same where their normalised texts are. A variant of a question tells of it as
    well, so a group on both sides counts as seen.
    """
    texts = {normalised(query.text) for query in train.queries}
    groups = {query.group for query in train.queries}
    return np.array(
        [normalised(query.text) in texts or query.group in groups for query in test.queries],
        dtype=bool,
    )


def lookup_choice(train: PromptLog, test: PromptLog, default: int) -> NDArray[np.int64]:
    """The arm with the best mean outcome on the same question in ``train``, ``[Q]``.

    Questions are the same where their normalised texts are. An arm with equal outcomes to the
    default is not preferred to it; an unseen question gets the default.
    """
    sums: dict[str, NDArray[np.float64]] = {}
    counts: dict[str, NDArray[np.float64]] = {}
    keys = [normalised(text) for text in train.texts]
    arms = len(train.arms)
    for query, arm, outcome in zip(train.query, train.arm, train.outcome):
        key = keys[query]
        if key not in sums:
            sums[key], counts[key] = np.zeros(arms), np.zeros(arms)
        sums[key][arm] += outcome
        counts[key][arm] += 1
    chosen = np.full(len(test.queries), default, dtype=np.int64)
    for row, text in enumerate(test.texts):
        key = normalised(text)
        if key in sums:
            mean = np.where(counts[key] > 0, sums[key] / np.maximum(counts[key], 1), -1.0)
            if mean.max() > mean[default]:
                chosen[row] = int(mean.argmax())
    return chosen
