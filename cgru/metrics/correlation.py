"""Metrics of how targets and predictions vary together, along the last axis."""

from __future__ import annotations

import numpy as np

from cgru.losses.base import EPSILON
from cgru.metrics.base import Metric, aligned


class PearsonCorrelation(Metric):
    """The mean of Pearson's correlations of the targets and predictions of each sample.

    Parameters
    ----------
    name : str, optional
    axis : int
        The axis along which they vary; only the last one.

    Notes
    -----
    What does not vary at all has the correlation 0, where Keras gives NaN.

    Examples
    --------
    >>> metric = cgru.metrics.PearsonCorrelation()
    >>> metric.update_state([[0.0, 1.0, 2.0]], [[1.0, 3.0, 5.0]])
    >>> round(metric.result(), 4)
    1.0
    """

    direction = "up"

    def __init__(self, name: str | None = "pearson_correlation", *, axis: int = -1) -> None:
        if axis != -1:
            raise ValueError(f"axis: expected -1, got {axis!r}")
        self.axis = axis
        super().__init__(name)

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        t, p = (y - y.mean(axis=-1, keepdims=True) for y in (aligned(y_true, y_pred), y_pred))
        scale = np.sqrt(np.square(t).sum(axis=-1) * np.square(p).sum(axis=-1))
        product = (t * p).sum(axis=-1)
        return np.divide(product, scale, out=np.zeros_like(product), where=scale > 0)


class ConcordanceCorrelation(PearsonCorrelation):
    """The mean of Lin's concordance correlations: 1 only where predictions are the targets.

    Parameters
    ----------
    name : str, optional
    axis : int
        The axis along which they vary; only the last one.

    Examples
    --------
    >>> metric = cgru.metrics.ConcordanceCorrelation()
    >>> metric.update_state([[0.0, 1.0, 2.0]], [[1.0, 2.0, 3.0]])
    >>> round(metric.result(), 4)
    0.5714
    """

    def __init__(self, name: str | None = "concordance_correlation", *, axis: int = -1) -> None:
        super().__init__(name, axis=axis)

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        y_true = aligned(y_true, y_pred)
        means = y_true.mean(axis=-1), y_pred.mean(axis=-1)
        t, p = y_true - means[0][..., np.newaxis], y_pred - means[1][..., np.newaxis]
        spread = np.square(t).mean(axis=-1) + np.square(p).mean(axis=-1)
        return 2 * (t * p).mean(axis=-1) / (spread + np.square(means[0] - means[1]) + EPSILON)
