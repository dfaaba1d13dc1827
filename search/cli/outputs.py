"""Files that a command writes: none of them may be one that it reads, or that it writes as well."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from search.errors import TreewardError


def check_outputs(outputs: Iterable[Path | None], inputs: Iterable[Path | None] = ()) -> None:
    """Looks at paths before anything is done; ``None`` stands for what was not asked for.

    Raises:
        TreewardError: two outputs are one file, or an output is an input or lies in no folder.
    """
    taken = {path.resolve(): "is read" for path in inputs if path is not None}
    for path in outputs:
        if path is None:
            continue
        place = path.resolve()
        if place in taken:
            raise TreewardError(f"{path} would be overwritten: it {taken[place]} by this command")
        if not place.parent.is_dir():
            raise TreewardError(f"cannot write {path}: there is no folder {place.parent}")
        taken[place] = "is written"
