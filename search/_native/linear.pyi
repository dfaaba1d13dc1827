"""
Linear layers with packed weights.
"""
from __future__ import annotations
import collections.abc
import typing
__all__: list[str] = ['PackedLinear', 'available', 'multiply_all']
class PackedLinear:
    """
    Weights of a bfloat16 linear layer, copied in the order in which products read them.
    """
    def __init__(self, weight_ptr: typing.SupportsInt | typing.SupportsIndex, weight_stride: typing.SupportsInt | typing.SupportsIndex, bias_ptr: typing.SupportsInt | typing.SupportsIndex, outputs: typing.SupportsInt | typing.SupportsIndex, inputs: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        Weights [outputs, inputs], rows weight_stride elements apart; bias [outputs], or
        bias_ptr 0 for none. ValueError unless inputs is even and both are positive.
        """
    def multiply(self, x_ptr: typing.SupportsInt | typing.SupportsIndex, x_stride: typing.SupportsInt | typing.SupportsIndex, rows: typing.SupportsInt | typing.SupportsIndex, out_ptr: typing.SupportsInt | typing.SupportsIndex, out_stride: typing.SupportsInt | typing.SupportsIndex) -> None:
        """
        out [rows, outputs] = x [rows, inputs] · weightᵀ + bias, all bfloat16; strides in
        elements. A row has the same bits whatever it is batched with. ValueError if the
        instruction set in use cannot, or a row does not fit its stride.
        """
    @property
    def inputs(self) -> int:
        """
        Inputs of a row.
        """
    @property
    def outputs(self) -> int:
        """
        Outputs of a row.
        """
def available() -> bool:
    """
    Whether the instruction set in use can multiply packed bfloat16 weights.
    """
def multiply_all(layers: collections.abc.Sequence[PackedLinear], x_ptr: typing.SupportsInt | typing.SupportsIndex, x_stride: typing.SupportsInt | typing.SupportsIndex, rows: typing.SupportsInt | typing.SupportsIndex, out_ptrs: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> None:
    """
    The products of several layers with the same rows, in one loop; their outs
    [rows, outputs] are contiguous. Bits and errors are those of multiply; ValueError
    also if the layers differ in inputs or out_ptrs in number.
    """
