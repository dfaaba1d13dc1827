"""How many cores there are to compute on."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores that this process may run on: a container or ``taskset`` may allow fewer than exist."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
