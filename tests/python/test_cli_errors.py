"""Bad input on the command line: one sentence on stderr, no traceback, the right exit code."""

from __future__ import annotations

import codecs
import json
import re
import shutil
from pathlib import Path

import pytest
import tiny_models
from command_line import Run

from search.problem import read_problems

HUGE = "99999999999999999999"
CSV_HEAD = "Rank,Puzzles\n"


@pytest.fixture
def model(folders: Path) -> str:
    return str(tiny_models.made(folders, kind="phi", favour="\n", characters=tiny_models.PUZZLE))


@pytest.fixture
def common(model: str) -> list[str]:
    return ["--model", model, "--reward", "none", "--threads", "1"]


def sentence(result: tuple[int, str, str], code: int = 2) -> str:
    """The one line of an error, with the exit code that goes with it."""
    found, out, err = result
    assert found == code, err
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("treeward: ")
    assert code != 2 or out == ""
    return lines[0]


@pytest.mark.parametrize("command", ["solve", "evaluate"])
class TestModels:
    """Models that are not there or cannot run."""

    def words(self, command: str, model: Path) -> list[str]:
        start = ["solve", "1 2 3 4"] if command == "solve" else ["evaluate", "--limit", "2"]
        return [*start, "--model", str(model), "--reward", "none", "--threads", "1"]

    def test_missing_folder(self, run: Run, tmp_path: Path, command: str) -> None:
        text = sentence(run(*self.words(command, tmp_path / "nowhere")))
        assert "there is no model at" in text

    def test_unknown_model_type(self, run: Run, tmp_path: Path, command: str) -> None:
        (tmp_path / "config.json").write_text('{"model_type": "perceptron"}')
        assert "unknown model type 'perceptron'" in sentence(run(*self.words(command, tmp_path)))

    def test_missing_weights(self, run: Run, tmp_path: Path, command: str) -> None:
        folder = tiny_models.make(tmp_path / "model")
        (folder / "model.safetensors").unlink()
        assert "model.safetensors" in sentence(run(*self.words(command, folder)))

    def test_reward_that_is_no_reward(
        self, run: Run, folders: Path, model: str, command: str
    ) -> None:
        words = self.words(command, Path(model))
        words[words.index("--reward") + 1] = model
        assert "does not say how to read a reward" in sentence(run(*words))


class TestProblems:
    """Problems and their files."""

    GOOD = '{"numbers": [1, 2, 3, 4], "target": 24, "id": "good"}'

    def solve_file(self, run: Run, common: list[str], path: Path, *more: str) -> tuple:
        words = ["--budget-tokens", "80", "--algorithm", "greedy", *common, *more]
        return run("solve", "--file", str(path), *words)

    def test_bad_lines_are_named_and_good_ones_solved(
        self, run: Run, common: list[str], tmp_path: Path
    ) -> None:
        path = tmp_path / "problems.jsonl"
        lines = ["", '{"numbers": [1, 2', self.GOOD, "[1]", '{"numbers": [1, "x"]}', "{}"]
        path.write_text("\n".join([*lines, '{"prompt": "1 2 -> 3\\n", "id": 7}']))
        code, out, err = self.solve_file(run, common, path, "--json")
        assert code == 1
        reported = err.strip().splitlines()
        for number, line in zip((2, 4, 5, 6), reported, strict=True):
            assert line.startswith(f"treeward: {path}, line {number}: ")
        record = json.loads(out)
        assert {result["id"] for result in record["results"]} == {"good", "7"}
        assert len(record["bad_lines"]) == 4

    @pytest.mark.parametrize(
        "line",
        [
            "null",
            '{"prompt": ""}',
            '{"prompt": 5}',
            '{"numbers": 5}',
            '{"numbers": [1, 2], "target": 1000}',
            '{"numbers": [1, 2, 3, 4, 5]}',
            '{"numbers": [true, 2]}',
            '{"prompt": "a", "facts": 3}',
            '{"prompt": "a", "facts": [1]}',
            '{"messages": "hello"}',
            '{"messages": []}',
            '{"numbers": [1, 2], "id": [3]}',
            '{"prompt": "a", "facts": {"numbers": "abc", "target": 24}}',
            '{"prompt": "a", "facts": {"numbers": [1, 2], "target": "24"}}',
            '{"prompt": "a", "facts": {"numbers": [], "target": 24}}',
            '{"prompt": "a", "facts": {"numbers": [1, 2], "target": 3, "steps": 5}}',
            '{"prompt": "a", "facts": {"numbers": [1, 2], "target": 3, "steps": [5]}}',
            r'{"prompt": "\ud83d"}',
            r'{"numbers": [1, 2], "id": "\ud83d"}',
            r'{"messages": [{"role": "user", "content": "\ud83d"}]}',
            "[" * 100_000,
            '{"numbers": [1, 2], "target": ' + "1" * 5000 + "}",
        ],
    )
    def test_a_file_of_bad_lines_only(
        self, run: Run, common: list[str], tmp_path: Path, line: str
    ) -> None:
        path = tmp_path / "problems.jsonl"
        path.write_text(line + "\n")
        text = sentence(self.solve_file(run, common, path))
        assert f"{path}, line 1: " in text
        path.write_text(f"{line}\n{self.GOOD}\n")
        problems, bad = read_problems(path)
        assert [problem.id for problem in problems] == ["good"]
        assert [one.line for one in bad] == [1]

    def test_only_line_ends_end_a_line(self, tmp_path: Path) -> None:
        path = tmp_path / "problems.jsonl"
        text = "a\u2028b\u2029c\x85d"
        lines = [self.GOOD, json.dumps({"prompt": text}, ensure_ascii=False), self.GOOD]
        path.write_bytes(codecs.BOM_UTF8 + "\r\n".join(lines).encode())
        problems, bad = read_problems(path)
        assert [problem.id for problem in problems] == ["good", "record-2", "good"]
        assert problems[1].prompt == text
        assert bad == []
        path.write_text(f'{{"prompt": "a\x0bb"}}\n{self.GOOD}\n')
        assert len(read_problems(path)[1]) == 1  # control characters are no JSON, but one line

    def test_messages_that_the_chat_template_refuses(
        self, run: Run, model: str, tmp_path: Path
    ) -> None:
        folder = tmp_path / "model"
        shutil.copytree(model, folder)
        refusal = "{{ raise_exception('roles must\\nalternate') }}"
        (folder / "chat_template.jinja").write_text(
            "{% if messages[0].role != 'user' %}" + refusal + "{% endif %}{{ messages[0].content }}"
        )
        path = tmp_path / "problems.jsonl"
        chats = [
            {"id": role, "messages": [{"role": role, "content": "1 2 3\n"}]}
            for role in ("user", "system")
        ]
        path.write_text("\n".join(map(json.dumps, chats)))
        common = ["--model", str(folder), "--reward", "none", "--threads", "1", "--json"]
        result = self.solve_file(run, common, path)
        assert "system: " in sentence(result, code=1)
        assert "cannot read the prompt: roles must alternate" in result[2]
        failed = {one["id"]: one["status"] == "failed" for one in json.loads(result[1])["results"]}
        assert failed == {"user": False, "system": True}

    def test_missing_empty_and_binary_files(
        self, run: Run, common: list[str], tmp_path: Path
    ) -> None:
        path = tmp_path / "problems.jsonl"
        assert "cannot read" in sentence(self.solve_file(run, common, path))
        path.write_text("\n\n")
        assert "holds no problem" in sentence(self.solve_file(run, common, path))
        path.write_bytes(b"\xff\xfe{}")
        assert "not UTF-8" in sentence(self.solve_file(run, common, path))
        assert "cannot read" in sentence(self.solve_file(run, common, tmp_path))

    def test_one_problem_or_a_file(self, run: Run, common: list[str]) -> None:
        assert "give one problem, or a --file" in sentence(run("solve", *common))

    def test_not_a_puzzle(self, run: Run) -> None:
        for text in ("four five", "4 5 ->", "4 5 -> x", "1 2 3 4 5", "999 1"):
            assert len(sentence(run("solve", text))) > 20
        for text in ("4 5 " + "9" * 5000, "4 5 -> " + "9" * 5000):
            assert "lie within 0..256" in sentence(run("solve", text))

    def test_a_failed_problem_beside_a_good_one(
        self, run: Run, common: list[str], tmp_path: Path
    ) -> None:
        path = tmp_path / "problems.jsonl"
        path.write_text(self.GOOD + '\n{"prompt": "Ω", "id": "odd"}\n')
        text = sentence(self.solve_file(run, common, path), code=1)
        assert "odd: " in text


class TestSettings:
    """Options that make no sense."""

    def one(self, run: Run, common: list[str], *words: str, code: int = 2) -> str:
        return sentence(run("solve", "1 2 3 4 -> 10\n", *common, *words), code)

    def test_algorithms_and_options(self, run: Run, common: list[str]) -> None:
        assert "dijkstra" in self.one(run, common, "--algorithm", "dijkstra")
        assert "wdith" in self.one(run, common, "--option", "wdith=3")
        assert "name=value" in self.one(run, common, "--option", "width")
        assert "median" in self.one(run, common, "--option", "backup=median")
        assert "unknown aggregator 'median'" in self.one(run, common, "--aggregate", "median")
        assert "unknown dtype" in self.one(run, common, "--dtype", "float8")

    def test_values_out_of_range_are_told_before_the_models_are_loaded(self, run: Run) -> None:
        solve = ("solve", "1 2 3 4", "--model", "/nowhere")
        for option in ("--temperature", "--top-k", "--top-p", "--min-p", "--max-step-tokens"):
            for value in ("-1", "nan") if option.endswith(("p", "ature")) else ("-1", HUGE):
                text = sentence(run(*solve, option, value))
                assert f"{option.strip('-').replace('-', '_')} must be" in text
        assert "malformed" in sentence(run(*solve, "--step-regex", "(["))
        assert "delimiter" in sentence(run(*solve, "--delimiter", ""))
        assert "budget of policy_tokens must" in sentence(run(*solve, "--budget-tokens", HUGE))
        evaluate = ("evaluate", "--model", "/nowhere", "--algorithms", "greedy")
        text = sentence(run(*evaluate, "--budget-tokens", f"100,{HUGE}"))
        assert "budget of policy_tokens must" in text
        assert "top_k must be" in sentence(run(*evaluate, "--top-k", "-1"))
        assert "unknown option 'n' of greedy" in sentence(run(*evaluate, "--option", "greedy.n=3"))
        for words in (solve, evaluate):
            for option, value in (("--max-live", "0"), ("--dtype", "float8")):
                assert option[2:] in sentence(run(*words, option, value))
        assert "unknown algorithm" in sentence(run(*solve, "--algorithm", "dijkstra"))
        assert "unknown option" in sentence(run(*solve, "--option", "wdith=3"))

    def test_a_huge_option(self, run: Run, common: list[str]) -> None:
        text = self.one(run, common, "--option", f"widen_batch={HUGE}")
        assert "option 'widen_batch' of mcts must be an integer from 1 to" in text

    def test_impossible_budgets(self, run: Run, common: list[str]) -> None:
        assert "allows nothing" in self.one(run, common, "--budget-tokens", "0")
        assert "allows nothing" in self.one(run, common, "--budget-seconds", "-1")
        assert "too small" in self.one(run, common, "--budget-tokens", "3", code=1)
        words = ["evaluate", "--limit", "2", *common, "--budget-tokens"]
        assert "allows nothing" in sentence(run(*words, "0"))
        assert "too small" in sentence(run(*words, "3"))
        assert "whole numbers" in sentence(run(*words, "1e3"))
        assert "whole numbers" in sentence(run(*words, ""))

    def test_pools(self, run: Run, common: list[str]) -> None:
        assert "holds nothing" in self.one(run, common, "--pool-tokens", "0")
        text = self.one(run, common, "--pool-tokens", "1000000000000000")
        assert "--pool-tokens is at most 2147483632" in text
        text = self.one(run, common, "--pool-tokens", "8", code=1)
        assert "--pool-tokens" in text
        assert "cannot hold one path" in text

    def test_numbers_of_threads_and_problems(self, run: Run, common: list[str]) -> None:
        assert "--max-live" in self.one(run, common, "--max-live", "0")
        for threads in ("-2", "0", "1025", HUGE):
            text = self.one(run, common[:4], "--threads", threads)
            assert "--threads must be a whole number from 1 to 1024" in text

    def test_unwritable_trace(self, run: Run, common: list[str], tmp_path: Path) -> None:
        path = str(tmp_path / "missing" / "trace.jsonl")
        assert "cannot write" in self.one(run, common, "--trace", path)


class TestUsage:
    """Wrong uses of the commands themselves."""

    @pytest.mark.parametrize(
        ("words", "parts"),
        [
            ("solve --budget-tokens abc", ("--budget-tokens", "integer", "'abc'", "solve --help")),
            ("solve --budget-tokens", ("--budget-tokens", "requires an argument")),
            ("solve --bogus", ("--bogus", "solve --help")),
            ("solve a b", ("b", "solve --help")),
            ("evaluate --limit 0", ("--limit", "1", "'0'", "evaluate --help")),
            ("bench tree --pairs 0", ("--pairs", "'0'", "bench tree --help")),
            ("prompt bogus", ("bogus", "prompt --help")),
            ("bogus", ("bogus", "treeward --help")),
        ],
    )
    def test_one_sentence(self, run: Run, words: str, parts: tuple[str, ...]) -> None:
        text = sentence(run(*words.split()))
        assert "Input" not in text
        for part in parts:
            assert part in text

    def test_no_command_is_help(self, run: Run) -> None:
        code, out, err = run()
        assert code == 2
        assert "Usage:" in out + err
        assert "solve" in out + err


class TestSuites:
    """Suites and the files of puzzles behind them."""

    def evaluate(self, run: Run, *words: str) -> str:
        return sentence(run("evaluate", *words))

    def test_names(self, run: Run) -> None:
        assert "unknown suite 'chess'" in self.evaluate(run, "--suite", "chess")
        assert "unknown algorithm 'dfs'" in self.evaluate(run, "--algorithms", "greedy,dfs")
        assert "algorithm" in self.evaluate(run, "--algorithms", "")
        option = ["--algorithms", "mcts", "--option"]
        for pair in ("width=3", "beam.width=3", "mcts.width"):
            assert "=value" in self.evaluate(run, *option, pair)

    def test_rows(self, run: Run, tmp_path: Path) -> None:
        assert "--rows" in self.evaluate(run, "--rows", "1-5")
        path = tmp_path / "24.csv"
        path.write_text(CSV_HEAD + "1,1 1 4 6\n")
        for rows in ("5-1", "x", "0-3"):
            assert "901-1000" in self.evaluate(run, "--file", str(path), "--rows", rows)
        assert "without the rank" in self.evaluate(run, "--file", str(path), "--rows", "1-5")

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("Rank,Numbers\n1,1 1 4 6\n", "no column 'Puzzles'"),
            ("", "no column 'Rank'"),
            (CSV_HEAD + "1,1 1 4 6\n2,1 1 4\n", "line 3: '1 1 4' is not four"),
            (CSV_HEAD + "one,1 1 4 6\n", "line 2: the rank 'one'"),
            (CSV_HEAD + "1,1 1 4 6\n0,1 1 3 8\n2,1 1 3 8\n", "line 3: ranks count from 1, not 0"),
            (CSV_HEAD + "-1,1 1 4 6\n", "line 2: ranks count from 1, not -1"),
            (CSV_HEAD + "1,1 1 4 60\n", "line 2"),
            (CSV_HEAD + "1,1 1 4 6\n1,1 1 4 6\n", "line 3: the rank 1 is there twice"),
        ],
    )
    def test_malformed_csv(self, run: Run, tmp_path: Path, content: str, reason: str) -> None:
        path = tmp_path / "24.csv"
        path.write_text(content)
        for rows in (["--rows", "1-2"], []):
            text = self.evaluate(run, "--file", str(path), *rows)
            assert str(path) in text
            assert reason in text

    def test_a_csv_with_a_field_too_long(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "24.csv"
        path.write_text(CSV_HEAD + f"1,{'1' * 200_000}\n")
        text = self.evaluate(run, "--file", str(path))
        assert re.match(rf"treeward: {re.escape(str(path))}, (after )?line \d: ", text)
        assert len(text) < len(str(path)) + 120

    def test_missing_csv(self, run: Run, tmp_path: Path) -> None:
        assert "cannot read" in self.evaluate(run, "--file", str(tmp_path / "24.csv"))

    @pytest.mark.parametrize("first", [1, 901])
    def test_whole_csv_is_every_row(
        self, run: Run, common: list[str], tmp_path: Path, first: int
    ) -> None:
        path = tmp_path / "24.csv"
        path.write_text(CSV_HEAD + f"{first},1 1 4 6\n{first + 1},1 1 3 8\n")
        words = ["--algorithms", "greedy", "--budget-tokens", "60", "--json", *common]
        code, out, err = run("evaluate", "--file", str(path), *words)
        assert (code, err) == (0, "")
        assert json.loads(out)["rows"][0]["problems"] == 2
