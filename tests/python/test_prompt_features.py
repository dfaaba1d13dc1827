"""Features of queries: exact counts, the text embedding, scaling, vectors of the user."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from planted_logs import planted_log
from sklearn.feature_extraction.text import TfidfVectorizer

from prompt_oirl.errors import BadLog
from prompt_oirl.features import QueryFeatures
from prompt_oirl.features.query_features import CLIP
from prompt_oirl.features.structure import CUES, NAMES, QUESTIONS, structure
from prompt_oirl.features.text import CHARACTERS, WORDS, TextEmbedding

TEXTS = planted_log(80).texts


def counts(text: str) -> dict[str, float]:
    """The counts that are not 0, by name."""
    row = structure([text])[0]
    return {name: float(value) for name, value in zip(NAMES, row) if value}


class TestStructure:
    def test_a_word_problem(self) -> None:
        text = "Tom has 3 red apples, and 1,200 pears. How many are left?"
        assert counts(text) == pytest.approx(
            {
                "log characters": np.log1p(len(text)),
                "log words": np.log(11),
                "mean word length": 3.7,
                "sentences": 2,
                "distinct share of words": 1,
                "capitals": 2,
                "commas": 2,
                "question marks": 1,
                "numbers": 2,
                "distinct numbers": 2,
                "log largest number": np.log(1201),
                "log smallest number": np.log(4),
                "log spread of numbers": np.log(1201 / 4),
                "digits in the largest number": 4,
                "numbers above 100": 1,
                "words before the first number": 2,
                "words after the last number": 5,
                "addition words": 1,
                "subtraction words": 1,
                "asks how": 1,
                "asks many": 1,
            }
        )

    def test_many_different_words_take_no_quadratic_time(self) -> None:
        letters = [chr(0x4E00 + i) for i in range(200)]
        text = " ".join(a + b for a in letters for b in letters)
        started = time.perf_counter()
        assert counts(text)["distinct share of words"] == 1
        assert time.perf_counter() - started < 2

    def test_signs_options_and_layout(self) -> None:
        text = "A) -2.5 B) 50% of $7\nWhy not 1/2?"
        assert counts(text) == pytest.approx(
            {
                "log characters": np.log1p(len(text)),
                "log words": np.log(6),
                "mean word length": 2,
                "sentences": 1,
                "distinct share of words": 1,
                "capitals": 3,
                "line breaks": 1,
                "question marks": 1,
                "options": 2,
                "numbers": 5,
                "distinct numbers": 5,
                "decimals": 1,
                "negative numbers": 1,
                "fractions": 1,
                "percents": 1,
                "currency": 1,
                "log largest number": np.log(51),
                "log smallest number": np.log(2),
                "log spread of numbers": np.log(51 / 2),
                "digits in the largest number": 2,
                "words before the first number": 1,
                "negation words": 1,
                "asks why": 1,
            }
        )

    def test_repeated_words_and_numbers(self) -> None:
        found = counts("9 and 9 and 0.5 AND less")
        assert found["distinct share of words"] == pytest.approx(2 / 4)
        assert found["addition words"] == 3
        assert (found["numbers"], found["distinct numbers"]) == (3, 2)
        assert found["numbers below 1"] == 1
        assert found["first number is largest"] == 1

    def test_no_texts_and_empty_texts(self) -> None:
        assert structure([]).shape == (0, len(NAMES))
        assert counts("") == {"digits in the largest number": 1}
        assert len(NAMES) == 26 + len(CUES) + len(QUESTIONS) == len(set(NAMES))

    @settings(max_examples=60, deadline=None)
    @given(st.text(max_size=60))
    @example("9" * 400)
    @example("1 " + "9" * 400 + ".5")
    @example("5.")
    @example("1,,,2,")
    @example("٣ apples")
    def test_any_text_gives_finite_numbers(self, text: str) -> None:
        assert np.isfinite(structure([text])).all()


class TestTextEmbedding:
    def test_columns_are_those_of_scikit_learn(self) -> None:
        embedding = TextEmbedding(6).fit(TEXTS)
        unseen = [*TEXTS[:5], "How many unseen unseen apples?", "", "çédille"]
        columns = np.hstack(
            [
                TfidfVectorizer(**kind, min_df=3, sublinear_tf=True)
                .fit(TEXTS)
                .transform(unseen)
                .toarray()
                for kind in (WORDS, CHARACTERS)
            ]
        )
        components = embedding.arrays()["components"]
        if components.shape[0] != columns.shape[1]:
            components = components.T
        assert embedding.transform(unseen) == pytest.approx(columns @ components, abs=1e-12)
        assert np.isfinite(columns).all()

    def test_directions_reproduce_the_texts(self) -> None:
        """With as many directions as texts allow, inner products of rows are kept."""
        texts = TEXTS[:12]
        embedding = TextEmbedding(64).fit(texts)
        found = embedding.transform(texts)
        columns = [
            TfidfVectorizer(**kind, sublinear_tf=True).fit_transform(texts)
            for kind in (WORDS, CHARACTERS)
        ]
        exact = sum((part @ part.T).toarray() for part in columns)
        assert found.shape == (12, 11)
        values = np.linalg.eigvalsh(exact)
        assert np.abs(found @ found.T - exact).max() <= values[0] + 1e-6

    @pytest.mark.parametrize(
        "texts", [TEXTS, TEXTS[:4], ["one text"], [""], ["", "a"], ["a\0", "a", "ab\0 a\0"]]
    )
    def test_arrays_give_the_same_embedding(self, texts: list[str]) -> None:
        first = TextEmbedding(5).fit(texts)
        second = TextEmbedding.from_arrays(first.arrays())
        for unseen in (texts, ["never a text before, number 7"], ["a\0"], [""], [*texts, ""]):
            assert np.array_equal(first.transform(unseen), second.transform(unseen))

    @pytest.mark.filterwarnings("error")
    def test_texts_without_variance_warn_nobody(self) -> None:
        for texts in (["the answer is 12"] * 4, ["12", "13"], ["a a", "a a a", "a"]):
            assert np.isfinite(TextEmbedding(8).fit(texts).transform(texts)).all()

    def test_one_text_at_a_time(self) -> None:
        embedding = TextEmbedding(5).fit(TEXTS)
        single = np.vstack([embedding.transform([text]) for text in TEXTS])
        assert single == pytest.approx(embedding.transform(TEXTS), abs=1e-12)

    def test_seed(self) -> None:
        first, second = (TextEmbedding(5, seed=3).fit(TEXTS).transform(TEXTS) for _ in range(2))
        assert np.array_equal(first, second)


def two_columns(texts: Sequence[str]) -> np.ndarray:
    return np.array([[len(text), 7.0] for text in texts], dtype=float).reshape(len(texts), 2)


class TestQueryFeatures:
    def test_centred_scaled_and_clipped(self) -> None:
        features = QueryFeatures(4).fit(TEXTS)
        x = features.transform(TEXTS)
        assert x.shape == (80, len(NAMES) + 4) == (80, len(features.names))
        raw = structure(TEXTS)
        for name in ("log characters", "numbers", "capitals"):
            column = NAMES.index(name)
            scaled = (raw[:, column] - raw[:, column].mean()) / raw[:, column].std()
            assert x[:, column] == pytest.approx(np.clip(scaled, -CLIP, CLIP), abs=1e-9)
        strange = features.transform(["9" * 300 + " and" * 1000 + "?" * 500])
        assert strange.max() == CLIP
        assert np.isfinite(strange).all()

    def test_repeated_texts_count_once(self) -> None:
        once, often = (
            QueryFeatures(0).fit(TEXTS[:9]),
            QueryFeatures(0).fit(TEXTS[:9] + TEXTS[:1] * 50),
        )
        assert np.array_equal(once.mean, often.mean)
        assert np.array_equal(once.scale, often.scale)

    def test_constant_columns_say_nothing(self) -> None:
        features = QueryFeatures(0).fit(["a 1", "b 2", "c 3"])
        column = NAMES.index("numbers")
        assert features.transform(["no number", "1 2 3 4 5"])[:, column].tolist() == [0, 0]

    @pytest.mark.parametrize("size", [0, 4])
    @pytest.mark.parametrize("texts", [TEXTS, ["only one"], [""]])
    def test_arrays_give_the_same_features(self, texts: list[str], size: int) -> None:
        first = QueryFeatures(size).fit(texts)
        second = QueryFeatures.from_arrays(first.arrays())
        unseen = [*texts, "", "quite unseen: 12 + 5 = ?"]
        assert np.array_equal(first.transform(unseen), second.transform(unseen))
        assert second.names == first.names
        assert len(first.names) == first.transform(unseen).shape[1]

    def test_vectors_and_directions_of_the_text_take_turns(self) -> None:
        features = QueryFeatures(3, two_columns).fit(TEXTS)
        kinds = [name.rsplit(" ", 1) for name in features.names[len(NAMES) :]]
        assert [kind for kind, _ in kinds] == ["text direction", "vector"] * 2 + ["text direction"]
        assert [number for _, number in kinds] == list("00112")
        lengths = np.array([len(text) for text in TEXTS])
        x = features.transform(TEXTS)[:, len(NAMES) :]
        assert x[:, 1] == pytest.approx((lengths - lengths.mean()) / lengths.std())
        assert not x[:, 3].any()
        alone = QueryFeatures(3).fit(TEXTS).transform(TEXTS)[:, len(NAMES) :]
        assert np.array_equal(x[:, [0, 2, 4]], alone)
        x = features.transform(TEXTS)
        again = QueryFeatures.from_arrays(features.arrays(), two_columns)
        assert np.array_equal(again.transform(TEXTS), x)

    @pytest.mark.parametrize(
        "wrong",
        [
            lambda texts: np.zeros(len(texts)),
            lambda texts: np.zeros((len(texts) + 1, 2)),
            lambda texts: np.full((len(texts), 2), np.nan),
            lambda texts: np.full((len(texts), 2), np.inf),
        ],
    )
    def test_wrong_vectors_are_refused(self, wrong) -> None:  # type: ignore[no-untyped-def]
        with pytest.raises(BadLog, match="vectors of 80 queries must be finite"):
            QueryFeatures(0, wrong).fit(TEXTS)

    def test_vectors_of_another_size_are_refused(self) -> None:
        fitted = QueryFeatures(0, two_columns).fit(TEXTS)
        for other in (lambda texts: np.zeros((len(texts), 3)), None):
            again = QueryFeatures.from_arrays(fitted.arrays(), other)
            with pytest.raises(BadLog, match="vector"):
                again.transform(TEXTS)

    def test_nothing_to_fit(self) -> None:
        with pytest.raises(BadLog, match="no queries"):
            QueryFeatures().fit([])
