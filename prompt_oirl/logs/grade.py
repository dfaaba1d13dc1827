"""From the texts of answers and the known answers to a log with outcomes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.build import build_log
from prompt_oirl.logs.columns import ALIASES, find_columns
from prompt_oirl.logs.importers.importing import ImportedCells, json_lines
from prompt_oirl.logs.json_lines import number_of
from prompt_oirl.logs.metadata import read_metadata
from prompt_oirl.logs.read import LogReading
from prompt_oirl.logs.text_hash import text_id

if TYPE_CHECKING:
    from reward_bridge.verifiers import ExtractionReport, Grader

ANSWER = ("answer", "response", "output", "completion", "generation")
GOLD = ("gold", "target", "reference", "expected", "label")
MEASURES = ("cost", "tokens", "latency", "propensity", "run")


@dataclass(frozen=True)
class GradedAnswers:
    """A graded log, and how far its labels can be trusted.

    Attributes:
        reading: the log, and the lines that could not be graded.
        report: where extractors disagree, and which answers look truncated.
        answers: the texts that were graded, in the order of the report.
        lines: the line of each.
        by_arm: number of graded answers and of those that look truncated, by prompt.
    """

    reading: LogReading
    report: ExtractionReport
    answers: list[str] = field(repr=False)
    lines: list[int] = field(repr=False)
    by_arm: dict[str, tuple[int, int]]


def grade_answers(
    path: Path,
    grader: Grader,
    compared: Mapping[str, Grader] | None = None,
    cap: int | None = None,
    advance: Callable[[], None] = lambda: None,
    answer_field: str = "",
) -> GradedAnswers:
    """Grades a JSONL file: ``id``, ``query``, ``arm``, the ``answer``'s text, and the ``gold``.

    The other fields of a log (group, split, run, cost, …) are kept; a line on which one of them
    should be a number and is none is left out, as by ``read_log``. An answer without a final answer
    is wrong; a line without a gold, or with one that cannot be read, is no outcome.

    Args:
        path: the file, compressed by gzip or not.
        grader: decides the outcome.
        compared: more extractors for the report.
        cap: most characters that an answer could have.
        advance: called once a line is graded.
        answer_field: which field is the text of the answer; needed where several of :data:`ANSWER`
            have a text, since ``answer`` beside ``response`` is often the known answer.

    Raises:
        BadLog: the file cannot be read, or nothing in it can be graded.
    """
    from reward_bridge.verifiers import extraction_report

    cells = ImportedCells()
    graded: list[tuple[int, str, str, str, str]] = []
    for line, record in json_lines(path, cells):
        try:
            texts, answer, gold, measures = _fields(record, answer_field)
            right = grader.check(answer, gold, texts["query"]).right
            if right is None:
                raise ValueError(f"the gold {gold[:40]!r} cannot be read by {grader.name}")
        except ValueError as error:
            cells.refuse(line, str(error))
            continue
        finally:
            advance()
        cells.add(line, texts, float(right), {**measures, "length": float(len(answer))})
        graded.append((line, answer, gold, texts["query"], texts["arm"]))
    metadata = read_metadata(path)
    table = cells.table()
    log, problems = build_log(str(path), table, metadata)
    answers = [answer for _, answer, _, _, _ in graded]
    report = extraction_report(
        answers,
        [gold for _, _, gold, _, _ in graded],
        {grader.name: grader, **(compared or {})},
        [query for _, _, _, query, _ in graded],
        cap,
        [arm for *_, arm in graded],
    )
    by_arm: dict[str, tuple[int, int]] = {}
    for index, (_, _, _, _, arm) in enumerate(graded):
        count, cut = by_arm.get(arm, (0, 0))
        by_arm[arm] = (count + 1, cut + (index in report.truncated))
    reading = LogReading(log, problems, cells.records)
    return GradedAnswers(reading, report, answers, [line for line, *_ in graded], by_arm)


def _fields(
    record: dict[str, Any], answer_field: str
) -> tuple[dict[str, str], str, str, dict[str, float]]:
    """Texts of the cell, the answer, the gold and the measures of a line.

    Raises:
        ValueError: something is missing or no number, or several texts may be the answer.
    """
    answer = _answer(record, answer_field)
    gold = next((record[name] for name in GOLD if record.get(name) is not None), None)
    if isinstance(gold, bool) or not isinstance(gold, str | int | float):
        raise ValueError(f"no known answer (any of {', '.join(GOLD)})")
    graded = {*ANSWER, *GOLD, answer_field}
    rest = {key: value for key, value in record.items() if key not in graded}
    layout = find_columns(rest.keys(), {})
    texts = {}
    for name in ("id", "query", "group", "split", "arm", "arm_text"):
        value = rest.get(layout.column.get(name, ""))
        texts[name] = str(value) if isinstance(value, str | int) else ""
    for name in ("query", "arm"):
        if not texts[name].strip():
            raise ValueError(f"no {name} (any of {', '.join(ALIASES[name])})")
    texts["id"] = texts["id"] or text_id(texts["query"])
    measures = {
        name: number_of(rest.get(layout.column.get(name, "")), f"the {name}") * layout.scale(name)
        for name in MEASURES
    }
    return texts, answer, str(gold), measures


def _answer(record: Mapping[str, Any], answer_field: str) -> str:
    """The text to grade, or the number where there is no text.

    Raises:
        ValueError: there is none, or more than one.
    """
    names = (answer_field,) if answer_field else ANSWER
    found = {name: record[name] for name in names if isinstance(record.get(name), str)}
    if not found:
        found = {name: str(record[name]) for name in names if _is_number(record.get(name))}
    if not found:
        raise ValueError(f"no text of an answer (any of {', '.join(names)})")
    if len(found) > 1:
        both = " and ".join(f"'{name}'" for name in found)
        raise ValueError(
            f"{both} may both be the answer; name the one to be graded by --answer-field"
        )
    return next(iter(found.values()))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def load_graders(names: list[str]) -> dict[str, Grader]:
    """Graders by their names.

    Raises:
        BadLog: a name is there twice.
    """
    from reward_bridge.verifiers import load_grader

    graders = {name: load_grader(name) for name in names}
    if len(graders) != len(names):
        raise BadLog(f"an extractor is named twice in {', '.join(names)}")
    return graders
