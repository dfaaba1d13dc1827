"""Which column of a file is which field of a log.

    field        columns that are taken for it, the first that is there
    id           id, query_id, question_id, …
    outcome      outcome, reward, score, correct, …, y
    tokens       tokens, …; or the characters of the answer (len) / 4

A wide file has one row a query, and for each measure an object ``{arm: value}`` or columns named
``y.<arm>``, ``cost.<arm>``, ….
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from prompt_oirl.errors import BadLog

ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("id", "query_id", "question_id", "example_id", "doc_id", "qid"),
    "query": ("query", "query_text", "question", "text", "input"),
    "group": ("group", "group_id", "cluster"),
    "split": ("split", "partition"),
    "arm": ("arm", "arm_name", "prompt_id", "prompt_name", "template", "variant", "prompt"),
    "arm_text": ("arm_text", "prompt_text", "prompt"),
    "outcome": ("outcome", "reward", "score", "correct", "is_correct", "success", "passed", "y"),
    "run": ("run", "rerun", "repeat", "repetition", "epoch"),
    "cost": ("cost", "cost_usd", "price"),
    "tokens": ("tokens", "output_tokens", "completion_tokens"),
    "length": ("len", "length", "answer_characters"),
    "latency": ("latency", "latency_s", "seconds", "latency_ms"),
    "propensity": ("propensity", "pscore", "action_probability"),
}
MEASURES = ("outcome", "cost", "tokens", "length", "latency", "propensity")
CHARACTERS_PER_TOKEN = 4.0
"""Used where a log has the length of an answer but not its tokens: about right for English."""
UNITS = {"latency_ms": 1e-3}
"""What a column's numbers are multiplied with, by its name."""


@dataclass(frozen=True)
class Layout:
    """Which column holds each field; a field that is missing has none."""

    column: Mapping[str, str]

    def get(self, field: str) -> str | None:
        """The column of a field."""
        return self.column.get(field)

    def scale(self, field: str) -> float:
        """What the numbers of a field's column are multiplied with."""
        return UNITS.get(self.column.get(field, ""), 1.0)


def find_columns(present: Collection[str], mapping: Mapping[str, str]) -> Layout:
    """Finds the column of each field by the mapping, else by the first alias that is present.

    A column serves one field: ``prompt`` is the arm, or its text where another column is the arm.
    """
    column = {field: name for field, name in mapping.items() if name in present}
    taken = set(mapping.values())
    for field, names in ALIASES.items():
        if field in mapping:
            continue
        found = next((name for name in names if name in present and name not in taken), None)
        if found is not None:
            column[field] = found
            taken.add(found)
    return Layout(column)


def wide_arms(present: Iterable[str], mapping: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The columns ``y.<arm>``, ``cost.<arm>``, … of a wide table.

    Returns:
        For each measure, the column of each arm; nothing where the table is not wide.
    """
    names = list(present)
    found: dict[str, dict[str, str]] = {}
    for field in MEASURES:
        for prefix in (mapping[field],) if field in mapping else ALIASES[field]:
            arms = {
                name[len(prefix) + 1 :]: name for name in names if name.startswith(prefix + ".")
            }
            if arms:
                found[field] = arms
                break
    return found if "outcome" in found else {}


def check_mapping(mapping: Mapping[str, str]) -> None:
    """Checks that a mapping names known fields, each by a column of its own.

    Raises:
        BadLog: it does not.
    """
    for field in mapping:
        if field not in ALIASES:
            raise BadLog(f"a log has no field '{field}'; its fields are {', '.join(ALIASES)}")
    columns = list(mapping.values())
    for column in columns:
        if columns.count(column) > 1:
            fields = " and ".join(f"'{key}'" for key, value in mapping.items() if value == column)
            raise BadLog(f"the column '{column}' is given for {fields}; it can serve one field")


def parse_mapping(pairs: Iterable[str]) -> dict[str, str]:
    """Reads ``field=column`` pairs as they are given on a command line.

    Raises:
        BadLog: a pair has another form, or the field is unknown.
    """
    mapping = columns_by_field(pairs, "outcome=score")
    check_mapping(mapping)
    return mapping


def columns_by_field(pairs: Iterable[str], example: str) -> dict[str, str]:
    """Splits ``field=column`` pairs, whatever the fields.

    Raises:
        BadLog: a pair has another form than the example.
    """
    mapping: dict[str, str] = {}
    for pair in pairs:
        field, sign, column = pair.partition("=")
        if not (field and sign and column):
            raise BadLog(f"a column is given as field=column, such as {example}, not '{pair}'")
        mapping[field] = column
    return mapping


def missing_columns(where: str, fields: Iterable[str], present: Collection[str]) -> BadLog:
    """The error for fields that no column of a file was found for."""
    field = next(iter(fields))
    known = ", ".join(ALIASES[field])
    columns = ", ".join(sorted(present)[:20]) or "none"
    return BadLog(
        f"{where} has no column for the {field.replace('_', ' ')} (any of {known}); its columns "
        f"are {columns}; name the right one as {field}=COLUMN"
    )


def unknown_columns(where: str, mapping: Mapping[str, str], present: Collection[str]) -> None:
    """Checks that the columns a mapping names are there.

    Raises:
        BadLog: one is not.
    """
    for field, column in mapping.items():
        wide = any(name.startswith(column + ".") for name in present)
        if column not in present and not wide:
            columns = ", ".join(sorted(present)[:20]) or "none"
            raise BadLog(
                f"{where} has no column '{column}' (given for {field}); its columns are {columns}"
            )
