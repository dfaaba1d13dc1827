"""Checks of numbers where they come in: one sentence that names the option and its range."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

# The native core counts in these.
INT32_MAX = 2**31 - 1
FLOAT32_MAX = 3.4e38


def check_whole(name: str, value: Any, low: int, high: int) -> None:
    """Refuses what is no whole number from ``low`` to ``high``.

    Raises:
        ValueError: the message names the option and its range.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not (whole and low <= value <= high):
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")


def check_number(name: str, value: Any, allowed: Callable[[Any], bool], expected: str) -> None:
    """Refuses what is no number, or not an allowed one.

    Raises:
        ValueError: the message names the option and what was ``expected``.
    """
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not (number and allowed(value)):
        raise ValueError(f"{name} must be {expected}, got {value!r}")
