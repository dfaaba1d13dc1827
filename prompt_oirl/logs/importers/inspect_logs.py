"""Inspect: eval logs, ``.json`` or the ``.eval`` archive, one file a prompt.

    {"eval": {"task": "gsm8k", "task_args": {}, "solver": null, "model": "…"},
     "plan": {"steps": [{"solver": "prompt_template", "params": {"template": "…{prompt}"}}],
              "config": {"system_message": "…"}},
     "samples": [{"id": 1, "epoch": 1, "uuid": "…", "input": "…", "target": "18",
                  "scores": {"match": {"value": "C", "answer": "18"}},
                  "events": [{"event": "model", "output": {"usage": {}}}, …],
                  "output": {"usage": {"output_tokens": 120, "total_cost": 0.001}},
                  "working_time": 1.4, "error": null}]}

The arm is named by what tells the files apart: task, arguments, templates, solvers, configuration,
model. The outcome is the ``metric``, else the score that all samples have first, or the only one
that all have. Scores are turned to numbers as Inspect does (C 1, P 0.5, I and N 0). Tokens and cost
are those of all calls of a sample up to its scoring, the latency is its working time. Samples with
an error, or without a score, are left out as problems; one that a retried run took over from the
run that failed counts once. Tried with the logs of inspect-ai 0.3.60 and 0.3.285.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prompt_oirl.logs.importers.importing import (
    UNEXPECTED,
    ImportedCells,
    ImportOptions,
    distinct_names,
    find_question,
    ids_name_texts,
    number,
    reason_of,
    shared_choice,
    short_line,
)
from prompt_oirl.logs.importers.inspect_archive import load_document
from prompt_oirl.logs.text_hash import text_id

VALUES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
CONFIGURATION = ("system_message", "temperature", "reasoning_effort")
"""What of a model's configuration makes another prompt of it; seeds and limits do not."""
ATTACHMENT = "attachment://"


def read_cells(paths: list[Path], options: ImportOptions) -> ImportedCells:
    """The cells of eval logs, one arm a file; files alike in every setting are reruns."""
    cells = ImportedCells()
    documents = [load_document(path) for path in paths]
    names = list(options.arms) or distinct_names([_settings(d) for d in documents], paths)
    found = []
    for path, arm, document in zip(paths, names, documents):
        if template := _templates(document):
            cells.arm_texts.setdefault(arm, template)
        if not document["samples"]:
            cells.refuse(1, f"{path.name}: a log without samples")
        for line, sample in enumerate(document["samples"], start=1):
            cells.records += 1
            try:
                query = _query(sample, options.query_fields)
                found.append((path, line, arm, sample, query))
            except (ValueError, *UNEXPECTED) as error:
                cells.refuse(line, f"{path.name}: {reason_of(error)}")
    metric = options.metric or shared_choice(
        "score", "--metric", ((path, _scores(sample)) for path, _, _, sample, _ in found)
    )
    # Samples without an id of their own are numbered, by each data set and by each shuffle anew.
    same_ids = ids_name_texts((str(sample["id"]), query) for _, _, _, sample, query in found)
    seen: set[tuple[str, str]] = set()
    for path, line, arm, sample, query in found:
        try:
            outcome, measures = _outcome(sample, metric), _measures(sample)
        except (ValueError, *UNEXPECTED) as error:
            cells.refuse(line, f"{path.name}: {reason_of(error)}")
            continue
        unique = sample.get("uuid")
        if isinstance(unique, str) and (arm, unique) in seen:
            continue
        seen.add((arm, str(unique)))
        name = str(sample["id"]) if same_ids else text_id(query)
        cells.add(line, {"id": name, "query": query, "arm": arm}, outcome, measures)
    return cells


def _settings(document: Mapping[str, Any]) -> dict[str, str]:
    """What can differ between the prompts of two logs, the most telling first."""
    spec = document["eval"]
    steps = _steps(document)
    config = _configuration(document)
    return {
        "task": str(spec.get("task") or ""),
        **_arguments("task", spec.get("task_args")),
        "system_message": short_line(str(config.pop("system_message", ""))),
        "templates": short_line(_templates(document)),
        "steps": " + ".join(str(step.get("solver")) for step in steps),
        **{
            key: text
            for place, step in enumerate(steps)
            for key, text in _arguments(f"step {place}", step.get("params")).items()
        },
        **_arguments("config", config),
        "model": str(spec.get("model") or ""),
    }


def _arguments(owner: str, arguments: Any) -> dict[str, str]:
    """Each argument as ``name=value``, but for templates, which have a place of their own."""
    if not isinstance(arguments, Mapping):
        return {}
    return {
        f"{owner} {name}": f"{name}={short_line(str(value))}"
        for name, value in sorted(arguments.items())
        if owner in ("task", "config") or not _is_template(name, value)
    }


def _steps(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    steps = (document.get("plan") or {}).get("steps") or []
    return [step for step in steps if isinstance(step, Mapping)]


def _configuration(document: Mapping[str, Any]) -> dict[str, Any]:
    """How the model was set for the run, and by ``inspect eval``'s own options."""
    model = document["eval"].get("model_generate_config") or {}
    config = {**model, **((document.get("plan") or {}).get("config") or {})}
    return {name: config[name] for name in CONFIGURATION if config.get(name) is not None}


def _templates(document: Mapping[str, Any]) -> str:
    """The system message and the templates of the plan's solvers, in their order."""
    texts = [str(_configuration(document).get("system_message", ""))]
    for step in _steps(document):
        parameters = step.get("params") or {}
        texts += [value for name, value in parameters.items() if _is_template(name, value)]
    return "\n".join(filter(None, texts))


def _is_template(name: str, value: Any) -> bool:
    return name.endswith("template") and isinstance(value, str)


def _measures(sample: Mapping[str, Any]) -> dict[str, float]:
    output = sample.get("output") or {}
    usages = list(_usages(sample)) or [output.get("usage") or {}]
    completion = output.get("completion")
    seconds = sample.get("working_time")
    return {
        "tokens": sum(number(usage.get("output_tokens")) for usage in usages),
        "cost": sum(number(usage.get("total_cost")) for usage in usages),
        "latency": number(sample.get("total_time") if seconds is None else seconds),
        "length": float(len(completion)) if isinstance(completion, str) else float("nan"),
    }


def _usages(sample: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The usage of each call of a model until the scorers began, which may call models too."""
    for event in sample.get("events") or []:
        if event.get("type") in ("scorers", "scorer"):
            return
        if event.get("event") == "model" and (usage := (event.get("output") or {}).get("usage")):
            yield usage


def _query(sample: Any, query_fields: Sequence[str]) -> str:
    """What was asked, with the options: a text, or the user's messages.

    Raises:
        ValueError: the sample has no outcome, or no text.
    """
    if not isinstance(sample, Mapping) or "id" not in sample:
        raise ValueError("no sample of Inspect")
    if sample.get("error"):
        raise ValueError(f"sample {sample['id']} ended with an error")
    if sample.get("invalidation"):
        raise ValueError(f"sample {sample['id']} was invalidated")
    if query_fields:
        found = find_question(sample.get("metadata") or {}, query_fields)
        if not found:
            named = "' and '".join(query_fields)
            raise ValueError(f"sample {sample['id']} has no '{named}' in its metadata")
        return found
    given = sample.get("input")
    attached = sample.get("attachments") or {}
    if isinstance(given, list):
        messages = [m for m in given if isinstance(m, dict) and m.get("role") == "user"]
        text = "\n".join(_content(message.get("content"), attached) for message in messages)
    else:
        text = _content(given, attached)
    if not text.strip():
        raise ValueError(f"sample {sample['id']} has no text of its input")
    choices = sample.get("choices") or []
    return text + "".join(f"\n{chr(65 + i)}) {choice}" for i, choice in enumerate(choices))


def _content(content: Any, attached: Mapping[str, Any]) -> str:
    """A text, or the texts of a message's parts; a long one may lie among the attachments."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(filter(None, (_content(part, attached) for part in parts)))
    if not isinstance(content, str):
        return ""
    if content.startswith(ATTACHMENT):
        return str(attached.get(content.removeprefix(ATTACHMENT), ""))
    return content


def _scores(sample: Mapping[str, Any]) -> list[str]:
    scores = sample.get("scores")
    return list(scores) if isinstance(scores, Mapping) else []


def _outcome(sample: Mapping[str, Any], metric: str) -> float:
    scores = sample.get("scores") or {}
    if not scores:
        raise ValueError(f"sample {sample['id']} has no score")
    name, _, key = (metric, "", "") if metric in scores else metric.partition(".")
    if name not in scores:
        there = ", ".join(scores)
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
