"""The example log that comes with the package: the bundled puzzle policy under six formats.

Made by ``training/prompts/make_example_log.py``; see ``README.md`` beside this file.
"""

from __future__ import annotations

from pathlib import Path

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.log import PromptLog

NAME = "puzzle_prompts"


def example_log_path() -> Path:
    """The file of the example log: long JSONL, compressed, with its metadata beside it.

    Raises:
        BadLog: it is missing from this installation.
    """
    path = Path(__file__).parent / f"{NAME}.jsonl.gz"
    if not path.is_file():
        raise BadLog(f"the example log '{NAME}' is missing from this installation")
    return path


def example_log() -> PromptLog:
    """The example log: 1,200 puzzles, six prompt formats, three runs of each.

    Raises:
        BadLog: it is missing from this installation.
    """
    from prompt_oirl.logs.read import read_log

    return read_log(example_log_path()).log
