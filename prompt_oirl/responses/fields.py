"""Which fields of a line are the query, the response and its correctness, by their usual names.

    {"query": "…", "response": "…", "correct": 1}                    one response a line
    {"query": "…", "responses": ["…", "…"], "correct": [1, 0]}       one query a line
    {"query": "…", "responses": [{"response": "…", "correct": 1}]}   the same

``answer`` is the final answer of the response itself, beside ``responses`` a list with one for
each; null or an empty text where there is none. It is not the known answer.

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
HINTS = {"correct": "", "answer": "; is it the known answer? then say --column answer=NONE"}


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
        BadLog: there is no query or no response, or not one mark or answer for each response.
    """
    found = _found(record, mapping)
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
    each = {key: found[key] for key in ("correct", "answer") if found.get(key) is not None}
    for key, values in each.items():
        if not isinstance(values, list) or len(values) != len(given):
            raise BadLog(f"'{key}' is no list of {len(given)}, one for each response{HINTS[key]}")
    rows = []
    for place, one in enumerate(given):
        row = _one(_found(one, mapping)) if isinstance(one, dict) else {"response": one}
        rows.append(row | {key: values[place] for key, values in each.items()})
    return rows


def _one(found: Mapping[str, Any]) -> Row:
    """A response; an answer without thoughts before it is a text like any other."""
    if found["response"] is None and found.get("answer") is not None:
        return {"response": found["answer"], "correct": found["correct"]}
    if found["response"] is None:
        raise BadLog(f"no response (any of {', '.join(ALIASES['response'])}, answer)")
    return {key: found[key] for key in ("response", "correct", "answer") if key in found}


def _found(record: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    """The value of each field, None where there is none; an answer only where the line has one.

    An answer that is null says that the response has none, which is more than to say nothing.
    """
    found = {}
    for field, aliases in ALIASES.items():
        names = (mapping[field],) if field in mapping else aliases
        values = [record[name] for name in names if name in record]
        if values or field != "answer":
            found[field] = next((value for value in values if value is not None), None)
    return found


def _names(field: str, mapping: Mapping[str, str]) -> str:
    return mapping[field] if field in mapping else ", ".join(ALIASES[field])


def _name(given: Any, query: Any) -> Any:
    if given is None:
        return query
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given
