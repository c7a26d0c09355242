"""Losses that ask for a margin."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru.losses.base import Gradient, Loss, mean


class Hinge(Loss):
    """The mean of ``max(1 - y_true y_pred, 0)`` over the last axis.

    Targets are -1 and 1; where a batch has only 0 and 1, 0 stands for -1.

    Parameters
    ----------
    reduction, name, dtype
        As for `Loss`.

    Examples
    --------
    >>> cgru.losses.Hinge()([[1.0], [-1.0]], [[0.5], [-2.0]])
    0.25
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "hinge",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Gradient]:
        t, missing = _missing(y_true, y_pred)
        return mean(missing), lambda: -t * (missing > 0) / t.dtype.type(t.shape[-1])


class SquaredHinge(Loss):
    """The mean of ``max(1 - y_true y_pred, 0)`` squared over the last axis.

    Targets are -1 and 1; where a batch has only 0 and 1, 0 stands for -1.

    Parameters
    ----------
    reduction, name, dtype
        As for `Loss`.

    Examples
    --------
    >>> cgru.losses.SquaredHinge()([[1.0], [-1.0]], [[0.5], [-2.0]])
    0.125
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "squared_hinge",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Gradient]:
        t, missing = _missing(y_true, y_pred)
        return mean(missing * missing), lambda: -2 * t * missing / t.dtype.type(t.shape[-1])


class CategoricalHinge(Loss):
    """``max(1 + largest prediction of another class - that of the target's class, 0)``.

    Targets are one-hot over the last axis.

    Parameters
    ----------
    reduction, name, dtype
        As for `Loss`.

    Examples
    --------
    >>> cgru.losses.CategoricalHinge()([[0.0, 1.0]], [[0.5, 1.0]])
    0.5
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_hinge",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Gradient]:
        others = (1 - y_true) * y_pred
        largest = others.max(axis=-1, keepdims=True)
        missing = 1 + largest - (y_true * y_pred).sum(axis=-1, keepdims=True)

        def gradient() -> np.ndarray:
            at_largest = others == largest
            share = at_largest / at_largest.sum(axis=-1, keepdims=True)
            return (missing > 0) * (share * (1 - y_true) - y_true)

        return np.maximum(missing, 0)[..., 0], gradient


def _missing(y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Targets of -1 and 1, and what each prediction lacks of the margin."""
    is_binary = ((y_true == 0) | (y_true == 1)).all()
    t = 2 * y_true - 1 if is_binary else y_true
    return t, np.maximum(1 - t * y_pred, 0)
