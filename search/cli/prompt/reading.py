"""Logs as the commands of ``treeward prompt`` read them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prompt_oirl.choice.selector import Selector
    from prompt_oirl.logs.log import PromptLog
    from prompt_oirl.logs.read import LogReading


def read_for_command(path: Path | None, columns: Sequence[str] | None) -> Any:
    """The log of a file, or the example; malformed lines are counted on stderr."""
    return reading_for_command(path, columns).log


def reading_for_command(path: Path | None, columns: Sequence[str] | None) -> LogReading:
    """As :func:`read_for_command`, with what of the file could not be used."""
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
    return reading


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
    """A saved selector, with the vectors of queries that it was fitted with, if it was; warnings go
    to stderr."""
    from prompt_oirl.choice.selector import Selector

    given = vectors_from(vectors, "")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        selector = Selector.load(folder, given)
    for warning in (one for one in caught if one.category is UserWarning):
        print(f"treeward: {warning.message}", file=sys.stderr)
    return selector


def lines_of(path: Path, key: str) -> list[str]:
    """Texts of a file, one a line; lines that are JSON objects have theirs under ``key``. ``-`` is
    stdin."""
    from prompt_oirl.errors import BadLog
    from search.json_text import parse_json

    try:
        read = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        text = read.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadLog(f"{path}: cannot be read ({error})") from error
    found = []
    for number, line in enumerate(text.split("\n"), 1):  # splitlines would cut JSON at U+2028
        line = line.rstrip("\r")
        if not line.strip():
            continue
        if line.lstrip().startswith("{"):
            try:
                line = parse_json(line)[key]
            except (ValueError, KeyError, TypeError):
                raise BadLog(f"{path}, line {number}: no JSON object with a '{key}'") from None
            if not isinstance(line, str):
                raise BadLog(f"{path}, line {number}: '{key}' is not a text")
        found.append(line)
    return found


def with_queries(log: PromptLog, texts: Sequence[str]) -> PromptLog:
    """The log with further queries, which were run under no prompt and have their text for an id;
    texts that it has already stay as they are."""
    from prompt_oirl.logs.log import Query
    from prompt_oirl.logs.text_hash import text_group

    known = set(log.texts)
    new = (text for text in dict.fromkeys(texts) if text not in known)
    return replace(log, queries=(*log.queries, *(Query(t, t, text_group(t)) for t in new)))
