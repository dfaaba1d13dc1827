"""Fitted trees as flat arrays, walked for all trees at once.

    node      0        1        2     …      nodes of all trees, each tree's root first
    feature   3       −1       −1            column that is compared; −1 at a leaf
    threshold 0.41     ·        ·            go left if x[feature] <= threshold
    left      1        ·        ·            children, as nodes
    right     2        ·        ·
    value     ·       0.02    −0.01          what a leaf adds

    tree      0    1    2   …                root[t]: its first node; output[t]: the sum it adds to

LightGBM fits the trees. Walking them here gives the same sums, needs no library where a selector is
used, and costs microseconds a query: one step of a thousand trees is one operation of NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS_AT_ONCE = 1 << 16  # rows × trees of one block: what a walk touches stays in cache


class Forest:
    """Sums of trees, one sum an output.

    Args:
        n_outputs: how many sums there are.
    """

    def __init__(self, n_outputs: int) -> None:
        self.n_outputs = n_outputs
        self.offset = np.zeros(n_outputs)
        self._nodes: list[tuple[int, float, int, int, float]] = []
        self._roots: list[tuple[int, int]] = []
        self._packed: dict[str, NDArray[Any]] | None = None

    def add(self, booster: Any, output: int) -> None:
        """Adds the trees of a LightGBM booster to one output. Its raw sum, no link function."""
        for tree in booster.dump_model()["tree_info"]:
            self._roots.append((len(self._nodes), output))
            self._add_node(tree["tree_structure"])
        self._packed = None

    def _add_node(self, node: dict[str, Any]) -> int:
        place = len(self._nodes)
        if "split_feature" not in node:
            self._nodes.append((-1, 0.0, place, place, float(node["leaf_value"])))
            return place
        self._nodes.append((-1, 0.0, place, place, 0.0))
        left = self._add_node(node["left_child"])
        right = self._add_node(node["right_child"])
        self._nodes[place] = (int(node["split_feature"]), node["threshold"], left, right, 0.0)
        return place

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of the layout above."""
        if self._packed is None:
            columns = list(zip(*self._nodes)) or [()] * 5
            roots = list(zip(*self._roots)) or [()] * 2
            self._packed = {
                "feature": np.array(columns[0], dtype=np.int32),
                "threshold": np.array(columns[1], dtype=np.float64),
                "left": np.array(columns[2], dtype=np.int32),
                "right": np.array(columns[3], dtype=np.int32),
                "leaf": np.array(columns[4], dtype=np.float64),
                "root": np.array(roots[0], dtype=np.int32),
                "output": np.array(roots[1], dtype=np.int32),
                "offset": self.offset,
            }
        return self._packed

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Forest:
        """The forest that gave these arrays."""
        self = cls(len(arrays["offset"]))
        self.offset = arrays["offset"]
        self._packed = dict(arrays)
        return self

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums of every output, ``[Q, outputs]``."""
        trees = self.arrays()
        out = np.tile(self.offset, (len(x), 1))
        n_trees = len(trees["root"])
        if n_trees == 0:
            return out
        block = max(1, ROWS_AT_ONCE // n_trees)
        for start in range(0, len(x), block):
            out[start : start + block] += self._walk(x[start : start + block], trees)
        return out

    def _walk(self, x: NDArray[np.float64], trees: dict[str, NDArray[Any]]) -> Any:
        node = np.tile(trees["root"], (len(x), 1))  # [rows, trees]
        row = np.arange(len(x))[:, None]
        while True:
            feature = trees["feature"][node]
            inner = feature >= 0
            if not inner.any():
                break
            left = x[row, feature] <= trees["threshold"][node]  # at a leaf both children are itself
            node = np.where(left, trees["left"][node], trees["right"][node])
        leaves = trees["leaf"][node]
        sums = np.zeros((len(x), self.n_outputs))
        for output in range(self.n_outputs):
            mine = trees["output"] == output
            sums[:, output] = leaves[:, mine].sum(axis=1)
        return sums
