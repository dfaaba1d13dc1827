"""
Logits rows and draws of segments.
"""
from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import search._native.kv
import typing
__all__: list[str] = ['EndQuestion', 'FinishedSegment', 'SegmentDraws', 'blend', 'gumbel_top_k', 'logits_row', 'logits_row_bfloat16', 'logits_rows', 'philox_uniform', 'pick']
class FinishedSegment:
    """
    A segment that a draw has ended.
    """
    @property
    def draw(self) -> int:
        """
        Number of the draw under its node.
        """
    @property
    def end(self) -> str:
        """
        'stop' (a step's delimiter), 'eos', or 'length' (cut, unfinished).
        """
    @property
    def logprob(self) -> float:
        """
        Log-probability of the segment under the model, natural log.
        """
    @property
    def prefix(self) -> int:
        """
        Prefix where the segment ends; -1 when nothing was left to draw.
        """
    @property
    def request(self) -> int:
        """
        The number given to expand.
        """
    @property
    def tokens(self) -> list[int]:
        ...
    @property
    def tree(self) -> int:
        ...
class EndQuestion:
    """
    Asks whether a segment ends after its last token.
    """
    @property
    def tokens(self) -> list[int]:
        ...
    @property
    def tree(self) -> int:
        ...
    @property
    def walker(self) -> int:
        ...
class SegmentDraws:
    """
    Draws of segments over a SpanTree: a trie of known next-token distributions, so that a prefix is computed once, as a rule.
    """
    def __init__(self, spans: search._native.kv.SpanTree, row_bytes: typing.SupportsInt | typing.SupportsIndex = 67108864) -> None:
        """
        Each tree keeps its newest rows of logits up to `row_bytes`; an older one that a draw wants is waited for once more.
        """
    def answer(self, tree: typing.SupportsInt | typing.SupportsIndex, walker: typing.SupportsInt | typing.SupportsIndex, ends: bool) -> None:
        ...
    def begin_step(self, tree: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def cancel(self, tree: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        Drops every draw under way.
        """
    def close(self, tree: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def collect(self, tree: typing.SupportsInt | typing.SupportsIndex, batch: search._native.kv.StepBatch, limit: typing.SupportsInt | typing.SupportsIndex, batch_rows: typing.SupportsInt | typing.SupportsIndex) -> tuple[str, list[int], int]:
        """
        Adds what waits to the batch; returns ('all' | 'row_limit' | 'batch_full' | 'pool_full', prefixes added, what is left of the limit).
        """
    def discard(self, tree: typing.SupportsInt | typing.SupportsIndex, prefix: typing.SupportsInt | typing.SupportsIndex) -> None:
        ...
    def end_step(self, tree: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        Moves the draws on that waited for what was supplied since begin_step.
        """
    def expand(self, tree: typing.SupportsInt | typing.SupportsIndex, request: typing.SupportsInt | typing.SupportsIndex, prefix: typing.SupportsInt | typing.SupportsIndex, mode: str, count: typing.SupportsInt | typing.SupportsIndex, first_draw: typing.SupportsInt | typing.SupportsIndex, max_tokens: typing.SupportsInt | typing.SupportsIndex = 0) -> None:
        """
        Starts `count` draws after a prefix, numbered from first_draw.
        """
    def next_length(self, tree: typing.SupportsInt | typing.SupportsIndex) -> int:
        ...
    def open(self, prompt: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], seed: typing.SupportsInt | typing.SupportsIndex, delimiters: collections.abc.Sequence[collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]], eos: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], max_step_tokens: typing.SupportsInt | typing.SupportsIndex, max_path_tokens: typing.SupportsInt | typing.SupportsIndex, ask_after_token: bool, temperature: typing.SupportsFloat | typing.SupportsIndex, top_k: typing.SupportsInt | typing.SupportsIndex, top_p: typing.SupportsFloat | typing.SupportsIndex, min_p: typing.SupportsFloat | typing.SupportsIndex, texts: collections.abc.Sequence[str] = []) -> int:
        """
        Opens a tree; returns its number. Prefix 0 is the state after the prompt. A segment ends with the token that completes one of `delimiters` (sequences of tokens) or `texts`.
        """
    def set_token_texts(self, texts: collections.abc.Sequence[str]) -> None:
        """
        What each token adds to a text, for trees with `texts`.
        """
    def state(self, tree: typing.SupportsInt | typing.SupportsIndex, prefix: typing.SupportsInt | typing.SupportsIndex) -> search._native.kv.State:
        ...
    def supply(self, prefixes: collections.abc.Sequence[tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]], logits: typing.SupportsInt | typing.SupportsIndex, row_stride: typing.SupportsInt | typing.SupportsIndex, vocabulary: typing.SupportsInt | typing.SupportsIndex) -> list:
        """
        Gives prefixes [(tree, prefix)] their float32 logits (address of row 0, elements between rows); returns [(tree, message)] of rows that were not finite.
        """
    def take_finished(self) -> list[FinishedSegment]:
        ...
    def take_questions(self) -> list[EndQuestion]:
        ...
    def tokens(self, tree: typing.SupportsInt | typing.SupportsIndex, prefix: typing.SupportsInt | typing.SupportsIndex) -> list[int]:
        ...
    def waiting(self, tree: typing.SupportsInt | typing.SupportsIndex) -> bool:
        ...
    def wasted(self, tree: typing.SupportsInt | typing.SupportsIndex) -> int:
        """
        Computed tokens that no finished segment goes through.
        """
def blend(tokens: typing.Annotated[numpy.typing.ArrayLike, numpy.int32], logprobs: typing.Annotated[numpy.typing.ArrayLike, numpy.float32], rewards: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], weight: typing.SupportsFloat | typing.SupportsIndex) -> int:
    """
    Index of the largest logprob + weight * reward, ties by lower token id.
    
    tokens, logprobs, rewards: [n], n >= 1; weight: finite. A logprob of -inf loses to any other.
    Raises NotFinite for a reward that is NaN or infinite or a logprob that is NaN or +inf, and
    ValueError for empty or unequal lengths or a weight that is not finite.
    """
def gumbel_top_k(weights: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], k: typing.SupportsInt | typing.SupportsIndex, key: typing.SupportsInt | typing.SupportsIndex, counter: typing.SupportsInt | typing.SupportsIndex) -> tuple:
    """
    Draws k distinct candidates without replacement.
    
    Gumbel-top-k of Kool, van Hoof and Welling (ICML 2019). The noise of candidate i depends on
    (key, counter, i) only.
    
    Args:
        weights: [n], finite and >= 0; they need not sum to 1. Zero weights are never drawn.
        k: >= 0.
        key, counter: 64-bit integers.
    
    Returns:
        (indices int32 [m], scores float64 [m]) by descending score = log(weight) + noise, where
        m = min(k, number of positive weights).
    
    Raises:
        ValueError: k < 0 or a negative weight.
        NotFinite: a weight is NaN or infinite.
    """
def logits_row(row: numpy.ndarray, temperature: typing.SupportsFloat | typing.SupportsIndex = 1.0, top_k: typing.SupportsInt | typing.SupportsIndex = 0, top_p: typing.SupportsFloat | typing.SupportsIndex = 1.0, min_p: typing.SupportsFloat | typing.SupportsIndex = 0.0) -> tuple:
    """
    Candidates of the next token from one row of logits.
    
    Steps in the order of transformers and vLLM: temperature, top_k, top_p, min_p.
    
    Args:
        row: float32 [vocabulary]. -inf marks a masked token, which is never kept.
        temperature: finite, >= 0; 0 keeps the argmax alone.
        top_k: >= 0; 0 keeps every token. Ties at the cut go to the lower token ids.
        top_p: in (0, 1]; the smallest prefix of at least this mass stays, at least one token.
        min_p: in [0, 1); tokens below this fraction of the largest probability go.
    
    Returns:
        (tokens int32 [n], logprobs float32 [n], weights float32 [n]) by descending logit, ties by
        lower token id. logprobs are the log-softmax of the whole row, untempered; weights sum to 1.
    
    Raises:
        TypeError: row has another number type.
        ValueError: an option is out of range, or row is empty or not one-dimensional.
        NotFinite: an entry is NaN or +inf (the message names it), or all are -inf.
    """
def logits_row_bfloat16(row: numpy.ndarray, temperature: typing.SupportsFloat | typing.SupportsIndex = 1.0, top_k: typing.SupportsInt | typing.SupportsIndex = 0, top_p: typing.SupportsFloat | typing.SupportsIndex = 1.0, min_p: typing.SupportsFloat | typing.SupportsIndex = 0.0) -> tuple:
    """
    As logits_row, for a row of bfloat16 numbers given by their bits: uint16 [vocabulary].
    """
def logits_rows(rows: numpy.typing.NDArray[numpy.float32], temperature: typing.SupportsFloat | typing.SupportsIndex = 1.0, top_k: typing.SupportsInt | typing.SupportsIndex = 0, top_p: typing.SupportsFloat | typing.SupportsIndex = 1.0, min_p: typing.SupportsFloat | typing.SupportsIndex = 0.0) -> tuple:
    """
    As logits_row, for many rows in one call over the threads.
    
    Args:
        rows: float32 [n, vocabulary].
        temperature, top_k, top_p, min_p: as for logits_row, the same for all rows.
    
    Returns:
        (tokens int32 [m], logprobs float32 [m], weights float32 [m], begins int64 [n + 1]): the
        candidates of row i are at begins[i] ... begins[i + 1]. No row depends on the others or on the
        number of threads.
    
    Raises:
        ValueError: an option is out of range, or rows have no entries or not two dimensions.
        NotFinite: an entry is NaN or +inf or a row is -inf throughout; the message names the row.
    """
def philox_uniform(key: typing.SupportsInt | typing.SupportsIndex, counter_low: typing.SupportsInt | typing.SupportsIndex, counter_high: typing.SupportsInt | typing.SupportsIndex) -> float:
    """
    A float in [0, 1) with 53 random bits, a pure function of three 64-bit integers (Philox4x32-10; Salmon et al., SC 2011).
    """
def pick(weights: typing.Annotated[numpy.typing.ArrayLike, numpy.float64], uniform: typing.SupportsFloat | typing.SupportsIndex) -> int:
    """
    Index at which the running sum of weights exceeds uniform * total.
    
    Never an entry of weight 0. weights: [n], finite and >= 0; uniform: in [0, 1).
    Raises ValueError if uniform is out of range, a weight is negative or none is positive, and
    NotFinite if a weight or the sum is NaN or infinite.
    """
