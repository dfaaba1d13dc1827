"""Logs of prompts tried on queries: the schema, its readers, and importers of other tools' logs."""

from prompt_oirl.logs.log import Arm, PromptLog, Query

__all__ = ["Arm", "PromptLog", "Query"]
