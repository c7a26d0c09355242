"""The base of metrics, and means of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cgru import _checks
from cgru._configs import Configurable


class Metric(Configurable):
    """Base class: the mean of ``values(y_true, y_pred)`` over all batches since `reset_state`.

    Examples
    --------
    >>> metric = cgru.metrics.MeanAbsoluteError()
    >>> metric.update_state([[1.0], [2.0]], [[1.0], [4.0]])
    >>> metric.result()
    1.0
    """

    # Whether "up" or "down" is better, where that is known: for callbacks that watch it.
    _direction: str | None = None

    def __init__(self, name: str | None = None) -> None:
        self.name = name or _checks.snake_case(type(self).__name__)
        self.reset_state()

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """One value per sample (and time step)."""
        raise NotImplementedError(f"{type(self).__name__}.values")

    def reset_state(self) -> None:
        """Forget all batches."""
        self.total = 0.0
        self.count = 0.0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into account."""
        values = self.values(np.asarray(y_true), np.asarray(y_pred))
        if sample_weight is None:
            self.total += float(values.sum(dtype=np.float64))
            self.count += values.size
        else:
            weight = fitting(sample_weight, values)
            values = np.where(weight == 0, 0, values)  # what does not count may be NaN
            self.total += float((values * weight).sum())
            self.count += float(weight.sum())

    def result(self) -> Any:
        """The mean so far; 0 before the first batch."""
        return self.total / self.count if self.count else 0.0

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Take a batch into account; the result so far."""
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()


class MeanMetricWrapper(Metric):
    """The mean of what a function gives for each sample.

    Parameters
    ----------
    fn : callable
        ``fn(y_true, y_pred)``, one value per sample (and time step).
    name : str, optional
        The name of the function by default.

    Examples
    --------
    >>> def top(y_true, y_pred):
    ...     return y_pred.max(axis=-1)
    >>> metric = cgru.metrics.MeanMetricWrapper(top)
    >>> metric.update_state([0], [[0.25, 0.75]])
    >>> metric.name, metric.result()
    ('top', 0.75)
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None) -> None:
        super().__init__(name or getattr(fn, "__name__", type(fn).__name__))
        self.fn = fn

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.asarray(self.fn(y_true, y_pred))


class Mean(Metric):
    """The mean of values.

    Examples
    --------
    >>> metric = cgru.metrics.Mean()
    >>> metric.update_state([1.0, 3.0])
    >>> metric.result()
    2.0
    """

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        array = np.asarray(values, dtype=np.float64)
        weight = np.ones_like(array) if sample_weight is None else fitting(sample_weight, array)
        self.total += float((array * weight).sum())
        self.count += float(weight.sum())


class Sum(Mean):
    """The sum of values.

    Examples
    --------
    >>> metric = cgru.metrics.Sum()
    >>> metric.update_state([1.0, 3.0])
    >>> metric.result()
    4.0
    """

    def result(self) -> float:
        return self.total


def fitting(weight: Any, values: np.ndarray) -> np.ndarray:
    """Sample weights in the shape of the values."""
    weight = np.asarray(weight, dtype=np.float64)
    if weight.ndim > values.ndim:
        weight = weight.reshape(weight.shape[: values.ndim])
    wide = weight.reshape(weight.shape + (1,) * (values.ndim - weight.ndim))
    return np.broadcast_to(wide, values.shape)


def aligned(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Targets in the shape of the predictions, which may have a last axis of size 1 more."""
    if y_true.shape == y_pred.shape[:-1] and y_pred.shape[-1:] == (1,):
        return y_true[..., np.newaxis]
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"y_true: expected shape {y_pred.shape}, that of the predictions, got {y_true.shape}"
        )
    return y_true
