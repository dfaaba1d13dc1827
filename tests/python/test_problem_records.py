"""Records of problems: what states one, what is metadata, and what is a slip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from search.errors import BadProblem
from search.problem import problem_from_record, read_problems

CHAT = [{"role": "user", "content": "4 5 -> 9"}]
PUZZLE = {"numbers": [4, 5], "target": 9}


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"prompt": "a", "numbers": [4, 5]}, '"prompt" and "numbers" state the problem more'),
        ({"prompt": "a", "messages": CHAT}, '"prompt" and "messages" state the problem more'),
        ({"numbers": [4, 5], "messages": CHAT}, '"numbers" and "messages" state the problem more'),
        ({"prompt": "", "numbers": [4, 5]}, '"prompt" and "numbers"'),
        ({**PUZZLE, "facts": PUZZLE}, 'leave out "facts"'),
        ({"prompt": "a", "facts": {"numbers": [4, 5]}}, 'with "numbers" but no "target"'),
        ({"prompt": "a", "facts": {"target": 9}}, 'with "target" but no "numbers"'),
        ({"messages": CHAT, "facts": {"numbers": [4, 5]}}, 'with "numbers" but no "target"'),
        ({"messages": CHAT, "facts": [1]}, '"facts" must be an object'),
        ({"prompt": "a", "facts": []}, '"facts" must be an object'),
        ({"promt": "a", **PUZZLE}, "'promt' is no key of a problem; is \"prompt\" meant?"),
        ({"Prompt": "a"}, "'Prompt' is no key of a problem; is \"prompt\" meant?"),
        ({"propmt": "a"}, 'is "prompt" meant?'),
        ({"message": CHAT}, 'is "messages" meant?'),
        ({"prompt": "a", "fact": PUZZLE}, 'is "facts" meant?'),
        ({"numbers": [4, 5], "traget": 9}, 'is "target" meant?'),
        ({"ID": 7, **PUZZLE}, 'is "id" meant?'),
        ({"text": "a"}, "a problem needs"),
    ],
)
def test_what_is_refused_is_said(record: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(BadProblem) as error:
        problem_from_record(record, "a")
    assert said in str(error.value)
    path = tmp_path / "problems.jsonl"
    path.write_text(json.dumps(PUZZLE) + "\n" + json.dumps(record) + "\n")
    problems, (bad,) = read_problems(path)
    assert len(problems) == 1
    assert str(bad) == f"{path}, line 2: {error.value}"


def test_metadata_is_ignored() -> None:
    """Also where it looks like a key that the record has."""
    more = {"idx": 3, "answer": "9", "source": "web", "prompt_id": 4, "difficulty": 0.4, "tags": []}
    for record in ({"prompt": "4 5 -> 9"}, {"messages": CHAT}, PUZZLE):
        assert problem_from_record({**record, **more}, "a") == problem_from_record(record, "a")
    others = {"prompts": ["b"], "target": "9", "targets": ["9"]}
    assert problem_from_record({"prompt": "a", **others}, "a").prompt == "a"
    assert problem_from_record({"prompt": "a", "targets": ["9"]}, "a").prompt == "a"
    assert problem_from_record({**PUZZLE, "id": "mine", "ID": 7}, "a").id == "mine"


def test_null_is_left_out() -> None:
    """Tables with a column for each kind of problem are written so."""
    empty = dict.fromkeys(("id", "prompt", "numbers", "messages", "target", "facts", "promt"))
    for record in ({"prompt": "4 5 -> 9"}, {"messages": CHAT}, PUZZLE):
        assert problem_from_record({**empty, **record}, "a") == problem_from_record(record, "a")
    with pytest.raises(BadProblem, match="a problem needs"):
        problem_from_record(empty, "a")


def test_chats_keep_their_facts() -> None:
    assert problem_from_record({"messages": CHAT, "facts": PUZZLE}, "a").facts == PUZZLE
