"""The authors' released files: records, arrays, and pickles that nothing is called from."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tool_files import lines

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.importers import ImportOptions, import_log
from prompt_oirl.logs.importers.plain_pickle import RefusedPickle, read_plain_pickle

NAN = math.nan


class TestReleasedOirl:
    """The authors' files."""

    def queries(self, tmp_path: Path) -> ImportOptions:
        records = [{"question": f"train {i}", "split": "train"} for i in range(3)]
        records += [{"question": f"test {i}", "split": "test", "id": f"t{i}"} for i in range(2)]
        return ImportOptions(queries=lines(tmp_path / "queries.jsonl", records))

    def test_records(self, tmp_path: Path) -> None:
        texts = {
            "llama_gsm8k_corr_CoT.txt": "(0, True)\n(1, False)\nbroken\n(7, True)\n",
            "llama_gsm8k_test_corr_CoT.txt": "(0, False)\n(1, True)\n",
            "llama_gsm8k_corr_gpt4_0.txt": "(0, True)\n(1, True)\n",
            "llama_gsm8k_test_answers_list_CoT.txt": (
                '(0, \'say "8"\')\n\n====================\n(1, "it\'s\\n4")\n\n'
                "====================\n(2, 'cut off\n\n====================\n"
            ),
        }
        paths = []
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
            paths.append(tmp_path / name)
        reading = import_log("oirl", paths, self.queries(tmp_path))
        log = reading.log
        assert log.arm_names == ["CoT", "gpt4_0"]
        assert [(query.text, query.split) for query in log.queries] == [
            ("train 0", "train"),
            ("train 1", "train"),
            ("test 0", "test"),
            ("test 1", "test"),
        ]
        assert [query.id for query in log.queries] == ["train-0", "train-1", "t0", "t1"]
        np.testing.assert_array_equal(log.grid(), [[1, NAN], [0, NAN], [0, 1], [1, 1]])
        np.testing.assert_array_equal(log.grid("tokens")[2:, 0], [7 / 4, 6 / 4])
        reasons = [problem.reason for problem in reading.problems]
        assert len(reasons) == 3
        assert any("not of the form (0, True)" in reason for reason in reasons)
        assert any("query 7 of 'CoT' (train) is not among the 3" in reason for reason in reasons)
        assert any("record 3 is not of the form (0, 'text')" in reason for reason in reasons)

    def test_arrays_and_results(self, tmp_path: Path) -> None:
        np.save(tmp_path / "gsm8k_train_APE.npy", np.array([True, False, True]))
        one = {"baseline_test": np.array([True, False]), "only_combined": np.array([False, False])}
        results = {
            "gsm8k_xgboost_3.model_10": one,
            "gsm8k_xgboost_0.model_10": {**one, "baseline_test": np.array([0.0, 1.0])},
            "gsm8k_xgboost_0_1.model_10": {**one, "baseline_test": np.array([True, True])},
        }
        np.save(tmp_path / "ALL_gsm8k_10.npy", results, allow_pickle=True)
        paths = [tmp_path / "ALL_gsm8k_10.npy", tmp_path / "gsm8k_train_APE.npy"]
        log = import_log("oirl", paths, self.queries(tmp_path)).log
        assert log.texts == ["train 0", "train 1", "train 2", "test 0", "test 1"]
        expected = {
            "APE": [1, 0, 1, NAN, NAN],
            "nan": [NAN, NAN, NAN, 0, 1],
            "Dis": [NAN, NAN, NAN, 1, 0],
        }
        assert log.arm_names == list(expected)
        np.testing.assert_array_equal(log.grid().T, list(expected.values()))

    def test_refusals(self, tmp_path: Path) -> None:
        path = tmp_path / "ALL_x.npy"
        np.save(path, {"a_0.model": Fraction(1, 2)}, allow_pickle=True)
        with pytest.raises(BadLog, match=r"refused: the pickle names 'fractions\.Fraction'"):
            import_log("oirl", [path], self.queries(tmp_path))
        with pytest.raises(BadLog, match="give them as --queries"):
            import_log("oirl", [path])
        path.write_bytes(b"not numpy")
        with pytest.raises(BadLog, match="not a file of NumPy"):
            import_log("oirl", [path], self.queries(tmp_path))
        (tmp_path / "notes.txt").write_text("")
        with pytest.raises(BadLog, match="none of the released files"):
            import_log("oirl", [tmp_path / "notes.txt"], self.queries(tmp_path))
        with pytest.raises(BadLog, match="name their prompts themselves"):
            import_log("oirl", [path], ImportOptions(arms=("a",)))

    @pytest.mark.parametrize("name", ["llama_gsm8k_corr_CoT.txt", "llama_gsm8k_corr_CoT.npy"])
    def test_a_file_of_other_bytes_is_named(self, tmp_path: Path, name: str) -> None:
        queries, path = tmp_path / "queries.jsonl", tmp_path / name
        queries.write_text('{"query": "How many?"}\n')
        path.write_bytes(b"(0, True)\n\xff\n")
        with pytest.raises(BadLog, match=name):
            import_log("oirl", [path], ImportOptions(queries=queries))

    def test_queries_that_would_be_mixed_up(self, tmp_path: Path) -> None:
        names = ("llama_gsm8k_corr_CoT.txt", "llama_gsm8k_test_corr_CoT.txt")
        paths = [tmp_path / name for name in names]
        for path in paths:
            path.write_text("(0, True)\n(1, False)\n")
        queries = lines(tmp_path / "q.jsonl", [{"query": f"query {i}"} for i in range(2)])
        options = ImportOptions(queries=queries)
        with pytest.raises(BadLog, match=r"of the splits test and train, but .* have no 'split'"):
            import_log("oirl", paths, options)
        assert import_log("oirl", paths[:1], options).log.texts == ["query 0", "query 1"]
        for line, reason in (("{", "no JSON object"), ("{}", "no text of a query")):
            queries.write_text(f'{line}\n{{"query": "a"}}\n')
            with pytest.raises(BadLog, match=rf"q\.jsonl, line 1: {reason}"):
                import_log("oirl", paths[:1], options)

    @pytest.mark.parametrize(
        ("other", "words"),
        [
            ("llama_svamp_corr_APE.txt", "are of two datasets, 'gsm8k' and 'svamp'"),
            ("gpt_gsm8k_corr_APE.txt", "are of two models, 'llama' and 'gpt'"),
            ("svamp_train_APE.npy", "are of two datasets"),
            ("ALL_svamp_10_llama.npy", "are of two datasets"),
        ],
    )
    def test_a_mixture(self, tmp_path: Path, other: str, words: str) -> None:
        path = tmp_path / "llama_gsm8k_corr_CoT.txt"
        path.write_text("(0, True)\n")
        with pytest.raises(BadLog, match=f"{path.name} and {other} {words}"):
            import_log("oirl", [path, tmp_path / other], self.queries(tmp_path))

    def test_files_of_one_name_that_differ(self, tmp_path: Path) -> None:
        paths = [tmp_path / folder / "gsm8k_train_CoT.npy" for folder in ("llama", "gpt")]
        for path, right in zip(paths, (True, False)):
            path.parent.mkdir()
            np.save(path, np.array([True, right]))
        with pytest.raises(
            BadLog, match=r"gpt.*: query 1 has another outcome than in a file before"
        ):
            import_log("oirl", paths, self.queries(tmp_path))
        assert len(import_log("oirl", [paths[0]] * 2, self.queries(tmp_path)).log.outcome) == 2


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)


class TestPlainPickle:
    """Pickles of plain data are read as pickle reads them; everything else is refused."""

    @pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
    @settings(max_examples=60, deadline=None)
    @given(value=PLAIN)
    def test_plain_values(self, protocol: int, value: Any) -> None:
        assert read_plain_pickle(pickle.dumps(value, protocol)) == value

    @pytest.mark.parametrize("protocol", [2, 3, 4])
    @pytest.mark.parametrize("kind", ["?", "i1", "<i8", ">f4", "f8", "U3", "S2"])
    def test_arrays(self, protocol: int, kind: str) -> None:
        array = np.arange(6).reshape(2, 3).astype(kind)
        for value in (array, array.T, array[:0], array[0, 0]):
            read = read_plain_pickle(pickle.dumps({"a": [value]}, protocol))["a"][0]
            np.testing.assert_array_equal(read, value)

    def test_same_object_twice(self) -> None:
        array = np.array([1.5])
        read = read_plain_pickle(pickle.dumps([array, {"again": array}], 3))
        assert (read[0][0], read[1]["again"][0]) == (1.5, 1.5)

    def test_nothing_is_called(self, tmp_path: Path) -> None:
        marker = tmp_path / "called"

        class Evil:
            def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
                return open, (str(marker), "w")

        for protocol in range(6):
            with pytest.raises(RefusedPickle):
                read_plain_pickle(pickle.dumps([1, Evil()], protocol))
        assert not marker.exists()
        other = (Fraction(1, 2), {1, 2}, np.dtype("f8"), int, np.array([Evil()]), bytearray(b"a"))
        for value in other:
            with pytest.raises(RefusedPickle):
                read_plain_pickle(pickle.dumps(value, 4))
        assert not marker.exists()

    @settings(max_examples=200, deadline=None)
    @given(st.data())
    def test_broken_pickles_are_refused_or_plain(self, data: st.DataObject) -> None:
        whole = bytearray(pickle.dumps({"a": [np.arange(3), 1.5, "text"], "b": (1, None)}, 3))
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, len(whole) - 1))
            whole[place] = data.draw(st.integers(0, 255))
        try:
            value = read_plain_pickle(bytes(whole[: data.draw(st.integers(1, len(whole)))]))
        except RefusedPickle:
            return
        allowed = (int, float, str, bytes, bool, type(None), np.ndarray)
        assert all(isinstance(leaf, allowed) for leaf in _leaves(value))


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for pair in value.items() for item in pair for leaf in _leaves(item)]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]
