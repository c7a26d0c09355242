"""How much a description may ask for that comes from a file, or from JSON."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

MARGIN = 2**22  # numbers that are not in the file: the counts of metrics, for example
MAX_FRESH = 2**27  # numbers of a model that comes without any
MAX_TEXT = 2**22  # characters of JSON
PARTS = 10_000  # objects, and calls of layers
PER_LAYER, PER_ARRAY = 10, 20  # parts that a layer takes beside itself, and an array gives
MAX_DEPTH = 30  # objects inside objects


class _Room:
    def __init__(self, values: int, arrays: int) -> None:
        self.values, self.parts = values + MARGIN, PARTS + PER_ARRAY * arrays
        self.depth = MAX_DEPTH
        self.weights_follow = arrays > 0


_room: ContextVar[_Room | None] = ContextVar("room", default=None)


@contextlib.contextmanager
def at_most(values: int, arrays: int = 0) -> Iterator[None]:
    """Let hardly more be made within a block: a file that describes more would hold more.

    Parameters
    ----------
    values : int
        The numbers in the file.
    arrays : int
        The arrays in the file.  If there are any, weights need not be drawn: they follow.
    """
    token = _room.set(_Room(values, arrays))
    try:
        yield
    finally:
        _room.reset(token)


def claim(values: int) -> None:
    """Say that so many numbers are about to be made.

    Raises
    ------
    ValueError
        If there is no room for them: before any memory is taken.
    """
    room = _room.get()
    if room is None:
        return
    if values > room.values:
        raise ValueError(f"asks for {values} numbers at once, far more than there may be")
    room.values -= values


def claim_parts(count: int) -> None:
    """Say that so many parts are about to be made.

    Raises
    ------
    ValueError
        If there is no room for them: before any time is taken.
    """
    room = _room.get()
    if room is None:
        return
    if count > room.parts:
        raise ValueError("asks for more layers, or other parts, than can be loaded")
    room.parts -= count


def weights_follow() -> bool:
    """Whether what is made is given weights from a file next."""
    room = _room.get()
    return room is not None and room.weights_follow


@contextlib.contextmanager
def one_part() -> Iterator[None]:
    """Make an object, and within the block what belongs to it.

    Raises
    ------
    ValueError
        If there is no room for it.
    """
    claim_parts(1)
    room = _room.get()
    if room is None:
        yield
        return
    if not room.depth:
        raise ValueError(f"has objects inside each other, more than {MAX_DEPTH} deep")
    room.depth -= 1
    try:
        yield
    finally:
        room.depth += 1


def check_depth(description: Any, depth: int = 0) -> None:
    """Check, before a description is written, that it is not too deep to be read.

    Raises
    ------
    ValueError
    """
    if isinstance(description, dict):
        depth += "class_name" in description
        if depth > MAX_DEPTH:
            raise ValueError(
                f"model: expected objects at most {MAX_DEPTH} deep inside each other, which is "
                "what can be loaded again; make one model of some of the inner ones"
            )
        description = description.values()
    elif not isinstance(description, (list, tuple)):
        return
    for item in description:
        check_depth(item, depth)


def check_text(text: str) -> str:
    """JSON that may be read, or written to be read: not too long.

    Raises
    ------
    ValueError
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"expected at most {MAX_TEXT} characters of JSON, got {len(text)}")
    return text
