"""Words and character n-grams of a text as a few dense numbers (TF-IDF, then a truncated SVD).

Latent semantic analysis: Deerwester et al., 1990. The SVD makes one short vector of tens of
thousands of columns, so that trees, neighbours and linear models can all read the same features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORDS: dict[str, Any] = {"token_pattern": r"(?u)\b\w+\b", "ngram_range": (1, 2)}
CHARACTERS: dict[str, Any] = {"analyzer": "char_wb", "ngram_range": (3, 4), "max_features": 20_000}
NAMES, SETTINGS = ("words", "characters"), (WORDS, CHARACTERS)
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
        self._terms = [TermWeights.learned(settings, texts, least) for settings in SETTINGS]
        columns = self._columns(texts)
        size = min(self.size, min(columns.shape) - 1)
        if size < 1:
            self.components = np.zeros((columns.shape[1], 0))
            return self
        # Texts that are all alike have no variance, of which it then tells the shares.
        with np.errstate(divide="ignore", invalid="ignore"):
            svd = TruncatedSVD(size, n_iter=3, random_state=self.seed).fit(columns)
        self.components = np.ascontiguousarray(svd.components_.T, dtype=np.float64)
        return self

    def transform(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """``[len(texts), size]``."""
        if len(texts) == 1:  # a sparse matrix would take longer to make than the sum
            rows = [part.row(texts[0]) for part in self._terms]
            place = np.concatenate([rows[0][0], rows[1][0] + len(self._terms[0].vocabulary)])
            single = np.concatenate([rows[0][1], rows[1][1]]) @ self.components[place]
            return np.asarray(single)[None]
        result: NDArray[np.float64] = self._columns(texts) @ self.components
        return result

    def _columns(self, texts: Sequence[str]) -> Any:
        from scipy import sparse

        return sparse.hstack([part.matrix(texts) for part in self._terms]).tocsr()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What :meth:`from_arrays` needs, as plain arrays."""
        found: dict[str, NDArray[Any]] = {"components": self.components}
        for name, part in zip(NAMES, self._terms):
            terms = sorted(part.vocabulary, key=part.vocabulary.__getitem__)
            found[f"{name}_terms"] = np.array(terms, dtype=str)
            found[f"{name}_weights"] = part.weights
        return found

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> TextEmbedding:
        """The embedding that gave these arrays."""
        self = cls(arrays["components"].shape[1])
        self.components = arrays["components"]
        self._terms = []
        for name, settings in zip(NAMES, SETTINGS):
            terms = [str(term) for term in arrays[f"{name}_terms"]]
            vocabulary = {term: i for i, term in enumerate(terms)}
            self._terms.append(TermWeights(settings, vocabulary, arrays[f"{name}_weights"]))
        return self


def _without_nulls(text: str) -> str:
    return text.replace("\0", " ")  # NumPy cuts them off the ends of saved terms


class TermWeights:
    """TF-IDF of one kind of terms: ``(1 + log count) · weight``, rows of length one.

    scikit-learn learns vocabulary and weights and cuts texts into terms; the rest is done here,
    since its checks of a single text take longer than the text.
    """

    def __init__(
        self, settings: dict[str, Any], vocabulary: dict[str, int], weights: NDArray[np.float64]
    ) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.vocabulary = vocabulary
        self.weights = weights
        self._cut = TfidfVectorizer(**settings).build_analyzer()

    @classmethod
    def learned(cls, settings: dict[str, Any], texts: Sequence[str], least: int) -> TermWeights:
        """Vocabulary and weights of texts; terms of fewer than ``least`` texts are left out."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(**settings, min_df=least)
        try:
            vectorizer.fit([_without_nulls(text) for text in texts])
        except ValueError:  # no term is common enough: the other columns remain
            return cls(settings, {}, np.zeros(0))
        return cls(
            settings,
            {term: int(place) for term, place in vectorizer.vocabulary_.items()},
            vectorizer.idf_,
        )

    def row(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Columns and values of a text, columns ascending."""
        found = Counter(map(self.vocabulary.get, self._cut(_without_nulls(text))))
        found.pop(None, None)
        place = np.array(sorted(found), dtype=np.int64)  # type: ignore[type-var]
        count = np.array([found[column] for column in place.tolist()], dtype=np.float64)
        value = (1 + np.log(count)) * self.weights[place]
        length = np.sqrt(value @ value)
        return place, value / length if length > 0 else value

    def matrix(self, texts: Sequence[str]) -> Any:
        """All rows as a sparse matrix ``[len(texts), terms]``."""
        from scipy import sparse

        rows = [self.row(text) for text in texts]
        ends = np.cumsum([0, *(len(place) for place, _ in rows)])
        values = np.concatenate([value for _, value in rows] or [np.zeros(0)])
        places = np.concatenate([place for place, _ in rows] or [np.zeros(0, dtype=np.int64)])
        return sparse.csr_matrix((values, places, ends), (len(texts), len(self.vocabulary)))
