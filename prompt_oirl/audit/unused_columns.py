"""Columns of a file that no field of a log was read from."""

from __future__ import annotations

from collections.abc import Sequence

from prompt_oirl.audit.finding import Finding

CHECK = "unused-columns"
MOST_NAMED = 8


def unused_columns(names: Sequence[str]) -> list[Finding]:
    """A note that names them: a cost under an unusual name would be missed without a word.

    Args:
        names: of the columns.
    """
    if not names:
        return []
    shown = ", ".join(f"'{name}'" for name in names[:MOST_NAMED])
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    columns = "column is" if len(names) == 1 else f"{len(names):,} columns are"
    sentence = f"{columns} of no use: {shown}{more}; --column field=column gives one a meaning."
    return [Finding(CHECK, "note", sentence[0].upper() + sentence[1:], {"columns": list(names)})]
