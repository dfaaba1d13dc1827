"""Logs of other tools as logs of prompts. One file a tool; each says which format it reads."""

from __future__ import annotations

from prompt_oirl.logs.importers.importing import TOOLS, ImportOptions, import_log

__all__ = ["TOOLS", "ImportOptions", "import_log"]
