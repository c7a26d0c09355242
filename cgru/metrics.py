"""Metrics: figures that are averaged over an epoch and shown, not trained on."""

from __future__ import annotations

import math
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
            weight = np.asarray(sample_weight, dtype=np.float64)
            weight = weight.reshape(weight.shape + (1,) * (values.ndim - weight.ndim))
            weight = np.broadcast_to(weight, values.shape)
            self.total += float((values * weight).sum())
            self.count += float(weight.sum())

    def result(self) -> float:
        """The mean so far; 0 before the first batch."""
        return self.total / self.count if self.count else 0.0


class MeanAbsoluteError(Metric):
    """The mean of absolute differences.

    Examples
    --------
    >>> metric = cgru.metrics.MeanAbsoluteError()
    >>> metric.update_state([1.0, 2.0], [[1.0], [4.0]])
    >>> metric.result()
    1.0
    """

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.abs(y_pred - _aligned(y_true, y_pred)).mean(axis=-1)


class MeanSquaredError(Metric):
    """The mean of squared differences.

    Examples
    --------
    >>> metric = cgru.metrics.MeanSquaredError()
    >>> metric.update_state([1.0, 2.0], [[1.0], [4.0]])
    >>> metric.result()
    2.0
    """

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.square(y_pred - _aligned(y_true, y_pred)).mean(axis=-1)


class RootMeanSquaredError(MeanSquaredError):
    """The square root of the mean of squared differences over all batches.

    Examples
    --------
    >>> metric = cgru.metrics.RootMeanSquaredError()
    >>> metric.update_state([1.0, 2.0], [[1.0], [4.0]])
    >>> round(metric.result(), 4)
    1.4142
    """

    def result(self) -> float:
        return math.sqrt(super().result())


class Accuracy(Metric):
    """The share of predictions that equal their targets.

    The string ``"accuracy"`` in `compile` stands for the one of the three accuracies below that
    fits the targets.

    Examples
    --------
    >>> metric = cgru.metrics.Accuracy()
    >>> metric.update_state([1, 2, 3], [1, 2, 4])
    >>> round(metric.result(), 4)
    0.6667
    """

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return _aligned(y_true, y_pred) == y_pred


class BinaryAccuracy(Metric):
    """The share of probabilities on the right side of a threshold.

    Parameters
    ----------
    name : str
    threshold : float
        Probabilities above it count as 1.

    Examples
    --------
    >>> metric = cgru.metrics.BinaryAccuracy()
    >>> metric.update_state([1, 0], [[0.9], [0.6]])
    >>> metric.result()
    0.5
    """

    def __init__(self, name: str | None = None, threshold: float = 0.5) -> None:
        super().__init__(name)
        self.threshold = _checks.real("threshold", threshold)

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return ((y_pred > self.threshold) == _aligned(y_true, y_pred)).mean(axis=-1)


class CategoricalAccuracy(Metric):
    """The share of one-hot targets whose class has the largest prediction.

    Examples
    --------
    >>> metric = cgru.metrics.CategoricalAccuracy()
    >>> metric.update_state([[0, 1], [0, 1]], [[0.2, 0.8], [0.6, 0.4]])
    >>> metric.result()
    0.5
    """

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return _aligned(y_true, y_pred).argmax(axis=-1) == y_pred.argmax(axis=-1)


class SparseCategoricalAccuracy(Metric):
    """The share of integer labels whose class has the largest prediction.

    Examples
    --------
    >>> metric = cgru.metrics.SparseCategoricalAccuracy()
    >>> metric.update_state([1, 1], [[0.2, 0.8], [0.6, 0.4]])
    >>> metric.result()
    0.5
    """

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        if y_true.shape == (*y_pred.shape[:-1], 1):
            y_true = y_true[..., 0]
        if y_true.shape != y_pred.shape[:-1]:
            raise ValueError(
                f"y_true: {self.name} expects integer labels of shape {y_pred.shape[:-1]}, "
                f"got shape {y_true.shape}"
            )
        return y_true == y_pred.argmax(axis=-1)


class _FittingAccuracy(Metric):
    """What ``"accuracy"`` stands for: the accuracy that fits the shapes, as in Keras."""

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        if y_pred.shape[-1] == 1:
            kind: type[Metric] = BinaryAccuracy
        elif y_true.ndim < y_pred.ndim or y_true.shape[-1] == 1:
            kind = SparseCategoricalAccuracy
        else:
            kind = CategoricalAccuracy
        return kind(self.name).values(y_true, y_pred)


def _aligned(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Targets in the shape of the predictions, which may have a last axis of size 1 more."""
    if y_true.shape == y_pred.shape[:-1] and y_pred.shape[-1:] == (1,):
        return y_true[..., np.newaxis]
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"y_true: expected shape {y_pred.shape}, that of the predictions, got {y_true.shape}"
        )
    return y_true


_NAMES = _checks.names_of(
    MeanAbsoluteError,
    MeanSquaredError,
    RootMeanSquaredError,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    accuracy=lambda: _FittingAccuracy("accuracy"),
    acc=lambda: _FittingAccuracy("acc"),
    mae=lambda: MeanAbsoluteError("mae"),
    MAE=lambda: MeanAbsoluteError("mae"),
    mse=lambda: MeanSquaredError("mse"),
    MSE=lambda: MeanSquaredError("mse"),
    rmse=lambda: RootMeanSquaredError("rmse"),
)


def get(identifier: Any) -> Metric:
    """The metric that a name, class or object stands for.

    Examples
    --------
    >>> cgru.metrics.get("accuracy").name
    'accuracy'
    """
    return _checks.resolve("metrics", identifier, Metric, _NAMES)
