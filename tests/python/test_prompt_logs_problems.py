"""Reading logs that are not as they should be: what cannot be used is named, the rest is read."""

from __future__ import annotations

import gzip
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tool_files import write_rows

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.columns import parse_mapping
from prompt_oirl.logs.read import read_log

ROWS = [
    {"id": "q1", "query": "2 + 2?", "arm": "nan", "outcome": 1, "cost": 0.5},
    {"id": "q2", "query": "3 + 3?", "arm": "step", "outcome": 0, "cost": 1.5},
]


class TestProblems:
    """Lines that cannot be used are named and counted; the rest is used."""

    GOOD = '{"id": "ok", "query": "one", "arm": "a", "outcome": 1}'

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ('{"id": "x"', "not JSON"),
            ("[1]", "not a JSON object but list"),
            ("\xff", "not UTF-8"),
            ('{"id": "x", "query": "t", "outcome": 1}', "no arm"),
            ('{"id": "x", "query": "t", "arm": "a"}', "no outcome"),
            ('{"id": "x", "query": "t", "arm": "a", "outcome": null}', "no outcome"),
            ('{"id": "x", "query": "t", "arm": "a", "outcome": "1"}', 'not a number: "1"'),
            ('{"id": "x", "query": "t", "arm": "a", "outcome": NaN}', "(NaN)"),
            (
                '{"id": "x", "query": "t", "arm": "a", "outcome": 1.5}',
                "1.5 under 'a' is not in 0..1",
            ),
            ('{"id": "x", "query": "t", "arm": "a", "outcome": -1}', "-1 under 'a' is not in"),
            ('{"id": "x", "query": "t", "arm": "a", "outcome": 1e999}', "inf under 'a'"),
            ('{"id": "x", "query": "t", "arm": "a", "outcome": 1' + "0" * 400 + "}", "too large"),
            ('{"id": "x", "query": "t", "arm": [], "outcome": 1}', "the arm is not text"),
            ('{"id": "x", "query": "  ", "arm": "a", "outcome": 1}', "query 'x' has no text"),
            ('{"id": "x", "arm": "a", "outcome": 1}', "query 'x' has no text"),
            ('{"id": "", "query": "t", "arm": "a", "outcome": 1}', "no id"),
            ('{"arm": "a", "outcome": 1}', "no text of the query"),
            ('{"id": "x", "query": "t", "arm": "a", "y": 1, "run": 0.5}', "the run 0.5"),
            ('{"id": "x", "query": "t", "arm": "a", "y": 1, "cost": -2}', "the cost -2"),
            ('{"id": "x", "query": "t", "arm": "a", "y": 1, "cost": "2"}', "the cost is not"),
            ('{"id": "x", "query": "t", "arm": "a", "y": 1, "propensity": 0}', "(0, 1]"),
            ('{"id": "x", "query": "t", "y": {}}', "no outcome under any arm"),
            ('{"id": "x", "query": "t", "y": {"a": 2}}', "2 under 'a' is not in 0..1"),
            ('{"id": "x", "query": "t", "y": {"a": "no"}}', "the outcome under 'a' is not"),
        ],
    )
    def test_json_lines(self, tmp_path: Path, line: str, reason: str) -> None:
        path = tmp_path / "log.jsonl"
        path.write_bytes(b"\n".join([self.GOOD.encode(), b"", line.encode("latin-1"), b""]))
        reading = read_log(path)
        assert reading.rows == 2
        (problem,) = reading.problems
        assert problem.line == 3
        assert reason in problem.reason
        assert [query.id for query in reading.log.queries] == ["ok"]
        path.write_bytes(line.encode("latin-1"))
        with pytest.raises(BadLog, match="holds nothing that can be used; line 1: ") as error:
            read_log(path)
        assert reason in str(error.value)

    def test_one_bad_arm_leaves_the_others(self, tmp_path: Path) -> None:
        path = tmp_path / "log.jsonl"
        path.write_text('{"id": "x", "query": "t", "y": {"a": 2, "b": 1, "c": true, "d": "1"}}')
        reading = read_log(path)
        assert reading.log.arm_names == ["b", "c"]
        assert [problem.line for problem in reading.problems] == [1, 1]

    @pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
    def test_a_negative_length(self, tmp_path: Path, kind: str) -> None:
        row = {"arm": "a", "outcome": 1}
        rows = [
            {**row, "query": "one", "len": -1, "tokens": 7},
            {**row, "query": "two", "len": -1, "tokens": None},
            {**row, "query": "three", "len": 8, "tokens": None},
        ]
        reading = read_log(write_rows(tmp_path / f"log.{kind}", rows))
        reasons = [problem.reason for problem in reading.problems]
        assert reasons == ["the length -1 under 'a' is negative or infinite"]
        np.testing.assert_array_equal(reading.log.tokens, [7, 2])

    def test_csv(self, tmp_path: Path) -> None:
        path = tmp_path / "log.csv"
        lines = [
            "id,query,arm,outcome",
            "ok,one,a,1",
            "",
            "x,t,a,no",
            "x,t",
            "x,t,a,nan",
            "x,t,a,7",
        ]
        path.write_text("\n".join([*lines, "x,,a,1", "x,t,,1", ",t,a,1", "x,t,a,", "z,two,a,TRUE"]))
        reading = read_log(path)
        assert [query.id for query in reading.log.queries] == ["ok", "z"]
        assert len(reading.problems) == 8
        assert dict(reading.problems) == {
            4: "the outcome is not a number",
            5: "2 values in 4 columns",
            6: "the outcome is not a number",
            7: "the outcome 7 under 'a' is not in 0..1",
            8: "query 'x' has no text",
            9: "no arm",
            10: "no id",
            11: "no outcome",
        }
        assert reading.rows == 10

    @pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
    def test_units_of_wide_columns(self, tmp_path: Path, kind: str) -> None:
        row = {"id": "q1", "query": "one", "y.A": 1, "y.B": 0}
        row |= {"latency_ms.A": 1500, "latency_ms.B": 250}
        if kind == "jsonl":
            row = {"id": "q1", "query": "one", "y": {"A": 1, "B": 0}}
            row["latency_ms"] = {"A": 1500, "B": 250}
        found = read_log(write_rows(tmp_path / f"wide.{kind}", [row]))
        assert found.problems == []
        assert found.log.latency.tolist() == [1.5, 0.25]

    @pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
    def test_no_column_stands_in_for_one_that_other_lines_have(
        self, tmp_path: Path, order: tuple[int, ...]
    ) -> None:
        whole = {"id": "q1", "query": "one", "arm": "A", "prompt": "Think.", "outcome": 1}
        whole["score"] = 0.1
        rows = [
            whole,
            {name: value for name, value in whole.items() if name != "arm"},
            {name: value for name, value in whole.items() if name != "outcome"} | {"arm": "B"},
            {"id": "q2", "query": "two", "prompt": "Think.", "y": {"A": 0, "B": 1}},
        ]
        shuffled = [rows[place] for place in order]
        found = read_log(write_rows(tmp_path / "mixed.jsonl", shuffled))
        assert found.log.arm_names == ["A", "B"]
        assert sorted(zip(found.log.arm, found.log.outcome)) == [(0, 0), (0, 1), (1, 1)]
        reasons = dict(found.problems)
        assert set(reasons) == {order.index(1) + 1, order.index(2) + 1}
        assert reasons[order.index(1) + 1].startswith("no arm; its columns are id, query, prompt,")
        assert reasons[order.index(2) + 1].startswith("no outcome; its columns are id, query, arm")
        assert found.unused == ["score"]

    def test_one_number_for_a_line_of_one_arm(self, tmp_path: Path) -> None:
        rows = [
            {"id": "q1", "query": "one", "y": {"A": 1}, "propensity": 0.25, "cost": 3},
            {"id": "q2", "query": "two", "y": {"A": 1, "B": None}, "propensity": 0.5, "cost": 2},
            {"id": "q3", "query": "three", "y": {"A": 1, "B": 0}, "propensity": 0.5},
        ]
        found = read_log(write_rows(tmp_path / "wide.jsonl", rows))
        assert found.log.propensity.tolist() == [0.25, 0.5]
        assert found.log.cost.tolist() == [3, 2]
        assert [str(problem) for problem in found.problems] == ["line 3: one propensity for 2 arms"]

    def test_one_cost_for_several_arms_is_named(self, tmp_path: Path) -> None:
        row = {"id": "q1", "query": "one", "y": {"A": 1, "B": 0}, "cost": 3, "latency": 2}
        found = read_log(write_rows(tmp_path / "wide.jsonl", [row | {"tokens": {"A": 7}}]))
        assert found.log.grid().tolist() == [[1, 0]]
        assert np.isnan(found.log.cost).all()
        assert [str(problem) for problem in found.problems] == [
            "line 1: one cost for 2 arms, which is left out",
            "line 1: one latency for 2 arms, which is left out",
        ]

    def test_wide_csv(self, tmp_path: Path) -> None:
        path = tmp_path / "log.csv"
        path.write_text("query,y.a,y.b,cost.a\none,1,x,0.5\ntwo,,,\nthree,2,0,1\nfour,1,1,x\n")
        reading = read_log(path)
        assert dict(reading.problems) == {
            2: "the outcome under 'b' is not a number",
            3: "no outcome under any arm",
            4: "the outcome 2 under 'a' is not in 0..1",
            5: "the cost under 'a' is not a number",
        }
        expected = [[1, math.nan], [math.nan, 0], [math.nan, 1]]
        np.testing.assert_array_equal(reading.log.grid(), expected)
        assert reading.log.texts == ["one", "three", "four"]

    def test_quoted_line_breaks(self, tmp_path: Path) -> None:
        path = tmp_path / "log.csv"
        path.write_text('query,arm,outcome\n"one\ntwo",a,1\n"x",b,0\n')
        assert read_log(path).log.texts == ["one\ntwo", "x"]


class TestErrors:
    """Files that are no log."""

    def error(self, path: Path, *args: Any, **mapping: Any) -> str:
        with pytest.raises(BadLog) as error:
            read_log(path, *args, **mapping)
        text = str(error.value)
        assert "\n" not in text
        return text

    def test_missing_empty_and_foreign_files(self, tmp_path: Path) -> None:
        assert "cannot read" in self.error(tmp_path / "log.jsonl")
        assert "cannot read" in self.error(tmp_path)
        path = tmp_path / "log.jsonl"
        path.write_text("\n\n")
        assert "is empty" in self.error(path)
        path.write_bytes(gzip.compress(b'{"a": 1}' * 100)[:20])
        assert "not a complete gzip file" in self.error(path)
        path.write_bytes(b"PK\x03\x04")
        assert "prompt import" in self.error(path)
        for text in ('[{"query": "a", "arm": "b", "outcome": 1}]', "[ ]", '[\n  {"query": "a"'):
            path.write_text(text)
            assert "one JSON list; a log has one JSON object on each line" in self.error(path)
        path.write_bytes(b"PAR1 nothing")
        assert "not a Parquet file" in self.error(path)
        path = tmp_path / "log.csv"
        path.write_text("")
        assert "no header" in self.error(path)
        path.write_text("query,arm,outcome\n")
        assert "is empty" in self.error(path)
        path.write_text("query,arm,arm\n")
        assert "column 'arm' twice" in self.error(path)
        path.write_bytes(b"query,arm,outcome\n\xff,a,1\n")
        assert "not UTF-8" in self.error(path)
        assert "unknown format 'xml'" in self.error(path, "xml")

    @pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
    def test_ids_with_different_texts_groups_or_splits(self, tmp_path: Path, kind: str) -> None:
        base = {"id": "same", "query": "one", "arm": "a", "outcome": 1, "group": "g", "split": "s"}
        other = {**base, "id": "other"}
        lines = {"jsonl": "line 1 and line 3", "csv": "line 2 and line 4"}.get(
            kind, "line 1 and line 3"
        )
        for field, what in (("query", "texts"), ("group", "groups"), ("split", "splits")):
            rows = [base, other, {**base, field: "different", "arm": "b"}]
            text = self.error(write_rows(tmp_path / f"log.{kind}", rows))
            assert f"the query id 'same' has different {what} in {lines}" in text

    @pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
    def test_columns(self, tmp_path: Path, kind: str) -> None:
        path = write_rows(tmp_path / f"log.{kind}", ROWS)
        assert "no column 'mark' (given for outcome)" in self.error(path, outcome="mark")
        assert "no field 'reward'" in self.error(path, reward="outcome")
        assert "it can serve one field" in self.error(path, outcome="cost", cost="cost")
        path = write_rows(tmp_path / f"other.{kind}", [{"query": "one", "arm": "a", "value": 1}])
        assert "outcome" in self.error(path)
        with pytest.raises(BadLog, match="field=column"):
            parse_mapping(["outcome"])

    def test_parquet_columns(self, tmp_path: Path) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        path = tmp_path / "log.parquet"
        columns = {"query": ["one"], "arm": ["a"], "outcome": [[1]]}
        parquet.write_table(pa.table(columns), path)
        assert f"{path}: the column 'outcome' holds list<" in self.error(path)
        names = ["query", "arm", "outcome", "outcome"]
        parquet.write_table(pa.table([["one"], ["a"], [1], [0]], names), path)
        assert self.error(path) == f"{path} has the column 'outcome' twice"

    def test_one_arm_only_where_more_are_asked(self, tmp_path: Path) -> None:
        path = write_rows(tmp_path / "log.jsonl", ROWS[1:])
        assert len(read_log(path).log.arms) == 1
        text = self.error(path, least_arms=2)
        assert "has 1 prompt (step); a choice needs at least 2" in text
