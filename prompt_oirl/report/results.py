"""What a page reads of the results of other commands, checked before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prompt_oirl.errors import BadLog

LARGEST = 1e15  # what is larger in size is no measure of prompts, and cannot be drawn


def is_number(value: object) -> bool:
    """Whether it is a number that can be shown: no boolean, no NaN, nothing beyond measure."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST


def check_audit(audit: Mapping[str, Any], where: str = "the audit") -> None:
    """Whether the findings of an audit can be listed; what is missing is left out.

    Raises:
        BadLog: they cannot.
    """
    _objects(audit, "findings", where)


def check_evaluation(evaluation: Mapping[str, Any], where: str = "the evaluation") -> None:
    """Whether the rows of an evaluation can be drawn; what is missing is left out.

    Raises:
        BadLog: they cannot.
    """
    for number, row in enumerate(_objects(evaluation, "rows", where), 1):
        if not _is_list(row.get("reliability"), _is_bin):
            raise BadLog(
                f"{where}: 'reliability' of row {number} is no list of [predicted, outcome, cells]"
            )
        for key in ("curve", "over_optimisation"):
            if not _is_list(row.get(key), _is_point):
                raise BadLog(
                    f"{where}: '{key}' of row {number} is no list of objects with the numbers "
                    "'candidates', 'predicted' and 'realised'"
                )


def _objects(found: Mapping[str, Any], key: str, where: str) -> list[Mapping[str, Any]]:
    objects = found.get(key, [])
    if not isinstance(objects, list) or not all(isinstance(one, Mapping) for one in objects):
        raise BadLog(f"{where}: '{key}' is no list of objects")
    return objects


def _is_list(value: object, is_entry: Any) -> bool:
    return value is None or (isinstance(value, (list, tuple)) and all(map(is_entry, value)))


def _is_bin(entry: object) -> bool:
    if not isinstance(entry, (list, tuple)) or len(entry) != 3:
        return False
    return all(map(is_number, entry)) and entry[2] >= 0


def _is_point(entry: object) -> bool:
    keys = ("candidates", "predicted", "realised")
    return isinstance(entry, Mapping) and all(is_number(entry.get(key)) for key in keys)
