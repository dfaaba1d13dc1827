"""How the interpreter that has vLLM is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.e2e import vllm_engine
from benchmarks.machine import describe


def test_openmp_of_the_environment_comes_before_what_the_user_preloads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python, library = tmp_path / "bin" / "python", tmp_path / "lib" / "libiomp5.so"
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    assert vllm_engine._preload(str(python)) == {}
    library.parent.mkdir()
    library.touch()
    assert vllm_engine._preload(str(python)) == {"LD_PRELOAD": str(library)}
    monkeypatch.setenv("LD_PRELOAD", "libtcmalloc.so")
    assert vllm_engine._preload(str(python)) == {"LD_PRELOAD": f"{library}:libtcmalloc.so"}
    monkeypatch.setenv("LD_PRELOAD", "/mine/libiomp5.so")
    assert vllm_engine._preload(str(python)) == {}


@pytest.mark.parametrize("python", ["", "/no/python", "/bin/false"])
def test_without_vllm_the_machine_has_no_version_of_it(
    monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    monkeypatch.setenv(vllm_engine.VARIABLE, python)
    assert describe()["packages"]["vllm"] is None
