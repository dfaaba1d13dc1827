"""Selectors on disk: the same choices elsewhere, and a sentence for every folder that is none."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_logs import planted_log

from prompt_oirl.array_folder import checksum
from prompt_oirl.choice import Selector, Settings, fit_selector
from prompt_oirl.errors import BadArtefact, BadLog
from prompt_oirl.logs.log import Arm
from prompt_oirl.models import MODELS

LOG = planted_log(150)
TEXTS = planted_log(40, seed=5).texts
QUICK = Settings(models=("interaction",), folds=3, repeats=1, text_size=8, kind="mean")
CHANGED = "was changed after the selector of prompts was saved"

READ = """
import json, sys
from prompt_oirl.choice import Selector
folder, texts = sys.argv[1], json.loads(sys.argv[2])
choice = Selector.load(folder).choose(texts)
print(json.dumps([choice.arms.tolist(), choice.value.tolist(), choice.advantage.tolist()]))
print(sorted(set(sys.modules) & {"lightgbm", "torch"}))
"""


@pytest.fixture(scope="module")
def selector() -> Selector:
    return fit_selector(LOG, QUICK)


@pytest.fixture
def folder(selector: Selector, tmp_path: Path) -> Path:
    selector.save(tmp_path / "deep" / "selector")
    return tmp_path / "deep" / "selector"


def change_head(folder: Path, **changes: Any) -> None:
    """Another head with a checksum that fits: what somebody would do on purpose."""
    path = folder / "selector.json"
    head = json.loads(path.read_text()) | changes
    head["sha256"] = checksum(head, (folder / "arrays.npz").read_bytes())
    path.write_text(json.dumps(head))


def rewrite_arrays(folder: Path, content: bytes) -> None:
    """Other arrays with a checksum that fits."""
    (folder / "arrays.npz").write_bytes(content)
    change_head(folder)


def refusal(folder: Path) -> str:
    with pytest.raises(BadArtefact) as caught:
        Selector.load(folder)
    message = str(caught.value)
    assert str(folder) in message
    return message


class TestSameElsewhere:
    def test_in_a_fresh_process(self, tmp_path: Path) -> None:
        """Every model, an ensemble, memory; trees are read without the library that grew them."""
        names = tuple(name for name in MODELS)
        settings = replace(QUICK, models=names, folds=2, repeats=2, ensemble=True)
        made = fit_selector(planted_log(60, runs=2), settings)
        made.save(tmp_path)
        words = [sys.executable, "-c", READ, str(tmp_path), json.dumps(TEXTS)]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
        numbers, modules = done.stdout.splitlines()
        choice = made.choose(TEXTS)
        parts = (choice.arms, choice.value, choice.advantage)
        assert json.loads(numbers) == [part.tolist() for part in parts]
        assert modules == "[]"

    def test_everything_is_kept(self, selector: Selector, folder: Path) -> None:
        again = Selector.load(folder)
        for name in ("arms", "settings", "about", "default"):
            assert getattr(again, name) == getattr(selector, name)
        assert np.array_equal(again.costs, selector.costs)
        assert np.array_equal(again.means, selector.means)
        first, second = again.rule, selector.rule
        assert np.array_equal(first.spread, second.spread)
        assert replace(first, spread=0) == replace(second, spread=0)
        assert sorted(path.name for path in folder.iterdir()) == ["arrays.npz", "selector.json"]

    def test_infinite_margins_and_unknown_costs(self, tmp_path: Path) -> None:
        flat = planted_log(100, better=0.5, worse=0.5)
        flat = replace(flat, cost=np.full(len(flat.query), np.nan))
        made = fit_selector(flat, QUICK)
        made.save(tmp_path)
        again = Selector.load(tmp_path)
        assert np.isinf(again.rule.margin)
        assert np.isnan(again.costs).all()
        assert json.loads((tmp_path / "selector.json").read_text(), parse_constant=pytest.fail)

    def test_names_in_any_script(self, selector: Selector, tmp_path: Path) -> None:
        arms = (Arm("Schritte ✓", "Denke «nach»\n"), Arm("короткий"), Arm("\ud800"))
        replace(selector, arms=arms).save(tmp_path)
        assert Selector.load(tmp_path).arms == arms

    def test_saved_again_in_the_same_folder(self, selector: Selector, folder: Path) -> None:
        other = fit_selector(LOG, QUICK, seed=3)
        other.save(folder)
        assert np.array_equal(Selector.load(folder).choose(TEXTS).value, other.choose(TEXTS).value)

    def test_vectors_are_the_caller_s(self, tmp_path: Path) -> None:
        def vectors(texts):  # type: ignore[no-untyped-def]
            return np.array([[float(len(text))] for text in texts])

        made = fit_selector(LOG, QUICK, vectors=vectors)
        made.save(tmp_path)
        assert "fitted with vectors of texts" in refusal(tmp_path)
        again = Selector.load(tmp_path, vectors)
        assert np.array_equal(again.choose(TEXTS).value, made.choose(TEXTS).value)

    def test_vectors_that_nobody_asked_for(self, folder: Path) -> None:
        loaded = Selector.load(folder, lambda texts: np.zeros((len(texts), 2)))
        with pytest.raises(BadLog, match="vectors"):
            loaded.choose(TEXTS)


class TestRefusals:
    def test_no_selector(self, tmp_path: Path, folder: Path) -> None:
        assert "is no selector of prompts: there is no selector.json" in refusal(
            tmp_path / "nowhere"
        )
        assert "is no selector of prompts" in refusal(tmp_path)
        assert "there is no selector.json" in refusal(folder / "arrays.npz")

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"format": "other"}', "\udcff"])
    def test_another_file_of_that_name(self, folder: Path, text: str) -> None:
        (folder / "selector.json").write_bytes(text.encode(errors="surrogateescape"))
        message = refusal(folder)
        assert "no selector of prompts" in message or "cannot be read" in message

    @pytest.mark.parametrize("version", [0, 99, "1", None])
    def test_another_version(self, folder: Path, version: object) -> None:
        change_head(folder, version=version)
        assert f"version {version} of the format; this treeward reads" in refusal(folder)

    def test_missing_arrays(self, folder: Path) -> None:
        (folder / "arrays.npz").unlink()
        assert "incomplete or damaged" in refusal(folder)

    def test_damaged_arrays(self, folder: Path) -> None:
        content = bytearray((folder / "arrays.npz").read_bytes())
        content[len(content) // 2] ^= 1
        (folder / "arrays.npz").write_bytes(content)
        assert CHANGED in refusal(folder)

    @pytest.mark.parametrize(
        ("key", "change"),
        [
            ("rule", {"margin": 0.01}),
            ("rule", {"margin": "abc"}),
            ("rule", {"margin": float("nan")}),
            ("rule", {"z": "x"}),
            ("settings", {"models": ["logistic"]}),
            ("settings", {"folds": 4}),
            ("about", {"queries": 7}),
            ("about", [1]),
            ("arms", []),
            ("members", 2),
            ("vectors", "given"),
            ("note", "by hand"),
        ],
    )
    def test_a_changed_head(self, folder: Path, key: str, change: Any) -> None:
        path = folder / "selector.json"
        head = json.loads(path.read_text())
        if isinstance(change, dict):
            change = head[key] | change
        path.write_text(json.dumps(head | {key: change}))
        assert CHANGED in refusal(folder)

    def test_another_layout_of_the_same_head(self, selector: Selector, folder: Path) -> None:
        path = folder / "selector.json"
        head = json.loads(path.read_text())
        path.write_text(json.dumps(dict(reversed(head.items())), indent=4))
        assert Selector.load(folder).rule.margin == selector.rule.margin

    @pytest.mark.parametrize("depth", [300, 800, 900, 950, 100_000])
    def test_a_head_too_deep(self, folder: Path, depth: int) -> None:
        path = folder / "selector.json"
        head = path.read_text().rstrip().removesuffix("}")
        path.write_text(f'{head}, "about": {"[" * depth}{"]" * depth}}}')
        message = refusal(folder)
        assert CHANGED in message or "too deep" in message

    @pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04" + b"\0" * 60, b"\x93NUMPY"])
    def test_no_arrays_at_all(self, folder: Path, content: bytes) -> None:
        rewrite_arrays(folder, content)
        assert "incomplete or damaged" in refusal(folder)

    def test_a_pickle_is_not_opened(self, folder: Path, tmp_path: Path) -> None:
        trace = tmp_path / "opened"

        class Opened:
            def __reduce__(self) -> tuple:
                return Path.touch, (trace,)

        with np.load(folder / "arrays.npz") as file:
            arrays = dict(file)
        arrays["means"] = np.array([Opened()], dtype=object)
        with (tmp_path / "bad.npz").open("wb") as file:
            np.savez(file, **arrays)
        for content in ((tmp_path / "bad.npz").read_bytes(), pickle.dumps(Opened())):
            rewrite_arrays(folder, content)
            assert "incomplete or damaged" in refusal(folder)
        assert not trace.exists()

    @pytest.mark.parametrize("missing", ["means", "rule/spread", "features/mean", "memory/key"])
    def test_an_array_is_missing(self, folder: Path, tmp_path: Path, missing: str) -> None:
        with np.load(folder / "arrays.npz") as file:
            arrays = {name: file[name] for name in file.files if name != missing}
        with (tmp_path / "less.npz").open("wb") as file:
            np.savez(file, **arrays)
        rewrite_arrays(folder, (tmp_path / "less.npz").read_bytes())
        assert "incomplete or damaged" in refusal(folder)

    @pytest.mark.parametrize(
        "key", ["arms", "settings", "rule", "vectors", "members", "about", "sha256"]
    )
    def test_a_key_of_the_head_is_missing(self, folder: Path, key: str) -> None:
        path = folder / "selector.json"
        head = json.loads(path.read_text())
        del head[key]
        path.write_text(json.dumps(head))
        assert len(refusal(folder)) > 20

    @pytest.mark.parametrize("key", ["arms", "settings", "rule", "members"])
    @pytest.mark.parametrize("value", [None, 7, [], {}, "text", [1]])
    def test_a_key_of_the_head_is_something_else(self, folder: Path, key: str, value: Any) -> None:
        change_head(folder, **{key: value})
        assert "damaged" in refusal(folder)

    def test_models_and_arms_that_do_not_exist(self, selector: Selector, folder: Path) -> None:
        head = json.loads((folder / "selector.json").read_text())
        change_head(folder, settings=head["settings"] | {"models": ["oracle"]})
        assert "unknown model 'oracle'" in refusal(folder)
        change_head(folder, settings=head["settings"], rule=head["rule"] | {"default": 3})
        assert "damaged" in refusal(folder)
        change_head(folder, rule=head["rule"] | {"kind": "best"})
        assert "damaged" in refusal(folder)
        change_head(folder, rule=head["rule"], arms=head["arms"][:2])
        assert "damaged" in refusal(folder)
        change_head(folder, arms=[head["arms"][0]] * 3)
        assert "names of their own" in refusal(folder)
        change_head(folder, arms=[{"name": 5}, *head["arms"][1:]])
        assert "names of their own" in refusal(folder)
        change_head(folder, arms=head["arms"])
        for field, value in (("margin", -1), ("margin", float("nan")), ("z", float("inf"))):
            change_head(folder, rule=head["rule"] | {field: value})
            assert "not a number from 0" in refusal(folder)
        for field, value in (("margin", "abc"), ("margin", [1]), ("z", "x")):
            change_head(folder, rule=head["rule"] | {field: value})
            assert "damaged" in refusal(folder)
        change_head(folder, rule=head["rule"])
        assert np.array_equal(
            Selector.load(folder).choose(TEXTS).value, selector.choose(TEXTS).value
        )
