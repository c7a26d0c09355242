"""Batches: from arrays that were checked at the door, or from an iterable of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from cgru import _random


class Batch(NamedTuple):
    """Inputs, targets and sample weights of the same length; all but x may be None."""

    x: np.ndarray
    y: Any = None
    sample_weight: np.ndarray | None = None

    def take(self, index: Any) -> Batch:
        """The samples at `index`, an array of indices or a slice."""
        return Batch(
            self.x[index],
            None if self.y is None else self.y[index],
            None if self.sample_weight is None else self.sample_weight[index],
        )


class ArrayBatches:
    """The samples of `data` in batches of `batch_size`, in a new order each time if shuffled."""

    def __init__(self, data: Batch, batch_size: int, shuffle: bool = False) -> None:
        self.data = data
        self.batch_size = batch_size
        self.shuffle = shuffle

    def __len__(self) -> int:
        return -(-len(self.data.x) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        count = len(self.data.x)
        order = _random.generator().permutation(count) if self.shuffle else None
        for start in range(0, count, self.batch_size):
            part = slice(start, min(start + self.batch_size, count))
            yield self.data.take(part if order is None else order[part])


class IterableBatches:
    """What an iterable of ``(x, y)`` or ``(x, y, sample_weight)`` gives, each batch checked.

    Parameters
    ----------
    source : iterable
        Asked for a new iterator for each epoch; with `steps`, an iterator simply goes on.
    prepare : callable
        ``prepare(x, y, sample_weight) -> Batch``.
    steps : int, optional
        Batches per epoch.
    argument : str
        The name of `source` in messages.
    """

    def __init__(
        self,
        source: Iterable[Any],
        prepare: Callable[..., Batch],
        steps: int | None = None,
        argument: str = "x",
    ) -> None:
        self.source = source
        self.prepare = prepare
        self.steps = steps
        self.argument = argument
        self._iterator: Iterator[Any] | None = None

    def __len__(self) -> int:
        if self.steps is not None:
            return self.steps
        return len(self.source)  # type: ignore[arg-type]  # a TypeError where it has no length

    def __iter__(self) -> Iterator[Batch]:
        count = 0
        while self.steps is None or count < self.steps:
            fresh = self._iterator is None
            if self._iterator is None:
                self._iterator = iter(self.source)
            item = next(self._iterator, None)
            if item is None:
                self._iterator = None
                if fresh:
                    raise ValueError(
                        f"{self.argument}: the iterable gave no batches; pass one that starts "
                        "anew for each epoch, such as a list"
                    )
                if self.steps is None:
                    return
                continue
            if not isinstance(item, (tuple, list)) or len(item) not in (2, 3):
                raise ValueError(
                    f"{self.argument}: expected batches (x, y) or (x, y, sample_weight), "
                    f"got {type(item).__name__}"
                )
            count += 1
            yield self.prepare(*item)
