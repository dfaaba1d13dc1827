"""Plain numpy references of the sampling routines, written to be read rather than to be fast."""

from __future__ import annotations

import itertools

import numpy as np

MASK = 0xFFFFFFFF
SLACK = float(np.finfo(np.float32).eps)  # top_p and min_p are compared up to one float step


def logits_row(
    row: np.ndarray,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, log-probabilities and weights of the kept candidates, in float64.

    Args:
        row: [vocabulary], with -inf for masked tokens.
        temperature: >= 0; 0 keeps the argmax.
        top_k: 0 keeps every token.
        top_p: in (0, 1].
        min_p: in [0, 1).
    """
    x = row.astype(np.float64)
    order = np.lexsort((np.arange(len(x)), -x))
    order = order[np.isfinite(x[order])]
    shifted = x - x.max()
    logprob = shifted - np.log(np.exp(shifted).sum())
    if temperature == 0:
        return order[:1], logprob[order[:1]], np.ones(1)
    if top_k:
        order = order[:top_k]
    with np.errstate(under="ignore"):
        relative = np.exp(shifted[order] / np.float64(np.float32(temperature)))
    top_p, min_p = float(np.float32(top_p)), float(np.float32(min_p))
    if top_p < 1:
        reached = np.cumsum(relative) >= top_p * relative.sum() * (1 - SLACK)
        order = order[: int(np.argmax(reached)) + 1]
    order = order[: max(1, int((relative[: len(order)] >= min_p * (1 - SLACK)).sum()))]
    weight = relative[: len(order)]
    return order, logprob[order], weight / weight.sum()


def philox(key: int, counter_low: int, counter_high: int) -> tuple[int, int, int, int]:
    """The four 32-bit words of Philox4x32-10 (Salmon et al., SC 2011)."""
    k0, k1 = key & MASK, key >> 32
    c = (counter_low & MASK, counter_low >> 32, counter_high & MASK, counter_high >> 32)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = (p1 >> 32 ^ c[1] ^ k0, p1 & MASK, p0 >> 32 ^ c[3] ^ k1, p0 & MASK)
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c


def uniform(key: int, counter_low: int, counter_high: int) -> float:
    """The number in [0, 1) made of the top 53 of the first 64 bits."""
    words = philox(key, counter_low, counter_high)
    return ((words[1] << 32 | words[0]) >> 11) * 2.0**-53


def gumbel_top_k(
    weights: np.ndarray, k: int, key: int, counter: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices and scores of Gumbel-top-k; noise i is drawn at (counter, "GUMB" << 32 | i)."""
    stream = int.from_bytes(b"GUMB", "big") << 32
    draws = [max(uniform(key, counter, stream | i), 2.0**-54) for i in range(len(weights))]
    with np.errstate(divide="ignore"):
        scores = np.log(np.asarray(weights, np.float64)) - np.log(-np.log(draws))
    order = np.argsort(-scores, kind="stable")[:k]
    order = order[np.isfinite(scores[order])]
    return order, scores[order]


def sequence_probabilities(weights: np.ndarray, k: int) -> dict[tuple[int, ...], float]:
    """Probability of every ordered draw of k without replacement, by enumeration."""
    total = float(np.sum(weights))
    table = {}
    for sequence in itertools.permutations(range(len(weights)), k):
        probability, left = 1.0, total
        for index in sequence:
            probability *= weights[index] / left
            left -= weights[index]
        table[sequence] = probability
    return table


def pick(weights: np.ndarray, number: float) -> int:
    """Inverse CDF over the positive weights."""
    positive = np.flatnonzero(np.asarray(weights) > 0)
    reached = np.cumsum(np.asarray(weights, np.float64)[positive])
    place = int(np.searchsorted(reached, number * reached[-1], side="right"))
    return int(positive[min(place, len(positive) - 1)])


def blend(tokens: np.ndarray, logprobs: np.ndarray, rewards: np.ndarray, weight: float) -> int:
    """Argmax of logprob + weight * reward, ties by lower token id."""
    scores = np.asarray(logprobs, np.float32).astype(np.float64) + weight * np.asarray(rewards)
    return int(np.lexsort((np.asarray(tokens), -scores))[0])
