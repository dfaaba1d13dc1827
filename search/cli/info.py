"""``treeward info``: what is installed, and what this machine can do."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

HELP = """Show versions, the instruction-set level in use, CUDA, and the bundled models.

Example:  treeward info --json
"""


def info(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    record = collect()
    if as_json:
        print(json.dumps(record))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None)
    for name, value in record.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        table.add_row(name.replace("_", " "), shown or "none")
    Console(markup=False, emoji=False).print(table)


def collect() -> dict[str, Any]:
    """Everything that the command shows."""
    import os
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import torch

    import search
    from search import _native, algorithms, bundled

    versions = {}
    for package in ("torch", "transformers", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "treeward": search.__version__,
        # A build by cmake alone does not know it.
        **({"native": _native.__version__} if _native.__version__ else {}),
        "python": platform.python_version(),
        **versions,
        "cores": os.cpu_count(),
        "simd_level": _native.attention.simd_level(),
        "simd_levels": list(_native.attention.simd_levels()),
        "cuda_compiler_at_build": bool(_native.cuda_compiler),
        "cuda_device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "algorithms": algorithms.names(),
        "models": bundled.available(),
    }
