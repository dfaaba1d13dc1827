"""Words and character n-grams of a text as a few dense numbers (TF-IDF, then a truncated SVD).

Latent semantic analysis: Deerwester et al., 1990. The SVD makes one short vector of tens of
thousands of columns, so that trees, neighbours and linear models can all read the same features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORDS: dict[str, Any] = {"token_pattern": r"(?u)\b\w+\b", "ngram_range": (1, 2)}
CHARACTERS: dict[str, Any] = {"analyzer": "char_wb", "ngram_range": (3, 4), "max_features": 20_000}
LEAST_TEXTS = 3  # a column that fewer texts have says nothing of new texts


class TextEmbedding:
    """TF-IDF of words and characters, reduced to ``size`` numbers a text.

    Args:
        size: numbers a text at most; fewer where there are few texts.
        seed: of the randomised SVD.
    """

    def __init__(self, size: int = 64, seed: int = 0) -> None:
        self.size = size
        self.seed = seed
        self.components: NDArray[np.float64] = np.zeros((0, 0))

    def fit(self, texts: Sequence[str]) -> TextEmbedding:
        """Learns vocabularies and directions from distinct texts."""
        from sklearn.decomposition import TruncatedSVD

        least = LEAST_TEXTS if len(texts) >= 50 else 1
        self._vectorizers = [_vectorizer(settings, least) for settings in (WORDS, CHARACTERS)]
        for vectorizer in self._vectorizers:
            try:
                vectorizer.fit(texts)
            except ValueError:  # no word is common enough: the other columns remain
                vectorizer.set_params(min_df=1).fit([*texts, "empty vocabulary"])
        columns = self._columns(texts)
        size = min(self.size, min(columns.shape) - 1)
        if size < 1:
            self.components = np.zeros((0, columns.shape[1]))
            return self
        svd = TruncatedSVD(size, n_iter=3, random_state=self.seed).fit(columns)
        self.components = svd.components_.astype(np.float64)
        return self

    def transform(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """``[len(texts), size]``."""
        result: NDArray[np.float64] = self._columns(texts) @ self.components.T
        return result

    def _columns(self, texts: Sequence[str]) -> Any:
        from scipy import sparse

        return sparse.hstack([part.transform(texts) for part in self._vectorizers]).tocsr()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What :meth:`from_arrays` needs, as plain arrays."""
        found: dict[str, NDArray[Any]] = {"components": self.components}
        for name, part in zip(("words", "characters"), self._vectorizers):
            terms = sorted(part.vocabulary_, key=part.vocabulary_.__getitem__)
            found[f"{name}_terms"] = np.array(terms, dtype=str)
            found[f"{name}_weights"] = part.idf_
        return found

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> TextEmbedding:
        """The embedding that gave these arrays."""
        self = cls(len(arrays["components"]))
        self.components = arrays["components"]
        self._vectorizers = []
        for name, settings in (("words", WORDS), ("characters", CHARACTERS)):
            terms = [str(term) for term in arrays[f"{name}_terms"]]
            part = _vectorizer(settings, 1, {term: i for i, term in enumerate(terms)})
            part.idf_ = arrays[f"{name}_weights"]
            self._vectorizers.append(part)
        return self


def _vectorizer(
    settings: dict[str, Any], least: int, vocabulary: dict[str, int] | None = None
) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(**settings, min_df=least, sublinear_tf=True, vocabulary=vocabulary)
