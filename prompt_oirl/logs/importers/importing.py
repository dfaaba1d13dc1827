"""What all importers share: their options, how they are called, and how their cells are checked."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.build import build_log
from prompt_oirl.logs.cell_table import CellCollector
from prompt_oirl.logs.metadata import Metadata, log_stem
from prompt_oirl.logs.read import LogReading, open_bytes
from prompt_oirl.logs.text_hash import text_id
from search.json_text import parse_json

TOOLS = {
    "promptfoo": "promptfoo",
    "lm-eval": "lm_eval",
    "inspect": "inspect_logs",
    "oirl": "released_oirl",
    "treeward": "treeward_traces",
}
"""The file of each importer, by the name of its tool."""
ONE_FILE_A_PROMPT = ("lm-eval", "inspect", "treeward")
UNEXPECTED = (AttributeError, TypeError, KeyError, IndexError, OverflowError)
"""What reading a record raises where an object, a list or a text is something else."""
LONGEST_NAME = 60
"""Characters of a prompt's text that still serves as its name."""
MOST_LISTED = 4
"""Kinds of files that an error names."""
QUERY_FIELDS = ("question", "query", "input", "problem", "text", "sentence", "prompt", "ctx")


@dataclass(frozen=True)
class ImportOptions:
    """What an importer cannot find out from the files.

    Attributes:
        name: of the log; by default that of the first file.
        query_fields: which variables or fields of a record are the question; several are joined.
        metric: which score is the outcome, where a tool has several.
        arms: a name for the prompt of each file, in their order.
        queries: a file with the texts of the questions, where a tool's files have none.
        arm_texts: the text of each prompt by its name, where a tool's files have none.
    """

    name: str = ""
    query_fields: tuple[str, ...] = ()
    metric: str = ""
    arms: tuple[str, ...] = ()
    queries: Path | None = None
    arm_texts: Mapping[str, str] = field(default_factory=dict)


def import_log(
    tool: str, paths: Sequence[str | Path], options: ImportOptions | None = None
) -> LogReading:
    """Reads files of another tool as one log.

    A cell that is there several times (repeats, epochs, several files of one prompt) becomes
    reruns. In ``problems``, the line is the number of the record in its file, counted from 1.

    Raises:
        BadLog: an unknown tool, a file that is missing or not of that tool, or nothing usable.
    """
    if tool not in TOOLS:
        raise BadLog(f"unknown tool '{tool}'; known: {', '.join(TOOLS)}")
    if not paths:
        raise BadLog(f"no file of {tool} is given")
    options = options or ImportOptions()
    if options.arms and tool not in ONE_FILE_A_PROMPT:
        raise BadLog(f"files of {tool} name their prompts themselves; no other names can be given")
    if options.arms and len(options.arms) != len(paths):
        raise BadLog(f"{len(options.arms)} prompts are named for {len(paths)} files")
    module = import_module(f"prompt_oirl.logs.importers.{TOOLS[tool]}")
    reader: Callable[[list[Path], ImportOptions], ImportedCells] = module.read_cells
    files = [Path(path) for path in paths]
    try:
        cells = reader(files, options)
    except UNEXPECTED as error:
        raise BadLog(f"{files[0]} does not have the form that {tool} writes ({error})") from error
    name = options.name or log_stem(files[0])
    texts = {**cells.arm_texts, **options.arm_texts}
    table = cells.table()
    table.rows = cells.records
    where = str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    order = tuple(options.arms or cells.arm_order)
    log, problems = build_log(where, table, Metadata(name, order, texts))
    return LogReading(log, problems, table.rows)


class ImportedCells(CellCollector):
    """Cells of a tool's files, and the texts of its prompts.

    Attributes:
        records: in the files, used or not.
        arm_order: names of the prompts, where a tool lists them; else they come as the cells do.
        arm_texts: the text of each prompt by its name, where a tool knows it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.records = 0
        self.arm_order: list[str] = []
        self.arm_texts: dict[str, str] = {}


def load_json(path: Path) -> Any:
    """The JSON document in a file.

    Raises:
        BadLog: the file cannot be read or is no JSON.
    """
    try:
        with open_bytes(path) as file:
            return parse_json(file.read())
    except OSError as error:
        raise BadLog(f"cannot read {path}: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise BadLog(f"{path} is not a complete gzip file ({error})") from error
    except ValueError as error:
        raise BadLog(f"{path} is not JSON ({error})") from error


def json_lines(path: Path, cells: ImportedCells) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file with their line numbers; other lines are noted as problems.

    Raises:
        BadLog: the file cannot be read.
    """
    try:
        with open_bytes(path) as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise BadLog(f"cannot read {path}: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise BadLog(f"{path} is not a complete gzip file ({error})") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        cells.records += 1
        try:
            record = parse_json(line)
        except ValueError:
            cells.refuse(number, f"{path.name}: not JSON")
            continue
        if isinstance(record, dict):
            yield number, record
        else:
            cells.refuse(number, f"{path.name}: not a JSON object")


def find_question(record: Mapping[str, Any], query_fields: Sequence[str] = ()) -> str:
    """The text of the question in a tool's record: the named fields, or one usual for it.

    Returns:
        Empty where there is none, or not all that are named.
    """
    if not query_fields:
        return next(filter(None, (_text(record.get(name)) for name in QUERY_FIELDS)), "")
    found = {name: _text(record.get(name), numbers=True) for name in query_fields}
    return joined_fields(found) if all(found.values()) else ""


def joined_fields(fields: Mapping[str, Any]) -> str:
    """The text of one field; of several a line each, with its name, in their order."""
    if len(fields) == 1:
        return str(next(iter(fields.values())))
    return "\n".join(f"{name}: {value}" for name, value in fields.items())


def _text(value: Any, numbers: bool = False) -> str:
    """A value that is a text, or with ``numbers`` a number; else empty."""
    if isinstance(value, str) and value.strip():
        return value
    return str(value) if numbers and isinstance(value, int | float) else ""


def number(value: Any) -> float:
    """A JSON number or boolean as a float; NaN for everything else."""
    try:
        return float(value) if isinstance(value, int | float) else float("nan")
    except OverflowError:
        return float("inf")


def shared_choice(what: str, option: str, having: Iterable[tuple[Path, Sequence[str]]]) -> str:
    """The one score, metric or filter by which all records are judged, so that prompts compare.

    Args:
        what: of these things it is, for the error.
        option: of the command line by which one is named.
        having: the file of each record, and the names that it has, the usual one first.

    Returns:
        The name that is first everywhere, else the only one that is everywhere; empty where no
        record has any.

    Raises:
        BadLog: there is no such name.
    """
    files: dict[tuple[str, ...], dict[Path, None]] = {}
    for path, names in having:
        if names:
            files.setdefault(tuple(names), {})[path] = None
    if not files:
        return ""
    first = next(iter(files))
    if all(names[0] == first[0] for names in files):
        return first[0]
    shared = [name for name in first if all(name in names for names in files)]
    if len(shared) == 1:
        return shared[0]
    listed = "; ".join(
        f"{', '.join(names)} in {_first_of(list(paths))}"
        for names, paths in list(files.items())[:MOST_LISTED]
    )
    more = "; …" if len(files) > MOST_LISTED else ""
    raise BadLog(
        f"the files do not share one {what} ({listed}{more}); name the one that is the outcome "
        f"with {option}"
    )


def _first_of(paths: list[Path]) -> str:
    return paths[0].name + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def ids_name_texts(pairs: Iterable[tuple[str, str]]) -> bool:
    """Whether every id of (id, text) has one text: tools number the records of each file anew."""
    text_of: dict[str, str] = {}
    return all(text_of.setdefault(name, text) == text for name, text in pairs)


def reason_of(error: Exception) -> str:
    """One line on why a record cannot be read."""
    if isinstance(error, UNEXPECTED):
        return f"a record of an unexpected form ({error})"
    return str(error)


def short_line(text: str) -> str:
    """A text on one line; a long one by its beginning and a hash, so that names stay apart."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_NAME else f"{line[:40]}… {text_id(text)[:6]}"


def distinct_names(attributes: Sequence[Mapping[str, str]], paths: Sequence[Path]) -> list[str]:
    """A name for each file: as few of its attributes as tell it from the others, in their order.

    Files alike in every attribute get the same name: they are reruns of one prompt.

    Args:
        attributes: of each file; the first is the most telling. One that a file does not have is
            empty there.
        paths: the files, for a name where there is nothing else.
    """
    keys = list(dict.fromkeys(key for of_file in attributes for key in of_file))
    parts: list[tuple[str, ...]] = [()] * len(attributes)
    for key in keys:
        finer = [(*part, of_file.get(key, "")) for part, of_file in zip(parts, attributes)]
        if len(set(finer)) > len(set(parts)):
            parts = finer
    first = keys[0] if keys else ""
    return [
        " ".join(filter(None, part)) or of_file.get(first) or log_stem(path)
        for part, of_file, path in zip(parts, attributes, paths)
    ]
