"""Pairs of similar texts: cosine of TF-IDF weights over runs of characters, without all pairs.

    text ──► runs of 4 characters ──► weight (1 + log count) · idf ──► unit vector x

    x, rarest runs first:   [ r1 r2 r3 r4 | r5 r6 r7 … ]
                              prefix        norm of the rest < 0.85 · threshold

What two texts share outside both prefixes lies in the rest of one of them, and so adds less than
0.85 · threshold to the cosine (the Cauchy-Schwarz inequality). Only pairs whose prefixes alone have
a product of at least 0.15 · threshold are compared. This is the prefix filter of Bayardo, Ma and
Srikant, "Scaling up all pairs similarity search", WWW 2007.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.logs.log import Floats, Indices

RUN = 4  # characters: short words with their spaces
BUCKETS = 1 << 22  # of the hash of a run
LONGEST = 2_000  # characters of a text that are compared: half from its start, half from its end
ROUNDING = 1e-6  # of single precision
CHUNK_CHARACTERS = 4_000_000
CHUNK_TEXTS = 256
REST = 0.85  # norm of what is left out of a prefix, relative to the threshold
MOST_CANDIDATES = 64  # compared for one text, those that share most rare runs first
MOST_PRODUCTS = 5e8  # of prefixes, some seconds; beyond, the commonest runs are left out


def similar_pairs(
    left: Sequence[str], right: Sequence[str], threshold: float
) -> Iterator[tuple[Indices, Indices, Floats]]:
    """Pairs with a cosine of at least the threshold, a chunk of ``left`` at a time.

    Exact, except for the limits on time and memory: a text with more than ``MOST_CANDIDATES``
    candidates is compared only with those that share the most rare runs with it; where few runs
    are rare, as in texts of a few letters, pairs that share only common ones are missed; and only
    the start and the end of texts over ``LONGEST`` characters are read.

    Args:
        left: texts, already normalised.
        right: the texts to compare them with, normalised too.
        threshold: in (0, 1].

    Yields:
        Indices into ``left``, indices into ``right`` and cosines, one of each a pair.

    Raises:
        ValueError: the threshold is not in (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"the threshold of similarity must be in (0, 1], got {threshold}")
    if not left or not right:
        return
    vectors = _unit_vectors([*left, *right])
    prefixes = _affordable(_prefixes(vectors, REST * threshold), len(left))
    right_vectors, right_prefixes = vectors[len(left) :], prefixes[len(left) :].T.tocsr()
    least = (1 - REST) * threshold - ROUNDING
    for start in range(0, len(left), CHUNK_TEXTS):
        stop = min(start + CHUNK_TEXTS, len(left))
        shared = (prefixes[start:stop] @ right_prefixes).tocsr()
        rows, columns = _strongest(shared, least, MOST_CANDIDATES)
        cosines = _dots(vectors[start:stop], right_vectors, rows, columns)
        keep = cosines >= threshold - ROUNDING
        yield rows[keep] + start, columns[keep], np.minimum(cosines[keep], 1.0)


def _unit_vectors(texts: Sequence[str]) -> Any:
    """TF-IDF rows of norm 1, columns from the rarest run to the commonest."""
    from scipy import sparse

    counts = sparse.vstack([_run_counts(chunk) for chunk in _chunks(texts)], format="csr")
    found = np.bincount(counts.indices, minlength=BUCKETS)
    used = np.flatnonzero(found)
    rarest_first = used[np.argsort(found[used], kind="stable")]
    place = np.empty(BUCKETS, dtype=np.int32)
    place[rarest_first] = np.arange(len(used), dtype=np.int32)
    inverse_frequency = np.log((1 + len(texts)) / (1 + found[rarest_first])) + 1
    columns = place[counts.indices]
    data = (1 + np.log(counts.data)) * inverse_frequency[columns].astype(np.float32)
    counts = sparse.csr_matrix((data, columns, counts.indptr), shape=(len(texts), len(used)))
    counts.sort_indices()
    norms = np.sqrt(np.add.reduceat(counts.data.astype(np.float64) ** 2, counts.indptr[:-1]))
    counts.data /= np.repeat(norms, np.diff(counts.indptr)).astype(np.float32)
    return counts


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    size = 0
    for text in texts:
        if len(text) > LONGEST:
            text = text[: LONGEST // 2] + text[-LONGEST // 2 :]
        chunk.append(f" {text} ".ljust(RUN))  # the spaces let first and last words count
        size += len(chunk[-1])
        if size > CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _run_counts(texts: list[str]) -> Any:
    """How often each run of characters occurs in each text, ``[texts, BUCKETS]``."""
    from scipy import sparse

    characters = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    lengths = np.array([len(text) for text in texts])
    runs = len(characters) - RUN + 1
    codes = np.zeros(runs, dtype=np.uint64)
    for offset in range(RUN):
        codes = codes * np.uint64(0x9E3779B97F4A7C15) + characters[offset : offset + runs]
    buckets = ((codes ^ (codes >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)) >> np.uint64(42)
    owners = np.repeat(np.arange(len(texts)), lengths)
    inside = np.ones(len(characters), dtype=bool)  # runs that do not reach into the next text
    ends = np.cumsum(lengths)
    for offset in range(1, RUN):
        inside[ends - offset] = False
    inside, owners = inside[:runs], owners[:runs]
    cells = sparse.coo_matrix(
        (np.ones(int(inside.sum()), dtype=np.float32), (owners[inside], buckets[inside])),
        shape=(len(texts), BUCKETS),
    )
    return cells.tocsr()  # adds up the runs that occur several times


def _prefixes(vectors: Any, rest: float) -> Any:
    """The rarest runs of each row, until the norm of what is left is below ``rest``."""
    squares = np.cumsum(vectors.data.astype(np.float64) ** 2)
    before = np.concatenate([[0.0], squares])  # squared weight left of each entry, over all rows
    row_end = np.repeat(before[vectors.indptr[1:]], np.diff(vectors.indptr))
    return _entries(vectors, row_end - before[:-1] >= rest**2 - ROUNDING)


def _affordable(prefixes: Any, left: int) -> Any:
    """The prefixes without the commonest runs, if their products would take too long."""
    place = prefixes.indptr[left]
    in_left = np.bincount(prefixes.indices[:place], minlength=prefixes.shape[1])
    in_right = np.bincount(prefixes.indices[place:], minlength=prefixes.shape[1])
    products = np.cumsum(in_left.astype(np.float64) * in_right)  # columns go from rare to common
    if products[-1] <= MOST_PRODUCTS:
        return prefixes
    return _entries(prefixes, products[prefixes.indices] <= MOST_PRODUCTS)


def _entries(rows: Any, keep: NDArray[np.bool_]) -> Any:
    from scipy import sparse

    kept = np.concatenate([[0], np.cumsum(keep)])
    return sparse.csr_matrix(
        (rows.data[keep], rows.indices[keep], kept[rows.indptr]), shape=rows.shape
    )


def _strongest(shared: Any, least: float, most: int) -> tuple[Indices, Indices]:
    """Rows and columns of the entries of at least ``least``, the largest ones of each row."""
    shared = _entries(shared, shared.data >= least)
    lengths = np.diff(shared.indptr)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    if len(lengths) and lengths.max() > most:
        order = np.lexsort((-shared.data, rows))
        rank = np.arange(len(order)) - np.repeat(shared.indptr[:-1], lengths)
        order = order[rank < most]
        return rows[order], shared.indices[order].astype(np.int64)
    return rows, shared.indices.astype(np.int64)


def _dots(left: Any, right: Any, rows: Indices, columns: Indices) -> NDArray[np.float64]:
    parts = [
        np.asarray(left[rows[i : i + 4096]].multiply(right[columns[i : i + 4096]]).sum(axis=1))
        for i in range(0, len(rows), 4096)
    ]
    return np.concatenate(parts).ravel().astype(np.float64) if parts else np.empty(0)
