"""Which prompts may still turn out the best of some query."""

from __future__ import annotations

import numpy as np

from prompt_oirl.active.posterior import Floats, Indices, Posterior

LEAST_PROBABILITY = 0.05
DRAWS = 400
QUERIES = 200  # a sample of queries says which prompts compete


def probability_best(posterior: Posterior, z: Floats, seed: int = 0) -> Floats:
    """How often each prompt is the best one, over posterior draws and queries, ``[K]``; sums to 1.

    Args:
        posterior: of :func:`prompt_oirl.active.posterior.fit_posterior`.
        z: ``[1, factors]`` of queries, ``[Q, d + 1]``; a sample of them is used.
        seed: of draws and sample.
    """
    rng = np.random.default_rng(seed)
    arms, width = posterior.arms, z.shape[1]
    root = np.linalg.cholesky(posterior.covariance)
    normal = rng.standard_normal((len(root), DRAWS))
    drawn = (posterior.mean.ravel()[:, None] + root @ normal).reshape(arms + 1, width, DRAWS)
    here = z[rng.permutation(len(z))[:QUERIES]]
    best = np.einsum("qi,kin->qkn", here, drawn[1:]).argmax(axis=1)  # what is shared moves none
    result: Floats = np.bincount(best.ravel(), minlength=arms) / best.size
    return result


def contenders(
    posterior: Posterior,
    z: Floats,
    least_probability: float = LEAST_PROBABILITY,
    seed: int = 0,
) -> Indices:
    """The prompts of at least some probability to be the best one; the two likeliest in any case.

    Successive elimination (Even-Dar et al., 2006) by posterior probability: a prompt that is out
    comes back if the others turn out worse than they seemed.
    """
    probability = probability_best(posterior, z, seed)
    found = np.flatnonzero(probability >= least_probability)
    if len(found) < 2:
        found = np.sort(np.argsort(-probability, kind="stable")[:2])
    return found
