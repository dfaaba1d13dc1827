"""Vectors of texts that the user made elsewhere, read from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.errors import BadLog


class GivenVectors:
    """A Parquet or JSONL file with columns ``query`` (text) and ``vector`` (list of numbers).

    Raises:
        BadLog: the file is missing, lacks a column, its vectors differ in length, or a text has two
            different ones.
    """

    def __init__(self, path: str | Path) -> None:
        import pyarrow
        from pyarrow import json, parquet

        path = Path(path)
        self.source = f"file:{path.name}"
        try:
            whole = path.suffix == ".parquet"
            table = parquet.read_table(path) if whole else json.read_json(path)
            texts = table["query"].to_pylist()
            vectors = np.array(table["vector"].to_pylist(), dtype=np.float64)
        except (OSError, KeyError, ValueError, TypeError, pyarrow.ArrowInvalid) as error:
            first = str(error).strip().splitlines()[0]
            raise BadLog(
                f"{path}: no file of vectors with columns 'query' and 'vector' ({first})"
            ) from error
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise BadLog(f"{path}: vectors must be finite and of one length")
        self._vectors = vectors
        self._row: dict[str, int] = {}
        for row, text in enumerate(texts):
            known = self._row.setdefault(text, row)
            if known != row and not np.array_equal(vectors[known], vectors[row]):
                raise BadLog(f"{path}: the query '{str(text)[:80]}' has two different vectors")

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """``[len(texts), size]``.

        Raises:
            BadLog: a text has no vector.
        """
        rows = [self._row.get(text, -1) for text in texts]
        if -1 in rows:
            missing = texts[rows.index(-1)]
            raise BadLog(f"there is no vector of the query '{missing[:80]}'")
        return np.asarray(self._vectors[rows])
