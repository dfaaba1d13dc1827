"""Which fields of a line are the query, the response and its correctness, by their usual names.

    {"query": "…", "response": "…", "correct": 1}                    one response a line
    {"query": "…", "responses": ["…", "…"], "correct": [1, 0]}       one query a line
    {"query": "…", "responses": [{"response": "…", "correct": 1}]}   the same

The name of a query is its text where it has no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.columns import columns_by_field
from prompt_oirl.responses.response_set import Row

ALIASES: dict[str, tuple[str, ...]] = {
    "query_id": ("query_id", "question_id", "problem_id", "id"),
    "query": ("query", "question", "problem", "prompt"),
    "response": ("response", "thoughts", "completion", "output", "solution"),
    "correct": ("correct", "is_correct", "correctness", "outcome", "label"),
    "answer": ("answer", "final_answer"),
    "group": ("group", "cluster"),
    "responses": ("responses", "completions", "samples"),
}


def parse_fields(pairs: Iterable[str]) -> dict[str, str]:
    """Reads ``field=column`` pairs as they are given on a command line.

    Raises:
        BadLog: a pair has another form, or the field is unknown.
    """
    mapping = columns_by_field(pairs, "response=output")
    for field in mapping:
        if field not in ALIASES:
            raise BadLog(f"responses have no field '{field}'; theirs are {', '.join(ALIASES)}")
    return mapping


def rows_of_line(record: Mapping[str, Any], mapping: Mapping[str, str]) -> list[Row]:
    """The responses of a line.

    Args:
        record: the line's object.
        mapping: columns by field, where names are unusual.

    Raises:
        BadLog: there is no query or no response, or as many responses as there are not marks.
    """
    found = {field: _value(record, field, mapping) for field in ALIASES}
    query = found["query"]
    if query is None:
        raise BadLog(f"no query (any of {_names('query', mapping)})")
    common = {"query": query, "query_id": _name(found["query_id"], query)}
    if found["group"] is not None:
        common["group"] = str(found["group"])
    if found["responses"] is not None:
        return [{**common, **one} for one in _several(found, mapping)]
    return [{**common, **_one(found)}]


def _several(found: Mapping[str, Any], mapping: Mapping[str, str]) -> list[Row]:
    given = found["responses"]
    if not isinstance(given, list) or not given:
        raise BadLog("'responses' is no list with a response")
    marks = found["correct"]
    if marks is not None and (not isinstance(marks, list) or len(marks) != len(given)):
        raise BadLog(f"'correct' is no list of {len(given)}, one for each response")
    rows = []
    for place, one in enumerate(given):
        if isinstance(one, dict):
            row = _one({field: _value(one, field, mapping) for field in ALIASES})
        else:
            row = {"response": one}
        if marks is not None:
            row["correct"] = marks[place]
        rows.append(row)
    return rows


def _one(found: Mapping[str, Any]) -> Row:
    """A response; an answer without thoughts before it is a text like any other."""
    if found["response"] is None and found["answer"] is not None:
        return {"response": found["answer"], "correct": found["correct"]}
    if found["response"] is None:
        raise BadLog(f"no response (any of {', '.join(ALIASES['response'])}, answer)")
    return {key: found[key] for key in ("response", "correct", "answer")}


def _value(record: Mapping[str, Any], field: str, mapping: Mapping[str, str]) -> Any:
    names = (mapping[field],) if field in mapping else ALIASES[field]
    for name in names:
        if record.get(name) is not None:
            return record[name]
    return None


def _names(field: str, mapping: Mapping[str, str]) -> str:
    return mapping[field] if field in mapping else ", ".join(ALIASES[field])


def _name(given: Any, query: Any) -> Any:
    if given is None:
        return query
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given
