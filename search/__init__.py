"""treeward: search over language-model states.

>>> from search import Budget, Search
>>> search = Search("countdown-policy", budget=Budget(policy_tokens=1000))  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from search.budget import Budget, Ledger
    from search.engine import Search
    from search.interfaces import Sampling, StepRules
    from search.problem import Problem
    from search.result import SearchResult

# Looked up on first use, so that `import search` stays fast.
_HOMES = {
    "Budget": "search.budget",
    "Ledger": "search.budget",
    "Problem": "search.problem",
    "Sampling": "search.interfaces",
    "Search": "search.engine",
    "SearchResult": "search.result",
    "StepRules": "search.interfaces",
}

__all__ = [
    "Budget",
    "Ledger",
    "Problem",
    "Sampling",
    "Search",
    "SearchResult",
    "StepRules",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "__version__":
        return _version()
    raise AttributeError(f"module 'search' has no attribute {name!r}")


def _version() -> str:
    """Of the installed distribution; of the native build in a source tree that is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("treeward")
    except PackageNotFoundError:
        return str(import_module("search._native").__version__) or "unknown"
