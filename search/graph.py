"""A search tree as a networkx graph, for analysis and drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.result import SearchResult
from search.trace import trace_record

if TYPE_CHECKING:
    import networkx


def tree_graph(result: SearchResult) -> networkx.DiGraph:
    """The tree of a search as a directed graph from the prompt (node 0) to the leaves.

    Returns:
        A graph whose nodes are rows of the trace and carry its fields (``text``, ``tokens``,
        ``logprob``, ``score``, ``value``, ``visits``, ``finish``, ``verdict``, …), with the
        problem's ``id``, ``prompt`` and ``messages`` and the ``run`` as graph attributes.
    """
    import networkx

    record = trace_record(result)
    graph = networkx.DiGraph(**{name: record[name] for name in ("id", "prompt", "messages", "run")})
    for row, node in enumerate(record["nodes"]):
        graph.add_node(row, **{name: value for name, value in node.items() if name != "parent"})
        if node["parent"] >= 0:
            graph.add_edge(node["parent"], row)
    return graph
