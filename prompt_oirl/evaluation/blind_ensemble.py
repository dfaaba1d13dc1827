"""An ensemble whose predictions of logged rows are like those of new queries in every respect.

    repeat 0     groups  ┃ half ┃ other half ┃    one member of each half; the first is kept
    repeat 1     groups, dealt out anew …

A logged row is predicted, in every repeat, by the member of the half in which it is not. A new
query is predicted by one member a repeat as well: by as many members, each fitted on a random half
without it. Members learn their features from their own half too, for features that were learned on
a row, even without its outcome, separate it better than a new one. So whatever a maximum over arms
does to the predictions of the log, it does to those of new queries.

(The cross-fit of :mod:`prompt_oirl.choice.cross_fit` keeps all members, which predicts new queries
better than logged ones: the two halves of a repeat have no noise in common.)
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from prompt_oirl.choice.cross_fit import group_folds
from prompt_oirl.features import QueryFeatures
from prompt_oirl.models.blend import Blend
from prompt_oirl.models.outcomes import Floats, Indices, Outcomes
from search.cores import usable_cores


@dataclass(frozen=True)
class BlindEnsemble:
    """Members and what members predicted of rows that they did not see.

    Attributes:
        members: features and models, one a repeat.
        unseen: ``[repeats, R, K]``.
    """

    members: tuple[tuple[QueryFeatures, Blend], ...]
    unseen: Floats

    def predict(self, texts: Sequence[str]) -> Floats:
        """Of new queries, ``[repeats, Q, K]``."""
        return np.stack([model.predict(one.transform(texts)) for one, model in self.members])


def blind_ensemble(
    texts: Sequence[str],
    outcomes: Outcomes,
    models: Sequence[str],
    repeats: int = 8,
    text_size: int = 64,
    seed: int = 0,
) -> BlindEnsemble:
    """Fits ``2 · repeats`` members, half of which are kept.

    Args:
        texts: of the rows, ``[R]``.
        outcomes: of the rows; their features are not used.
        models: names of :data:`prompt_oirl.models.MODELS`, blended with equal weights.
        repeats: times the groups are dealt out.
        text_size: columns of the text embedding.
        seed: of halves, embeddings and trees.
    """
    unseen = np.zeros((repeats, *outcomes.value.shape))

    def fit(place: tuple[int, int]) -> tuple[QueryFeatures, Blend]:
        repeat, number = place
        held = group_folds(outcomes.group, 2, seed + repeat) == number
        some, rest = np.flatnonzero(~held), np.flatnonzero(held)
        features = QueryFeatures(text_size, seed=seed + number).fit(
            [texts[row] for row in some.tolist()]
        )
        x = features.transform([texts[row] for row in some.tolist()])
        model = Blend(models).fit(_with_features(outcomes, some, x), seed + number)
        unseen[repeat, held] = model.predict(
            features.transform([texts[row] for row in rest.tolist()])
        )
        return features, model

    places = [(repeat, number) for repeat in range(repeats) for number in range(2)]
    # Trees and matrix products leave the interpreter's lock; members do not know of each other.
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        members = tuple(pool.map(fit, places))
    return BlindEnsemble(members[::2], unseen)


def _with_features(outcomes: Outcomes, rows: Indices, x: Floats) -> Outcomes:
    return Outcomes(x, outcomes.value[rows], outcomes.weight[rows], outcomes.group[rows])
