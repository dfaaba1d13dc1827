"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """Processor, cores, load, and the versions of what is compared."""
    from benchmarks.e2e import vllm_engine
    from search import _native

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": _native.attention.num_threads(),
        "simd_level": _native.attention.simd_level(),
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "packages": {
            **{name: installed(name) for name in PACKAGES},
            "vllm": vllm_engine.version(),
        },
    }


PACKAGES = ("treeward", "torch", "transformers", "mctx", "jax", "treequest")


def installed(package: str) -> str | None:
    """The installed version of a package; ``None`` without it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
