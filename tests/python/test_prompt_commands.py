"""``treeward prompt fit | evaluate | select``: what they print, their exit codes, and bad input."""

from __future__ import annotations

import io
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from command_line import Run
from planted_logs import planted_log

from prompt_oirl.logs.log import PromptLog

QUICK = ("--models", "interaction", "--folds", "2", "--repeats", "1", "--kind", "mean")
NUMERIC = "At the market there are 12 books. How many books are left of 12?"
IN_WORDS = "Which colour have the hats of the garden with the name bhats?"


@pytest.fixture
def run(run: Run) -> Run:
    """Runs ``treeward prompt``; returns (exit code, stdout, stderr)."""
    return partial(run, "prompt")


def sentence(result: tuple[int, str, str]) -> str:
    """The one line of an error, or the last line of a usage message."""
    code, out, err = result
    assert (code, out) == (2, ""), err
    lines = err.strip().splitlines()
    if lines[0].startswith("Usage"):
        return err
    assert len(lines) == 1, err
    assert lines[0].startswith("treeward: ")
    return lines[0]


def rows_of(log: PromptLog) -> list[dict[str, Any]]:
    return [
        {
            "query_id": log.queries[query].id,
            "query": log.queries[query].text,
            "group": log.queries[query].group,
            "split": log.queries[query].split,
            "arm": log.arms[arm].name,
            "outcome": outcome,
            "cost": cost,
        }
        for query, arm, outcome, cost in zip(
            log.query, log.arm, log.outcome.tolist(), log.cost.tolist()
        )
        for query, arm in [(int(query), int(arm))]
    ]


def written(path: Path, rows: list[Any]) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("logs") / "planted.jsonl", rows_of(planted_log(120)))


@pytest.fixture(scope="module")
def folder(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from prompt_oirl.choice import Settings, fit_selector
    from prompt_oirl.logs.read import read_log

    made = tmp_path_factory.mktemp("selectors") / "planted"
    settings = Settings(models=("interaction",), folds=2, repeats=1, text_size=8, kind="mean")
    fit_selector(read_log(log).log, settings).save(made)
    return made


@pytest.mark.parametrize("command", ["fit", "evaluate", "select"])
def test_help_has_an_example(run: Run, command: str) -> None:
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    assert f"Example:  treeward prompt {command}" in " ".join(out.split(" "))
    assert "--json" in out
    assert command == "select" or "--seed" in out


class TestFit:
    def test_json(self, run: Run, log: Path, tmp_path: Path) -> None:
        out_folder = tmp_path / "new" / "selector"
        code, out, err = run("fit", log, "--out", out_folder, *QUICK, "--json")
        assert (code, err) == (0, "")
        record = json.loads(out, parse_constant=pytest.fail)
        assert record["queries"] == 120
        assert record["arms"] == ["poor", "short", "steps"]
        assert record["default"] in ("steps", "short")
        assert record["gain_unseen"] > 0.2 > record["gain_unseen_error"] > 0
        assert record["margin"] is not None
        assert sorted(path.name for path in out_folder.iterdir()) == ["arrays.npz", "selector.json"]

    def test_for_people(self, run: Run, log: Path, tmp_path: Path) -> None:
        code, out, err = run("fit", log, "--out", tmp_path / "s", *QUICK, "--default", "short")
        assert (code, err) == (0, "")
        assert "120 queries, 3 prompts, default: short" in out
        assert "leaves the default" in out
        assert f"saved in {tmp_path / 's'}" in out.replace("\n", "")

    def test_no_gain(self, run: Run, tmp_path: Path) -> None:
        path = written(tmp_path / "log.jsonl", rows_of(planted_log(120, better=0.5, worse=0.5)))
        code, out, _ = run("fit", path, "--out", tmp_path / "s", *QUICK)
        assert code == 0
        assert "no margin showed a gain clear of noise" in out
        code, out, _ = run("fit", path, "--out", tmp_path / "s", *QUICK, "--json")
        assert json.loads(out, parse_constant=pytest.fail)["margin"] is None

    def test_seeds(self, run: Run, log: Path, tmp_path: Path) -> None:
        arrays = []
        for seed in (0, 0, 1):
            assert run("fit", log, "--out", tmp_path, *QUICK, "--seed", seed)[0] == 0
            arrays.append((tmp_path / "arrays.npz").read_bytes())
        assert arrays[0] == arrays[1] != arrays[2]

    def test_malformed_lines_are_counted_and_the_rest_used(self, run: Run, tmp_path: Path) -> None:
        rows: list[Any] = rows_of(planted_log(120))
        rows[5:5] = ["{oops", json.dumps(rows[0] | {"query_id": "q0b", "outcome": 7}), "[1]"]
        path = written(tmp_path / "log.jsonl", rows)
        code, out, err = run("fit", path, "--out", tmp_path / "s", *QUICK, "--json")
        assert code == 0
        assert len(err.strip().splitlines()) == 1
        assert err.startswith("treeward: 3 faults in 363 lines, left out; first: ")
        assert "line 6" in err
        assert json.loads(out)["queries"] == 120

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([], ""),
            (["{", "[", "x"], ""),
            ([row for row in rows_of(planted_log(40)) if row["arm"] == "steps"], "one prompt"),
            ([row | {"outcome": 1} for row in rows_of(planted_log(40))], "every outcome is 1"),
            (rows_of(planted_log(12)), "too few"),
            ([row | {"group": "g"} for row in rows_of(planted_log(40))], "in one group"),
        ],
    )
    def test_logs_that_say_nothing(
        self, run: Run, tmp_path: Path, rows: list[Any], message: str
    ) -> None:
        path = written(tmp_path / "log.jsonl", rows)
        code, out, err = run("fit", path, "--out", tmp_path / "s", *QUICK)
        assert (code, out) == (2, "")
        lines = [line for line in err.splitlines() if "left out" not in line]
        assert len(lines) == 1
        assert lines[0].startswith("treeward: ")
        assert message in lines[0]
        assert not (tmp_path / "s").exists()

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--models", "oracle"], "unknown model 'oracle'; known: "),
            (["--models", ","], "no model is named"),
            (["--kind", "best"], "unknown kind of choice 'best'; known: mean, worst, lower"),
            (["--kind", "worst"], "'worst' needs an ensemble"),
            (["--kind", "worst", "--ensemble", "--repeats", "1"], "'worst' needs two repeats"),
            (["--kind", "lower", "--repeats", "1"], "'lower' needs two repeats"),
            (["--repeats", "1"], "'lower' needs two repeats or more, or z 0"),
            (["--default", "polite"], "no arm 'polite'; there are poor, short, steps"),
            (["--z", "nan"], "--z"),
            (["--z", "-1"], "--z"),
            (["--folds", "1"], "--folds"),
            (["--repeats", "0"], "--repeats"),
            (["--seed", "-1"], "--seed"),
            (["--seed", "99999999999"], "--seed"),
            (["--column", "outcome=nowhere"], "nowhere"),
            (["--colour", "red"], "--colour"),
        ],
    )
    def test_options(
        self, run: Run, log: Path, tmp_path: Path, words: list[str], message: str
    ) -> None:
        options = [*QUICK[:2], *words] if "--models" not in words else words
        assert message in sentence(run("fit", log, "--out", tmp_path / "s", *options))
        assert not (tmp_path / "s").exists()

    def test_places(self, run: Run, log: Path, tmp_path: Path) -> None:
        assert "nowhere.jsonl" in sentence(run("fit", tmp_path / "nowhere.jsonl", *QUICK))
        (tmp_path / "file").write_text("")
        assert "file" in sentence(run("fit", log, "--out", tmp_path / "file", *QUICK))


class TestEvaluate:
    def evaluated(self, run: Run, code: int, path: Path, *words: str) -> dict[str, Any]:
        found, out, err = run("evaluate", path, *QUICK, "--outer-folds", 3, "--json", *words)
        assert (found, err) == (code, "")
        record = json.loads(out, parse_constant=pytest.fail)
        assert len(record["rows"]) == 1
        return record

    def test_deploy(self, run: Run, log: Path) -> None:
        record = self.evaluated(run, 0, log)
        assert record["verdict"] == "deploy"
        row = record["rows"][0]
        keys = ("log", "protocol", "arms", "value", "best_single_train", "gain", "gain_ci95")
        assert {*keys, "lookup", "oracle", "auc", "brier_skill"} <= row.keys()
        assert row["gain_ci95"][0] > 0
        assert row["protocol"] == "grouped"

    def test_hold(self, run: Run, tmp_path: Path) -> None:
        path = written(tmp_path / "log.jsonl", rows_of(planted_log(120, better=0.5, worse=0.5)))
        record = self.evaluated(run, 3, path)
        assert record["verdict"] == "hold"
        assert record["rows"][0]["deviates"] == 0

    def split(self, path: Path, contrary: bool = False, leak: Any = lambda row: {}) -> Path:
        """A planted log, ``contrary`` with a few tested queries that turn half of the gain into a
        loss; the first tested query has what ``leak`` takes from a training query."""
        planted = planted_log(160, splits=True)
        rows = [row for row in rows_of(planted) if row["split"] == "train"]
        tests = [row for row in rows_of(planted) if row["split"] == "test"][
            : 3 * (16 if contrary else 40)
        ]
        for row in rows + tests:
            row["group"] = row["query_id"]
        for i, row in enumerate(tests):
            if contrary and (i // 3) % 2:
                row["outcome"] = 1 - row["outcome"]
            if i < 3:
                row |= leak(rows[0])
        return written(path, rows + tests)

    def test_insufficient_evidence(self, run: Run, tmp_path: Path) -> None:
        path = self.split(tmp_path / "log.jsonl", contrary=True)
        record = self.evaluated(run, 4, path, "--protocol", "split")
        assert record["verdict"] == "insufficient evidence"
        assert record["rows"][0]["rows"] == 16
        low, high = record["rows"][0]["gain_ci95"]
        assert low < 0 < high

    def test_a_leaking_split_is_held(self, run: Run, tmp_path: Path) -> None:
        path = self.split(tmp_path / "clean.jsonl")
        assert self.evaluated(run, 0, path, "--protocol", "split")["verdict"] == "deploy"
        leaks = {
            "text": lambda row: {"query": row["query"]},
            "group": lambda row: {"group": row["group"]},
            "near": lambda row: {"query": f"{row['query']}!"},
        }
        for name, leak in leaks.items():
            path = self.split(tmp_path / f"{name}.jsonl", leak=leak)
            record = self.evaluated(run, 3, path, "--protocol", "split")
            assert "among the training queries" in record["reason"]

    def test_nothing_to_compare(self, run: Run, tmp_path: Path) -> None:
        """Every query under one prompt: no tested query has two outcomes."""
        rows = rows_of(planted_log(120))
        path = written(tmp_path / "log.jsonl", rows[::4])
        found, out, err = run("evaluate", path, *QUICK, "--outer-folds", 3, "--json")
        assert err == ""
        json.loads(out, parse_constant=pytest.fail)
        assert found in (3, 4)

    def test_for_people(self, run: Run, log: Path, tmp_path: Path) -> None:
        path = tmp_path / "[red] :100:.jsonl"  # a name that is no markup and no emoji
        path.symlink_to(log)
        code, out, err = run("evaluate", path, *QUICK, "--outer-folds", 3)
        assert (code, err) == (0, "")
        assert path.stem in " ".join(out.split())
        for text in ("selector", "best single on training rows", "oracle", "deploy: gain over"):
            assert text in out

    def test_what_is_worthwhile(self, run: Run, log: Path) -> None:
        assert self.evaluated(run, 0, log, "--worthwhile", "0.9")["verdict"] == "deploy"

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--protocol", "random"], "unknown protocol 'random'; known: grouped, split"),
            (["--protocol", "split"], "no query is in the split 'train'"),
            (["--outer-folds", "1"], "--outer-folds"),
            (["--outer-folds", "500"], "groups cannot make 500 folds"),
            (["--kind", "best"], "unknown kind of choice 'best'"),
            (["--models", "oracle"], "unknown model 'oracle'"),
            (["--worthwhile", "-1"], "--worthwhile"),
        ],
    )
    def test_options(self, run: Run, log: Path, words: list[str], message: str) -> None:
        assert message in sentence(run("evaluate", log, *QUICK[2:], *words))


class TestSelect:
    def test_one_query_is_one_name(self, run: Run, folder: Path) -> None:
        assert run("select", NUMERIC, "--selector", folder) == (0, "steps\n", "")
        assert run("select", IN_WORDS, "--selector", folder) == (0, "short\n", "")

    def test_json(self, run: Run, folder: Path) -> None:
        words = ("select", NUMERIC, IN_WORDS, "--selector", folder, "--json", "--top", 2)
        code, out, err = run(*words)
        assert (code, err) == (0, "")
        choices = json.loads(out, parse_constant=pytest.fail)["choices"]
        assert [one["prompt"] for one in choices] == ["steps", "short"]
        assert [one["query"] for one in choices] == [NUMERIC, IN_WORDS]
        assert sum(one["fell_back"] for one in choices) == 1
        for one in choices:
            assert one["top"][0] == one["prompt"]
            assert len(set(one["top"])) == 2
            assert 0.5 < one["predicted"] <= 1
            assert (one["cautious_advantage"] == 0) == one["fell_back"]

    def test_files_and_stdin(
        self, run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = f'{NUMERIC}\n\n{{"query": "{IN_WORDS}", "id": 3}}\r\n'
        (tmp_path / "queries").write_text(text)
        expected = f"steps\t{NUMERIC}\nshort\t{IN_WORDS}\n"
        found = run("select", "--file", tmp_path / "queries", "--selector", folder)
        assert found == (0, expected, "")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert run("select", "--file", "-", "--selector", folder) == (0, expected, "")
        code, out, _ = run("select", "x", "--file", tmp_path / "queries", "--selector", folder)
        assert code == 0
        assert len(out.splitlines()) == 3

    def test_price_and_budget(self, run: Run, folder: Path) -> None:
        words = ("select", NUMERIC, IN_WORDS, "--selector", folder, "--json")
        for option in (("--price", 9), ("--budget", 0.5)):
            choices = json.loads(run(*words, *option, "--top", 3)[1])["choices"]
            assert [one["prompt"] for one in choices] == ["poor", "poor"]
            assert [one["top"][0] for one in choices] == ["poor", "poor"]
        free = json.loads(run(*words, "--price", 0)[1])
        assert free == json.loads(run(*words)[1])

    def test_lines_within_texts(self, run: Run, folder: Path, tmp_path: Path) -> None:
        """JSON may hold characters that Python takes for ends of lines, after a byte order mark."""
        path = tmp_path / "queries.jsonl"
        line = json.dumps({"query": "one\u2028two\x85three"}, ensure_ascii=False)
        path.write_text(f"\ufeff{line}\n")
        code, out, err = run("select", "--file", path, "--selector", folder, "--json")
        assert (code, err) == (0, "")
        assert [one["query"] for one in json.loads(out)["choices"]] == ["one\u2028two\x85three"]

    def test_texts_that_no_encoding_has(self, run: Run, folder: Path, tmp_path: Path) -> None:
        path = written(tmp_path / "queries.jsonl", ['{"query": "\\ud800"}'])
        code, out, err = run("select", "--file", path, "--selector", folder, "--json")
        assert (code, err) == (0, "")
        assert json.loads(out)["choices"][0]["query"] == "\ud800"

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ([], "no query is given"),
            (["x", "--top", "4"], "top 4 of 3 prompts does not exist"),
            (["x", "--top", "0"], "--top"),
            (["x", "--price", "-1"], "--price"),
            (["x", "--price", "nan"], "--price"),
            (["x", "--budget", "nan"], "--budget"),
            (["x", "--price", "1", "--budget", "1"], "not both"),
            (
                ["x", "--budget", "0.1"],
                "a budget of 0.1 a query is below the cheapest prompt's 0.5",
            ),
            (["--file", "nowhere.txt"], "nowhere.txt: cannot be read"),
            (["--file", "."], "cannot be read"),
        ],
    )
    def test_options(self, run: Run, folder: Path, words: list[str], message: str) -> None:
        assert message in sentence(run("select", *words, "--selector", folder))

    @pytest.mark.parametrize("line", ['{"query": 3}', "{", '{"text": "x"}', '{"query": null}'])
    def test_malformed_lines(self, run: Run, folder: Path, tmp_path: Path, line: str) -> None:
        path = written(tmp_path / "queries", ["fine", line])
        found = sentence(run("select", "--file", path, "--selector", folder))
        assert f"{path}, line 2: " in found

    def test_binary_files(
        self, run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "queries").write_bytes(b"\xff\xfe")
        found = sentence(run("select", "--file", tmp_path / "queries", "--selector", folder))
        assert "cannot be read" in found
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe")))
        assert "cannot be read" in sentence(run("select", "--file", "-", "--selector", folder))

    def test_no_selector(self, run: Run, tmp_path: Path, folder: Path) -> None:
        found = sentence(run("select", "x", "--selector", tmp_path))
        assert f"{tmp_path} is no selector of prompts" in found
        head = json.loads((folder / "selector.json").read_text())
        (tmp_path / "selector.json").write_text(json.dumps(head | {"version": 99}))
        assert "version 99" in sentence(run("select", "x", "--selector", tmp_path))
        (tmp_path / "selector.json").write_text(json.dumps(head))
        assert "incomplete or damaged" in sentence(run("select", "x", "--selector", tmp_path))
        (tmp_path / "arrays.npz").write_bytes(b"PK")
        assert "checksum" in sentence(run("select", "x", "--selector", tmp_path))
