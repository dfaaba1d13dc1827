"""Logs as the commands of ``treeward prompt`` read them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prompt_oirl.choice.selector import Selector


def read_for_command(path: Path | None, columns: Sequence[str] | None) -> Any:
    """The log of a file, or the example; malformed lines are counted on stderr."""
    from prompt_oirl.logs.columns import parse_mapping
    from prompt_oirl.logs.read import read_log
    from search.cli.prompt.audit import example_log

    reading = read_log(path or example_log(), **parse_mapping(columns or []))  # type: ignore[arg-type]
    if reading.problems:
        count, first = len(reading.problems), reading.problems[0]
        print(
            f"treeward: {count} faults in {reading.rows} lines, left out; first: {first}",
            file=sys.stderr,
        )
    return reading.log


def settings_from(
    models: str, kind: str, z: float, default: str, folds: int, repeats: int, ensemble: bool
) -> Any:
    """Settings of a selector from options."""
    from prompt_oirl.choice.selector import Settings
    from prompt_oirl.errors import BadLog
    from prompt_oirl.models import model_class

    names = tuple(name.strip() for name in models.split(",") if name.strip())
    if not names:
        raise BadLog("no model is named")
    for name in names:
        model_class(name)
    return Settings(names, folds, repeats, kind=kind, z=z, default=default, ensemble=ensemble)


def vectors_from(path: Path | None, encoder: str) -> Any:
    """What gives vectors of texts: a file, an encoder, or nothing."""
    from prompt_oirl.errors import BadLog

    if path is not None and encoder:
        raise BadLog("give vectors or an encoder, not both")
    if encoder:
        from prompt_oirl.features.encoder import Encoder

        return Encoder(encoder)
    if path is not None:
        from prompt_oirl.features.given_vectors import GivenVectors

        return GivenVectors(path)
    return None


def selector_from(folder: Path, vectors: Path | None = None) -> Selector:
    """A saved selector, with the vectors of queries that it was fitted with, if it was."""
    from prompt_oirl.choice.selector import Selector

    return Selector.load(folder, vectors_from(vectors, ""))
