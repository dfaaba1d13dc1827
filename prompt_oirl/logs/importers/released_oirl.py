"""The files that the authors of Prompt-OIRL released (github.com/holarissun/Prompt-OIRL).

    llama2_chat_logs/gsm8k/llama_gsm8k_test_corr_CoT.txt    (0, True)  a line: right or wrong
    …/llama_gsm8k_test_answers_list_CoT.txt                 (0, '…')   a record, then ====: texts
    LMllama2/gsm8k_test_CoT.npy                             [True, False, …]
    active_results/ALL_gsm8k_10_llama.npy                   {model: {"baseline_test": […], …}}

The arm is the prompt's alias at the end of the file's name; the held-out prompts (``gpt4_0``…) and
names with ``test`` are of the test split, the others of the training split. Texts of answers only
give their lengths. Of a file of results, the models of one prompt are read: their ``baseline_test``
is whether that prompt was right on each test query. These files are pickles; they are read without
running them (``plain_pickle.py``).

The released files hold no questions: give them as ``queries``, a JSONL file in the order of the
dataset with ``query`` (or ``question``), and where known ``id``, ``split``, ``group``. Rows are
counted in each split, so ``split`` is needed where the files are of both.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.importers.importing import (
    ImportedCells,
    ImportOptions,
    find_question,
    json_lines,
)
from prompt_oirl.logs.importers.plain_pickle import RefusedPickle, read_plain_pickle

ARMS = ("nan", "CoT", "APE", "Dis", "ToT", "Decomp")
"""The six training prompts in the order of their numbers in files of results."""
ALIAS = r"(?P<arm>nan|CoT|APE|Dis|ToT|Decomp|gpt4_\d+)"
RIGHT = re.compile(rf"(?P<set>.+?)_(?P<test>test_)?corr_{ALIAS}\.txt")
ANSWERS = re.compile(rf"(?P<set>.+?)_(?P<test>test_)?answers_list_{ALIAS}\.txt")
VECTOR = re.compile(rf"(?P<set>.+?)_(?P<part>test|train)_{ALIAS}\.npy")
RECORD = re.compile(r"\((\d+), (True|False)\)")
ONE_PROMPT = re.compile(r".*_(\d)\.model.*")
RESULTS = re.compile(r"ALL_(?P<dataset>[^_]+)_\d+(?:_(?P<model>.+))?\.npy")
SEPARATOR = re.compile(r"\n=+(?:\n|$)")
OPTIONAL = ("id", "split", "group")


@dataclass
class _Column:
    """What is known of one prompt on one split: outcome and length of the answer by query."""

    outcome: dict[int, float] = field(default_factory=dict)
    length: dict[int, float] = field(default_factory=dict)


def read_cells(paths: list[Path], options: ImportOptions) -> ImportedCells:
    """The cells of released files; all files must be of one model and dataset."""
    cells = ImportedCells()
    _check_one_source(paths)
    queries = _queries(options)
    columns: dict[tuple[str, str], _Column] = {}
    for path in paths:
        try:
            _read(path, columns, cells)
        except OSError as error:
            raise BadLog(f"cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise BadLog(f"{path} is not UTF-8 text ({error.reason})") from error
    _check_splits(options.queries, queries, {split for split, _ in columns})
    for (split, arm), column in sorted(columns.items(), key=lambda item: _order(*item[0])):
        if column.length and not column.outcome:
            raise BadLog(
                f"there are texts of answers of '{arm}' ({split}), but no file of its correctness"
            )
        texts = queries.get(split) or queries.get("", [])
        for index, outcome in column.outcome.items():
            cells.records += 1
            if index >= len(texts):
                reason = f"query {index} of '{arm}' ({split}) is not among the {len(texts)} given"
                cells.refuse(index + 1, reason)
                continue
            given = texts[index]
            known = {
                "id": given.get("id") or f"{split}-{index}",
                "query": given["query"],
                "group": given.get("group", ""),
                "split": split,
                "arm": arm,
            }
            length = column.length.get(index, float("nan"))
            cells.add(index + 1, known, outcome, {"length": length})
    return cells


def _order(split: str, arm: str) -> tuple[bool, int, str]:
    """Training prompts by their numbers, then the held-out ones; queries of one split together."""
    number = ARMS.index(arm) if arm in ARMS else len(ARMS) + int(arm.removeprefix("gpt4_"))
    return split == "test", number, arm


def _queries(options: ImportOptions) -> dict[str, list[dict[str, str]]]:
    """The texts of the questions by split, or under the empty name where no split is given."""
    if options.queries is None:
        raise BadLog("the released files of Prompt-OIRL hold no questions; give them as --queries")
    by_split: dict[str, list[dict[str, str]]] = {}
    lines = ImportedCells()
    for line, record in json_lines(options.queries, lines):
        text = find_question(record, options.query_fields)
        if not text:
            raise BadLog(f"{options.queries}, line {line}: no text of a query")
        known = {name: str(record[name]) for name in OPTIONAL if record.get(name) is not None}
        by_split.setdefault(known.get("split", ""), []).append({**known, "query": text})
    if lines.problems:  # left out, it would move every later query by one row
        raise BadLog(f"{options.queries}, line {lines.problems[0].line}: no JSON object")
    if not by_split:
        raise BadLog(f"{options.queries} holds no queries")
    return by_split


def _check_one_source(paths: list[Path]) -> None:
    """Whether all files are of one dataset and one model, as far as their names say so.

    Raises:
        BadLog: they are not; row 3 of one dataset is another query than row 3 of the next.
    """
    first: dict[str, tuple[str, Path]] = {}
    for path in paths:
        for what, name in _source(path.name).items():
            known, before = first.setdefault(what, (name, path))
            if known != name:
                raise BadLog(
                    f"{before.name} and {path.name} are of two {what}s, '{known}' and '{name}'; "
                    "import each by itself"
                )


def _source(name: str) -> dict[str, str]:
    """The dataset and the model in a file's name, where they are there."""
    if match := RESULTS.fullmatch(name):
        found = {"dataset": match["dataset"], "model": match["model"] or ""}
    elif match := RIGHT.fullmatch(name) or ANSWERS.fullmatch(name) or VECTOR.fullmatch(name):
        model, _, dataset = match["set"].rpartition("_")
        found = {"dataset": dataset, "model": model}
    else:
        found = {}
    return {what: text for what, text in found.items() if text}


def _check_splits(
    path: Path | None, queries: dict[str, list[dict[str, str]]], used: set[str]
) -> None:
    """Whether no two splits of the files would get the same queries.

    Raises:
        BadLog: two would: row 3 of the test split is another query than row 3 of the training one.
    """
    unnamed = sorted(used - queries.keys())
    if "" in queries and len(unnamed) > 1:
        raise BadLog(
            f"the files are of the splits {' and '.join(unnamed)}, but the queries of {path} have "
            "no 'split'; give each line its split"
        )


def _read(path: Path, columns: dict[tuple[str, str], _Column], cells: ImportedCells) -> None:
    name = path.name
    if match := RIGHT.fullmatch(name):
        column = columns.setdefault(_key(match), _Column())
        _read_right(path, column, cells)
    elif match := ANSWERS.fullmatch(name):
        column = columns.setdefault(_key(match), _Column())
        _read_answers(path, column, cells)
    elif match := VECTOR.fullmatch(name):
        values = _load_npy(path)
        column = columns.setdefault((match["part"], match["arm"]), _Column())
        _merge(path, column, dict(enumerate(_vector(path, values))))
    elif name.endswith(".npy"):
        for arm, vector in _results(path).items():
            column = columns.setdefault(("test", arm), _Column())
            _merge(path, column, dict(enumerate(_vector(path, vector))))
    else:
        raise BadLog(f"{path} is none of the released files that hold outcomes")


def _key(match: re.Match[str]) -> tuple[str, str]:
    held_out = match["arm"].startswith("gpt4")
    return ("test" if match["test"] or held_out else "train"), match["arm"]


def _merge(path: Path, column: _Column, found: dict[int, float]) -> None:
    """Adds the outcomes of a file; the same ones may lie in several, as records and as an array."""
    for index, outcome in found.items():
        known = column.outcome.setdefault(index, outcome)
        if not np.array_equal(known, outcome, equal_nan=True):
            raise BadLog(
                f"{path}: query {index} has another outcome than in a file before it; "
                "are they of two datasets or models?"
            )


def _read_right(path: Path, column: _Column, cells: ImportedCells) -> None:
    found: dict[int, float] = {}
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text = text.strip()
        if not text or set(text) == {"="}:
            continue
        match = RECORD.fullmatch(text)
        if match is None:
            cells.refuse(line, f"{path.name}: not of the form (0, True)")
            continue
        found[int(match[1])] = float(match[2] == "True")
    _merge(path, column, found)


def _read_answers(path: Path, column: _Column, cells: ImportedCells) -> None:
    for number, text in enumerate(SEPARATOR.split(path.read_text(encoding="utf-8")), start=1):
        if not text.strip():
            continue
        try:
            index, answer = ast.literal_eval(text.strip())
            column.length[int(index)] = float(len(answer))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            cells.refuse(number, f"{path.name}: record {number} is not of the form (0, 'text')")


def _load_npy(path: Path) -> Any:
    """An array in a NumPy file; one with objects is read as a pickle of plain data."""
    with open(path, "rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0
            if version != (1, 0):
                read = np.lib.format.read_array_header_2_0
            _, _, kind = read(file)
            if kind.hasobject:
                return read_plain_pickle(file.read())
            file.seek(0)
            return np.load(file, allow_pickle=False)
        except RefusedPickle as error:
            raise BadLog(f"{path} is refused: {error}") from error
        except (ValueError, EOFError) as error:
            raise BadLog(f"{path} is not a file of NumPy ({error})") from error


def _vector(path: Path, values: Any) -> list[float]:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        raise BadLog(f"{path} holds no list of right and wrong")
    return [float(value) for value in array]


def _results(path: Path) -> dict[str, Any]:
    """Whether each training prompt was right on the test queries, by its name."""
    values = _load_npy(path)
    if not isinstance(values, dict):
        raise BadLog(f"{path} holds no results by model")
    found = {}
    for name, vectors in values.items():
        match = ONE_PROMPT.fullmatch(str(name))
        # Models of several prompts have two or more numbers before '.model'.
        alone = match is not None and not re.search(r"_\d_\d\.model", str(name))
        if match and alone and isinstance(vectors, dict) and "baseline_test" in vectors:
            number = int(match[1])
            if number < len(ARMS):
                found[ARMS[number]] = vectors["baseline_test"]
    if not found:
        raise BadLog(f"{path} holds no results of a model of one prompt")
    return found
