"""Reading logs: the same cells from every format and shape, and a clear sentence for bad input."""

from __future__ import annotations

import json
import math
import os
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tool_files import write_rows

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.columns import parse_mapping
from prompt_oirl.logs.log import Arm, PromptLog, Query
from prompt_oirl.logs.read import read_log
from prompt_oirl.logs.text_hash import text_group

FORMATS = ("jsonl", "jsonl.gz", "csv", "csv.gz", "tsv", "parquet")
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), min_size=1, max_size=8)
ROWS = [
    {"id": "q1", "query": "2 + 2?", "arm": "nan", "outcome": 1, "tokens": 5, "cost": 0.5},
    {"id": "q1", "query": "2 + 2?", "arm": "step", "outcome": 0.25, "tokens": 50, "cost": None},
    {"id": "q2", "query": 'say "a, b"', "arm": "step", "outcome": 0, "tokens": 40, "cost": 1.5},
]


def cells(log: PromptLog) -> Counter:
    """A log as a bag of cells in plain values."""
    return Counter(
        (
            log.queries[q].id,
            log.queries[q].text,
            log.queries[q].group,
            log.queries[q].split,
            log.arms[a].name,
            log.outcome[i],
            int(log.run[i]),
            *(
                None if math.isnan(getattr(log, name)[i]) else getattr(log, name)[i]
                for name in ("cost", "tokens", "latency", "propensity")
            ),
        )
        for i, (q, a) in enumerate(zip(log.query, log.arm))
    )


class TestFormats:
    """One log, six kinds of file, two shapes."""

    @pytest.mark.parametrize("kind", FORMATS)
    def test_long(self, tmp_path: Path, kind: str) -> None:
        reading = read_log(write_rows(tmp_path / f"small.{kind}", ROWS))
        log = reading.log
        assert (log.name, reading.rows, reading.problems, reading.unused) == ("small", 3, [], [])
        assert [query.id for query in log.queries] == ["q1", "q2"]
        assert log.texts == ["2 + 2?", 'say "a, b"']
        assert log.arm_names == ["nan", "step"]
        np.testing.assert_array_equal(log.grid(), [[1, 0.25], [math.nan, 0]])
        np.testing.assert_array_equal(log.grid("tokens"), [[5, 50], [math.nan, 40]])
        np.testing.assert_array_equal(log.cost, [0.5, math.nan, 1.5])
        assert np.isnan(log.latency).all()
        assert [query.group for query in log.queries] == [text_group(text) for text in log.texts]

    @pytest.mark.parametrize("kind", FORMATS)
    def test_wide_is_the_same_as_long(self, tmp_path: Path, kind: str) -> None:
        wide = [
            {"id": "a", "query": "one", "split": "train", "group": "g"},
            {"id": "b", "query": "two", "split": "test", "group": "g"},
        ]
        outcomes = [{"x": 1, "y": 0.5, "z": None}, {"x": None, "y": 0, "z": 1}]
        lengths = [{"x": 8, "y": 10, "z": None}, {"x": None, "y": 4, "z": 2}]
        propensity = [{"x": 0.5, "y": 0.25, "z": 0.25}] * 2
        for row, y, length, chance in zip(wide, outcomes, lengths, propensity):
            if kind.startswith("jsonl"):
                row.update(y=y, len=length, propensity=chance)  # type: ignore[call-overload]
            else:
                row.update({f"y.{arm}": value for arm, value in y.items()})
                row.update({f"len.{arm}": value for arm, value in length.items()})
                row.update({f"propensity.{arm}": value for arm, value in chance.items()})
        long = [
            {
                **{key: row[key] for key in ("id", "query", "split", "group")},
                "arm": arm,
                "reward": y[arm],
                "length": length[arm],
                "pscore": chance[arm],
            }
            for row, y, length, chance in zip(wide, outcomes, lengths, propensity)
            for arm in "xyz"
            if y[arm] is not None
        ]
        from_wide = read_log(write_rows(tmp_path / f"wide.{kind}", wide))
        from_long = read_log(write_rows(tmp_path / f"long.{kind}", long))
        assert from_wide.problems == from_long.problems == []
        assert from_wide.rows == 2
        assert cells(from_wide.log) == cells(from_long.log)
        assert sum(cells(from_wide.log).values()) == 4
        np.testing.assert_array_equal(
            from_wide.log.grid("tokens"), [[2, 2.5, math.nan], [math.nan, 1, 0.5]]
        )
        np.testing.assert_array_equal(from_wide.log.query, [0, 0, 1, 1])

    def test_parquet_with_objects_and_other_types(self, tmp_path: Path) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        rows = [{"id": 7, "query": "one", "y": {"a": True, "b": False}}]
        path = tmp_path / "log.parquet"
        parquet.write_table(pa.Table.from_pylist(rows), path)
        log = read_log(path).log
        assert log.queries[0].id == "7"
        np.testing.assert_array_equal(log.grid(), [[1, 0]])
        arms = pa.array(["a", "b"]).dictionary_encode()
        table = pa.table({"query": ["one", "one"], "arm": arms, "score": [float("nan"), 1.0]})
        parquet.write_table(table, path)
        reading = read_log(path)
        assert [problem.line for problem in reading.problems] == [1]
        assert reading.log.arm_names == ["b"]

    @pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
    def test_metadata_gives_texts_and_order(self, tmp_path: Path, kind: str) -> None:
        path = write_rows(tmp_path / f"small.{kind}", ROWS)
        record = {"name": "mine", "arms": ["step", "never", "nan"], "prompts": {"step": "Think:"}}
        (tmp_path / "small.meta.json").write_text(json.dumps(record))
        log = read_log(path).log
        assert log.name == "mine"
        assert [(arm.name, arm.text) for arm in log.arms] == [("step", "Think:"), ("nan", "")]
        np.testing.assert_array_equal(log.grid(), [[0.25, 1], [0, math.nan]])
        (tmp_path / "small.meta.json").write_text('{"arms": "step"}')
        with pytest.raises(BadLog, match="'arms' is not a list"):
            read_log(path)
        (tmp_path / "small.meta.json").write_text("{")
        with pytest.raises(BadLog, match=r"small\.meta\.json is not JSON"):
            read_log(path)

    @pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
    def test_mapping_and_units(self, tmp_path: Path, kind: str) -> None:
        row = {"who": "q", "input": "one", "prompt": "p", "prompt_text": "Say:", "latency_ms": 1500}
        path = write_rows(tmp_path / f"log.{kind}", [{**row, "mark": 0.5, "gold": "1"}])
        reading = read_log(path, **parse_mapping(["id=who", "outcome=mark"]))
        assert reading.unused == ["gold"]
        assert (reading.log.queries[0].id, reading.log.outcome[0]) == ("q", 0.5)
        assert reading.log.latency[0] == 1.5
        assert (reading.log.arms[0].name, reading.log.arms[0].text) == ("p", "Say:")

    def test_a_text_is_needed_once_a_query(self, tmp_path: Path) -> None:
        rows = [{"id": "q", "arm": "a", "y": 1}, {"id": "q", "arm": "b", "y": 0, "query": "one"}]
        log = read_log(write_rows(tmp_path / "log.jsonl", rows)).log
        assert (log.texts, len(log.outcome)) == (["one"], 2)

    def test_reruns_are_numbered(self, tmp_path: Path) -> None:
        rows = [{"query": "one", "arm": arm, "y": y} for arm, y in ("a1", "b0", "a0", "a1")]
        log = read_log(
            write_rows(tmp_path / "log.jsonl", [{**r, "y": int(r["y"])} for r in rows])
        ).log
        np.testing.assert_array_equal(log.run, [0, 0, 1, 2])
        rows = [{"query": "one", "arm": "a", "y": 1, "run": run} for run in (7, 3, 7)]
        reading = read_log(write_rows(tmp_path / "log.jsonl", rows))
        np.testing.assert_array_equal(reading.log.run, [7, 3])
        assert str(reading.problems[0]).startswith("line 3: run 7 of query")


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 5),
            TEXT.filter(lambda text: text.strip() and not text.startswith("\ufeff")),
            st.floats(0, 1),
            st.none() | st.floats(0, 1e6),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_any_cells_are_the_same_from_every_format(
    tmp_path: Path, drawn: list[tuple[int, str, float, float | None]]
) -> None:
    rows = [
        {"id": str(i), "query": f"text {i}", "arm": arm, "outcome": y, "cost": cost}
        for i, arm, y, cost in drawn
    ]
    logs = [read_log(write_rows(tmp_path / f"log.{kind}", rows)).log for kind in FORMATS]
    reference = Counter()
    seen: Counter = Counter()
    for row in rows:
        run = seen[row["id"], row["arm"]]
        seen[row["id"], row["arm"]] += 1
        group = text_group(str(row["query"]))
        known = (row["id"], row["query"], group, "", row["arm"], row["outcome"], run, row["cost"])
        reference[(*known, None, None, None)] += 1
    for log in logs:
        assert cells(log) == reference
        assert log.arm_names == sorted({row["arm"] for row in rows})


JUNK = st.sampled_from(
    [None, True, 1, -1, 0.5, "", "a", [], {}, {"a": 1}, {"a": {"b": 1}}, math.nan, math.inf, 10**30]
)
COLUMNS = ("id", "query", "group", "split", "arm", "outcome", "y", "run", "cost", "len", "y.a")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.dictionaries(st.sampled_from(COLUMNS), JUNK, max_size=3), min_size=1, max_size=3),
    st.sampled_from(["jsonl", "csv", "parquet"]),
)
def test_whatever_is_in_a_file_is_read_or_refused(
    tmp_path: Path, spoiled: list[dict[str, Any]], kind: str
) -> None:
    import pyarrow as pa

    good = {"id": "q", "query": "t", "arm": "b", "outcome": 0.5}
    rows = [{**good, "id": f"q{i}", **row} for i, row in enumerate(spoiled)]
    try:
        path = write_rows(tmp_path / f"log.{kind}", rows)
    except (pa.ArrowException, OverflowError):
        return  # Arrow has no column for such a mixture
    try:
        reading = read_log(path)
    except BadLog:
        return
    assert len(reading.log.outcome)
    assert all(problem.reason for problem in reading.problems)


def test_groups_take_no_memory_of_the_longest_name_for_each_query() -> None:
    queries = [
        Query(f"q{i}", "text", "g" * 100_000 if i == 7 else f"g{i // 2}") for i in range(500)
    ]
    log = PromptLog.from_grid("log", queries, [Arm("a")], np.ones((500, 1)))
    tracemalloc.start()
    groups = log.groups.tolist()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000
    assert groups[0] == groups[1] != groups[7]
    assert sorted(set(groups)) == list(range(251))


class TestReleasedLogs:
    """The public logs, where they are on this machine."""

    @pytest.fixture
    def folder(self) -> Path:
        data = os.environ.get("TREEWARD_DATA")
        folder = Path(data or Path(__file__).resolve().parents[3] / "shared/data") / "prompt_logs"
        if not folder.is_dir():
            pytest.skip(f"no public logs at {folder}; set TREEWARD_DATA")
        return folder

    def test_llama2_gsm8k(self, folder: Path) -> None:
        reading = read_log(folder / "oirl_llama2_gsm8k.jsonl.gz")
        log = reading.log
        assert (len(log.queries), len(log.arms), reading.problems) == (8473, 16, [])
        assert log.arm_names[:3] == ["nan", "CoT", "APE"]
        assert log.arms[0].text == "The answer is:"
        train = np.array([query.split == "train" for query in log.queries])
        assert train.sum() == 7473
        grid = log.grid()
        assert np.isnan(grid[train, 6:]).all()
        assert not np.isnan(grid[~train]).any()
        assert np.nanmean(grid[~train], axis=0)[0] == 0.248

    def test_tokens_from_lengths(self, folder: Path) -> None:
        log = read_log(folder / "re2_gpt-4o-mini_svamp.jsonl.gz").log
        np.testing.assert_array_equal(log.grid("tokens")[0], [324 / 4, 414 / 4])
