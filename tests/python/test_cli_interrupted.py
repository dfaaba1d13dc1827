"""Runs that break off, and files and streams that take no more: what is done is kept."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import Run
from test_cli_errors import common, model, sentence  # noqa: F401  (fixtures)

from search import Problem, Search, SearchResult
from search.errors import TreewardError
from search.interfaces import RewardRequest, Segment
from search.session import Session

BreakOff = Callable[[BaseException, int], None]


@pytest.fixture
def break_off(monkeypatch: pytest.MonkeyPatch) -> BreakOff:
    """Lets every search of a process give so many results, and then raise."""

    def arrange(error: BaseException, after: int) -> None:
        solve_many, given = Search.solve_many, []

        def some(self: Search, problems: list[Problem], *more: object) -> Iterator[SearchResult]:
            for result in solve_many(self, problems):
                if len(given) == after:
                    raise error
                given.append(result)
                yield result

        monkeypatch.setattr(Search, "solve_many", some)

    return arrange


@pytest.fixture
def words(common: list[str], tmp_path: Path) -> list[str]:  # noqa: F811
    """``solve`` on a file of three problems."""
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(f'{{"numbers": [1, 1, 4, {n}]}}\n' for n in (4, 5, 6)))
    start = ["solve", "--file", str(path), "--algorithm", "greedy", "--budget-tokens", "80"]
    return [*start, *common]


class TestSolve:
    """Results of problems that finished."""

    @pytest.mark.parametrize("done", [0, 2])
    def test_ctrl_c(self, run: Run, words: list[str], break_off: BreakOff, done: int) -> None:
        break_off(KeyboardInterrupt(), done)
        code, out, err = run(*words, "--json")
        assert (code, err) == (130, f"treeward: interrupted, {done} of 3 problems are done\n")
        record = json.loads(out)
        assert record["interrupted"] is True
        assert len(record["results"]) == done

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_request_to_end(
        self, run: Run, words: list[str], monkeypatch: pytest.MonkeyPatch, number: signal.Signals
    ) -> None:
        """What is done is printed; a second request, also while Python ends, is not delayed."""
        solve_many = Search.solve_many
        before = [(n, signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)]

        def some(search: Search, problems: list[Problem], *more: object) -> Iterator[SearchResult]:
            yield next(iter(solve_many(search, problems)))
            signal.raise_signal(number)

        monkeypatch.setattr(Search, "solve_many", some)
        try:
            code, out, err = run(*words, "--json")
            after = [signal.getsignal(n) for n, _ in before]
        finally:
            for n, handler in before:
                signal.signal(n, handler)
        assert (code, err) == (130, "treeward: interrupted, 1 of 3 problems are done\n")
        assert len(json.loads(out)["results"]) == 1
        assert after == [signal.SIG_DFL] * 2

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_what_is_in_flight(
        self,
        run: Run,
        words: list[str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        number: signal.Signals,
    ) -> None:
        """A request in the middle of a step ends the searches after it, with their best so far."""
        receive, received = Session.receive, []

        def note(session: Session, segment: Segment) -> RewardRequest | None:
            received.append(segment)
            if len(received) == 12:
                signal.raise_signal(number)
            return receive(session, segment)

        monkeypatch.setattr(Session, "receive", note)
        words[words.index("greedy")] = "best_of_n"
        words[words.index("--budget-tokens") + 1] = "200000"
        trace = tmp_path / "trace.jsonl"
        before = [(n, signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)]
        try:
            code, out, err = run(*words, "--json", "--no-verifier", "--trace", trace)
        finally:
            for n, handler in before:
                signal.signal(n, handler)
        assert (code, err) == (130, "treeward: interrupted, 0 of 3 problems are done\n")
        record = json.loads(out)
        assert record["interrupted"] is True
        assert [result["status"] for result in record["results"]] == ["interrupted"] * 3
        assert all(result["steps"] for result in record["results"])
        traced = [json.loads(line) for line in trace.read_text().splitlines()]
        texts = {result["id"]: result["text"] for result in record["results"]}
        assert {line["id"]: line["text"] for line in traced} == texts
        assert all(len(line["nodes"]) > 1 for line in traced)

    def test_handlers_outlive_a_command(self, run: Run) -> None:
        before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
        assert run("info", "--json")[0] == 0
        assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before

    def test_ctrl_c_with_trees(self, run: Run, words: list[str], break_off: BreakOff) -> None:
        break_off(KeyboardInterrupt(), 1)
        code, out, err = run(*words)
        assert (code, err) == (130, "treeward: interrupted, 1 of 3 problems are done\n")
        assert out.count("tokens, reward") == 1

    def test_ctrl_c_while_models_load(
        self, run: Run, words: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("search.cli.assemble.load_policy", interrupt)
        assert run(*words) == (130, "", "treeward: interrupted\n")

    def test_a_late_error(self, run: Run, words: list[str], break_off: BreakOff) -> None:
        break_off(TreewardError("no room"), 2)
        found = run(*words, "--json")
        assert "no room; 2 of 3 problems are done" in sentence(found, code=1)
        record = json.loads(found[1])
        assert (len(record["results"]), record["interrupted"]) == (2, False)

    def test_an_error_before_any_result(
        self, run: Run, words: list[str], break_off: BreakOff
    ) -> None:
        break_off(TreewardError("no room"), 0)
        assert "no room" in sentence(run(*words, "--json"))


class TestTraces:
    """Files that ``--trace`` must not destroy, and those that it cannot write."""

    def test_a_run_that_does_not_begin(self, run: Run, words: list[str], tmp_path: Path) -> None:
        path = tmp_path / "trace.jsonl"
        path.write_text("kept")
        sentence(run(*words, "--trace", path, "--option", "wdith=3"))
        assert path.read_text() == "kept"

    @pytest.mark.parametrize("link", ["", "symlink_to", "hardlink_to"])
    def test_the_file_of_problems(
        self, run: Run, words: list[str], tmp_path: Path, link: str
    ) -> None:
        problems = path = tmp_path / "problems.jsonl"
        before = problems.read_text()
        if link:
            path = tmp_path / "link"
            getattr(path, link)(problems)
        assert "would overwrite the problems" in sentence(run(*words, "--trace", path))
        assert problems.read_text() == before

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
    def test_a_disk_that_is_full(self, run: Run, words: list[str]) -> None:
        found = run(*words, "--trace", "/dev/full", "--json")
        assert "cannot write /dev/full: " in sentence(found, code=1)
        assert len(json.loads(found[1])["results"]) == 3


class TestEvaluate:
    """Rows that are complete."""

    WORDS = ("evaluate", "--limit", "2", "--algorithms", "greedy,best_of_n,mcts", "--json")

    @pytest.fixture
    def words(self, common: list[str]) -> list[str]:  # noqa: F811
        return [*self.WORDS, "--budget-tokens", "60", *common]

    def test_ctrl_c(self, run: Run, words: list[str], break_off: BreakOff) -> None:
        break_off(KeyboardInterrupt(), 5)
        code, out, err = run(*words)
        assert (code, err) == (130, "treeward: interrupted, 2 of 3 rows are done\n")
        record = json.loads(out)
        assert [row["algorithm"] for row in record["rows"]] == ["greedy", "best_of_n"]
        assert "minus_best_of_n" in record["rows"][0]
        assert record["interrupted"] is True

    def test_a_row_that_fails(self, run: Run, common: list[str]) -> None:  # noqa: F811
        found = run(*self.WORDS, "--budget-tokens", "60,3", *common)
        assert "greedy at 3 tokens: " in sentence(found, code=1)
        assert "3 of 6 rows are done" in found[2]
        assert [row["budget_tokens"] for row in json.loads(found[1])["rows"]] == [60, 60, 60]

    @pytest.mark.parametrize(
        ("more", "reason"),
        [
            (["--budget-tokens", "60,0"], "allows nothing"),
            (["--option", "mcts.foo=1"], "foo"),
            (["--option", "mcts.backup=median"], "median"),
        ],
    )
    def test_what_is_wrong_is_told_before_the_first_row(
        self, run: Run, words: list[str], break_off: BreakOff, more: list[str], reason: str
    ) -> None:
        break_off(AssertionError("a search has begun"), 0)
        assert reason in sentence(run(*words, *more))
