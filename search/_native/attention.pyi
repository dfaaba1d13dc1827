"""
Tree attention over paged keys and values.
"""
from __future__ import annotations
import numpy
import numpy.typing
import typing
__all__: list[str] = ['CHUNK_TOKENS', 'KvLayer', 'Plan', 'append', 'append_and_attend', 'attend', 'huge_page_memory', 'num_threads', 'set_num_threads', 'set_simd_level', 'simd_level', 'simd_levels', 'use_loaded_openmp']
class Plan:
    """
    What one model step attends to, used by every layer.
    
    A row is one new token of one branch; rows are packed in depth-first order. An item is one chunk
    of at most 64 keys with the contiguous rows that see it, as six integers: query_begin, query_end,
    slot_begin, n_tokens, position, partial_begin. Array attributes are read-only copies.
    """
    def __init__(self, *, query_position: typing.Annotated[numpy.typing.ArrayLike, numpy.int32], append_slots: typing.Annotated[numpy.typing.ArrayLike, numpy.int32], items: typing.Annotated[numpy.typing.ArrayLike, numpy.int32], slots: typing.Annotated[numpy.typing.ArrayLike, numpy.int32], reduce_begin: typing.Annotated[numpy.typing.ArrayLike, numpy.int32], reduce_partials: typing.Annotated[numpy.typing.ArrayLike, numpy.int32], n_partials: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        Makes a plan from int32 arrays; indices are checked when it is used.
        
        query_position: [n_rows] position of each row on its path; -1 for padding rows.
        append_slots: [n_rows] pool slot of the row's own key and value; -1 for none.
        items: [n_items, 6]. slots: [n_slots] pool slots of the keys of all items.
        reduce_begin: [n_rows + 1], reduce_partials: partial states of each row, root to leaf.
        n_partials: number of partial states, one for each row of each item.
        Raises ValueError for a wrong shape.
        """
    def of_rows(self, rows: typing.Annotated[numpy.typing.ArrayLike, numpy.int32]) -> Plan:
        """
        The plan of some rows only, which appends nothing.
        
        rows: [n] int32, ascending. Their attention has the bits that it has in this plan.
        Raises ValueError if a row is missing here or out of order.
        """
    @property
    def append_slots(self) -> numpy.typing.NDArray[numpy.int32]:
        ...
    @property
    def items(self) -> numpy.typing.NDArray[numpy.int32]:
        ...
    @property
    def n_partials(self) -> int:
        ...
    @property
    def n_rows(self) -> int:
        ...
    @property
    def query_position(self) -> numpy.typing.NDArray[numpy.int32]:
        ...
    @property
    def reduce_begin(self) -> numpy.typing.NDArray[numpy.int32]:
        ...
    @property
    def reduce_partials(self) -> numpy.typing.NDArray[numpy.int32]:
        ...
    @property
    def slots(self) -> numpy.typing.NDArray[numpy.int32]:
        ...
class KvLayer:
    """
    Keys and values of one layer, seen by address.
    
    The owner of the two contiguous tensors [pages, kv_heads, page_size, head_dim] keeps them alive.
    """
    def __init__(self, k_ptr: typing.SupportsInt | typing.SupportsIndex, v_ptr: typing.SupportsInt | typing.SupportsIndex, pages: typing.SupportsInt | typing.SupportsIndex, kv_heads: typing.SupportsInt | typing.SupportsIndex, page_size: typing.SupportsInt | typing.SupportsIndex, head_dim: typing.SupportsInt | typing.SupportsIndex, dtype: str) -> None:
        """
        Addresses as integers; dtype is 'float32' or 'bfloat16'. Raises ValueError otherwise.
        """
    @property
    def dtype(self) -> str:
        ...
    @property
    def head_dim(self) -> int:
        ...
    @property
    def kv_heads(self) -> int:
        ...
    @property
    def page_size(self) -> int:
        ...
    @property
    def pages(self) -> int:
        ...
def append(plan: Plan, layer: KvLayer, k_ptr: typing.SupportsInt | typing.SupportsIndex, k_strides: tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex], v_ptr: typing.SupportsInt | typing.SupportsIndex, v_strides: tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]) -> None:
    """
    Writes the keys and values of the plan's rows into their slots.
    
    k_ptr, v_ptr: addresses of [n_rows, kv_heads, head_dim] of the layer's dtype.
    k_strides, v_strides: (row, head) strides in elements; head_dim has stride 1.
    Raises ValueError naming the argument that is wrong.
    """
def append_and_attend(plan: Plan, layer: KvLayer, q_ptr: typing.SupportsInt | typing.SupportsIndex, q_strides: tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex], k_ptr: typing.SupportsInt | typing.SupportsIndex, k_strides: tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex], v_ptr: typing.SupportsInt | typing.SupportsIndex, v_strides: tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex], out_ptr: typing.SupportsInt | typing.SupportsIndex, out_strides: tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex], q_heads: typing.SupportsInt | typing.SupportsIndex, scale: typing.SupportsFloat | typing.SupportsIndex, window: typing.SupportsInt | typing.SupportsIndex = 0, softcap: typing.SupportsFloat | typing.SupportsIndex = 0.0) -> None:
    """
    append, then attend, in one call: arguments, result and errors are theirs.
    """
def attend(plan: Plan, layer: KvLayer, q_ptr: typing.SupportsInt | typing.SupportsIndex, q_strides: tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex], out_ptr: typing.SupportsInt | typing.SupportsIndex, out_strides: tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex], q_heads: typing.SupportsInt | typing.SupportsIndex, scale: typing.SupportsFloat | typing.SupportsIndex, window: typing.SupportsInt | typing.SupportsIndex = 0, softcap: typing.SupportsFloat | typing.SupportsIndex = 0.0) -> None:
    """
    Attention of the plan's rows over the keys of their paths.
    
    q_ptr, out_ptr: addresses of [n_rows, q_heads, head_dim] of the layer's dtype.
    q_strides, out_strides: (row, head) strides in elements; head_dim has stride 1.
    q_heads: a multiple of the layer's kv_heads. scale: multiplies every dot product.
    window: tokens of its path that a row sees, itself included; 0 for all.
    softcap: scores become softcap * tanh(score / softcap); 0 for not.
    Padding rows and rows without a visible key get zeros. The result does not depend on the number
    of threads nor on how rows are grouped into items. Releases the GIL.
    Raises ValueError naming the argument that is wrong, before anything is written.
    """
def huge_page_memory(bytes: typing.SupportsInt | typing.SupportsIndex) -> numpy.typing.NDArray[numpy.uint8]:
    """
    Array of bytes not yet written, aligned to 64, in pages of 2 MiB where the system has them.
    Arrays made one after the other share pages. MemoryError when there is not so much.
    """
def num_threads() -> int:
    """
    Threads that one call may use, the caller included.
    """
def set_num_threads(n: typing.SupportsInt | typing.SupportsIndex) -> None:
    """
    Sets the threads that one call may use, the caller included. ValueError if n < 1.
    """
def set_simd_level(name: str) -> None:
    """
    Changes the instruction set: 'scalar', 'avx2', 'avx512' or 'avx512bf16'. ValueError if the host or the build lacks it.
    """
def simd_level() -> str:
    """
    The instruction set in use. ValueError if TREEWARD_SIMD names one that is missing.
    """
def simd_levels() -> list[str]:
    """
    Instruction sets that this host and this build have, slowest first.
    """
def use_loaded_openmp() -> bool:
    """
    Lets all native loops run on the threads of the OpenMP runtime that the process has
    loaded, as torch does; False where there is none.
    """
CHUNK_TOKENS: int = 64
