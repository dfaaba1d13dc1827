"""
Pages, spans of tokens, and the plan of a step.
"""
from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import search._native.attention
import typing
__all__: list[str] = ['SpanTree', 'State', 'StepBatch', 'measure_allocate', 'measure_evict', 'measure_extend', 'measure_match']
class State:
    """
    A language-model state: the first `length` tokens of a path of spans. Copying it is forking it; no key or value is copied.
    """
    def __eq__(self, arg0: State) -> bool:
        ...
    def __hash__(self) -> int:
        ...
    @property
    def length(self) -> int:
        """
        Tokens from the start of the prompt.
        """
    @property
    def span(self) -> int:
        ...
class SpanTree:
    """
    All trees of one model over one pool of `n_pages` pages of `page_size` tokens: spans of tokens, who shares them, and where their keys and values are. ValueError when a size is not positive.
    """
    def __init__(self, n_pages: typing.SupportsInt | typing.SupportsIndex, page_size: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def check_invariants(self) -> None:
        """
        Raises TreewardError naming the first invariant that does not hold.
        """
    def close_tree(self, tree: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        Frees every page of the tree; its states become stale.
        """
    def counts(self, tree: typing.SupportsInt | typing.SupportsIndex) -> dict:
        """
        Tokens of a tree: unique, computed (rows through the model), recomputed, reused.
        """
    def discard(self, state: State, kept: typing.SupportsInt | typing.SupportsIndex | None = None) -> None:
        """
        Marks all behind the first `kept` tokens of the state's path, on that path and below the state, as first to be evicted; without `kept`, all back to the last branching above the state. Shared prompt blocks are never marked. ValueError unless 0 <= kept <= state.length.
        """
    def evict_all(self) -> None:
        """
        Evicts all that no open batch holds.
        """
    def evict_one(self) -> bool:
        """
        Evicts the span that is first in line, or its discarded part: what was discarded before what was not, then the least recently used. False when none is evictable.
        """
    @typing.overload
    def extend(self, state: State, tokens: numpy.typing.NDArray[numpy.int32]) -> State:
        """
        As below, for an int32 array, which is read in place.
        """
    @typing.overload
    def extend(self, state: State, tokens: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> State:
        """
        The state some tokens further. Tokens that are in the tree already are found, not added. Raises StaleHandle when the tree was closed.
        """
    @typing.overload
    def match(self, prompt: numpy.typing.NDArray[numpy.int32]) -> int:
        """
        As below, for an int32 array, which is read in place.
        """
    @typing.overload
    def match(self, prompt: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> int:
        """
        How many leading tokens of a prompt are in shared blocks (a multiple of 64).
        """
    def new_version(self) -> None:
        """
        Forgets shared prompt blocks: the weights have changed.
        """
    def open_tree(self, prompt: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> int:
        """
        Starts a tree for a prompt (token ids, at least one); returns its number. Whole blocks of 64 prompt tokens are shared with other trees.
        """
    def resident(self, state: State) -> int:
        """
        How many leading tokens of a state have keys and values now.
        """
    def root(self, tree: typing.SupportsInt | typing.SupportsIndex) -> State:
        """
        The state after the prompt.
        """
    def tokens(self, state: State) -> list[int]:
        """
        All token ids up to the state.
        """
    @property
    def evictions(self) -> int:
        ...
    @property
    def free_pages(self) -> int:
        ...
    @property
    def live_spans(self) -> int:
        ...
    @property
    def n_pages(self) -> int:
        ...
    @property
    def page_size(self) -> int:
        ...
    @property
    def used_slots(self) -> int:
        ...
class StepBatch:
    """
    The rows of one step of a model over any states, and the plan of their attention. Used as: add(state)…, finish(), run the model, commit().
    """
    def __init__(self, tree: SpanTree) -> None:
        ...
    def abort(self) -> None:
        """
        The rows were not computed: their slots go back.
        """
    def add(self, state: State) -> bool:
        """
        Brings in what the state's path still lacks and asks for the logits after its last token. False, with nothing changed, when the pool has no room beside this batch.
        """
    def commit(self) -> None:
        """
        The rows were computed: their keys and values stay.
        """
    def cost(self, state: State) -> int:
        """
        Rows that adding the state would bring in.
        """
    def finish(self, pad_to: typing.SupportsInt | typing.SupportsIndex = 16) -> None:
        """
        Orders the rows, pads them to a multiple of `pad_to`, and builds the plan.
        """
    @property
    def n_rows(self) -> int:
        """
        Rows without padding.
        """
    @property
    def n_states(self) -> int:
        ...
    @property
    def plan(self) -> search._native.attention.Plan:
        ...
    @property
    def row_positions(self) -> numpy.typing.NDArray[numpy.int64]:
        """
        int64[rows, padding included]: position of each row on its own path
        """
    @property
    def row_tokens(self) -> numpy.typing.NDArray[numpy.int64]:
        """
        int64[rows, padding included]
        """
    @property
    def state_rows(self) -> numpy.typing.NDArray[numpy.int64]:
        """
        int64[states]: the row whose logits each added state asked for, in order of adding
        """
    @property
    def total_cost(self) -> int:
        """
        Rows in the batch so far, before finish().
        """
def measure_allocate(tree: SpanTree, states: collections.abc.Sequence[State]) -> numpy.ndarray:
    """
    Times StepBatch.add of each state with all evictions that make its room, and computes the state. Returns int64 [m] nanoseconds of those adds that evicted.
    """
def measure_evict(tree: SpanTree, states: collections.abc.Sequence[State]) -> numpy.ndarray:
    """
    Times one eviction a state, the choice of its victim included. After each the state is computed, untimed, so that a full pool stays full. Returns int64 [states] nanoseconds; ValueError when nothing is left to evict.
    """
def measure_extend(tree: SpanTree, states: collections.abc.Sequence[State], tokens: typing.Annotated[numpy.typing.ArrayLike, numpy.int32], lengths: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> tuple:
    """
    Times copying each state and extending the copy: a fork with its first tokens.
    
    Args:
        tree: the SpanTree; it grows as by extend().
        states: where to fork.
        tokens: int32 [states, longest].
        lengths: [states], how many tokens of each row to add, >= 1.
    
    Returns:
        (int64 [states] nanoseconds of each, the states reached). A reading of the clock, some 20 ns,
        is part of every number.
    """
def measure_match(tree: SpanTree, prompts: collections.abc.Sequence[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]], rounds: typing.SupportsInt | typing.SupportsIndex = 1) -> numpy.ndarray:
    """
    Times SpanTree.match of each prompt, one after the other, `rounds` times over. Returns int64 [rounds * prompts] nanoseconds.
    """
