"""Threads by default: as many as the cores that the process may run on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from search import _native, cores
from search.cli.assemble import use_threads


@pytest.fixture
def threads_are_kept() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    use_threads(before)


@pytest.mark.usefixtures("threads_are_kept")
def test_a_process_that_may_use_some_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 5, 6}, raising=False)
    use_threads(None)
    assert torch.get_num_threads() == 3
    assert _native.attention.num_threads() == 3
    use_threads(2)
    assert torch.get_num_threads() == 2


def test_systems_that_do_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert cores.usable_cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores.usable_cores() == 1


@pytest.mark.usefixtures("threads_are_kept")
def test_a_number_that_the_environment_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch has read it when it was loaded."""
    torch.set_num_threads(5)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    use_threads(None)
    assert torch.get_num_threads() == _native.attention.num_threads() == 5
    use_threads(2)
    assert torch.get_num_threads() == 2
