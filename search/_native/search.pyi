"""
Search algorithms as ask/tell machines.
"""
from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import search._native.tree
import typing
__all__: list[str] = ['BatchedSearch', 'Leaves', 'Machine', 'Task', 'algorithms', 'options']
class Task:
    """
    A piece of work that a search hands out. Read-only.
    """
    def __repr__(self) -> str:
        ...
    @property
    def count(self) -> int:
        """
        How many children are asked for, 1 or more.
        """
    @property
    def first_draw(self) -> int:
        """
        Number of the first draw under this node; draw i of the task has number first_draw + i.
        """
    @property
    def id(self) -> int:
        ...
    @property
    def mode(self) -> str:
        """
        'sample' (independent draws, duplicates are legal), 'distinct' (children this node never had), 'greedy', or 'top' (the `count` most probable next tokens).
        """
    @property
    def node(self) -> int:
        """
        Handle of the node to grow.
        """
    @property
    def seed(self) -> int:
        """
        64-bit hash of the search seed and the path's tokens: the key of the draws.
        """
    @property
    def unit(self) -> str:
        """
        'step': a segment ends at a step boundary; 'token': after one token.
        """
class Machine:
    """
    One search over one tree of a shared arena. ask() hands out tasks that may run at the same time; tell() takes their results in any order. The tree is freed with the machine.
    """
    def __init__(self, arena: search._native.tree.Arena, algorithm: str, options: dict = {}, seed: typing.SupportsInt | typing.SupportsIndex = 0) -> None:
        """
        algorithm: a name from algorithms(). options: see options(algorithm); an unknown or out-of-range one raises ValueError. seed: equal seeds give equal searches.
        """
    def ask(self, max_tasks: typing.SupportsInt | typing.SupportsIndex) -> list[Task]:
        """
        Up to max_tasks tasks, fewer when less can run now. Empty with tasks outstanding: tell one first.
        """
    def best(self) -> int | None:
        """
        Handle of the best node so far: a verified terminal, else by the selection rule, else the best terminal, else the best leaf. None before the first child.
        """
    def cancel(self, task_id: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        Takes a task back; it may be handed out again by a later ask.
        """
    def done(self) -> bool:
        """
        No task will come any more, or a verified answer ended the search.
        """
    def export(self) -> dict:
        """
        The tree as numpy arrays, row i being the i-th node created (row 0 the root): handle u64, parent i32 (row, -1 at the root), depth, visits, draws, answer i32, value f32 (own reward or NaN), q f64 (value by the backup in use, NaN if unvisited), logprob and prior f32, flags u8 (bits of the constants in _native.tree), finish u8 (0 stop, 1 eos, 2 length), verdict i8, token_offset i64 [rows + 1], tokens i32.
        """
    def selection(self) -> list:
        """
        [(answer, weight)], best first: draws (majority), sum of values (weighted), best value (best) or visits (visited) of the answer's terminals.
        """
    def tell(self, task_id: typing.SupportsInt | typing.SupportsIndex, children: collections.abc.Sequence[search._native.tree.Child], exhausted: bool = False) -> list[int]:
        """
        Takes up to `count` children; returns their handles in order (equal segments share one). exhausted: the node has no further distinct child. A second tell of the same task changes nothing and returns the same handles; a tell of a cancelled task is ignored and returns []. NotFinite for a NaN or infinite value or log-probability; the task then stays out.
        """
    def terminals(self) -> list[int]:
        """
        Handles of all terminal nodes in the order of creation.
        """
    @property
    def algorithm(self) -> str:
        ...
    @property
    def arena(self) -> search._native.tree.Arena:
        ...
    @property
    def outstanding(self) -> int:
        """
        Tasks handed out and neither told nor cancelled.
        """
    @property
    def root(self) -> int:
        """
        Handle of the root.
        """
class Leaves:
    """
    What BatchedSearch.select chose: arrays [trees], entry t of tree t. Nodes are named by their number in their tree, in the order of creation.
    """
    @property
    def action(self) -> numpy.typing.NDArray[numpy.int32]:
        """
        i32: which child of its parent it is, 0 to branching - 1; -1 for a root.
        """
    @property
    def depth(self) -> numpy.typing.NDArray[numpy.int32]:
        """
        i32: edges from the root.
        """
    @property
    def node(self) -> numpy.typing.NDArray[numpy.int32]:
        """
        i32: number of the leaf, 0 for a root; the next free number when the leaf is visited for the first time.
        """
    @property
    def parent(self) -> numpy.typing.NDArray[numpy.int32]:
        """
        i32: number of its parent, -1 for a root.
        """
    @property
    def seed(self) -> numpy.typing.NDArray[numpy.uint64]:
        """
        u64: hash of the tree's seed and the actions from the root: it names the state.
        """
class BatchedSearch:
    """
    Tree search on many trees in lockstep, two calls a step. select() goes down once in every tree; the caller evaluates the leaves as one batch; expand_and_backup() makes each leaf a node with its children as edges and backs its value up. The first step evaluates the roots. The formulas are those of the algorithm 'mcts', without virtual loss and widening. Results do not depend on the number of threads. The trees are freed with the search.
    """
    def __init__(self, arena: search._native.tree.Arena, trees: typing.SupportsInt | typing.SupportsIndex, branching: typing.SupportsInt | typing.SupportsIndex, simulations: typing.SupportsInt | typing.SupportsIndex, seeds: typing.Annotated[numpy.typing.ArrayLike, numpy.uint64] | None = None, options: dict = {}) -> None:
        """
        branching: children of a node, at most. simulations: of every tree, the evaluation of its root not counted; memory for all of them is set aside here. seeds: u64 [trees], 0, 1, 2, ... by default. options: formula, c_init, c_base, exploration, fpu, fpu_value, fpu_reduction, normalise, backup, as for the algorithm 'mcts'. ValueError for numbers below 1, an unknown option, or seeds of another length.
        """
    def advance(self, priors: typing.Annotated[numpy.typing.ArrayLike, numpy.float32], values: typing.Annotated[numpy.typing.ArrayLike, numpy.float32], widths: typing.Annotated[numpy.typing.ArrayLike, numpy.int32] | None = None) -> typing.Any:
        """
        expand_and_backup and the select that follows, faster than the two calls. ValueError, with every tree as it was, in the last simulation: expand_and_backup ends a search.
        """
    def expand_and_backup(self, priors: typing.Annotated[numpy.typing.ArrayLike, numpy.float32], values: typing.Annotated[numpy.typing.ArrayLike, numpy.float32], widths: typing.Annotated[numpy.typing.ArrayLike, numpy.int32] | None = None) -> None:
        """
        priors: f32 [trees, branching], row t for the children of leaf t, not negative and adding up to one (within 5e-5). values: f32 [trees], finite. widths: i32 [trees], how many children leaf t has, 0 to branching; the rest of its row is not read, and a leaf of width 0 is terminal (selected again, it gets one more visit with the value given). ValueError or NotFinite leave every tree as it was.
        """
    def export(self, tree: typing.SupportsInt | typing.SupportsIndex) -> dict:
        """
        One tree as arrays, see Machine.export; edges without a visit are not in it.
        """
    def root_visits(self) -> numpy.typing.NDArray[numpy.int32]:
        """
        i32 [trees, branching]: visits of the children of every root.
        """
    def select(self) -> typing.Any:
        """
        The leaf of every tree. The same object every time, its arrays written anew; no tree changes. ValueError after the last simulation.
        """
    @property
    def arena(self) -> search._native.tree.Arena:
        ...
    @property
    def branching(self) -> int:
        """
        Children of a node, at most.
        """
    @property
    def done(self) -> int:
        """
        Simulations done in every tree.
        """
    @property
    def roots(self) -> numpy.typing.NDArray[numpy.uint64]:
        """
        u64 [trees]: handles of the roots.
        """
    @property
    def simulations(self) -> int:
        """
        Simulations of every tree, once all are done.
        """
    @property
    def trees(self) -> int:
        """
        Number of trees.
        """
def algorithms() -> list[str]:
    """
    Names of the algorithms.
    """
def options(algorithm: str) -> dict:
    """
    Every option of an algorithm with its default.
    """
