"""Who selects in ``treeward solve``: the verifier where it has an opinion, else the reward."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import tiny_search
from command_line import Run
from test_cli_errors import common, model  # noqa: F401  (fixtures)
from tiny_search import PROBLEMS, ToyVerifier, by_id, engine, shape

from search import Problem
from search.session import Session

PLAIN = '{"prompt": "1 1 4 6", "id": "plain"}\n'
PUZZLE = '{"numbers": [1, 1, 4, 6], "id": "puzzle"}\n'


@pytest.fixture
def words(common: list[str], folders: Path) -> list[str]:  # noqa: F811
    """A beam search with a reward model."""
    reward = tiny_models.made(
        folders, characters=tiny_models.PUZZLE, head="TokenClassification", num_labels=2
    )
    start = ["--algorithm", "beam", "--budget-tokens", "60", "--json"]
    return [*common[:-4], "--reward", str(reward), "--threads", "1", *start]


@pytest.fixture
def selections(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """How the answer of each problem was selected, by id."""
    found: dict[str, str] = {}
    begin = Session.__init__

    def note(self: Session, problem: Problem, setting: Any, arena: Any) -> None:
        found[problem.id] = setting.options.get("selection", "best")
        assert setting.judge == (found[problem.id] == "best")
        begin(self, problem, setting, arena)

    monkeypatch.setattr(Session, "__init__", note)
    return found


@pytest.mark.parametrize(
    ("typed", "selection"),
    [
        (["1 1 4 6"], "posterior"),
        (["1 1 4 6", "--puzzle"], "best"),
        (["1 1 4 6", "--puzzle", "--no-verifier"], "posterior"),
    ],
)
def test_the_reward_selects_where_the_verifier_has_no_opinion(
    run: Run, words: list[str], selections: dict[str, str], typed: list[str], selection: str
) -> None:
    assert run("solve", *typed, *words)[0] == 0
    assert list(selections.values()) == [selection]


def test_neighbours_in_a_file_change_nothing(
    run: Run, words: list[str], selections: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "problems.jsonl"
    found = []
    for text in (PLAIN, PLAIN + PUZZLE, PUZZLE):
        path.write_text(text)
        code, out, _ = run("solve", "--file", path, *words)
        assert code == 0
        results = json.loads(out)["results"]
        found.append({result["id"]: (result["text"], result["score"]) for result in results})
    assert selections == {"plain": "posterior", "puzzle": "best"}
    assert found[1] == {**found[0], **found[2]}


def test_a_function_says_which_verdicts_count(folders: Path) -> None:
    """Each problem is as it would be with a judge for all, or for none."""
    settings: dict[str, Any] = {"verifier": ToyVerifier(right="a"), "algorithm": "mcts"}

    def first_two(problem: Problem) -> bool:
        if problem.id == "p3":
            raise OSError("out of reach")
        return problem.id in ("p0", "p1")

    found = by_id(tiny_search.engine(folders, judge=first_two, **settings), PROBLEMS[:4])
    assert found.pop("p3").error == "p3: the judge failed: OSError: out of reach"
    for problem in PROBLEMS[:3]:
        alone = engine(folders, judge=first_two(problem), **settings).solve(problem)
        assert shape(found[problem.id]) == shape(alone)
    assert [found[name].right is None for name in ("p0", "p1", "p2")] == [False, False, True]


def test_a_grader_reads_the_answers_of_prompts(run: Run, words: list[str]) -> None:
    ask = ["solve", "1 1 4 6", *words, "--algorithm", "best_of_n"]
    code, out, _ = run(*ask)
    assert code == 0
    (plain,) = json.loads(out)["results"]
    code, out, _ = run(*ask, "--grader", "numeric")
    assert code == 0
    (graded,) = json.loads(out)["results"]
    assert sum(weight for _, weight in graded["votes"]) <= sum(w for _, w in plain["votes"])
    assert all(float(answer) is not None for answer, _ in graded["votes"])
    assert {answer for answer, _ in graded["votes"]} != {answer for answer, _ in plain["votes"]}

    code, out, err = run(*ask, "--grader", "nobody")
    assert (code, out) == (2, "")
    assert "nobody" in err
