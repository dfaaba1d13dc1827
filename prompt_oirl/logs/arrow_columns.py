"""Columns of an Arrow table as texts and as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.cell_table import Coded
from prompt_oirl.logs.log import Floats

NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?(nan|NaN|inf|Infinity)$"


def text_column(table: pa.Table, name: str | None) -> Coded:
    """A column as texts; blank ones, and all where there is no column, are missing.

    Raises:
        BadLog: it holds lists, or the like.
    """
    if name is None:
        return Coded.missing(table.num_rows)
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        try:
            column = column.cast(pa.string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise BadLog(f"the column '{name}' holds {column.type}, not text") from error
    encoded = pc.dictionary_encode(column).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    values = encoded.dictionary.to_pylist()
    blank = [code for code, value in enumerate(values) if not value or value.isspace()]
    if blank:
        codes[np.isin(codes, blank)] = -1
    return Coded(codes, values)


def number_column(table: pa.Table, name: str | None) -> tuple[Floats, Any]:
    """A column as floats (NaN where there is none), and where it holds something else; ``[N]``.

    Texts are read as numbers; ``true`` and ``false`` are 1 and 0.

    Raises:
        BadLog: it holds lists, or the like.
    """
    size = table.num_rows
    if name is None:
        return np.full(size, np.nan), np.zeros(size, dtype=bool)
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    bad = np.zeros(size, dtype=bool)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        text = pc.utf8_trim_whitespace(column)
        lower = pc.utf8_lower(text)
        text = pc.if_else(pc.equal(lower, "true"), "1", text)
        text = pc.if_else(pc.equal(lower, "false"), "0", text)
        valid = pc.match_substring_regex(text, NUMBER)
        is_nan = pc.match_substring_regex(lower, "^[+-]?nan$")
        bad = pc.fill_null(pc.or_(pc.invert(valid), is_nan), False).to_numpy()
        column = pc.if_else(valid, text, pa.scalar(None, text.type))
    try:
        values = column.cast(pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadLog(f"the column '{name}' holds {column.type}, not numbers") from error
    return np.array(values, dtype=np.float64), bad
