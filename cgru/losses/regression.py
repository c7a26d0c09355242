"""Losses of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _checks, _kernels, activations
from cgru.losses.base import EPSILON, Loss


class MeanLoss(Loss):
    """The mean over the last axis of something of each place."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = None
    ) -> None:
        super().__init__(name, reduction)

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, slopes = self.places(y_true, y_pred)
        return _mean(values), slopes / slopes.dtype.type(slopes.shape[-1])

    def places(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The value at each place, and its derivative by the prediction."""
        raise NotImplementedError(f"{type(self).__name__}.places")


class MeanSquaredError(MeanLoss):
    """The mean of squared differences.

    Parameters
    ----------
    reduction : str, optional
        As for `Loss`.
    name : str, optional

    Examples
    --------
    >>> cgru.losses.MeanSquaredError()([[1.0], [2.0]], [[1.0], [4.0]])
    2.0
    """

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _kernels.squared_error(y_true, y_pred)


class MeanAbsoluteError(MeanLoss):
    """The mean of absolute differences.

    Parameters
    ----------
    reduction : str, optional
        As for `Loss`.
    name : str, optional

    Examples
    --------
    >>> cgru.losses.MeanAbsoluteError()([[1.0], [2.0]], [[1.0], [4.0]])
    1.0
    """

    def places(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        d = y_pred - y_true
        return np.abs(d), np.sign(d)


class MeanAbsolutePercentageError(MeanLoss):
    """The mean of absolute differences in percent of the targets.

    Parameters
    ----------
    reduction : str, optional
        As for `Loss`.
    name : str, optional

    Examples
    --------
    >>> round(cgru.losses.MeanAbsolutePercentageError()([[2.0]], [[1.0]]), 4)
    50.0
    """

    def places(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scale = 100 / np.maximum(np.abs(y_true), y_true.dtype.type(EPSILON))
        d = y_pred - y_true
        return np.abs(d) * scale, np.sign(d) * scale


class MeanSquaredLogarithmicError(MeanLoss):
    """The mean of squared differences of ``log(1 + y)``; what is negative counts as 0.

    Parameters
    ----------
    reduction : str, optional
        As for `Loss`.
    name : str, optional

    Examples
    --------
    >>> round(cgru.losses.MeanSquaredLogarithmicError()([[0.0]], [[np.e - 1]]), 4)
    1.0
    """

    def places(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        least = y_pred.dtype.type(EPSILON)
        d = np.log1p(np.maximum(y_pred, least)) - np.log1p(np.maximum(y_true, least))
        return np.square(d), np.where(y_pred >= least, 2 * d / (1 + y_pred), 0).astype(d.dtype)


class LogCosh(MeanLoss):
    """The mean of ``log(cosh(difference))``: like half the square near 0, like the size far off.

    Parameters
    ----------
    reduction : str, optional
        As for `Loss`.
    name : str, optional

    Examples
    --------
    >>> cgru.losses.LogCosh()([[1.0]], [[1.0]])
    0.0
    """

    def places(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        d = y_pred - y_true
        values = d + np.logaddexp(-2 * d, d.dtype.type(0)) - d.dtype.type(np.log(2))
        return values, activations.tanh(d)


class Poisson(MeanLoss):
    """The mean of ``y_pred - y_true * log(y_pred)``.

    Parameters
    ----------
    reduction : str, optional
        As for `Loss`.
    name : str, optional

    Examples
    --------
    >>> cgru.losses.Poisson()([[1.0]], [[1.0]]) > 0.99
    True
    """

    def places(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shifted = y_pred + y_pred.dtype.type(EPSILON)
        return y_pred - y_true * np.log(shifted), 1 - y_true / shifted


class Huber(MeanLoss):
    """The mean of half the squares of small differences, and of the sizes of large ones.

    Parameters
    ----------
    delta : float
        Where small ends.
    reduction : str, optional
        As for `Loss`.
    name : str, optional

    Examples
    --------
    >>> cgru.losses.Huber()([[0.0], [0.0]], [[1.0], [3.0]])
    1.5
    """

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
    ) -> None:
        super().__init__(reduction, name)
        self.delta = _checks.real("delta", delta, 0)

    def places(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        d, delta = y_pred - y_true, y_pred.dtype.type(self.delta)
        size = np.abs(d)
        values = np.where(size <= delta, np.square(d) / 2, delta * size - delta * delta / 2)
        return values, np.clip(d, -delta, delta)


class CosineSimilarity(Loss):
    """Minus the cosine of the angle between targets and predictions.

    Parameters
    ----------
    axis : int
        The axis of their components; only the last one.
    reduction : str, optional
        As for `Loss`.
    name : str, optional

    Examples
    --------
    >>> round(cgru.losses.CosineSimilarity()([[1.0, 0.0]], [[2.0, 0.0]]), 4)
    -1.0
    """

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(name, reduction)
        if axis != -1:
            raise ValueError(f"axis: expected -1, got {axis!r}")
        self.axis = axis

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        least = y_pred.dtype.type(1e-12)
        norms = [
            np.sqrt(np.maximum(np.square(y).sum(axis=-1, keepdims=True), least))
            for y in (y_true, y_pred)
        ]
        t, p = y_true / norms[0], y_pred / norms[1]
        cosine = (t * p).sum(axis=-1, keepdims=True)
        return -cosine[..., 0], (p * cosine - t) / norms[1]


class Quantile(MeanLoss):
    """The pinball loss: its least value is at the quantiles (Koenker and Bassett 1978).

    Parameters
    ----------
    quantiles : list of float
        Between 0 and 1.  The last axis of predictions has one place for each, that of the targets
        size 1 (or is not there).
    reduction : str, optional
        As for `Loss`.
    name : str, optional

    Examples
    --------
    A forecast that is 1 too low, for the middle and for the upper tenth:

    >>> round(cgru.losses.Quantile([0.5, 0.9])([[1.0]], [[0.0, 0.0]]), 4)
    0.7
    """

    def __init__(
        self,
        quantiles: Any,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(reduction, name)
        self.quantiles = [
            _checks.real("quantiles", q, 0, 1, open_minimum=True, open_maximum=True)
            for q in quantiles
        ]

    def prepare(
        self, y: Any, output_shape: tuple[int, ...], dtype: np.dtype, argument: str = "y"
    ) -> np.ndarray:
        if output_shape[-1] != len(self.quantiles):
            raise ValueError(
                f"quantiles: expected a prediction for each of {self.quantiles}, got predictions "
                f"of shape {output_shape}"
            )
        return super().prepare(y, (*output_shape[:-1], 1), dtype, argument)

    def places(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        d, q = y_true - y_pred, np.array(self.quantiles, y_pred.dtype)
        slopes = np.where(d > 0, -q, 1 - q) * (d != 0)
        return np.maximum(q * d, (q - 1) * d), slopes


def _mean(values: np.ndarray) -> np.ndarray:
    """``values.mean(axis=-1)``, in a third of its time for small arrays."""
    return np.add.reduce(values, axis=-1) / values.dtype.type(values.shape[-1])
