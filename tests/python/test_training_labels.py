"""Labels of puzzle states on their way into the training of the reward model."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.puzzles import label_states
from training.puzzles.reward_card import write_card
from training.puzzles.train_reward import LONGEST_PATH, paths_with_labels, to_arrays

PROMPT = [90, 91, 92]


def tokenizer(text: str) -> dict[str, list[int]]:
    return {"input_ids": PROMPT}


def record(steps: list[list[int]], right: int, draws: int = 8) -> dict[str, Any]:
    return {"numbers": [1, 2], "target": 3, "steps": steps, "right": right, "draws": draws}


def test_counts_of_one_state_are_pooled() -> None:
    records = [record([[1, 2]], 8), record([[1, 2], [3]], 2), record([[1, 2]], 1, draws=24)]
    ((tokens, found),) = paths_with_labels(records, tokenizer)
    assert tokens == [*PROMPT, 1, 2, 3]
    assert found == [(4, 9 / 32), (5, 0.25)]


def test_labels_on_the_beginning_of_a_long_path_are_kept() -> None:
    short, long = [[1, 2]], [[1, 2], [5] * LONGEST_PATH]
    records = [record(short, 8), record(long, 2), record([[7] * LONGEST_PATH], 4)]
    tokens, labels = to_arrays(paths_with_labels(records, tokenizer), pad=0)
    assert tokens.shape == (1, LONGEST_PATH)
    assert np.flatnonzero(labels[0] >= 0).tolist() == [4]
    assert labels[0, 4] == 1.0


def test_the_card_says_how_many_completions_there_were(tmp_path: Path) -> None:
    arguments = argparse.Namespace(out=tmp_path, batch=64, rate=1e-3, seed=0)
    scores = {"states": 5, "auc": 0.9, "brier": 0.1, "brier_of_mean": 0.2}
    write_card(arguments, [record([[1]], 1, draws=n) for n in (16, 4, 16)], 10, 1.0, scores)
    text = (tmp_path / "README.md").read_text()
    assert "\n4 or 16 independent completions" in text
    assert "\n3 labelled states" in text


class TestFile:
    """The file that ``label_states`` writes."""

    @pytest.fixture
    def out(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        out = tmp_path / "build" / "puzzles" / "labels.jsonl"
        words = ["label_states", "--puzzles", "1", "--out", str(out)]
        monkeypatch.setattr(sys, "argv", words)
        monkeypatch.setattr(label_states, "training_puzzles", lambda *_: [])
        monkeypatch.setattr(label_states, "TransformersLanguageModel", lambda *_, **__: None)
        return out

    def test_its_folder_is_made(self, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(label_states, "labels", lambda *_: iter([record([[1]], 3)]))
        label_states.main()
        assert [json.loads(line) for line in out.read_text().splitlines()] == [record([[1]], 3)]
        assert list(out.parent.iterdir()) == [out]

    def test_it_outlives_a_run_that_breaks_off(
        self, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(*_: Any) -> Iterator[dict[str, Any]]:
            yield record([[1]], 3)
            raise RuntimeError("no room")

        monkeypatch.setattr(label_states, "labels", broken)
        out.parent.mkdir(parents=True)
        out.write_text("kept\n")
        with pytest.raises(RuntimeError, match="no room"):
            label_states.main()
        assert out.read_text() == "kept\n"
        assert len((out.parent / "labels.jsonl.unfinished").read_text().splitlines()) == 1
