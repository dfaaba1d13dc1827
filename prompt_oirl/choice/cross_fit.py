"""Many models of one log, each blind to some of its groups.

    repeat 0     groups  ┃ fold 0 ┃ fold 1 ┃ fold 2 ┃ fold 3 ┃   member 0 is fitted without fold 0,
    repeat 1     groups, shuffled anew …                         member 1 without fold 1, …

All members together are the ensemble that is used. On the log itself each row is predicted by the
members that did not see its group (one a repeat): these predictions are as honest as those on new
queries, and decide how far the ensemble is to be trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.models.blend import Blend
from prompt_oirl.models.outcomes import Floats, Outcomes
from search.cores import usable_cores


@dataclass(frozen=True)
class CrossFit:
    """An ensemble, and its predictions of rows that a member did not see.

    Attributes:
        members: ``folds × repeats`` models.
        unseen: ``[repeats, R, K]``.
    """

    members: tuple[Blend, ...]
    unseen: Floats


def group_folds(group: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """A fold for every row, ``[R]``, equal for rows of one group; sizes differ by a group at most.

    Groups are dealt out at random.
    """
    names, place = np.unique(group, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    fold: NDArray[np.int64] = (order % folds)[place]
    return fold


def cross_fit(
    outcomes: Outcomes, models: Sequence[str], folds: int, repeats: int, seed: int
) -> CrossFit:
    """Fits the members; folds beyond the number of groups are left out."""
    folds = min(folds, len(np.unique(outcomes.group)))
    unseen = np.zeros((repeats, *outcomes.value.shape))
    places = [
        (repeat, number, group_folds(outcomes.group, folds, seed + repeat) == number)
        for repeat in range(repeats)
        for number in range(folds)
    ]

    def fit(place: tuple[int, int, NDArray[np.bool_]]) -> Blend:
        repeat, number, inside = place
        member = Blend(models).fit(outcomes.rows(~inside), seed + number)
        unseen[repeat, inside] = member.predict(outcomes.x[inside])
        return member

    # Trees and matrix products leave the interpreter's lock; members do not know of each other.
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        return CrossFit(tuple(pool.map(fit, places)), unseen)
