"""Queries that nearly repeat each other, kept on one side of every split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from prompt_oirl.logs.log import PromptLog, Query
from prompt_oirl.responses.response_set import ResponseSet


def with_joined_groups(responses: ResponseSet) -> ResponseSet:
    """The responses, groups of equal or nearly equal queries joined as for logs of prompts."""
    from prompt_oirl.audit import merged_groups

    queries = tuple(
        Query(name, text, str(group))
        for name, text, group in zip(
            responses.query_id, responses.query_text, responses.group.tolist()
        )
    )
    none = np.zeros(0, dtype=np.int64)
    log = PromptLog("responses", queries, (), none, none, np.zeros(0))
    return replace(responses, group=merged_groups(log))
