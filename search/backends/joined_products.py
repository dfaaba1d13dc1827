"""Linear layers of the same rows, like those that make queries, keys and values, in one call."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

from search.backends import packed_linear  # noqa: F401  (makes the operations)


class JoinProducts(CustomGraphPass):
    """A pass of the compiler over a graph of packed layers. No result changes by it."""

    def __call__(self, graph: torch.fx.Graph) -> None:
        """Joins them in place."""
        products: dict[Any, list[torch.fx.Node]] = {}
        for node in graph.nodes:
            if node.target is torch.ops.treeward.packed_linear.default:
                products.setdefault(node.args[0], []).append(node)
        for x, nodes in products.items():
            if len(nodes) == 1:
                continue
            with graph.inserting_before(nodes[0]):
                keys, outputs = zip(*(node.args[1:] for node in nodes))
                joined = graph.call_function(
                    torch.ops.treeward.packed_linears.default, (x, list(keys), list(outputs))
                )
                joined.meta["val"] = [node.meta["val"] for node in nodes]
                parts = [
                    graph.call_function(operator.getitem, (joined, i)) for i in range(len(nodes))
                ]
            for node, part in zip(nodes, parts):
                part.meta.update(node.meta)
                node.replace_all_uses_with(part)
                graph.erase_node(node)

    def uuid(self) -> Any:
        """What a cache of compiled graphs knows the pass by."""
        return get_hash_for_files((__file__,))
