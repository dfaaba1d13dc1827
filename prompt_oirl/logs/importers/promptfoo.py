"""promptfoo: the JSON (or JSONL) of ``promptfoo eval --output``.

    {"results": {"version": 3,
                 "prompts": [{"raw": "Answer: {{q}}", "label": "short", "provider": "…"}],
                 "results": [{"promptIdx": 0, "testIdx": 0, "vars": {"q": "2 + 2?"},
                              "provider": {"id": "…"}, "success": true, "score": 1,
                              "failureReason": 0, "latencyMs": 420, "cost": 0.0001,
                              "response": {"output": "4", "tokenUsage": {"completion": 5}}}]}}

The arm is the prompt's label (and the provider, where there are several); the query is a variable
of the test. The outcome is the score where it lies in 0..1, else success; ``metric`` may be
``success``, ``score`` or one of ``namedScores``. Calls that failed (``failureReason`` 2) are no
outcome of the prompt and are left out as problems. Source of the schema: promptfoo's types
``OutputFile``, ``EvaluateSummaryV3`` and ``EvaluateResult``; version 2 has the same results.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.importers.importing import (
    UNEXPECTED,
    ImportedCells,
    ImportOptions,
    find_question,
    json_lines,
    load_json,
    number,
    reason_of,
)
from prompt_oirl.logs.text_hash import text_id

CALL_FAILED = 2
LONGEST_NAME = 60


def read_cells(paths: list[Path], options: ImportOptions) -> ImportedCells:
    """The cells of exports; ``options.arms`` is not used, since a file has many prompts."""
    cells = ImportedCells()
    for path in paths:
        prompts, results = _results(path, cells)
        providers = {_provider(result) for _, result in results}
        names = _arm_names(prompts, several_providers=len(providers) > 1)
        for line, result in results:
            try:
                _add(cells, line, result, prompts, names, options, len(providers) > 1)
            except (ValueError, *UNEXPECTED) as error:
                cells.refuse(line, f"{path.name}: {reason_of(error)}")
    return cells


def _results(
    path: Path, cells: ImportedCells
) -> tuple[list[Mapping[str, Any]], list[tuple[int, dict[str, Any]]]]:
    """The prompts of an export (none in JSONL), and its results with their numbers."""
    if ".jsonl" in path.name:
        return [], list(json_lines(path, cells))
    document = load_json(path)
    summary = document.get("results") if isinstance(document, dict) else None
    results = summary.get("results") if isinstance(summary, dict) else None
    if not isinstance(summary, dict) or not isinstance(results, list):
        raise BadLog(f"{path} is no export of promptfoo: it has no list 'results.results'")
    table = summary.get("table") or {}
    prompts = summary.get("prompts") or table.get("head", {}).get("prompts") or []
    cells.records += len(results)
    numbered = [(i, result) for i, result in enumerate(results, 1) if isinstance(result, dict)]
    return prompts, numbered


def _arm_names(prompts: list[Mapping[str, Any]], several_providers: bool) -> list[str]:
    """A name for each prompt: its label, or its number where that is long or not its own."""
    labels = [str(prompt.get("label") or prompt.get("raw") or "") for prompt in prompts]
    owners: dict[str, set[str]] = {}
    for label, prompt in zip(labels, prompts):
        owners.setdefault(label, set()).add(str(prompt.get("raw")))
    raws = list(dict.fromkeys(str(prompt.get("raw")) for prompt in prompts))
    names = []
    for label, prompt in zip(labels, prompts):
        plain = label and len(label) <= LONGEST_NAME and "\n" not in label
        name = label if plain and len(owners[label]) == 1 else f"prompt {_place(raws, prompt)}"
        provider = str(prompt.get("provider") or "")
        names.append(f"{name} [{provider}]" if several_providers and provider else name)
    return names


def _place(raws: list[str], prompt: Mapping[str, Any]) -> int:
    return raws.index(str(prompt.get("raw"))) + 1


def _add(
    cells: ImportedCells,
    line: int,
    result: Mapping[str, Any],
    prompts: list[Mapping[str, Any]],
    names: list[str],
    options: ImportOptions,
    several_providers: bool,
) -> None:
    if result.get("failureReason") == CALL_FAILED:
        raise ValueError(f"the call failed ({str(result.get('error') or 'no reason')[:80]})")
    variables = result.get("vars") or (result.get("testCase") or {}).get("vars") or {}
    query = _query(variables, options.query_field)
    index = result.get("promptIdx")
    if isinstance(index, int) and 0 <= index < len(names):
        arm, template = names[index], str(prompts[index].get("raw") or "")
    else:
        arm, template = _arm_of_result(result, variables, several_providers)
    cells.arm_texts.setdefault(arm, template)
    response = result.get("response") or {}
    usage = response.get("tokenUsage") or result.get("tokenUsage") or {}
    cost = result.get("cost", response.get("cost"))
    output = response.get("output")
    measures = {
        "cost": number(cost),
        "latency": number(result.get("latencyMs")) / 1000,
        "tokens": number(usage.get("completion")),
        "length": float(len(output)) if isinstance(output, str) else float("nan"),
    }
    # Tests with the same variables are repeats of one query: every repeat has its own testIdx.
    texts = {"id": text_id(json.dumps(variables, sort_keys=True)), "query": query, "arm": arm}
    cells.add(line, texts, _outcome(result, options.metric), measures)


def _query(variables: Any, query_field: str) -> str:
    """The question among the variables of a test: a usual name, the only one, or all of them."""
    if not isinstance(variables, dict) or not variables:
        raise ValueError("a test without variables, so without a query")
    found = find_question(variables, query_field)
    if not found and query_field:
        raise ValueError(f"no variable '{query_field}'; there are {', '.join(variables)}")
    if not found and len(variables) == 1:
        found = str(next(iter(variables.values())))
    return found or "\n".join(f"{name}: {value}" for name, value in sorted(variables.items()))


def _arm_of_result(
    result: Mapping[str, Any], variables: Mapping[str, Any], several_providers: bool
) -> tuple[str, str]:
    """The arm where the prompts are not listed: the prompt with its variables taken out again."""
    prompt = result.get("prompt") or {}
    template = str(prompt.get("raw") or "")
    for name, value in variables.items():
        if str(value):
            template = template.replace(str(value), "{{" + name + "}}")
    label = str(prompt.get("label") or "")
    if not label or len(label) > LONGEST_NAME or label == prompt.get("raw"):
        label = template if len(template) <= LONGEST_NAME else f"prompt {text_id(template)}"
    if not label:
        raise ValueError("a result without a prompt")
    provider = _provider(result)
    return (f"{label} [{provider}]" if several_providers and provider else label), template


def _provider(result: Mapping[str, Any]) -> str:
    provider = result.get("provider") or ""
    return str(provider.get("id") or "") if isinstance(provider, dict) else str(provider)


def _outcome(result: Mapping[str, Any], metric: str) -> float:
    if metric and metric not in ("score", "success"):
        named = result.get("namedScores") or {}
        if metric not in named:
            raise ValueError(f"no score '{metric}'; there are {', '.join(named) or 'none'}")
        return number(named[metric])
    score, success = number(result.get("score")), number(result.get("success"))
    if metric:
        return score if metric == "score" else success
    return score if 0 <= score <= 1 else success
