"""
Whole decoder layers.
"""
from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import search._native.attention
import search._native.linear
import typing
__all__: list[str] = ['DecoderLayer', 'run_layers']
class DecoderLayer:
    """
    A bfloat16 decoder layer of the Llama family: norms, products, rotation, attention over
    pages and the gated feed-forward part.
    """
    def __init__(self, *, products: collections.abc.Sequence[search._native.linear.PackedLinear], input_norm: typing.Annotated[numpy.typing.ArrayLike, numpy.float32], attention_norm: typing.Annotated[numpy.typing.ArrayLike, numpy.float32], query_norm: typing.Annotated[numpy.typing.ArrayLike, numpy.float32], key_norm: typing.Annotated[numpy.typing.ArrayLike, numpy.float32], epsilon: typing.SupportsFloat | typing.SupportsIndex, head_dim: typing.SupportsInt | typing.SupportsIndex, scale: typing.SupportsFloat | typing.SupportsIndex, window: typing.SupportsInt | typing.SupportsIndex = 0) -> None:
        """
        Shares the packed weights of its products, copies those of its norms.
        
        products: query, key, value, projection, gate, up and down.
        input_norm, attention_norm: [hidden]. query_norm, key_norm: [head_dim] of every head, or empty.
        epsilon: of all norms. scale: of the dot products of attention.
        window: tokens of its path that a row sees, itself included; 0 for all.
        Raises ValueError naming the sizes that do not fit.
        """
    @property
    def head_dim(self) -> int:
        """
        Elements of a head.
        """
    @property
    def hidden(self) -> int:
        """
        Elements of a row.
        """
    @property
    def kv_heads(self) -> int:
        """
        Heads of keys and values.
        """
def run_layers(layers: collections.abc.Sequence[tuple[DecoderLayer, search._native.attention.KvLayer]], plan: search._native.attention.Plan, hidden_ptr: typing.SupportsInt | typing.SupportsIndex, cos_ptr: typing.SupportsInt | typing.SupportsIndex, sin_ptr: typing.SupportsInt | typing.SupportsIndex, out_ptr: typing.SupportsInt | typing.SupportsIndex, asked: tuple[search._native.attention.Plan, typing.Annotated[numpy.typing.ArrayLike, numpy.int32]] | None = None) -> None:
    """
    Runs the rows of a plan through layers, one after the other.
    
    layers: [(layer, where its keys and values are kept)], at least one.
    hidden_ptr, out_ptr: addresses of bfloat16 [n_rows, hidden], contiguous and apart.
    cos_ptr, sin_ptr: addresses of bfloat16 [n_rows, head_dim], the rotation of each row.
    asked: when not all rows of the last layer are asked for, plan.of_rows of those that are, and them,
        [n] int32 ascending; the others get zeros.
    A row has the same bits whatever it is batched with. Releases the GIL.
    Raises ValueError naming the argument that is wrong.
    """
