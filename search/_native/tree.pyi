"""
The arena of nodes.
"""
from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing
__all__: list[str] = ['Arena', 'CLOSED', 'Child', 'DEAD', 'EDGES', 'EXHAUSTED', 'PRUNED', 'TERMINAL']
class Child:
    """
    A segment produced under a node, as told to a search.
    """
    def __init__(self, tokens: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], logprob: typing.SupportsFloat | typing.SupportsIndex, finish: str = 'stop', terminal: bool = False, value: typing.SupportsFloat | typing.SupportsIndex | None = None, verdict: typing.SupportsInt | typing.SupportsIndex = -1, answer: typing.SupportsInt | typing.SupportsIndex = -1) -> None:
        """
        tokens: ids of the segment, empty only if terminal. logprob: finite, of the whole segment given its node. finish: 'stop', 'eos' or 'length' (cut, may be continued). terminal: nothing follows; with answer -1 it is a dead end and casts no vote. value: finite reward or None. verdict: -1 unknown, 0 wrong, 1 right. answer: id of the canonical answer, -1 for none.
        """
    @property
    def answer(self) -> int:
        ...
    @property
    def finish(self) -> str:
        ...
    @property
    def logprob(self) -> float:
        ...
    @property
    def terminal(self) -> bool:
        ...
    @property
    def tokens(self) -> list[int]:
        ...
    @property
    def value(self) -> float | None:
        ...
    @property
    def verdict(self) -> int:
        ...
class Arena:
    """
    Holds the nodes of many trees. A node is named by an int handle; a handle whose tree was dropped raises StaleHandle. Calls are safe from several threads.
    """
    def __init__(self) -> None:
        ...
    def add_child(self, parent: typing.SupportsInt | typing.SupportsIndex, child: Child) -> tuple[int, bool]:
        """
        Adds a segment; returns (handle, created). An equal segment under the same parent is merged: its draws go up by one and created is False.
        """
    def add_tree(self, seed: typing.SupportsInt | typing.SupportsIndex = 0, tokens: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] = []) -> int:
        """
        A new tree; returns the handle of its root.
        """
    def alive(self, handle: typing.SupportsInt | typing.SupportsIndex) -> bool:
        """
        Whether the handle names a node of a tree that is still there.
        """
    def backup(self, leaf: typing.SupportsInt | typing.SupportsIndex, value: typing.SupportsFloat | typing.SupportsIndex, mode: str = 'mean') -> None:
        """
        Counts a visit from the leaf to the root. mode: 'mean', 'max' or 'min_path'.
        """
    def backup_many(self, leaves: typing.Annotated[numpy.typing.ArrayLike, numpy.uint64], values: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], mode: str = 'mean') -> None:
        """
        backup() of leaves[i] (u64) with values[i] (f64, finite) for every i, in order.
        """
    def check(self, at_rest: bool = True) -> None:
        """
        Raises TreewardError naming the first broken invariant. at_rest: nothing in flight.
        """
    def children(self, handle: typing.SupportsInt | typing.SupportsIndex) -> list[int]:
        """
        Handles of the children in the order of arrival.
        """
    def drop_tree(self, root: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        Frees every node of the tree; their handles become stale.
        """
    def export(self, handle: typing.SupportsInt | typing.SupportsIndex) -> dict:
        """
        The whole tree that holds the node; see search.Machine.export.
        """
    def node(self, handle: typing.SupportsInt | typing.SupportsIndex) -> dict:
        """
        All fields of a node as a dict: parent (handle or None), depth, children (count, edges included), terminal, dead, exhausted, pruned, closed, finish, verdict, answer, visits, in_flight, draws, next_draw, value (own reward or None), q (mean of the backed-up values or None), value_sum, value_max, value_min, logprob, logprob_sum, seed, tokens.
        """
    def path(self, handle: typing.SupportsInt | typing.SupportsIndex) -> list[int]:
        """
        Handles from the root to the node, both included.
        """
    def path_tokens(self, handle: typing.SupportsInt | typing.SupportsIndex) -> list[int]:
        """
        Token ids of all segments from the root to the node.
        """
    def select_leaves(self, roots: typing.Annotated[numpy.typing.ArrayLike, numpy.uint64], formula: str = 'puct', exploration: typing.SupportsFloat | typing.SupportsIndex = 1.25) -> numpy.typing.NDArray[numpy.uint64]:
        """
        One descent from each root (u64 array) to a leaf; returns the leaves (u64 array). formula: 'puct' or 'uct'; exploration: c_init of the one, factor of the other.
        """
    def tokens(self, handle: typing.SupportsInt | typing.SupportsIndex) -> list[int]:
        """
        Token ids of the node's own segment.
        """
    @property
    def bytes(self) -> int:
        """
        Bytes held by the arena.
        """
    @property
    def nodes(self) -> int:
        """
        Nodes alive, over all trees.
        """
    @property
    def trees(self) -> int:
        """
        Trees alive.
        """
CLOSED: int = 16
DEAD: int = 2
EDGES: int = 64
EXHAUSTED: int = 4
PRUNED: int = 8
TERMINAL: int = 1
