"""treeward: search over language-model states.

>>> from search import Budget, Search
>>> search = Search("countdown-policy", budget=Budget(policy_tokens=1000))  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from search._native import __version__

if TYPE_CHECKING:
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
    raise AttributeError(f"module 'search' has no attribute {name!r}")
