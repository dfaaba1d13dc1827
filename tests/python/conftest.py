"""One thread for everything, so that the tests share a machine kindly and repeat exactly."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tables and messages of the commands are read by tests: no colour, and lines that are not folded.
os.environ["COLUMNS"] = "200"
os.environ["NO_COLOR"] = "1"
os.environ.pop("FORCE_COLOR", None)

from pathlib import Path

import pytest
from command_line import run  # noqa: F401  (a fixture)


def pytest_configure(config: pytest.Config) -> None:
    import torch

    from search import _native

    torch.set_num_threads(1)
    _native.attention.set_num_threads(1)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the models that tests make; see ``tiny_models``."""
    return tmp_path_factory.mktemp("models")
