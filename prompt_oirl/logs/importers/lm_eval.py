"""lm-evaluation-harness: ``samples_<task>_<date>.jsonl`` of ``--log_samples``, one file a prompt.

    {"doc_id": 0, "doc": {"question": "…"}, "target": "18", "filter": "strict-match",
     "arguments": {"gen_args_0": {"arg_0": "<the whole prompt>", "arg_1": {}}},
     "resps": [["…"]], "filtered_resps": ["18"], "metrics": ["exact_match"], "exact_match": 1.0}

Prompts are variants of a task, so the arm is the task's name in the file's name (with the folder
where that differs, and the folder is the model's). A document has a line for each filter: the
flexible one is taken, else the first. The outcome is the ``metric``, else the first that is known
below. Source of the schema: ``lm_eval/result_schema.py`` and ``loggers/evaluation_tracker.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.importers.importing import (
    UNEXPECTED,
    ImportedCells,
    ImportOptions,
    distinct_names,
    find_question,
    json_lines,
    number,
    reason_of,
)
from prompt_oirl.logs.text_hash import text_id

FILE_NAME = re.compile(r"samples_(?P<task>.+?)(?:_\d{4}-\d{2}-\d{2}T[\d.\-:]+)?\.jsonl")
FILTERS = ("flexible-extract", "strict-match", "none")
METRICS = ("exact_match", "acc", "acc_norm", "em", "mc1", "f1", "pass@1")


def read_cells(paths: list[Path], options: ImportOptions) -> ImportedCells:
    """The cells of sample files, one arm a file; files of one task and folder are reruns."""
    cells = ImportedCells()
    names = list(options.arms) or distinct_names(
        [{"task": _task(path), "folder": path.parent.name} for path in paths], paths
    )
    documents = [_documents(path, cells, options) for path in paths]
    same_documents = _ids_name_texts(documents)
    for path, arm, of_file in zip(paths, names, documents):
        for line, record, query in of_file:
            name = str(record.get("doc_id")) if same_documents else text_id(query)
            try:
                outcome = _outcome(record, options.metric)
                prompt = _prompt(record)
                length = _answer_length(record)
            except (ValueError, *UNEXPECTED) as error:
                cells.refuse(line, f"{path.name}: {reason_of(error)}")
                continue
            if query in prompt:
                cells.arm_texts.setdefault(arm, prompt.replace(query, "{query}"))
            texts = {"id": name, "query": query, "arm": arm}
            cells.add(line, texts, outcome, {"length": length})
    return cells


def _task(path: Path) -> str:
    match = FILE_NAME.match(path.name)
    return match["task"] if match else path.stem


def _documents(
    path: Path, cells: ImportedCells, options: ImportOptions
) -> list[tuple[int, dict[str, Any], str]]:
    """Line, record and question of every document, under one filter."""
    records = []
    for line, record in json_lines(path, cells):
        if isinstance(record.get("doc"), dict) and "doc_id" in record:
            records.append((line, record))
        else:
            cells.refuse(line, f"{path.name}: no sample of lm-evaluation-harness ('doc', 'doc_id')")
    present = list(dict.fromkeys(str(record.get("filter", "none")) for _, record in records))
    chosen = next((name for name in FILTERS if name in present), present[0] if present else "")
    found = []
    for line, record in records:
        if str(record.get("filter", "none")) != chosen:
            continue
        query = find_question(record["doc"], options.query_field)
        if not query:
            fields = ", ".join(record["doc"])
            raise BadLog(
                f"{path}, line {line}: no field of the document is known to be the question; "
                f"there are {fields}; name one with --query-field"
            )
        found.append((line, record, _with_choices(query, record["doc"])))
    return found


def _with_choices(query: str, document: Mapping[str, Any]) -> str:
    """The question with its options, where it has some: the same question may have others."""
    choices = document.get("choices")
    if isinstance(choices, dict):
        choices = choices.get("text")
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        return query
    return query + "".join(f"\n{chr(65 + i)}. {choice}" for i, choice in enumerate(choices))


def _ids_name_texts(documents: list[list[tuple[int, dict[str, Any], str]]]) -> bool:
    """Whether the files agree on which text each ``doc_id`` has."""
    text_of: dict[str, str] = {}
    return all(
        text_of.setdefault(str(record["doc_id"]), query) == query
        for of_file in documents
        for _, record, query in of_file
    )


def _outcome(record: Mapping[str, Any], metric: str) -> float:
    listed = record.get("metrics")
    usable = [name for name in METRICS if name in record]
    if not usable and isinstance(listed, list):
        usable = [name for name in listed if isinstance(record.get(name), int | float)]
    name = metric or (usable[0] if usable else "")
    if name not in record:
        raise ValueError(f"no metric '{name}'" if name else "no metric; name one with --metric")
    return number(record[name])


def _prompt(record: Mapping[str, Any]) -> str:
    """The first request; an object in recent versions, nested lists in old ones."""
    arguments = record.get("arguments")
    if isinstance(arguments, dict):
        first = arguments.get("gen_args_0") or {}
        prompt = first.get("arg_0") if isinstance(first, dict) else ""
    else:
        prompt = arguments[0][0] if isinstance(arguments, list) and arguments else ""
    return prompt if isinstance(prompt, str) else json.dumps(prompt)


def _answer_length(record: Mapping[str, Any]) -> float:
    """Characters of a generated answer; NaN where there is none, as for likelihoods."""
    answer = record.get("resps")
    while isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    return float(len(answer)) if isinstance(answer, str) else float("nan")
