"""Keys and values ask the system for huge pages; what has none is said to have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
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
def test_whole_pages_only() -> None:
    memory = np.empty(3 * HUGE, dtype=np.uint8)
    prefer = _native.attention.prefer_huge_pages
    start = -(-memory.ctypes.data // HUGE) * HUGE
    assert prefer(start, HUGE)
    assert not prefer(start, HUGE - 1)
    assert not prefer(start + 1, HUGE)
    assert not prefer(start, 0)


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
