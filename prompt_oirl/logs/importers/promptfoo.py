"""promptfoo: the JSON (or JSONL) of ``promptfoo eval --output``.

    {"results": {"version": 3,
                 "prompts": [{"raw": "Answer: {{q}}", "label": "short", "provider": "…"}],
                 "results": [{"promptIdx": 0, "testIdx": 0, "vars": {"q": "2 + 2?"},
                              "provider": {"id": "…"}, "success": true, "score": 1,
                              "failureReason": 0, "latencyMs": 420, "cost": 0.0001,
                              "response": {"output": "4", "tokenUsage": {"completion": 5}}}]}}

JSONL has the results alone, a line each. They are written as they end, so they are put in the order
of the tests and prompts.

The arm is the prompt's label (and the provider, where there are several). The query is the variable
of the test, or, where it has several, all of them by their names: the same question may come with
another context. A variable that is the expected answer by its name is no part of it. The outcome is
the score where it lies in 0..1, else success; ``metric`` may be ``success``, ``score`` or one of
``namedScores``. Calls that failed (``failureReason`` 2) are no outcome of the prompt and are left
out as problems. An answer from promptfoo's cache has no cost and no latency. Tried with the exports
of promptfoo 0.121.20.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.importers.importing import (
    LONGEST_NAME,
    UNEXPECTED,
    ImportedCells,
    ImportOptions,
    find_question,
    joined_fields,
    json_lines,
    load_json,
    number,
    reason_of,
)
from prompt_oirl.logs.text_hash import text_id

CALL_FAILED = 2
OTHER_OUTPUTS = (".csv", ".html", ".txt", ".xml", ".yaml", ".yml")
LONGEST_REASON = 80
EXPECTED = frozenset(
    (
        "answer",
        "correctanswer",
        "expected",
        "expectedanswer",
        "expectedoutput",
        "expectedvalue",
        "gold",
        "goldanswer",
        "goldenanswer",
        "groundtruth",
        "ideal",
        "label",
        "reference",
        "referenceanswer",
        "target",
    )
)
"""Names of variables that tests compare answers with, in small letters without other signs."""
Results = list[tuple[int, dict[str, Any]]]


def read_cells(paths: list[Path], options: ImportOptions) -> ImportedCells:
    """The cells of exports; ``options.arms`` is not used, since a file has many prompts."""
    cells = ImportedCells()
    exports = [(path, *_results(path, cells)) for path in paths]
    names = _arm_names([prompt for _, prompts, _ in exports for prompt in prompts])
    for path, prompts, results in exports:
        own, names = names[: len(prompts)], names[len(prompts) :]
        for name, prompt in zip(own, prompts):
            cells.arm_texts.setdefault(name, str(prompt.get("raw") or ""))
        for line, result in sorted(results, key=lambda numbered: _place(numbered[1])):
            try:
                _add(cells, line, result, own, options)
            except (ValueError, *UNEXPECTED) as error:
                cells.refuse(line, f"{path.name}: {reason_of(error)}")
    cells.arm_order = list(cells.arm_texts)
    return cells


def _results(path: Path, cells: ImportedCells) -> tuple[list[Mapping[str, Any]], Results]:
    """The prompts of an export, and its results with their numbers."""
    if path.suffix.lower() in OTHER_OUTPUTS:
        raise BadLog(f"{path}: of what promptfoo can write, JSON and JSONL are read")
    if ".jsonl" in path.name:
        found = list(json_lines(path, cells))
        return _rebuilt_prompts(found), found
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


def _place(result: Mapping[str, Any]) -> tuple[float, float]:
    return number(result.get("testIdx")), number(result.get("promptIdx"))


def _rebuilt_prompts(results: Results) -> list[Mapping[str, Any]]:
    """The prompts where an export does not list them: from what was sent, without the variables.

    A value can be in a prompt by chance, so that of all its results the most frequent text counts,
    and before it one that the label ends with, as labels do which promptfoo gives itself.
    """
    texts: dict[int, Counter[str]] = {}
    first: dict[int, dict[str, Any]] = {}
    for _, result in results:
        index = result.get("promptIdx")
        prompt = result.get("prompt")
        if isinstance(index, int) and index >= 0 and isinstance(prompt, dict):
            first.setdefault(index, result)
            texts.setdefault(index, Counter())[_without_variables(prompt, _variables(result))] += 1
    prompts: list[Mapping[str, Any]] = [{} for _ in range(max(texts, default=-1) + 1)]
    for index, counts in texts.items():
        label = str(first[index]["prompt"].get("label") or "")
        text = max(counts, key=lambda text: (bool(text) and label.endswith(text), counts[text]))
        if counts[text] == 1 and counts.total() > 1:
            text = ""  # made by a function: what was sent differs beyond the variables
        prompts[index] = {"raw": text, "label": label, "provider": _provider(first[index])}
    return prompts


def _without_variables(prompt: Mapping[str, Any], variables: Mapping[str, Any]) -> str:
    text = str(prompt.get("raw") or "")
    for name, value in sorted(variables.items(), key=lambda pair: -len(str(pair[1]))):
        if str(value):
            text = text.replace(str(value), "{{" + name + "}}")
    return text


def _arm_names(prompts: list[Mapping[str, Any]]) -> list[str]:
    """A name for each prompt: its label, or its number where that is long or not its own."""
    labels = [_label(prompt) for prompt in prompts]
    providers = {str(prompt.get("provider") or "") for prompt in prompts if prompt}
    owners: dict[str, set[str]] = {}
    for label, prompt in zip(labels, prompts):
        owners.setdefault(label, set()).add(str(prompt.get("raw")))
    raws = list(dict.fromkeys(str(prompt.get("raw")) for prompt in prompts))
    names = []
    for label, prompt in zip(labels, prompts):
        plain = label and len(label) <= LONGEST_NAME and "\n" not in label
        alone = plain and len(owners[label]) == 1
        name = label if alone else f"prompt {raws.index(str(prompt.get('raw'))) + 1}"
        provider = str(prompt.get("provider") or "")
        names.append(f"{name} [{provider}]" if len(providers) > 1 and provider else name)
    return names


def _label(prompt: Mapping[str, Any]) -> str:
    """The label without the text of the prompt, which promptfoo appends to the file's name."""
    raw, label = str(prompt.get("raw") or ""), str(prompt.get("label") or "")
    before = label.removesuffix(raw.strip()).rstrip().removesuffix(":") if raw else ""
    return before or label or raw


def _add(
    cells: ImportedCells,
    line: int,
    result: Mapping[str, Any],
    names: list[str],
    options: ImportOptions,
) -> None:
    response = result.get("response") or {}
    failed = result.get("failureReason", CALL_FAILED if response.get("error") else 0)
    if failed == CALL_FAILED:
        reason = str(result.get("error") or response.get("error") or "no reason").split()
        raise ValueError(f"the call failed ({' '.join(reason)[:LONGEST_REASON]})")
    variables = _variables(result)
    query = _query(variables, options.query_fields)
    index = result.get("promptIdx")
    if not isinstance(index, int) or not 0 <= index < len(names):
        raise ValueError("a result without a prompt")
    usage = response.get("tokenUsage") or result.get("tokenUsage") or {}
    cost = result.get("cost", response.get("cost"))
    output = response.get("output")
    cached = bool(response.get("cached"))
    measures = {
        "cost": number(None if cached else cost),
        "latency": number(None if cached else result.get("latencyMs")) / 1000,
        "tokens": number(usage.get("completion")),
        "length": float(len(output)) if isinstance(output, str) else float("nan"),
    }
    # Tests with the same variables are repeats of one query: every repeat has its own testIdx.
    name = text_id(json.dumps(variables, sort_keys=True))
    texts = {"id": name, "query": query, "arm": names[index]}
    cells.add(line, texts, _outcome(result, options.metric), measures)


def _variables(result: Mapping[str, Any]) -> dict[str, Any]:
    variables = result.get("vars") or (result.get("testCase") or {}).get("vars") or {}
    return variables if isinstance(variables, dict) else {}


def _query(variables: Mapping[str, Any], query_fields: Sequence[str]) -> str:
    """The question: the variables that are named, else all that are not the expected answer.

    Raises:
        ValueError: there is none.
    """
    if not variables:
        raise ValueError("a test without variables, so without a query")
    if query_fields:
        found = find_question(variables, query_fields)
        if not found:
            named = "' and '".join(query_fields)
            raise ValueError(f"no variable '{named}'; there are {', '.join(variables)}")
        return found
    # By name: promptfoo writes the variables of one test in this order or that.
    asked = {name: variables[name] for name in sorted(variables) if not _is_expected(name)}
    if not asked:
        raise ValueError(
            f"of the variables ({', '.join(variables)}) each seems to be the expected answer; "
            "name the question with --query-field"
        )
    return joined_fields(asked)


def _is_expected(name: str) -> bool:
    """Whether a variable is the expected answer by its name, such as ``expectedAnswer``."""
    return re.sub("[^a-z]", "", name.lower()) in EXPECTED


def _provider(result: Mapping[str, Any]) -> str:
    """The name that a provider was given, else its own: several may run one model."""
    provider = result.get("provider") or ""
    if isinstance(provider, dict):
        return str(provider.get("label") or provider.get("id") or "")
    return str(provider)


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
