"""Vectors of queries from an encoder and from a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
from command_line import Run
from planted_logs import planted_log

from prompt_oirl.choice.selector import Selector, Settings, fit_selector
from prompt_oirl.errors import BadArtefact, BadLog
from prompt_oirl.features.encoder import Encoder
from prompt_oirl.features.given_vectors import GivenVectors
from prompt_oirl.logs.log import Arm, PromptLog, Query

PRINTABLE = "".join(map(chr, range(32, 127))) + "\n"
TEXTS = [f"{a} {b}" for a in range(10, 22) for b in range(10, 16)]


def log_of(texts: list[str]) -> PromptLog:
    rng = np.random.default_rng(0)
    queries = [Query(str(i), text, str(i)) for i, text in enumerate(texts)]
    outcomes = (rng.random((len(texts), 3)) < 0.5).astype(float)
    return PromptLog.from_grid("made", queries, [Arm(name) for name in "abc"], outcomes)


def test_an_encoder_is_the_mean_of_its_last_states_alone_and_in_company(folders: Path) -> None:
    folder = str(tiny_models.made(folders, kind="llama", characters=tiny_models.PUZZLE))
    encoder = Encoder(folder)
    found = encoder(TEXTS[:5])
    for text, row in zip(TEXTS[:5], found):
        tokens = encoder._tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            states = encoder._model(**tokens).last_hidden_state[0]
        assert np.allclose(row, states.mean(dim=0).numpy(), atol=1e-5)


def test_a_selector_finds_its_encoder_again(folders: Path, tmp_path: Path) -> None:
    folder = str(tiny_models.made(folders, kind="llama", characters=tiny_models.PUZZLE))
    selector = fit_selector(log_of(TEXTS), vectors=Encoder(folder))
    selector.save(tmp_path / "selector")
    again = Selector.load(tmp_path / "selector")
    assert np.array_equal(again.predictions(TEXTS), selector.predictions(TEXTS))


@pytest.mark.parametrize("model", ["boosting", "advantage", "interaction"])
def test_every_model_reads_the_vectors(model: str) -> None:
    """Which prompt is better only the vectors tell; texts of many words fill the first columns."""
    rng = np.random.default_rng(0)
    words = [f"{a}{b}" for a in "bcdfgklm" for b in ("an", "er", "in", "ot", "um", "ax", "el")]
    texts = [" ".join(rng.choice(words, 12)) + f" {i}" for i in range(600)]
    sign = dict(zip(texts, rng.choice([-1.0, 1.0], len(texts)), strict=True))
    chance = np.array([[0.5 + 0.4 * sign[text], 0.5 - 0.4 * sign[text]] for text in texts])
    queries = [Query(str(i), text, str(i)) for i, text in enumerate(texts)]
    outcomes = (rng.random(chance.shape) < chance).astype(float)
    log = PromptLog.from_grid("made", queries, [Arm("a"), Arm("b")], outcomes)

    def vectors(asked: Sequence[str]) -> np.ndarray:
        return np.array([[sign[text]] for text in asked])

    settings = Settings(models=(model,), folds=3, repeats=1, kind="mean")
    assert fit_selector(log, settings, vectors=vectors).rule.gain > 0.2
    assert fit_selector(log, settings).rule.gain < 0.1


def test_what_an_encoder_cannot_read_is_said(folders: Path) -> None:
    with pytest.raises(BadLog, match="encoder '/nowhere' cannot be loaded"):
        Encoder("/nowhere")
    encoder = Encoder(str(tiny_models.made(folders, kind="llama", characters=tiny_models.PUZZLE)))
    encoder._most = 8
    with pytest.raises(BadLog, match="the encoder reads 8"):
        encoder(["1 2 3 4 5 6 7 8 9"])


def test_vectors_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "vectors.jsonl"
    rows = [{"query": text, "vector": [i, i**0.5]} for i, text in enumerate(TEXTS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    vectors = GivenVectors(path)
    assert np.array_equal(vectors([TEXTS[4], TEXTS[1]]), [[4, 2], [1, 1]])
    with pytest.raises(BadLog, match="no vector of the query 'new'"):
        vectors(["new"])
    selector = fit_selector(log_of(TEXTS), vectors=vectors)
    selector.save(tmp_path / "selector")
    with pytest.raises(BadArtefact, match="fitted with vectors"):
        Selector.load(tmp_path / "selector")
    again = Selector.load(tmp_path / "selector", vectors)
    assert np.array_equal(again.predictions(TEXTS), selector.predictions(TEXTS))


def test_a_text_may_be_given_twice_with_one_vector(tmp_path: Path) -> None:
    path = tmp_path / "vectors.jsonl"
    path.write_text('{"query": "a", "vector": [1]}\n{"query": "a", "vector": [1]}\n')
    assert GivenVectors(path)(["a"]).tolist() == [[1]]


@pytest.mark.parametrize(
    "rows",
    [
        "",
        '{"query": "a"}\n',
        '{"query": "a", "vector": [1]}\n{"query": "b", "vector": [1, 2]}\n',
        '{"query": "a", "vector": ["x"]}\n',
        '{"query": "a", "vector": [1]}\n{"query": "a", "vector": [2]}\n',
    ],
)
def test_files_that_hold_no_vectors_are_refused(tmp_path: Path, rows: str) -> None:
    path = tmp_path / "vectors.jsonl"
    path.write_text(rows)
    with pytest.raises(BadLog, match=r"vectors\.jsonl: "):
        GivenVectors(path)
    with pytest.raises(BadLog, match=r"none\.parquet: "):
        GivenVectors(tmp_path / "none.parquet")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log, vectors of its queries, and a selector fitted with them."""
    folder = tmp_path_factory.mktemp("vectors")
    log = planted_log(80)
    rows = [{"query": q.text, "vector": [float(i), 1.0]} for i, q in enumerate(log.queries)]
    (folder / "vectors.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    cells = zip(log.query.tolist(), log.arm.tolist(), log.outcome.tolist())
    lines = [  # the last ten cells are still to be run
        {"query": log.queries[q].text, "arm": log.arms[a].name, "outcome": outcome}
        for q, a, outcome in cells
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:-10]))
    settings = Settings(models=("interaction",), folds=2, repeats=1, text_size=8, kind="mean")
    vectors = GivenVectors(folder / "vectors.jsonl")
    fit_selector(log, settings, vectors=vectors).save(folder / "selector")
    return folder


class TestCommands:
    """Every command that reads a selector reads its vectors, and says so where they are missing."""

    @pytest.mark.parametrize(
        "words",
        [
            ("select", "QUERY", "--selector", "SELECTOR"),
            ("explain", "QUERY", "--selector", "SELECTOR"),
            ("drift", "--log", "LOG", "--selector", "SELECTOR"),
            ("next", "LOG", "--selector", "SELECTOR", "--count", "3"),
            ("ope", "LOG", "--target", "SELECTOR", "--most-unsupported", "0.2"),
            ("report", "LOG", "--selector", "SELECTOR", "--evaluation", "EVALUATION"),
        ],
        ids=lambda words: words[0],
    )
    def test_with_and_without(
        self, run: Run, files: Path, tmp_path: Path, words: tuple[str, ...]
    ) -> None:
        evaluation = tmp_path / "evaluation.json"
        evaluation.write_text(json.dumps({"rows": [{}], "verdict": "hold", "reason": "made"}))
        meant = {
            "QUERY": planted_log(80).queries[5].text,
            "SELECTOR": files / "selector",
            "LOG": files / "log.jsonl",
            "EVALUATION": evaluation,
        }
        given = ["prompt", *(meant.get(word, word) for word in words), "--json"]
        if words[0] == "report":
            given += ["--out", tmp_path / "report.html"]
        code, out, err = run(*given, "--vectors", files / "vectors.jsonl")
        assert code == 0, err
        json.loads(out)
        code, out, err = run(*given)
        assert (code, out) == (2, "")
        assert "fitted with vectors of texts; give them" in err

    def test_vectors_of_another_source(self, run: Run, files: Path, tmp_path: Path) -> None:
        other = tmp_path / "other.jsonl"
        other.write_bytes((files / "vectors.jsonl").read_bytes())
        words = ["prompt", "select", planted_log(80).queries[5].text]
        words += ["--selector", files / "selector", "--json", "--vectors"]
        code, out, err = run(*words, other)
        assert code == 0
        assert err == (
            f"treeward: {files / 'selector'}: the selector was fitted with vectors of "
            "'file:vectors.jsonl', and those given are of 'file:other.jsonl'; they must be made in "
            "the same way\n"
        )
        assert run(*words, files / "vectors.jsonl") == (0, out, "")
        with pytest.warns(UserWarning, match="those given are of 'given'"):
            Selector.load(files / "selector", lambda texts: np.ones((len(texts), 2)))

    def test_solve(self, run: Run, files: Path, folders: Path) -> None:
        model = tiny_models.made(folders, kind="llama", characters=PRINTABLE)
        problem = planted_log(80).queries[5].text
        words = ["solve", problem, "--model", model, "--prompts", files / "selector"]
        words += ["--algorithm", "greedy", "--budget-tokens", "300", "--json"]
        code, out, err = run(*words, "--prompt-vectors", files / "vectors.jsonl")
        assert code == 0, err
        assert json.loads(out)["results"][0]["arm"] in ("steps", "short", "poor")
        code, out, err = run(*words)
        assert (code, out) == (2, "")
        assert "fitted with vectors of texts; give them" in err

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("prompt", "next", "LOG", "--vectors"), "--vectors goes with --selector"),
            (("prompt", "report", "LOG", "--vectors"), "--vectors goes with --selector"),
            (("prompt", "ope", "LOG", "--vectors"), "--vectors goes with a selector's folder"),
            (("solve", "4 5 6 10", "--prompt-vectors"), "--prompt-vectors goes with --prompts"),
        ],
    )
    def test_vectors_for_nothing(
        self, run: Run, files: Path, words: tuple[str, ...], said: str
    ) -> None:
        given = [files / "log.jsonl" if word == "LOG" else word for word in words]
        code, out, err = run(*given, files / "vectors.jsonl")
        assert (code, out) == (2, "")
        assert err.startswith("treeward: ")
        assert said in err
