"""Vectors of queries from an encoder and from a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch

from prompt_oirl.choice.selector import Selector, fit_selector
from prompt_oirl.errors import BadArtefact, BadLog
from prompt_oirl.features.encoder import Encoder
from prompt_oirl.features.given_vectors import GivenVectors
from prompt_oirl.logs.log import Arm, PromptLog, Query

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


@pytest.mark.parametrize(
    "rows",
    [
        "",
        '{"query": "a"}\n',
        '{"query": "a", "vector": [1]}\n{"query": "b", "vector": [1, 2]}\n',
        '{"query": "a", "vector": ["x"]}\n',
    ],
)
def test_files_that_hold_no_vectors_are_refused(tmp_path: Path, rows: str) -> None:
    path = tmp_path / "vectors.jsonl"
    path.write_text(rows)
    with pytest.raises(BadLog, match=r"vectors\.jsonl: "):
        GivenVectors(path)
    with pytest.raises(BadLog, match=r"none\.parquet: "):
        GivenVectors(tmp_path / "none.parquet")
