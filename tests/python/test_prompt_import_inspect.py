"""Logs of Inspect: JSON, and the archives it writes by default."""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tool_files import document, inspect_log

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.importers import ImportOptions, import_log

NAN = math.nan


class TestInspect:
    """Logs of Inspect, both forms."""

    def test_json(self, tmp_path: Path) -> None:
        values = ["C", "I", "P", "N", 0.75, True, "no", "0.5", NAN, "perhaps"]
        paths = [
            document(tmp_path / "a.json", inspect_log("Now: {prompt}", values)),
            document(tmp_path / "b.json", inspect_log("Think: {prompt}", ["I", "C"])),
        ]
        reading = import_log("inspect", paths)
        log = reading.log
        assert [(arm.name, arm.text) for arm in log.arms] == [
            ("Now: {prompt}", "Now: {prompt}"),
            ("Think: {prompt}", "Think: {prompt}"),
        ]
        assert log.grid()[:, 0].tolist() == [1, 0, 0.5, 0, 0.75, 1, 0, 0.5]
        assert log.grid()[:2, 1].tolist() == [0, 1]
        assert (set(log.tokens), set(log.cost), set(log.latency)) == ({9.0}, {0.5}, {2.0})
        assert [problem.line for problem in reading.problems] == [9, 10]
        assert "'perhaps'" in reading.problems[1].reason

    def test_long_templates_stay_apart(self, tmp_path: Path) -> None:
        long = "Think about this\nstep by step, " * 5
        paths = [
            document(tmp_path / f"{end}.json", inspect_log(long + end, ["C"])) for end in ("a", "b")
        ]
        log = import_log("inspect", paths).log
        assert [arm.text for arm in log.arms] == [long + "a", long + "b"]
        assert all("\n" not in arm.name and len(arm.name) < 60 for arm in log.arms)
        again = import_log("inspect", [paths[0], paths[0]]).log
        assert (len(again.arms), again.run.tolist()) == (1, [0, 1])

    def test_epochs_messages_choices_and_errors(self, tmp_path: Path) -> None:
        record = inspect_log("", ["C", "C", "I", {"a": 1, "b": 0}])
        samples = record["samples"]
        samples[1].update(id=0, epoch=2, input=samples[0]["input"])
        samples[0]["scores"] = samples[1]["scores"] = {
            "match": {"value": "C"},
            "other": {"value": 0},
        }
        samples[2]["error"] = {"message": "x"}
        samples[3]["input"] = [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": [{"type": "text", "text": "which?"}]},
        ]
        samples[3]["choices"] = ["red", "blue"]
        path = document(tmp_path / "a.json", record)
        reading = import_log("inspect", [path])
        assert reading.log.run.tolist() == [0, 1]
        assert reading.log.arm_names == ["gsm8k"]
        assert "ended with an error" in reading.problems[0].reason
        assert "has parts (a, b)" in reading.problems[1].reason
        log = import_log("inspect", [path], ImportOptions(metric="match.a")).log
        assert log.texts == ["what is 0?", "which?\nA) red\nB) blue"]
        log = import_log("inspect", [path], ImportOptions(metric="other")).log
        assert log.outcome.tolist() == [0, 0]

    def scored(self, path: Path, template: str, **scores: str) -> Path:
        record = inspect_log(template, ["C"])
        record["samples"][0]["scores"] = {name: {"value": v} for name, v in scores.items()}
        return document(path, record)

    def test_arms_under_different_scores_are_not_compared(self, tmp_path: Path) -> None:
        one = self.scored(tmp_path / "a.json", "Now: {prompt}", match="C", includes="I")
        other = self.scored(tmp_path / "b.json", "Think: {prompt}", includes="C", match="I")
        with pytest.raises(
            BadLog,
            match=r"do not share one score \(match, includes in a\.json; includes, match in "
            r"b\.json\); name the one that is the outcome with --metric",
        ):
            import_log("inspect", [one, other])
        log = import_log("inspect", [one, other], ImportOptions(metric="match")).log
        assert log.grid().tolist() == [[1, 0]]
        only = self.scored(tmp_path / "c.json", "Think: {prompt}", includes="C")
        assert import_log("inspect", [one, only]).log.grid().tolist() == [[0, 1]]

    def test_a_scorer_with_a_dot_in_its_name(self, tmp_path: Path) -> None:
        path = self.scored(tmp_path / "a.json", "", **{"mine.exact": "C"})
        assert import_log("inspect", [path]).log.outcome.tolist() == [1]

    def archive(
        self, path: Path, record: dict[str, Any], zstandard: bool = False, deflate: bool = False
    ) -> Path:
        header = {key: value for key, value in record.items() if key != "samples"}
        members = {"header.json": header, "_journal/start.json": {}}
        members.update({f"samples/{s['id']}_epoch_1.json": s for s in record["samples"]})
        packed = io.BytesIO()
        sizes = {}
        with zipfile.ZipFile(packed, "w") as file:
            for name, content in members.items():
                data = json.dumps(content).encode()
                sizes[name] = len(data)
                if zstandard:
                    import pyarrow

                    data = pyarrow.Codec("zstd").compress(data, asbytes=True)
                packing = zipfile.ZIP_DEFLATED if deflate and not zstandard else zipfile.ZIP_STORED
                file.writestr(name, data, packing)
        data = bytearray(packed.getvalue())
        if zstandard:  # zipfile of older Pythons cannot write method 93, so it is set afterwards
            with zipfile.ZipFile(packed) as file:
                for entry in file.infolist():
                    struct.pack_into("<H", data, entry.header_offset + 8, 93)
            place = data.find(b"PK\x01\x02")
            while place >= 0:
                struct.pack_into("<H", data, place + 10, 93)
                place = data.find(b"PK\x01\x02", place + 4)
        path.write_bytes(data)
        return path

    @pytest.mark.parametrize("zstandard", [False, True])
    def test_archive(self, tmp_path: Path, zstandard: bool) -> None:
        record = inspect_log("Now: {prompt}", ["C", "I"])
        path = self.archive(tmp_path / "a.eval", record, zstandard)
        log = import_log("inspect", [path]).log
        assert log.outcome.tolist() == [1, 0]
        assert log.texts == ["what is 0?", "what is 1?"]
        assert log.arms[0].text == "Now: {prompt}"

    @pytest.mark.parametrize("zstandard", [False, True])
    def test_damaged_archive(self, tmp_path: Path, zstandard: bool) -> None:
        path = self.archive(
            tmp_path / "a.eval", inspect_log("Now: {prompt}", ["C"]), zstandard, True
        )
        data = bytearray(path.read_bytes())
        start = data.find(b"samples/0_epoch_1.json") + len("samples/0_epoch_1.json")
        for damage in (0xFF, 0x06):
            data[start : start + 8] = bytes([damage]) * 8
            path.write_bytes(data)
            with pytest.raises(BadLog, match=r"a\.eval cannot be read as a log of Inspect \("):
                import_log("inspect", [path])

    def test_other_files(self, tmp_path: Path) -> None:
        with pytest.raises(BadLog, match="it has no 'eval'"):
            import_log("inspect", [document(tmp_path / "a.json", {})])
        with zipfile.ZipFile(tmp_path / "a.eval", "w") as file:
            file.writestr("samples/1_epoch_1.json", "{}")
        with pytest.raises(BadLog, match=r"no header\.json"):
            import_log("inspect", [tmp_path / "a.eval"])
