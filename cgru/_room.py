"""How many numbers a description may ask for that comes from a file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

MARGIN = 2**22  # for what is not in the file: the counts of metrics, for example

_left: ContextVar[int | None] = ContextVar("left", default=None)


@contextlib.contextmanager
def at_most(values: int) -> Iterator[None]:
    """Let hardly more be made within a block: a file that describes more would hold more."""
    token = _left.set(values + MARGIN)
    try:
        yield
    finally:
        _left.reset(token)


def claim(values: int) -> None:
    """Say that so many numbers are about to be made.

    Raises
    ------
    ValueError
        If there is no room for them: before any memory is taken.
    """
    left = _left.get()
    if left is None:
        return
    if values > left:
        raise ValueError(f"asks for {values} numbers at once, far more than the file holds")
    _left.set(left - values)
