"""Batches: from arrays that were checked at the door, or from an iterable of batches."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from cgru import _random

# Shuffled sequences are put into batches with others of like length among so many batches' worth.
POOL = 64

_END = object()  # of an iterable; None may be an item, a wrong one


class Sequences:
    """Sequences of different lengths, one after the other in memory.

    Parameters
    ----------
    values : ndarray, shape (steps of all, ...)
    lengths : ndarray of int, shape (sequences,)
    time : int, optional
        The steps of a padded array at least: those of a model that reads a fixed number.
    """

    def __init__(self, values: np.ndarray, lengths: np.ndarray, time: int = 1) -> None:
        self.values = values
        self.lengths = lengths
        self.time = time
        self.starts = np.cumsum(lengths) - lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: Any) -> Sequences:
        part = Sequences(self.values, self.lengths[index], self.time)
        part.starts = self.starts[index]
        return part

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all sequences as one padded array."""
        return len(self), max(self.time, int(self.lengths.max())), *self.values.shape[1:]

    def padded(self) -> np.ndarray:
        """One array [sequences, time, ...], 0 after the end of each."""
        array = np.zeros(self.shape, self.values.dtype)
        for row, start, length in zip(array, self.starts, self.lengths, strict=True):
            row[:length] = self.values[start : start + length]
        return array

    def mask(self) -> np.ndarray:
        """Where a padded array holds values, [sequences, time] of bool."""
        return np.arange(self.shape[1]) < self.lengths[:, np.newaxis]


class Batch(NamedTuple):
    """Samples: inputs, targets and weights, each an array, `Sequences`, or a list of them.

    All but x may be None; `mask` is that of a batch of padded sequences.
    """

    x: Any
    y: Any = None
    sample_weight: Any = None
    mask: np.ndarray | None = None

    @property
    def samples(self) -> int:
        """The number of samples."""
        return len(self.x[0]) if isinstance(self.x, list) else len(self.x)

    def take(self, index: Any) -> Batch:
        """The samples at `index`, an array of indices or a slice."""
        return Batch(*(_each(lambda item: item[index], part) for part in self[:3]))

    def ready(self) -> Batch:
        """Sequences padded, with their mask."""
        if not isinstance(self.x, Sequences):
            return self
        x, y, weight = (_each(_padded, part) for part in self[:3])
        return Batch(x, y, weight, self.x.mask())


def _each(function: Callable[[Any], Any], part: Any) -> Any:
    if isinstance(part, list):
        return [_each(function, item) for item in part]
    return None if part is None else function(part)


def _padded(item: Any) -> np.ndarray:
    return item.padded() if isinstance(item, Sequences) else item


class ArrayBatches:
    """The samples of `data` in batches of `batch_size`, in a new order each time if shuffled.

    Parameters
    ----------
    data : Batch
    batch_size : int
    shuffle : bool
    lengths : {"similar", "equal", "any"}
        Which sequences come together: those of similar length, those of one length only, or, so
        that their order is kept, those that follow each other.
    """

    def __init__(
        self, data: Batch, batch_size: int, shuffle: bool = False, lengths: str = "similar"
    ) -> None:
        self.data = data
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.lengths = lengths if isinstance(data.x, Sequences) else "any"

    def __len__(self) -> int:
        if self.lengths == "equal":
            counts = np.unique(self.data.x.lengths, return_counts=True)[1]
            return int((-(-counts // self.batch_size)).sum())
        return -(-self.data.samples // self.batch_size)

    def parts(self) -> Iterator[Any]:
        """What to take for each batch: indices, or a slice."""
        count, size = self.data.samples, self.batch_size
        random = _random.generator() if self.shuffle else None
        order = None if random is None else random.permutation(count)
        parts: list[Any] = [slice(i, min(i + size, count)) for i in range(0, count, size)]
        if self.lengths == "equal":
            order = np.arange(count) if order is None else order
            order = order[np.argsort(self.data.x.lengths[order], kind="stable")]
            ends = np.cumsum(np.unique(self.data.x.lengths, return_counts=True)[1])
            parts = [
                slice(i, min(i + size, int(end)))
                for start, end in zip([0, *ends], ends, strict=False)
                for i in range(int(start), int(end), size)
            ]
            if random is not None:
                random.shuffle(parts)
        elif self.lengths == "similar":
            order = np.arange(count) if order is None else order
            lengths, pool = self.data.x.lengths, count if random is None else POOL * size
            for start in range(0, count, pool):
                chosen = order[start : start + pool]
                order[start : start + pool] = chosen[np.argsort(lengths[chosen], kind="stable")]
            if random is not None:
                random.shuffle(parts)
        return (part if order is None else order[part] for part in parts)

    def __iter__(self) -> Iterator[Batch]:
        return (self.data.take(part).ready() for part in self.parts())


class IterableBatches:
    """What an iterable of ``(x, y)`` or ``(x, y, sample_weight)`` gives, each batch checked.

    Parameters
    ----------
    source : iterable
        Asked for a new iterator for each epoch; with `steps`, an iterator simply goes on.
    prepare : callable
        ``prepare(x, y, sample_weight) -> Batch``, ready to be read.
    steps : int, optional
        Batches per epoch.
    argument, steps_argument : str
        The names of `source` and `steps` in messages.
    anew : bool
        Whether each epoch begins with the first batch, where `source` is no iterator, also if
        `steps` have ended the last one before its end.
    """

    def __init__(
        self,
        source: Iterable[Any],
        prepare: Callable[..., Batch],
        steps: int | None = None,
        argument: str = "x",
        steps_argument: str = "steps",
        anew: bool = False,
    ) -> None:
        if steps is None:
            check_ends(source, argument, steps_argument)
        self.source = source
        self.prepare = prepare
        self.steps = steps
        self.argument = argument
        self.anew = anew and not isinstance(source, Iterator)
        self._iterator: Iterator[Any] | None = None

    def __len__(self) -> int:
        if self.steps is not None:
            return self.steps
        return len(self.source)  # type: ignore[arg-type]  # a TypeError where it has no length

    def __iter__(self) -> Iterator[Batch]:
        count = 0
        if self.anew:
            self._iterator = None
        while self.steps is None or count < self.steps:
            fresh = self._iterator is None
            if self._iterator is None:
                self._iterator = iter(self.source)
            item = next(self._iterator, _END)
            if item is _END:
                self._iterator = None
                if fresh:
                    raise ValueError(
                        f"{self.argument}: the iterable gave no batches; pass one that starts "
                        "anew for each epoch, such as a list"
                    )
                if self.steps is None:
                    return
                continue
            if isinstance(item, Batch):
                count += 1
                yield item
                continue
            if not isinstance(item, (tuple, list)) or len(item) not in (2, 3):
                came = type(item).__name__
                if isinstance(item, (tuple, list)):
                    came += f" of {len(item)} entries"
                raise ValueError(
                    f"{self.argument}: without targets y, expected batches (x, y) or "
                    f"(x, y, sample_weight), got {came}"
                )
            count += 1
            yield self.prepare(*item)


def check_ends(source: Any, argument: str, steps_argument: str) -> None:
    """Raise a ValueError if an iterable is one of Python's own that go on for ever."""
    repeats = isinstance(source, itertools.repeat) and operator.length_hint(source, -1) < 0
    if repeats or isinstance(source, (itertools.cycle, itertools.count)):
        raise ValueError(
            f"{argument}: {type(source).__name__} never ends; say how many batches to take with "
            f"{steps_argument}"
        )
