"""Where results go: never over what a command reads, and never lost without a word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Run

ANSWERS = [
    {"id": f"q{i}", "query": f"{i} + 1?", "arm": arm, "answer": f"#### {i + 1}", "gold": str(i + 1)}
    for i in range(4)
    for arm in "ab"
]


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ANSWERS))
    return path


@pytest.mark.parametrize(
    ("out", "report"),
    [
        ("answers.jsonl", None),
        (None, "answers.jsonl"),
        ("link.jsonl", None),
        ("b", "b"),
        ("answers.jsonl.gz", None),
        ("b.jsonl", "b.meta.json"),
        (None, "answers.meta.json"),
    ],
)
def test_grade_overwrites_nothing(
    run: Run, answers: Path, out: str | None, report: str | None
) -> None:
    (answers.parent / "link.jsonl").symlink_to(answers)
    before = answers.read_bytes()
    words: list[object] = ["prompt", "grade", answers]
    words += [] if out is None else ["--out", answers.parent / out]
    words += [] if report is None else ["--report", answers.parent / report]
    code, printed, err = run(*words)
    assert (code, printed) == (2, "")
    assert "would be overwritten" in err
    assert answers.read_bytes() == before


def test_report_overwrites_no_log(run: Run, answers: Path) -> None:
    code, _, err = run("prompt", "report", answers, "--out", answers)
    assert code == 2
    assert "would be overwritten: it is read" in err


@pytest.mark.parametrize(
    "words", [("bench", "linear", "--quick", "--plot"), ("prompt", "report", "--out")]
)
def test_a_folder_that_is_not_there_is_told_first(
    run: Run, tmp_path: Path, words: tuple[str, ...]
) -> None:
    code, out, err = run(*words, tmp_path / "nowhere" / "x.png")
    assert (code, out) == (2, "")
    assert "there is no folder" in err


def test_rows_of_a_benchmark_outlive_its_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> object:
        yield {"rows": 1}
        raise OSError("no more")

    monkeypatch.setattr("benchmarks.linear.bench.run", broken)
    monkeypatch.setattr("benchmarks.linear.bench.line", str)
    code, out, err = run("bench", "linear", "--json")
    assert code == 1
    assert json.loads(out)["rows"] == [{"rows": 1}]
    assert err == "treeward: no more; 1 rows are done\n"


def test_a_seed_beyond_what_generators_take(run: Run) -> None:
    code, out, err = run("bench", "tree", "--quick", "--seed", 2**63)
    assert (code, out) == (2, "")
    assert "--seed" in err


class TestStdout:
    def treeward(self, more: str, **settings: str) -> subprocess.CompletedProcess[str]:
        code = "from search.cli import main; main()"
        command = f'"{sys.executable}" -c "{code}" info {more}'
        return subprocess.run(
            ["sh", "-c", command],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
        )

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
    def test_full(self) -> None:
        done = self.treeward("> /dev/full")
        assert done.returncode == 1
        assert done.stderr == "treeward: cannot write to stdout: No space left on device\n"

    def test_closed(self) -> None:
        done = self.treeward(">&-")
        assert done.returncode == 1
        assert done.stderr == "treeward: stdout is closed, so there is nowhere to print to\n"

    def test_a_terminal_of_no_width(self) -> None:
        done = self.treeward("", COLUMNS="0")
        assert done.returncode == 0
        assert "treeward" in done.stdout
