"""The features of queries that every model reads.

    column   0 … S−1          S              S+1        S+2            S+3        …
             structure        text           vector     text           vector     …
                              direction 0    0          direction 1    1

Directions of the text and vectors of the user or an encoder, if any, take turns: trees read the
first columns only (:data:`prompt_oirl.models.boosting.COLUMNS`), and should see of both.

All columns are centred and scaled over the queries that the features were fitted on, and clipped,
so that one strange query cannot have a say of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.errors import BadLog
from prompt_oirl.features.structure import NAMES, structure
from prompt_oirl.features.text import TextEmbedding

CLIP = 5.0
Vectors = Callable[[Sequence[str]], NDArray[np.float64]]


class QueryFeatures:
    """Turns query texts into ``[Q, columns]`` float64.

    Args:
        text_size: columns of the text embedding at most; 0 for none.
        vectors: gives ``[Q, d]`` vectors of texts, e.g. those of an encoder; ``None`` for none.
        seed: of the text embedding.
    """

    def __init__(self, text_size: int = 64, vectors: Vectors | None = None, seed: int = 0) -> None:
        self.embedding = TextEmbedding(text_size, seed) if text_size else None
        self.vectors = vectors
        self.mean: NDArray[np.float64] = np.zeros(0)
        self.scale: NDArray[np.float64] = np.zeros(0)

    @property
    def names(self) -> list[str]:
        """One name a column, for explanations."""
        size = self.embedding.components.shape[1] if self.embedding else 0
        given = len(self.mean) - len(NAMES) - size
        names = [
            *(f"text direction {i}" for i in range(size)),
            *(f"vector {i}" for i in range(given)),
        ]
        return [*NAMES, *(names[i] for i in _in_turn(size, given))]

    def fit(self, texts: Sequence[str]) -> QueryFeatures:
        """Learns the columns from texts; repeated texts count once."""
        distinct = list(dict.fromkeys(texts))
        if not distinct:
            raise BadLog("there are no queries to make features of")
        if self.embedding is not None:
            self.embedding.fit(distinct)
        raw = self._raw(distinct)
        self.mean = raw.mean(axis=0)
        spread = raw.std(axis=0)
        self.scale = np.where(spread > 1e-9, 1 / np.where(spread > 1e-9, spread, 1), 0.0)
        return self

    def transform(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """``[len(texts), columns]``."""
        raw = self._raw(texts)
        if raw.shape[1] != len(self.mean):
            raise BadLog(
                f"the features have {len(self.mean)} columns, but with the vectors given now there "
                f"are {raw.shape[1]}"
            )
        scaled = (raw - self.mean) * self.scale
        return np.clip(scaled, -CLIP, CLIP)

    def _raw(self, texts: Sequence[str]) -> NDArray[np.float64]:
        text = self.embedding.transform(texts) if self.embedding else np.zeros((len(texts), 0))
        given = np.zeros((len(texts), 0))
        if self.vectors is not None:
            given = np.asarray(self.vectors(texts), dtype=np.float64)
            if given.ndim != 2 or len(given) != len(texts) or not np.isfinite(given).all():
                raise BadLog(
                    f"vectors of {len(texts)} queries must be finite [{len(texts)}, size], "
                    f"got {given.shape}"
                )
        order = _in_turn(text.shape[1], given.shape[1])
        return np.hstack([structure(texts), np.hstack([text, given])[:, order]])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What :meth:`from_arrays` needs; vectors are the caller's own business."""
        found: dict[str, NDArray[Any]] = {"mean": self.mean, "scale": self.scale}
        if self.embedding is not None:
            found |= {f"text_{key}": value for key, value in self.embedding.arrays().items()}
        return found

    @classmethod
    def from_arrays(
        cls, arrays: dict[str, NDArray[Any]], vectors: Vectors | None = None
    ) -> QueryFeatures:
        """The features that gave these arrays."""
        self = cls(0, vectors)
        self.mean, self.scale = arrays["mean"], arrays["scale"]
        prefix = "text_"
        text = {key[len(prefix) :]: arrays[key] for key in arrays if key.startswith(prefix)}
        if text:
            self.embedding = TextEmbedding.from_arrays(text)
        return self


def _in_turn(first: int, second: int) -> list[int]:
    """The order in which columns ``0 … first − 1`` and the ``second`` after them take turns."""
    return sorted(range(first + second), key=lambda i: (i, 0) if i < first else (i - first, 1))
