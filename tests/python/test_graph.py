"""The tree of a search as a graph."""

from __future__ import annotations

import networkx
import numpy as np
import pytest

from search.budget import Ledger
from search.graph import tree_graph
from search.problem import Problem
from search.result import SearchResult


@pytest.fixture
def result() -> SearchResult:
    tree = {
        "parent": np.array([-1, 0, 0, 1], np.int32),
        "token_offset": np.array([0, 0, 2, 3, 5], np.int64),
        "tokens": np.array([7, 8, 9, 5, 6], np.int32),
        "text": ["", "a b", "c", "d e"],
        "logprob": np.array([0, -1, -2, -3], np.float32),
        "score": [None, 0.5, 0.25, 1.0],
        "value": np.array([np.nan, 0.5, 0.25, 1.0], np.float32),
        "q": np.array([0.5, 0.75, 0.25, 1.0]),
        "visits": np.array([3, 2, 1, 1], np.int32),
        "draws": np.array([0, 1, 1, 1], np.int32),
        "finish": np.array([0, 0, 2, 1], np.uint8),
        "verdict": np.array([-1, -1, -1, 1], np.int8),
        "answer": np.array([-1, -1, -1, 0], np.int32),
        "answers": ["x"],
    }
    return SearchResult(Problem("p", "name"), "finished", Ledger(), tree=tree)


def test_graph_is_the_tree_with_the_fields_of_the_trace(result: SearchResult) -> None:
    graph = tree_graph(result)
    assert networkx.is_arborescence(graph)
    assert sorted(graph.edges) == [(0, 1), (0, 2), (1, 3)]
    assert graph.nodes[3]["tokens"] == [5, 6]
    assert graph.nodes[3]["answer"] == "x"
    assert graph.nodes[3]["verdict"] is True
    assert graph.nodes[2]["finish"] == "length"
    assert graph.nodes[0]["value"] is None
    assert graph.graph["id"] == "name"
