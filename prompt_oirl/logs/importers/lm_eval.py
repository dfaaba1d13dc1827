"""lm-evaluation-harness: ``samples_<task>_<date>.jsonl`` of ``--log_samples``, one file a prompt.

    {"doc_id": 0, "doc": {"question": "…"}, "target": "18", "filter": "strict-match",
     "arguments": {"gen_args_0": {"arg_0": "<the whole prompt>", "arg_1": {}}},
     "resps": [["…"]], "filtered_resps": ["18"], "metrics": ["exact_match"], "exact_match": 1.0}

Prompts are variants of a task, so the arm is the task's name in the file's name. Where that does
not tell the files apart, the folder follows, which is the model's, and then the prompt of the first
document: system instructions and numbers of examples change it. A document has a line for each
filter: the flexible one is taken, else the first, if that is so in all files, or the only one that
all have. The outcome is the ``metric``, else the first that is known below, likewise in all files;
``metric,filter`` chooses both, as the tool's own results name them. Repeats of a document have one
line, whose metric is their mean. Tried with the samples of lm-eval 0.4.13.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.importers.importing import (
    UNEXPECTED,
    ImportedCells,
    ImportOptions,
    distinct_names,
    find_question,
    ids_name_texts,
    json_lines,
    number,
    reason_of,
    shared_choice,
    short_line,
)
from prompt_oirl.logs.text_hash import text_id

FILE_NAME = re.compile(r"samples_(?P<task>.+?)(?:_\d{4}-\d{2}-\d{2}T[\d.\-:]+)?\.jsonl")
FILTERS = ("flexible-extract", "strict-match", "none")
METRICS = ("exact_match", "acc", "acc_norm", "em", "mc1", "f1", "pass@1")


def read_cells(paths: list[Path], options: ImportOptions) -> ImportedCells:
    """The cells of sample files, one arm a file; files of one task and folder are reruns."""
    cells = ImportedCells()
    metric, _, wanted = options.metric.partition(",")
    records = [_records(path, cells, wanted) for path in paths]
    wanted = wanted or shared_choice(
        "filter", "--metric METRIC,FILTER", ((p, _filters(of)) for p, of in zip(paths, records))
    )
    documents = [
        _documents(path, of_file, cells, options.query_fields, wanted)
        for path, of_file in zip(paths, records)
    ]
    metric = metric or shared_choice(
        "metric",
        "--metric",
        ((p, _metrics(document.record)) for p, of in zip(paths, documents) for document in of),
    )
    attributes = [
        {"task": _task(path), "folder": path.parent.name, "prompt": short_line(_template(of_file))}
        for path, of_file in zip(paths, documents)
    ]
    names = list(options.arms) or distinct_names(attributes, paths)
    same_ids = ids_name_texts(
        (str(document.record["doc_id"]), document.text) for of in documents for document in of
    )
    for path, arm, of_file in zip(paths, names, documents):
        if template := _template(of_file):
            cells.arm_texts.setdefault(arm, template)
        for line, record, _, text in of_file:
            name = str(record["doc_id"]) if same_ids else text_id(text)
            try:
                outcome = _outcome(record, metric)
                length = _answer_length(record)
            except (ValueError, *UNEXPECTED) as error:
                cells.refuse(line, f"{path.name}: {reason_of(error)}")
                continue
            texts = {"id": name, "query": text, "arm": arm}
            cells.add(line, texts, outcome, {"length": length})
    return cells


def _task(path: Path) -> str:
    match = FILE_NAME.match(path.name)
    return match["task"] if match else path.stem


class Document(NamedTuple):
    """A line of a file: its record, the question, and the question with its options."""

    line: int
    record: dict[str, Any]
    question: str
    text: str


def _records(path: Path, cells: ImportedCells, wanted: str) -> list[tuple[int, dict[str, Any]]]:
    """The records of a file with their lines, under every filter."""
    if path.suffix.lower() == ".json":
        raise BadLog(f"{path} is no file of samples; --log_samples writes samples_….jsonl")
    records = []
    for line, record in json_lines(path, cells):
        if isinstance(record.get("doc"), dict) and "doc_id" in record:
            records.append((line, record))
        else:
            cells.refuse(line, f"{path.name}: no sample of lm-evaluation-harness ('doc', 'doc_id')")
    present = dict.fromkeys(_filter(record) for _, record in records)
    if wanted and wanted not in present:
        raise BadLog(f"{path} has no filter '{wanted}'; there are {', '.join(present) or 'none'}")
    return records


def _filters(records: list[tuple[int, dict[str, Any]]]) -> list[str]:
    """The filters of a file, those that are known first."""
    present = dict.fromkeys(_filter(record) for _, record in records)
    known = [name for name in FILTERS if name in present]
    return known + [name for name in present if name not in known]


def _filter(record: Mapping[str, Any]) -> str:
    return str(record.get("filter", "none"))


def _documents(
    path: Path,
    records: list[tuple[int, dict[str, Any]]],
    cells: ImportedCells,
    query_fields: Sequence[str],
    wanted: str,
) -> list[Document]:
    """Every document of a file, under one filter."""
    found = []
    for line, record in records:
        if _filter(record) != wanted:
            continue
        query = find_question(record["doc"], query_fields)
        if not query:
            fields = ", ".join(record["doc"])
            cells.refuse(
                line,
                f"{path.name}: no field of the document is known to be the question; "
                f"there are {fields}; name one with --query-field",
            )
            continue
        found.append(Document(line, record, query, _with_choices(query, record["doc"])))
    return found


def _with_choices(query: str, document: Mapping[str, Any]) -> str:
    """The question with its options, where it has some: the same question may have others."""
    choices = document.get("choices")
    if isinstance(choices, dict):
        choices = choices.get("text")
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        return query
    return query + "".join(f"\n{chr(65 + i)}. {choice}" for i, choice in enumerate(choices))


def _template(documents: list[Document]) -> str:
    """What the model was given with the first document, its question taken out; else empty."""
    for document in documents:
        try:
            prompt = _prompt(document.record)
        except UNEXPECTED:
            continue
        if document.question in prompt:
            return prompt.replace(document.question, "{query}")
    return ""


def _metrics(record: Mapping[str, Any]) -> list[str]:
    """What of a record may be the outcome: metrics that are known, then others that it lists."""
    known = [name for name in METRICS if name in record]
    listed = record.get("metrics")
    names = listed if isinstance(listed, list) else []
    numbers = [n for n in names if isinstance(n, str) and isinstance(record.get(n), int | float)]
    return known + [name for name in numbers if name not in known]


def _outcome(record: Mapping[str, Any], metric: str) -> float:
    if metric not in record:
        raise ValueError(f"no metric '{metric}'" if metric else "no metric; name one with --metric")
    return number(record[metric])


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
    """Characters of a generated answer, the mean over its repeats; NaN for likelihoods."""
    requests = record.get("resps")
    answers = requests[0] if isinstance(requests, list) and len(requests) == 1 else None
    if not isinstance(answers, list) or not answers:
        return float("nan")
    if not all(isinstance(answer, str) for answer in answers):
        return float("nan")
    return sum(map(len, answers)) / len(answers)
