"""Whether a classifier can tell the queries of one log from those of another.

Two-sample test of Lopez-Paz and Oquab (ICLR 2017), with p-values by permuting labels. Of every
group one query is compared: paraphrases would give each other away, and groups could not be
permuted where those of one log are larger. Permuting stops once it is clear that there is nothing
to find (Besag and Clifford, Biometrika 1991), and else goes on until a p-value can be as small as
many tests together ask for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from prompt_oirl.evaluation.calibration import area_under_curve
from prompt_oirl.features.query_features import QueryFeatures
from prompt_oirl.logs.log import PromptLog
from prompt_oirl.logs.order import in_canonical_order
from prompt_oirl.models.outcomes import Floats, averaged

MOST_COMPARED = 1500  # queries a side of the classifier
PENALTY = 30.0
ENOUGH = 20  # permutations as good as what was seen, at which the p-value is known well enough
AT_ONCE = 100  # permutations
MOST_PERMUTATIONS = 50_000


def permutations_for(tests: int, alpha: float) -> int:
    """How many permutations let one test of so many alarm by itself, Holm's adjustment included.

    Twice the least number, so that one permutation that happens to be as good does not hide it.
    """
    return int(min(np.ceil(2 * tests / alpha), MOST_PERMUTATIONS)) if alpha > 0 else 0


def wording_shift(
    reference: PromptLog, log: PromptLog, permutations: int = 500, seed: int = 0
) -> tuple[float, float]:
    """AUC of a classifier of new against old queries, and its p-value.

    Features are made from both sides together, so that neither is favoured. The classifier is ridge
    regression, each query predicted without itself, so that permuting labels costs one product of
    matrices. Texts that are on both sides count on both.

    Args:
        reference: the old queries.
        log: the new ones.
        permutations: at most; the least p-value is one over one more.
        seed: of what is compared, the text embedding and permutations.
    """
    rng = np.random.default_rng(seed)
    sides = [_one_of_each_group(side, rng) for side in (reference, log)]
    texts = [text for side in sides for text in side]
    label = np.repeat([0.0, 1.0], [len(side) for side in sides])
    left_out = _left_out(QueryFeatures(32, seed=seed).fit(texts).transform(texts))
    seen = area_under_curve(label, left_out(label[None])[0])
    return seen, _p_value(seen, left_out, label, permutations, rng)


def _one_of_each_group(log: PromptLog, rng: np.random.Generator) -> list[str]:
    """A text of each group, drawn from its distinct ones, of at most so many groups."""
    texts, _, _, group = averaged(in_canonical_order(log))
    drawn = rng.permutation(len(texts))
    first = np.unique(group[drawn], return_index=True)[1]
    kept = drawn[rng.permutation(first)[:MOST_COMPARED]]
    return [texts[i] for i in kept]


def _left_out(x: Floats) -> Callable[[Floats], Floats]:
    """What turns labels ``[P, R]`` into predictions, by ridge regression without the row itself.

    The hat matrix is kept as two factors, which are much smaller than it.
    """
    x = np.hstack([np.ones((len(x), 1)), x])
    penalty = np.full(x.shape[1], PENALTY)
    penalty[0] = 1e-6
    solved = np.linalg.solve(x.T @ x + np.diag(penalty), x.T)
    own = (x * solved.T).sum(axis=1)
    return lambda labels: (labels @ solved.T @ x.T - own * labels) / (1 - own)


def _p_value(
    seen: float,
    left_out: Callable[[Floats], Floats],
    label: Floats,
    most: int,
    rng: np.random.Generator,
) -> float:
    """Chance of an AUC of at least ``seen`` where labels ``[R]`` mean nothing."""
    as_good = done = 0
    while done < most:
        labels = rng.permuted(np.tile(label, (min(AT_ONCE, most - done), 1)), axis=1)
        higher = _areas(labels, left_out(labels)) >= seen
        stop = np.flatnonzero(as_good + np.cumsum(higher) >= ENOUGH)
        if len(stop):
            return ENOUGH / (done + int(stop[0]) + 1)
        as_good += int(higher.sum())
        done += len(higher)
    return (1 + as_good) / (1 + done)


def _areas(labels: Floats, predicted: Floats) -> Floats:
    """AUC of every row, with equally many labels of 1 beside those of 0 in each, ``[P]``.

    Ties are not halved: only rows of one text and one label tie, which changes no AUC.
    """
    in_order = np.take_along_axis(labels, np.argsort(predicted, axis=1), axis=1)
    rank = np.arange(1, labels.shape[1] + 1)
    good = labels[0].sum()
    return (in_order @ rank - good * (good + 1) / 2) / (good * (labels.shape[1] - good))
