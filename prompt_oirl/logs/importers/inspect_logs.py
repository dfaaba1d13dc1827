"""Inspect: eval logs, ``.json`` or the ``.eval`` archive, one file a prompt.

    {"eval": {"task": "gsm8k", "task_args": {}, "solver": null, "model": "…"},
     "plan": {"steps": [{"solver": "prompt_template", "params": {"template": "…{prompt}"}}]},
     "samples": [{"id": 1, "epoch": 1, "input": "…", "target": "18",
                  "scores": {"match": {"value": "C", "answer": "18"}},
                  "output": {"usage": {"output_tokens": 120, "total_cost": 0.001}},
                  "working_time": 1.4, "error": null}]}

An archive holds the same in ``header.json`` and ``samples/<id>_epoch_<n>.json``. The arm is named
by what differs between the files: task, solver, arguments, templates, model. Scores are turned to
numbers as Inspect does (C 1, P 0.5, I and N 0). Samples with an error, or without a score, are left
out as problems. Source of the schema: ``inspect_ai/log/_log.py`` and ``scorer/_metric.py``.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
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
    load_json,
    number,
    reason_of,
)
from prompt_oirl.logs.text_hash import text_id

VALUES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
ZSTANDARD = 93
LONGEST_NAME = 60
LOCAL_HEADER = struct.Struct("<4s5H3L2H")


def read_cells(paths: list[Path], options: ImportOptions) -> ImportedCells:
    """The cells of eval logs, one arm a file; files alike in every setting are reruns."""
    cells = ImportedCells()
    documents = [_load(path) for path in paths]
    names = list(options.arms) or distinct_names([_settings(d) for d in documents], paths)
    for path, arm, document in zip(paths, names, documents):
        template = _templates(document)
        if template:
            cells.arm_texts.setdefault(arm, template)
        for line, sample in enumerate(document.get("samples") or [], start=1):
            cells.records += 1
            try:
                _add(cells, line, sample, arm, options)
            except (ValueError, *UNEXPECTED) as error:
                cells.refuse(line, f"{path.name}: {reason_of(error)}")
    return cells


def _load(path: Path) -> dict[str, Any]:
    try:
        archive = zipfile.is_zipfile(path)
    except OSError as error:
        raise BadLog(f"cannot read {path}: {error.strerror}") from error
    document = _load_archive(path) if archive else load_json(path)
    if not isinstance(document, dict) or "eval" not in document:
        raise BadLog(f"{path} is no log of Inspect: it has no 'eval'")
    return document


def _load_archive(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "header.json" not in names:
                raise BadLog(f"{path} is no finished log of Inspect: it has no header.json")
            document = json.loads(_member(archive, "header.json"))
            samples = [name for name in names if name.startswith("samples/")]
            loaded = [json.loads(_member(archive, name)) for name in samples]
    except (OSError, ValueError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        if isinstance(error, BadLog):
            raise
        raise BadLog(f"{path} cannot be read as a log of Inspect ({error})") from error
    loaded.sort(key=lambda sample: (sample.get("epoch", 1), str(sample.get("id"))))
    return {**document, "samples": loaded}


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A file of an archive; recent logs are compressed by Zstandard, unknown to old Pythons."""
    entry = archive.getinfo(name)
    if entry.compress_type != ZSTANDARD:
        return archive.read(name)
    import pyarrow

    file = archive.fp
    assert file is not None
    file.seek(entry.header_offset)
    header = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    file.seek(header[-2] + header[-1], io.SEEK_CUR)
    packed = file.read(entry.compress_size)
    with pyarrow.input_stream(pyarrow.py_buffer(packed), compression="zstd") as stream:
        return stream.read()


def _settings(document: Mapping[str, Any]) -> dict[str, str]:
    spec = document.get("eval") or {}
    return {
        "task": str(spec.get("task") or ""),
        "solver": str(spec.get("solver") or ""),
        "task_args": _shown(spec.get("task_args")),
        "solver_args": _shown(spec.get("solver_args")),
        "templates": _short(_templates(document)),
        "model": str(spec.get("model") or ""),
    }


def _short(text: str) -> str:
    """A text on one line; a long one by its beginning and a hash, so that names stay apart."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_NAME else f"{line[:40]}… {text_id(text)[:6]}"


def _shown(arguments: Any) -> str:
    if not isinstance(arguments, dict):
        return ""
    return ",".join(f"{name}={value}" for name, value in sorted(arguments.items()))


def _templates(document: Mapping[str, Any]) -> str:
    """The templates of the plan's solvers, in their order."""
    steps = (document.get("plan") or {}).get("steps") or []
    parameters = [step.get("params") or {} for step in steps if isinstance(step, dict)]
    return "\n".join(p["template"] for p in parameters if isinstance(p.get("template"), str))


def _add(cells: ImportedCells, line: int, sample: Any, arm: str, options: ImportOptions) -> None:
    if not isinstance(sample, dict) or "id" not in sample:
        raise ValueError("no sample of Inspect")
    name = sample["id"]
    if sample.get("error"):
        raise ValueError(f"sample {name} ended with an error")
    usage = (sample.get("output") or {}).get("usage") or {}
    completion = (sample.get("output") or {}).get("completion")
    seconds = sample.get("working_time")
    measures = {
        "tokens": number(usage.get("output_tokens")),
        "cost": number(usage.get("total_cost")),
        "latency": number(sample.get("total_time") if seconds is None else seconds),
        "length": float(len(completion)) if isinstance(completion, str) else float("nan"),
    }
    texts = {"id": str(name), "query": _query(sample, options.query_field), "arm": arm}
    cells.add(line, texts, _outcome(sample, options.metric), measures)


def _query(sample: Mapping[str, Any], query_field: str) -> str:
    """What was asked, with the options: a text, or the user's messages."""
    if query_field:
        found = find_question(sample.get("metadata") or {}, query_field)
        if not found:
            raise ValueError(f"sample {sample['id']} has no '{query_field}' in its metadata")
        return found
    given = sample.get("input")
    if isinstance(given, list):
        messages = [m for m in given if isinstance(m, dict) and m.get("role") == "user"]
        given = "\n".join(_content(message.get("content")) for message in messages)
    text = given if isinstance(given, str) else ""
    attachments = sample.get("attachments") or {}
    if text.startswith("attachment://"):
        text = str(attachments.get(text.removeprefix("attachment://"), ""))
    if not text.strip():
        raise ValueError(f"sample {sample['id']} has no text of its input")
    choices = sample.get("choices") or []
    return text + "".join(f"\n{chr(65 + i)}) {choice}" for i, choice in enumerate(choices))


def _content(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _outcome(sample: Mapping[str, Any], metric: str) -> float:
    scores = sample.get("scores") or {}
    scorer, _, key = metric.partition(".")
    name = scorer or next(iter(scores), "")
    if name not in scores:
        there = ", ".join(scores) or "none"
        raise ValueError(f"sample {sample['id']} has no score '{name}'; there are {there}")
    value = (scores[name] or {}).get("value")
    if isinstance(value, dict):
        if key not in value:
            keys = ", ".join(value)
            raise ValueError(f"the score '{name}' has parts ({keys}); name one as {name}.PART")
        value = value[key]
    if isinstance(value, str):
        known = VALUES.get(value, VALUES.get(value.lower()))
        if known is not None:
            return known
        try:
            return float(value)
        except ValueError:
            raise ValueError(f"sample {sample['id']} has the score '{value[:40]}'") from None
    return number(value)
