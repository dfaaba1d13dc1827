"""Errors that a user can meet. Each message is one sentence that says what is wrong and where."""

from __future__ import annotations

from search._native import NotFinite, PoolExhausted, StaleHandle, TreewardError


class ModelRefused(TreewardError):
    """A model cannot run on this engine, or its files are incomplete."""


class BadProblem(TreewardError):
    """A problem, or a line of a problems file, is malformed."""


class BudgetTooSmall(TreewardError):
    """A budget does not allow one step."""


class MissingExtra(TreewardError):
    """An optional dependency is not installed; the message says how to get it."""


__all__ = [
    "BadProblem",
    "BudgetTooSmall",
    "MissingExtra",
    "ModelRefused",
    "NotFinite",
    "PoolExhausted",
    "StaleHandle",
    "TreewardError",
]
