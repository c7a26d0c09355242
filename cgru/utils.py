"""Small helpers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from cgru import _checks, _random
from cgru.layers.symbolic import name_counters
from cgru.saving import custom_object_scope as custom_object_scope
from cgru.saving import get_custom_objects as get_custom_objects
from cgru.saving import register_keras_serializable as register_keras_serializable


def set_random_seed(seed: int) -> None:
    """Seed everything random: Python's, NumPy's and cgru's own draws.

    Weights, shuffling and dropout drawn afterwards are the same in every run, so that training
    repeats bit for bit, with any number of threads.

    Parameters
    ----------
    seed : int
        From 0 to 2**32 - 1.

    Examples
    --------
    >>> cgru.utils.set_random_seed(1)
    >>> a = cgru.initializers.RandomNormal()((2,))
    >>> cgru.utils.set_random_seed(1)
    >>> bool((a == cgru.initializers.RandomNormal()((2,))).all())
    True
    """
    if _checks.integer("seed", seed, 0) >= 2**32:
        raise ValueError(f"seed: expected an integer below 2**32, got {seed}")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (whoever draws the old way repeats too)
    _random.set_seed(seed)


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Integer labels as one-hot vectors.

    Parameters
    ----------
    x : array_like of int
        Labels from 0; a last axis of size 1 is dropped.
    num_classes : int, optional
        One more than the largest label by default.

    Returns
    -------
    ndarray, shape (*x.shape, num_classes)

    Examples
    --------
    >>> cgru.utils.to_categorical([0, 2])
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    labels = _checks.integers("x", x)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if num_classes is None:
        num_classes = int(labels.max()) + 1
    num_classes = _checks.integer("num_classes", num_classes, 1)
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"x: expected labels from 0 to {num_classes - 1}, got from {labels.min()} to "
            f"{labels.max()}"
        )
    found = np.zeros((*labels.shape, num_classes))
    np.put_along_axis(found, labels[..., np.newaxis], 1, axis=-1)
    return found


class PyDataset:
    """Batches by number: a subclass has ``__len__`` and ``__getitem__``, as in Keras.

    Parameters
    ----------
    workers, use_multiprocessing, max_queue_size : optional
        Accepted for Keras's sake: batches are made one by one, when they are needed.

    Examples
    --------
    >>> class Squares(cgru.utils.PyDataset):
    ...     def __len__(self):
    ...         return 3
    ...
    ...     def __getitem__(self, number):
    ...         x = np.full((2, 1), number)
    ...         return x, x**2
    >>> model = cgru.Sequential([cgru.Input((1,)), cgru.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> history = model.fit(Squares())
    """

    def __init__(
        self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10
    ) -> None:
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    def __len__(self) -> int:
        """The number of batches."""
        raise NotImplementedError(f"{type(self).__name__}.__len__")

    def __getitem__(self, index: int) -> Any:
        """A batch: x, or (x, y), or (x, y, sample_weight)."""
        raise NotImplementedError(f"{type(self).__name__}.__getitem__")

    def __iter__(self) -> Iterator[Any]:
        for index in range(len(self)):
            yield self[index]
        self.on_epoch_end()

    def on_epoch_end(self) -> None:
        """Called when all batches have been read."""


Sequence = PyDataset


def clear_session(free_memory: bool = True) -> None:
    """Number the layers without a name, and inputs, from the start again.

    Parameters
    ----------
    free_memory : bool
        Accepted for Keras's sake: memory is free when nothing refers to it.

    Examples
    --------
    >>> cgru.utils.clear_session()
    >>> cgru.layers.Dense(1).name
    'dense'
    """
    name_counters.clear()


def pad_sequences(
    sequences: Any,
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> np.ndarray:
    """Sequences of different lengths as one array.

    Models take such sequences as they are, too; see ``Model.fit``.

    Parameters
    ----------
    sequences : list of array_like, each of shape (time, ...)
    maxlen : int, optional
        The length of all; that of the longest by default.
    dtype : str
    padding, truncating : {"pre", "post"}
        Whether what is added, or left out, is at the beginning or at the end.
    value : float
        What is added.

    Returns
    -------
    ndarray, shape (sequences, maxlen, ...)

    Examples
    --------
    >>> cgru.utils.pad_sequences([[1], [2, 3]])
    array([[0, 1],
           [2, 3]], dtype=int32)
    """
    for argument, side in (("padding", padding), ("truncating", truncating)):
        if side not in ("pre", "post"):
            raise ValueError(f"{argument}: expected 'pre' or 'post', got {side!r}")
    if not hasattr(sequences, "__len__"):
        raise ValueError(f"sequences: expected a list of sequences, got {sequences!r}")
    arrays = []
    for place, sequence in enumerate(sequences):
        if not hasattr(sequence, "__len__"):
            raise ValueError(f"sequences[{place}]: expected a sequence, got {sequence!r}")
        arrays.append(np.asarray(sequence))
    if maxlen is None:
        maxlen = max((len(array) for array in arrays), default=0)
    maxlen = _checks.integer("maxlen", maxlen, 0)
    tail = next((array.shape[1:] for array in arrays if len(array)), ())
    padded = np.full((len(arrays), maxlen, *tail), value, dtype=dtype)
    for place, (row, array) in enumerate(zip(padded, arrays, strict=True)):
        if not len(array) or not maxlen:
            continue
        if array.shape[1:] != tail:
            raise ValueError(
                f"sequences[{place}]: expected steps of shape {tail}, as in the first one, got "
                f"{array.shape[1:]}"
            )
        kept = array[-maxlen:] if truncating == "pre" else array[:maxlen]
        row[slice(len(kept)) if padding == "post" else slice(maxlen - len(kept), None)] = kept
    return padded


class Windows:
    """Batches of windows of a series; what `timeseries_dataset_from_array` returns.

    It may be iterated over again and again, has a length, and is given to `fit` as it is.  The
    series is not copied but for the batch that is asked for.
    """

    def __init__(
        self,
        data: np.ndarray,
        targets: np.ndarray | None,
        starts: np.ndarray,
        steps: np.ndarray,
        batch_size: int | None,
        random: np.random.Generator | None,
    ) -> None:
        self.data = data
        self.targets = targets
        self.starts = starts
        self.steps = steps
        self.batch_size = batch_size
        self._random = random

    def __len__(self) -> int:
        return -(-len(self.starts) // (self.batch_size or 1))

    def __iter__(self) -> Iterator[Any]:
        starts = self.starts if self._random is None else self._random.permutation(self.starts)
        size = self.batch_size or 1
        for first in range(0, len(starts), size):
            part = starts[first : first + size]
            x = self.data[part[:, np.newaxis] + self.steps]
            y = None if self.targets is None else self.targets[part]
            if self.batch_size is None:
                x, y = x[0], None if y is None else y[0]
            yield x if self.targets is None else (x, y)


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
) -> Windows:
    """Batches of windows that slide over a series.

    Parameters
    ----------
    data : array_like, shape (time, ...)
    targets : array_like, shape (time, ...), or None
        Each window's is that at the place of its first step.
    sequence_length : int
        Steps of a window.
    sequence_stride : int
        Steps of the series from one window to the next.
    sampling_rate : int
        Steps of the series from one step of a window to the next.
    batch_size : int or None
        None: single windows.
    shuffle : bool
        A new order for each epoch.
    seed : int, optional
    start_index, end_index : int, optional
        The part of the series from which windows are taken.

    Returns
    -------
    Windows

    Examples
    --------
    Ten steps, and what comes after them:

    >>> series = np.arange(100.0)
    >>> windows = cgru.utils.timeseries_dataset_from_array(
    ...     series[:-10], series[10:], sequence_length=10, batch_size=32
    ... )
    >>> x, y = next(iter(windows))
    >>> x.shape, float(y[0])
    ((32, 10), 10.0)
    """
    series = np.asarray(data)
    length = _checks.integer("sequence_length", sequence_length, 1)
    stride = _checks.integer("sequence_stride", sequence_stride, 1)
    rate = _checks.integer("sampling_rate", sampling_rate, 1)
    if batch_size is not None:
        batch_size = _checks.integer("batch_size", batch_size, 1)
    first = 0 if start_index is None else _checks.integer("start_index", start_index, 0)
    end = len(series)
    if end_index is not None:
        end = _checks.integer("end_index", end_index, 1)
        if end > len(series):
            raise ValueError(f"end_index: expected at most {len(series)}, got {end_index}")
    if first >= end:
        raise ValueError(f"start_index: expected less than {end}, got {start_index}")
    if length * rate > end - first + rate - 1:
        raise ValueError(
            f"sequence_length: expected windows within {end - first} steps, got {length} steps, "
            f"{rate} apart"
        )
    # As in Keras: with targets, as many windows as there are targets.
    count = end - first - (length - 1) * rate
    known = None
    if targets is not None:
        known = np.asarray(targets)
        count = min(count, len(known) - first)
    if count < 1:
        raise ValueError(f"targets: expected more than {first}, got {len(np.asarray(targets))}")
    starts = first + np.arange(0, count, stride)
    random = _random.generator(seed) if shuffle else None
    return Windows(series, known, starts, rate * np.arange(length), batch_size, random)


def split_dataset(
    dataset: Any,
    left_size: float | None = None,
    right_size: float | None = None,
    shuffle: bool = False,
    seed: int | None = None,
) -> tuple[Any, Any]:
    """The samples of arrays in two parts.

    Parameters
    ----------
    dataset : array_like, or a tuple or list of them of the same length
    left_size, right_size : float or int, optional
        The share of a part if it is a float, else the number of its samples; the other part is the
        rest if it is not given.
    shuffle : bool
    seed : int, optional

    Returns
    -------
    left, right
        Arrays, or tuples of them, as `dataset`.

    Examples
    --------
    >>> left, right = cgru.utils.split_dataset(np.arange(10), left_size=0.8)
    >>> left.shape, right.shape
    ((8,), (2,))
    """
    several = isinstance(dataset, tuple) or (
        isinstance(dataset, list) and all(isinstance(part, np.ndarray) for part in dataset)
    )
    arrays = [np.asarray(part) for part in (dataset if several else [dataset])]
    if not arrays or any(array.ndim == 0 for array in arrays):
        raise ValueError(f"dataset: expected an array, or a tuple of them, got {dataset!r}")
    count = len(arrays[0])
    if any(len(array) != count for array in arrays):
        raise ValueError(
            f"dataset: expected arrays of one length, got {[len(array) for array in arrays]}"
        )
    sizes = [_size("left_size", left_size, count), _size("right_size", right_size, count)]
    left, right = sizes
    if left is None and right is None:
        raise ValueError("left_size, right_size: expected at least one of them, got None")
    if left is None:
        assert right is not None
        left = count - right
    right = count - left if right is None else right
    if left < 1 or right < 1 or left + right > count:
        raise ValueError(
            f"left_size, right_size: expected two parts of {count} samples, got {left} and {right}"
        )
    order = _random.generator(seed).permutation(count) if shuffle else np.arange(count)
    parts = [
        tuple(array[order[part]] for array in arrays)
        for part in (slice(left), slice(left, left + right))
    ]
    return (parts[0], parts[1]) if several else (parts[0][0], parts[1][0])


def _size(argument: str, size: float | None, count: int) -> int | None:
    if size is None:
        return None
    if isinstance(size, float):
        return round(_checks.real(argument, size, 0, 1) * count)
    return _checks.integer(argument, size, 0)
