"""What is known of a response: its form, its words, its query, and the other responses beside it.

    agreement  |  structure of response  |  text embedding of response  |  structure of query

What differs between the responses of a query stands first: trees read the first columns only.
Agreement compares a response with the others of its query: the share with the same final answer,
whether that is the commonest one, whether it has an answer, how many different ones there are,
whether it stands first, and its length against the others' mean.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.features.structure import NAMES, structure
from prompt_oirl.features.text import TextEmbedding
from prompt_oirl.responses.response_set import ResponseSet

Floats = NDArray[np.float64]
CLIP = 5.0
AGREEMENT = 6
TEXT = "text_"


def agreement(responses: ResponseSet) -> Floats:
    """How each response stands to the others of its query, ``[N, 6]``."""
    found = np.zeros((len(responses.text), AGREEMENT))
    for rows in responses.rows_by_query():
        answers = [responses.answer[row] for row in rows]
        count = Counter(answer for answer in answers if answer is not None)
        most = max(count.values(), default=0)
        lengths = np.array([len(responses.text[row]) for row in rows], dtype=float)
        for place, (row, answer) in enumerate(zip(rows, answers)):
            same = count[answer] if answer is not None else 0
            others = max(len(rows) - 1, 1)
            found[row] = (
                max(same - 1, 0) / others,
                float(same == most and same > 0),
                float(answer is not None),
                len(count) / len(rows),
                float(place == 0),
                np.log1p(lengths[place]) - np.log1p(lengths.mean()),
            )
    return found


class ResponseFeatures:
    """Turns responses into ``[N, columns]``, centred, scaled and clipped.

    Args:
        text_size: columns of the text embedding; 0 for none.
        seed: of the text embedding.
    """

    def __init__(self, text_size: int = 32, seed: int = 0) -> None:
        self.embedding = TextEmbedding(text_size, seed) if text_size else None
        self.mean: Floats = np.zeros(0)
        self.scale: Floats = np.zeros(0)

    def fit(self, responses: ResponseSet) -> ResponseFeatures:
        """Learns columns; returns itself."""
        if self.embedding is not None:
            self.embedding.fit(list(dict.fromkeys(responses.text)))
        raw = self._raw(responses)
        spread = raw.std(axis=0)
        self.mean = raw.mean(axis=0)
        self.scale = np.where(spread > 1e-9, 1 / np.where(spread > 1e-9, spread, 1), 0.0)
        return self

    def transform(self, responses: ResponseSet) -> Floats:
        """``[N, columns]``."""
        return np.clip((self._raw(responses) - self.mean) * self.scale, -CLIP, CLIP)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What :meth:`from_arrays` needs, as plain arrays."""
        found: dict[str, NDArray[Any]] = {"mean": self.mean, "scale": self.scale}
        if self.embedding is not None:
            found |= {f"{TEXT}{key}": array for key, array in self.embedding.arrays().items()}
        return found

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> ResponseFeatures:
        """The features that gave these arrays.

        Raises:
            ValueError: their sizes do not fit.
        """
        self = cls(0)
        self.mean, self.scale = arrays["mean"], arrays["scale"]
        text = {key.removeprefix(TEXT): arrays[key] for key in arrays if key.startswith(TEXT)}
        size = 0
        if text:
            self.embedding = TextEmbedding.from_arrays(text)
            size = self.embedding.components.shape[1]
        columns = AGREEMENT + 2 * len(NAMES) + size
        if self.mean.shape != (columns,) or self.scale.shape != (columns,):
            raise ValueError(f"means and scales do not fit {columns} columns")
        return self

    def _raw(self, responses: ResponseSet) -> Floats:
        parts = [agreement(responses), structure(responses.text)]
        if self.embedding is not None:
            parts.append(self.embedding.transform(responses.text))
        parts.append(structure(responses.query_text)[responses.query])
        return np.hstack(parts)
