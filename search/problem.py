"""Problems and the files that hold them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from search.errors import BadProblem
from search.json_text import parse_json

STATEMENTS = ("prompt", "numbers", "messages")
KEYS = ("id", *STATEMENTS, "target", "facts")
ALIKE = 0.83  # a letter more, less or other, or two of them swapped


@dataclass(frozen=True)
class Problem:
    """One thing to solve.

    Attributes:
        prompt: text given to the policy, exactly as it is (the tokenizer adds its BOS).
        id: name in results and traces; also part of the seed.
        facts: what a verifier may know of the statement (never the answer).
        messages: chat messages instead of ``prompt``; rendered by the model's chat template.
    """

    prompt: str
    id: str = "problem"
    facts: dict[str, Any] = field(default_factory=dict)
    messages: tuple[dict[str, str], ...] | None = None

    @property
    def question(self) -> str:
        """The prompt, or a chat's last message of the user."""
        asked = (m["content"] for m in reversed(self.messages or ()) if m["role"] == "user")
        return next(asked, self.prompt)


@dataclass(frozen=True)
class BadLine:
    """A line of a problems file that could not be read."""

    path: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.reason}"


def problem_from_record(record: Any, name: str) -> Problem:
    """Makes a problem of one JSON record with ``prompt``, ``messages``, or ``numbers``.

    A key whose value is null counts as left out. Keys that are none of ours are metadata and are
    ignored, but for one that looks like a slip of ours that the record lacks (``promt``).

    Raises:
        BadProblem: the record is no such problem, or states it twice; the message says what is
            wrong.
    """
    if not isinstance(record, dict):
        raise BadProblem(f"a problem is a JSON object, not {type(record).__name__}")
    record = {key: value for key, value in record.items() if value is not None}
    _check_keys(record)
    given = record.get("id")
    if given is not None:
        if isinstance(given, bool) or not isinstance(given, str | int) or given == "":
            raise BadProblem(f'"id" must be text or a whole number, not {given!r}')
        name = str(given)
        _need_text("id", name)
    if "numbers" in record:
        from search.puzzles.problems import puzzle_problem

        return puzzle_problem(record["numbers"], record.get("target", 24), name)
    facts = _facts_of(record)
    if "messages" in record:
        return Problem(prompt="", id=name, facts=facts, messages=_messages_of(record))
    prompt = record.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise BadProblem('a problem needs "prompt" (text), "messages", or "numbers" and "target"')
    _need_text("prompt", prompt)
    return Problem(prompt=prompt, id=name, facts=facts)


def _check_keys(record: dict[str, Any]) -> None:
    lacking = [known for known in KEYS if known not in record]
    if "numbers" not in record and "target" in lacking:
        lacking.remove("target")  # which only a puzzle reads: "targets" may well be metadata
    for key in record:
        meant = () if key in KEYS else get_close_matches(key.lower(), lacking, 1, cutoff=ALIKE)
        if meant:
            raise BadProblem(f'{key!r} is no key of a problem; is "{meant[0]}" meant?')
    stated = [f'"{key}"' for key in STATEMENTS if key in record]
    if len(stated) > 1:
        raise BadProblem(f"{' and '.join(stated)} state the problem more than once; give one")
    if "numbers" in record and "facts" in record:
        raise BadProblem('"numbers" and "target" are all the facts of a puzzle; leave out "facts"')


def _facts_of(record: dict[str, Any]) -> dict[str, Any]:
    facts = record.get("facts", {})
    if not isinstance(facts, dict):
        raise BadProblem(f'"facts" must be an object, not {facts!r}')
    if ("numbers" in facts) != ("target" in facts):
        there, lacking = ("numbers", "target") if "numbers" in facts else ("target", "numbers")
        raise BadProblem(f'"facts" with "{there}" but no "{lacking}" state no puzzle to check')
    if facts:
        from search.puzzles.problems import puzzle_of_facts

        puzzle_of_facts(facts)
    return facts


def _messages_of(record: dict[str, Any]) -> tuple[dict[str, str], ...]:
    messages = record["messages"]
    if (
        not isinstance(messages, list)
        or not messages
        or not all(
            isinstance(m, dict)
            and isinstance(m.get("role"), str)
            and isinstance(m.get("content"), str)
            for m in messages
        )
    ):
        raise BadProblem('"messages" must be a list of objects with "role" and "content"')
    for message in messages:
        _need_text("role", message["role"])
        _need_text("content", message["content"])
    return tuple(messages)


def _need_text(name: str, text: str) -> None:
    """JSON can escape half of a surrogate pair, which no tokenizer and no stream can encode."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise BadProblem(f'"{name}" has a lone surrogate ({half!r}), which is no text') from None


def read_problems(path: str | Path) -> tuple[list[Problem], list[BadLine]]:
    """Reads a JSONL file of problems; bad lines are returned beside the good ones.

    Raises:
        BadProblem: the file is missing, not text, or has no good line.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode().removeprefix("\ufeff")
    except OSError as error:
        raise BadProblem(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadProblem(f"{path} is not UTF-8 text (byte {error.start})") from error
    problems: list[Problem] = []
    bad: list[BadLine] = []
    # splitlines() would cut JSON at U+2028.
    lines = [(n, line) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]
    for record, (number, line) in enumerate(lines, start=1):
        try:
            # The id is part of the seed: a blank line more or less must not change a search.
            problems.append(problem_from_record(parse_json(line), f"record-{record}"))
        except json.JSONDecodeError as error:
            bad.append(BadLine(str(path), number, f"not JSON ({error.msg})"))
        except (ValueError, RecursionError) as error:  # the latter where it is only just too deep
            bad.append(BadLine(str(path), number, f"not JSON that can be read ({error})"))
        except BadProblem as error:
            bad.append(BadLine(str(path), number, str(error)))
    if not problems:
        detail = f"; {bad[0]}" if bad else ""
        raise BadProblem(f"{path} holds no problem that can be read{detail}")
    return problems, bad


def with_unique_ids(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Yields the problems; one whose id was seen before gets ``#2``, ``#3``, … that nobody has.

    In a collection, an id that was given once stays as it is. An iterator is read one problem at a
    time and may have no end, so there only the ids before a problem are known.
    """
    given = {problem.id for problem in problems} if isinstance(problems, Collection) else set()
    used: set[str] = set()
    counts: dict[str, int] = {}
    for problem in problems:
        name = problem.id
        while name in used or (name in given and name != problem.id):
            counts[problem.id] = counts.get(problem.id, 1) + 1
            name = f"{problem.id}#{counts[problem.id]}"
        used.add(name)
        yield problem if name == problem.id else replace(problem, id=name)
