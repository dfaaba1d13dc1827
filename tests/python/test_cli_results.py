"""What ``solve`` and ``evaluate`` say of results: their order, and who checked or selected them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Run
from test_cli_errors import common, model  # noqa: F401  (fixtures)

from search import Problem, SearchResult
from search.budget import Ledger
from search.cli.render import print_results

LINES = [
    '{"numbers": [1, 1, 4, 6], "id": "long"}',
    '{"prompt": "1 1", "id": "short"}',
    '{"prompt": "\u03a9", "id": "bad"}',
    '{"numbers": [2, 3], "target": 5, "id": "short"}',
]


@pytest.fixture
def words(common: list[str], tmp_path: Path) -> list[str]:  # noqa: F811
    """``solve`` on problems that end at different times."""
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(f"{line}\n" for line in LINES))
    return ["solve", "--file", str(path), "--budget-tokens", "100", *common]


@pytest.mark.parametrize("live", ["1", "3", "32"])
def test_results_are_in_the_order_of_the_file(run: Run, words: list[str], live: str) -> None:
    code, out, err = run(*words, "--json", "--max-live", live)
    assert code == 1
    results = json.loads(out)["results"]
    assert [result["id"] for result in results] == ["long", "short", "bad", "short#2"]
    assert err.startswith("treeward: bad: ")


def test_trees_are_in_the_order_of_the_file(run: Run, words: list[str]) -> None:
    _, out, _ = run(*words)
    lines = [line for line in out.splitlines() if line[:1].isdigit()]
    assert [line.split("  ")[0] for line in lines[:3]] == ["1 1 4 6 -> 24", "1 1", "2 3 -> 5"]


def result(name: str, answer: str | None, right: bool | None) -> SearchResult:
    return SearchResult(Problem(name, name), "finished", Ledger(), answer=answer, right=right)


@pytest.mark.parametrize(
    ("checked", "said"),
    [
        ("abcd", "1 of 4 solved"),
        ("ab", "1 of 2 solved; 1 of 2 answered, not checked"),
        ("", "3 of 4 answered, not checked"),
    ],
)
def test_only_what_was_checked_is_solved_or_not(
    capsys: pytest.CaptureFixture[str], checked: str, said: str
) -> None:
    results = [result("a", "1", True), result("b", "2", False)]
    results += [result("c", "3", None), result("d", None, None)]
    print_results(results, lambda problem: problem.id in checked)
    assert capsys.readouterr().out.splitlines()[-1] == said


def test_a_file_of_which_nothing_is_checked(run: Run, words: list[str]) -> None:
    _, out, _ = run(*words, "--no-verifier")
    assert "solved" not in out
    assert "of 4 answered, not checked" in out
    _, out, _ = run(*words)
    assert "of 2 solved; " in out
    assert "of 2 answered, not checked" in out


def test_a_table_says_what_selects(run: Run, common: list[str], folders: Path) -> None:  # noqa: F811
    words = ["evaluate", "--limit", "1", "--algorithms", "greedy", "--budget-tokens", "60"]
    for more, said in (
        ([], "1 puzzles"),
        (["--no-verifier"], "1 puzzles, selected by the policy alone"),
    ):
        code, out, _ = run(*words, *common, *more)
        assert code == 0
        assert out.strip().splitlines()[0].strip().endswith(said)
