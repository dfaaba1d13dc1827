"""Keys, values and packed weights lie in huge pages, small ones side by side."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from search import _native
from search.backends.attention import layer_memory

HUGE = 2 << 20
SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
needs_huge_pages = pytest.mark.skipif(
    not SETTING.exists() or "[never]" in SETTING.read_text(),
    reason="this system has no transparent huge pages",
)


def asked(address: int) -> bool:
    """Whether the mapping that holds an address is marked for huge pages."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head = line.split()[0]
        if "-" in head and not head.endswith(":"):
            begin, end = (int(part, 16) for part in head.split("-"))
            inside = begin <= address < end
        elif inside and head == "VmFlags:":
            return "hg" in line.split()
    raise AssertionError(f"{address:#x} is not mapped")


@needs_huge_pages
def test_a_layer_asks_for_them() -> None:
    tensor = layer_memory((64, 4, 16, 2048), torch.float32)
    assert asked(tensor.data_ptr() + tensor.nbytes // 2)
    tensor.fill_(1.0)
    assert float(tensor.sum()) == tensor.numel()


@needs_huge_pages
def test_small_layers_share_them() -> None:
    before = _huge_mappings()
    layers = [layer_memory((8, 2, 16, 64), torch.bfloat16) for _ in range(48)]
    assert _huge_mappings() - before <= 1
    assert all(asked(layer.data_ptr()) for layer in layers)
    for number, layer in enumerate(layers):
        layer.fill_(number)
    assert [float(layer.float().mean()) for layer in layers] == [float(i) for i in range(48)]


def test_memory_is_aligned_and_lives_as_long_as_its_array() -> None:
    arrays = [_native.attention.huge_page_memory(n) for n in (0, 1, 63, 65, HUGE + 1)]
    assert [array.nbytes for array in arrays] == [0, 1, 63, 65, HUGE + 1]
    assert all(array.ctypes.data % 64 == 0 for array in arrays)
    last = arrays.pop()
    del arrays
    last[:] = 7
    more = _native.attention.huge_page_memory(HUGE)  # of the same block, where there was room
    more[:] = 9
    assert int(last.sum()) == 7 * (HUGE + 1)


def test_more_than_there_is_is_refused() -> None:
    with pytest.raises(MemoryError):
        _native.attention.huge_page_memory(1 << 62)


@needs_huge_pages
def test_packed_weights_share_them() -> None:
    if not _native.linear.available():
        pytest.skip("this processor has no products of bfloat16 pairs")
    before = _huge_mappings()
    weight = torch.zeros(1024, 1024, dtype=torch.bfloat16)
    kept = [_native.linear.PackedLinear(weight.data_ptr(), 1024, 0, 1024, 1024) for _ in range(20)]
    added = _huge_mappings() - before
    assert len(kept) == 20
    assert 1 <= added <= 3  # 40 MiB of weights in blocks of 32, not twenty mappings


def _huge_mappings() -> int:
    lines = Path("/proc/self/smaps").read_text().splitlines()
    return sum(line.startswith("VmFlags:") and "hg" in line.split() for line in lines)
