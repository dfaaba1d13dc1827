"""Prompts that were never tried: a prediction from their text, and how far it is to be believed.

What is known of a new prompt p is what its text shares with those of the logged ones. Its predicted
outcome on a query x is drawn from the predictions q_k(x) of the logged prompts,

    mean(x) + Σ_k w_k(p) (q_k(x) − mean(x)),    w(p) = (K + I)⁻¹ k(p)

where K and k(p) are similarities of texts (kernel ridge regression with unit penalty: a Gaussian
process over prompts, Rasmussen & Williams, 2006, chapter 2). A prompt unlike all others gets the
mean.

Whether that tells anything is measured by leaving out each logged prompt in turn, models and all,
and predicting it from the others. Prompts, not queries, are the sample then: with six of them there
are six numbers, and only a clear effect is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.choice.cross_fit import cross_fit
from prompt_oirl.errors import BadLog, NotIdentified
from prompt_oirl.features import QueryFeatures
from prompt_oirl.models.outcomes import Floats, Outcomes

LEAST_PROMPTS = 3
TEXT_SIZE = 16


@dataclass(frozen=True)
class UnseenEvidence:
    """How well each logged prompt was predicted from the others.

    Attributes:
        prompts: how many were left out in turn.
        auc: probability that of two prompts with different outcomes on a query the better one was
            predicted higher, each from the others without it. At most one half for predictions
            that know nothing of texts: what is left out of a mean moves it the other way.
        auc_error: its standard error over prompts (jackknife).
        gain: mean outcome gained over the best of the other prompts by taking the left-out one
            where it was predicted better by more than ``level_error``; mean over prompts.
        gain_error: its standard error over prompts.
        level_error: root mean square error of a left-out prompt's mean outcome.
        clear: whether both ``auc``, against one half, and ``gain`` are clear of noise.
    """

    prompts: int
    auc: float
    auc_error: float
    gain: float
    gain_error: float
    level_error: float
    clear: bool

    def sentence(self) -> str:
        """The evidence for people."""
        word = "clear of noise" if self.clear else "not clear of noise"
        return (
            f"each of {self.prompts} logged prompts, predicted from the others: ordering on a "
            f"query AUC {self.auc:.3f} ± {self.auc_error:.3f}, mean outcome off by "
            f"{100 * self.level_error:.1f} points, gain over the best other prompt "
            f"{100 * self.gain:+.2f} ± {100 * self.gain_error:.2f} points: {word}"
        )


@dataclass(frozen=True)
class UnseenPrompts:
    """Weights of the logged prompts for new ones, with the evidence.

    Attributes:
        features: of prompt texts.
        logged: features of the logged prompts, ``[K, D]``.
        evidence: of leaving prompts out.
    """

    features: QueryFeatures
    logged: Floats
    evidence: UnseenEvidence

    def predict(self, prompts: Sequence[str], known: Floats) -> Floats:
        """Predicted outcomes of new prompts, ``[Q, n]``, from those of logged ones ``[Q, K]``."""
        return _drawn(self.features.transform(prompts), self.logged, known)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What :meth:`from_arrays` needs besides the evidence."""
        own = {f"features.{key}": array for key, array in self.features.arrays().items()}
        return {**own, "logged": self.logged}

    @classmethod
    def from_arrays(
        cls, arrays: dict[str, NDArray[Any]], evidence: dict[str, Any]
    ) -> UnseenPrompts:
        """What gave these arrays."""
        prefix = "features."
        own = {key[len(prefix) :]: arrays[key] for key in arrays if key.startswith(prefix)}
        return cls(QueryFeatures.from_arrays(own), arrays["logged"], UnseenEvidence(**evidence))

    def facts(self) -> dict[str, Any]:
        """The evidence as JSON."""
        return asdict(self.evidence)


def fit_unseen(
    outcomes: Outcomes,
    prompts: Sequence[str],
    models: Sequence[str],
    folds: int,
    clear_of_noise: float,
    seed: int,
) -> UnseenPrompts:
    """Fits the weights and leaves out every prompt in turn; models are fitted anew each time.

    Args:
        outcomes: of the log.
        prompts: text of each arm, ``[K]``.
        models: names of those of the selector.
        folds: of the cross-fit.
        clear_of_noise: so many standard errors over prompts, as Student's quantile has them.
        seed: of features, folds and trees.

    Raises:
        NotIdentified: there are fewer than three prompts.
        BadLog: texts of prompts are missing or the same, a prompt was never run, or most queries
            were run under one prompt.
    """
    if len(prompts) < LEAST_PROMPTS:
        raise NotIdentified(
            f"{len(prompts)} logged prompts say nothing of others: what a new prompt's text is "
            f"worth is learned across prompts, and {LEAST_PROMPTS} are needed"
        )
    if not all(text.strip() for text in prompts) or len(set(prompts)) < len(prompts):
        raise BadLog("new prompts are scored by text, so every logged prompt needs its own text")
    if not outcomes.weight.any(axis=0).all():
        raise BadLog("new prompts are predicted from logged ones, and one of these was never run")
    if outcomes.few_pairs:
        raise BadLog(
            "most queries were run under one prompt, so it cannot be tried whether new prompts are "
            "predicted in the right order"
        )
    found = [_left_out(outcomes, prompts, arm, models, folds, seed) for arm in range(len(prompts))]
    level = float(np.sqrt(np.mean([one.level_error**2 for one in found])))
    auc, auc_error = _ordering(outcomes.value, np.stack([one.predicted for one in found], axis=1))
    gain, gain_error = _mean_and_error(_gains(np.array([one.level_error for one in found]), found))
    wide = _widened(clear_of_noise, len(found) - 1)
    clear = bool(gain > wide * gain_error and auc - 0.5 > wide * auc_error)
    evidence = UnseenEvidence(
        len(found),
        auc,
        auc_error,
        gain,
        gain_error,
        level,
        clear,
    )
    features = QueryFeatures(TEXT_SIZE, seed=seed).fit(prompts)
    return UnseenPrompts(features, features.transform(prompts), evidence)


def _gains(errors: Floats, found: Sequence[_LeftOut]) -> Floats:
    """Of each left-out prompt, taken with a caution that knows the others' errors alone."""
    others = (errors**2).sum() - errors**2
    caution = np.sqrt(np.maximum(others, 0.0) / (len(errors) - 1))
    return np.array([one.gain(float(level)) for one, level in zip(found, caution)])


@dataclass(frozen=True)
class _LeftOut:
    """A prompt predicted from the others: its outcomes and the predicted ones, ``[R]``, beside
    those of the others, ``[R, K − 1]``."""

    happened: Floats
    predicted: Floats
    others: Floats
    others_predicted: Floats

    @property
    def level_error(self) -> float:
        """Of the predicted mean outcome."""
        known = ~np.isnan(self.happened)
        return float((self.predicted - self.happened)[known].mean())

    def gain(self, caution: float) -> float:
        """Over the best of the others, taking the left-out prompt where it is predicted better by
        more than ``caution``; rows that were run under both."""
        best = int(np.nanargmax(np.nanmean(self.others, axis=0)))
        gained = self.happened - self.others[:, best]
        taken = self.predicted - self.others_predicted[:, best] > caution
        known = ~np.isnan(gained)
        return float((gained * taken)[known].mean()) if known.any() else 0.0


def _left_out(
    outcomes: Outcomes,
    prompts: Sequence[str],
    arm: int,
    models: Sequence[str],
    folds: int,
    seed: int,
) -> _LeftOut:
    rest = [k for k in range(len(prompts)) if k != arm]
    some = Outcomes(outcomes.x, outcomes.value[:, rest], outcomes.weight[:, rest], outcomes.group)
    predicted = cross_fit(some, models, folds, 1, seed).unseen[0]
    texts = [prompts[k] for k in rest]
    features = QueryFeatures(TEXT_SIZE, seed=seed).fit(texts)
    own = _drawn(features.transform([prompts[arm]]), features.transform(texts), predicted)[:, 0]
    return _LeftOut(outcomes.value[:, arm], own, some.value, predicted)


def _drawn(new: Floats, logged: Floats, known: Floats) -> Floats:
    apart = ((logged[:, None] - logged) ** 2).sum(axis=2)
    scale = float(np.median(apart[np.triu_indices(len(logged), 1)])) or 1.0
    kernel = np.exp(-apart / scale)
    near = np.exp(-((new[:, None] - logged) ** 2).sum(axis=2) / scale)
    weight = np.linalg.solve(kernel + np.eye(len(logged)), near.T)
    mean = known.mean(axis=1, keepdims=True)
    return np.asarray(mean + (known - mean) @ weight)


def _ordering(happened: Floats, predicted: Floats) -> tuple[float, float]:
    """AUC over pairs of columns ``[R, K]`` on one row, ties half, and its jackknife error; one half
    for both where too few outcomes differ."""
    arms = happened.shape[1]
    right, count = np.zeros((2, arms, arms))
    for arm in range(arms):
        better = np.sign(happened[:, [arm]] - happened)
        differ = np.abs(better) > 0  # false where an outcome is unknown
        said = np.sign(predicted[:, [arm]] - predicted)
        count[arm] = differ.sum(axis=0)
        right[arm] = np.where(differ, 0.5 + 0.5 * better * said, 0.0).sum(axis=0)
    total = count.sum()
    own = count.sum(axis=0) + count.sum(axis=1)  # the diagonal is 0
    if not (total - own > 0).all():
        return 0.5, 0.5
    left = (right.sum() - right.sum(axis=0) - right.sum(axis=1)) / (total - own)
    error = np.sqrt((arms - 1) / arms * ((left - left.mean()) ** 2).sum())
    return float(right.sum() / total), float(error)


def _mean_and_error(values: Floats) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))


def _widened(errors: float, freedom: int) -> float:
    from scipy.stats import norm, t

    return float(t.isf(norm.sf(errors), freedom))
