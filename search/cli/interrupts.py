"""Requests to end a command: by Ctrl-C, `timeout` or a scheduler."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

REQUESTS_TO_END = (signal.SIGINT, signal.SIGTERM)


class _Noted:
    """Whether a request is to be noted only, and whether there was one."""

    wanted = False
    asked = False


@contextlib.contextmanager
def requests_are_interrupts() -> Iterator[None]:
    """Within it a request to end is a ``KeyboardInterrupt``, so that what is done is kept."""
    before = {number: signal.getsignal(number) for number in REQUESTS_TO_END}
    for number, handler in before.items():
        if callable(handler) or handler is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is _interrupt:
                signal.signal(number, handler)


@contextlib.contextmanager
def noted_requests() -> Iterator[Callable[[], bool]]:
    """Within it a request raises nothing, so that no step of a search is torn apart.

    Yields:
        A function that says whether there was a request.
    """
    _Noted.wanted, _Noted.asked = True, False
    try:
        yield lambda: _Noted.asked
    finally:
        _Noted.wanted = False


def _interrupt(_: int, __: object) -> None:
    """Asks the command to end; whoever asks again does not wait for that."""
    for number in REQUESTS_TO_END:
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, signal.SIG_DFL)
    if not _Noted.wanted:
        raise KeyboardInterrupt
    _Noted.asked = True
