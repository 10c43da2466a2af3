"""Ctrl-C where Python must not be interrupted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """Let SIGINT and SIGTERM wait, as far as Python handles them.

    Yields
    ------
    deliver : callable
        Handles the signals that have come, as if they came now. So does the end of the block.

    Examples
    --------
    >>> from contextlib import suppress
    >>> before = signal.signal(signal.SIGINT, signal.default_int_handler)
    >>> with suppress(KeyboardInterrupt), held_back() as deliver:
    ...     signal.raise_signal(signal.SIGINT)
    ...     print("still here")
    ...     deliver()
    ...     print("not here")
    still here
    >>> _ = signal.signal(signal.SIGINT, before)
    """
    waiting: list[int] = []
    handlers: dict[int, Callable[..., object]] = {}
    if threading.current_thread() is threading.main_thread():  # no other is interrupted
        found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        handlers = {number: handler for number, handler in found.items() if callable(handler)}

    def deliver() -> None:
        while waiting:
            number = waiting.pop(0)
            handlers[number](number, None)

    try:
        for number in handlers:
            signal.signal(number, lambda number, _: waiting.append(number))
        yield deliver
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        deliver()
