"""CSV with long texts and with quotes that nobody closed: in logs, gold answers and policies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Run

from prompt_oirl.audit.gold_column import read_golds
from prompt_oirl.errors import BadLog
from prompt_oirl.logs.csv_records import csv_records
from prompt_oirl.logs.read import read_log

LONG = "How many? " * 20_000
HEAD = "id,query,arm,outcome"
GOOD = [f"q{i},text {i},{arm},{i % 2}" for i in range(20) for arm in "ab"]


def written(path: Path, lines: list[str], end: str = "\n") -> Path:
    path.write_text(end.join([HEAD, *lines]) + end, newline="")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(BadLog) as error:
        read_log(path)
    return str(error.value)


def test_records() -> None:
    lines = ["a,b\r\n", "\n", '"one\n', 'two ""quoted""",2\n', f'"{LONG}",3']
    expected = [["a", "b"], [], ['one\ntwo "quoted"', "2"], [LONG, "3"]]
    assert list(csv_records(Path("x.csv"), lines)) == list(enumerate(expected, start=1))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_quote_that_is_never_closed(tmp_path: Path, end: str) -> None:
    lines = [*GOOD[:9], 'q99,"unclosed,a,1', *GOOD[9:]]
    path = written(tmp_path / "log.csv", lines, end)
    assert refusal(path) == (
        f"{path}, line 11: a quote that opens here is not closed, so the next 31 lines would be "
        "part of its text"
    )


def test_a_quote_that_the_next_one_closes(tmp_path: Path) -> None:
    """The lines between make one record of the right length, so Arrow does not complain."""
    lines = ['x,"broken,a,1', *GOOD[:5], 'y,"whole",b,0', *GOOD[5:]]
    assert "line 2: a quote that opens here is not closed, so the next 6 lines" in refusal(
        written(tmp_path / "log.csv", lines)
    )


def test_a_quote_before_more_than_a_block_of_text(tmp_path: Path) -> None:
    path = written(tmp_path / "log.csv", ['x,"broken,a,1', *GOOD * 5000])
    assert "line 2: a quote that opens here is not closed" in refusal(path)


def test_in_the_last_line_only_that_one_is_lost(tmp_path: Path) -> None:
    reading = read_log(written(tmp_path / "log.csv", [*GOOD, 'x,"broken,a,1']))
    assert [problem.line for problem in reading.problems] == [len(GOOD) + 2]
    assert len(reading.log.outcome) == len(GOOD)


def test_quotes_and_line_breaks_that_are_right(tmp_path: Path) -> None:
    texts = ['"two\nlines"', '5" pipes', '"a ""quoted"" word,\n\nand more"', '"the "end" here"']
    lines = [f"{i},{text},{arm},1" for i, text in enumerate(texts) for arm in "ab"]
    reading = read_log(written(tmp_path / "log.csv", lines))
    assert not reading.problems
    found = reading.log.texts
    assert found[:3] == ["two\nlines", '5" pipes', 'a "quoted" word,\n\nand more']


def test_long_texts(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = [f"q{i},{LONG}{i},{arm},{i % 2},{i}" for i in range(2) for arm in "ab"]
    path.write_text("\n".join([f"{HEAD},gold", *rows, ""]))
    assert read_golds(path, {"gold"}) == {"q0": "0", "q1": "1"}
    code, out, err = run("prompt", "audit", path, "--json")
    assert json.loads(out)["queries"] == 2
    assert (code, err) == (0, "")
