"""Metrics of how often predictions are right."""

from __future__ import annotations

import numpy as np

from cgru import _checks
from cgru.losses.base import by_shapes
from cgru.metrics.base import Metric, aligned


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

    direction = "up"

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return aligned(y_true, y_pred) == y_pred


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

    direction = "up"

    def __init__(self, name: str | None = None, *, threshold: float = 0.5) -> None:
        super().__init__(name)
        self.threshold = _checks.real("threshold", threshold)

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return ((y_pred > self.threshold) == aligned(y_true, y_pred)).mean(axis=-1)


class CategoricalAccuracy(Metric):
    """The share of one-hot targets whose class has the largest prediction.

    Examples
    --------
    >>> metric = cgru.metrics.CategoricalAccuracy()
    >>> metric.update_state([[0, 1], [0, 1]], [[0.2, 0.8], [0.6, 0.4]])
    >>> metric.result()
    0.5
    """

    direction = "up"

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return aligned(y_true, y_pred).argmax(axis=-1) == y_pred.argmax(axis=-1)


class SparseCategoricalAccuracy(Metric):
    """The share of integer labels whose class has the largest prediction.

    Examples
    --------
    >>> metric = cgru.metrics.SparseCategoricalAccuracy()
    >>> metric.update_state([1, 1], [[0.2, 0.8], [0.6, 0.4]])
    >>> metric.result()
    0.5
    """

    direction = "up"

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        if y_true.shape == (*y_pred.shape[:-1], 1):
            y_true = y_true[..., 0]
        if y_true.shape != y_pred.shape[:-1]:
            raise ValueError(
                f"y_true: {self.name} expects integer labels of shape {y_pred.shape[:-1]}, "
                f"got shape {y_true.shape}"
            )
        return y_true == y_pred.argmax(axis=-1)


class FittingAccuracy(Metric):
    """What ``"accuracy"`` stands for: the accuracy that fits the shapes, as in Keras."""

    direction = "up"

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        kinds = BinaryAccuracy, SparseCategoricalAccuracy, CategoricalAccuracy
        kind: type[Metric] = by_shapes(y_true.shape, y_pred.shape, *kinds)
        return kind(self.name).values(y_true, y_pred)


class TopKCategoricalAccuracy(Metric):
    """The share of one-hot targets whose class is among the `k` largest predictions.

    Parameters
    ----------
    k : int
    name : str, optional

    Examples
    --------
    >>> metric = cgru.metrics.TopKCategoricalAccuracy(k=2)
    >>> metric.update_state([[0, 0, 1]], [[0.5, 0.1, 0.4]])
    >>> metric.result()
    1.0
    """

    direction = "up"

    def __init__(self, k: int = 5, name: str | None = "top_k_categorical_accuracy") -> None:
        super().__init__(name)
        self.k = _checks.integer("k", k, 1)

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return _in_top_k(aligned(y_true, y_pred).argmax(axis=-1), y_pred, self.k)


class SparseTopKCategoricalAccuracy(Metric):
    """The share of integer labels among the `k` largest predictions.

    Parameters
    ----------
    k : int
    name : str, optional

    Examples
    --------
    >>> metric = cgru.metrics.SparseTopKCategoricalAccuracy(k=2)
    >>> metric.update_state([2], [[0.5, 0.1, 0.4]])
    >>> metric.result()
    1.0
    """

    direction = "up"

    def __init__(self, k: int = 5, name: str | None = "sparse_top_k_categorical_accuracy") -> None:
        super().__init__(name)
        self.k = _checks.integer("k", k, 1)

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        labels = y_true.reshape(y_pred.shape[:-1]).astype(np.intp)
        return _in_top_k(labels, y_pred, self.k)


def _in_top_k(labels: np.ndarray, y_pred: np.ndarray, k: int) -> np.ndarray:
    """Whether fewer than `k` predictions are larger than that of the label."""
    own = np.take_along_axis(y_pred, labels[..., np.newaxis], axis=-1)
    return (y_pred > own).sum(axis=-1) < k
