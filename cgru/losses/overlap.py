"""Losses of the overlap of two sets, given as probabilities to be in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _checks
from cgru.losses.base import EPSILON, Gradient, Loss


class Tversky(Loss):
    """One minus Tversky's index, the overlap in proportion to what is in either set.

    Salehi et al. 2017, arXiv:1706.05721.

    Parameters
    ----------
    alpha : float
        Weight of what is in the targets only.
    beta : float
        Weight of what is in the predictions only.
    reduction, name, dtype
        As for `Loss`.
    axis : int or tuple of int, optional
        Of the sets; all axes by default, the whole batch being one set.

    Examples
    --------
    >>> loss = cgru.losses.Tversky(alpha=0.25, beta=0.75)
    >>> round(loss([[1.0, 1.0, 0.0, 0.0]], [[1.0, 0.0, 1.0, 0.0]]), 4)
    0.5
    """

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str = "tversky",
        axis: int | tuple[int, ...] | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.alpha = _checks.real("alpha", alpha)
        self.beta = _checks.real("beta", beta)
        self.axis = _axes(axis)

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, Gradient]:
        alpha, beta = self.alpha, self.beta

        def total(x: np.ndarray) -> np.ndarray:
            return x.sum(axis=self.axis, keepdims=True)

        both = total(y_true * y_pred)
        all_ = (
            both
            + alpha * total(y_true * (1 - y_pred))
            + beta * total(y_pred * (1 - y_true))
            + y_pred.dtype.type(EPSILON)
        )

        def gradient() -> np.ndarray:
            all_changes = y_true * (1 - alpha) + beta * (1 - y_true)
            return (both * all_changes - all_ * y_true) / (all_ * all_)

        return np.squeeze(1 - both / all_, axis=self.axis), gradient


class Dice(Tversky):
    """One minus Dice's coefficient, twice the overlap in proportion to the sum of both sets.

    Parameters
    ----------
    reduction, name, dtype
        As for `Loss`.
    axis : int or tuple of int, optional
        Of the sets; all axes by default, the whole batch being one set.

    Examples
    --------
    >>> loss = cgru.losses.Dice()
    >>> round(loss([[1.0, 1.0, 0.0, 0.0]], [[1.0, 0.0, 1.0, 0.0]]), 4)
    0.5
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "dice",
        axis: int | tuple[int, ...] | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(0.5, 0.5, reduction, name, axis, dtype)


def _axes(axis: Any) -> int | tuple[int, ...] | None:
    if axis is None:
        return None
    if isinstance(axis, (list, tuple)):
        return tuple(_checks.axis("axis", item) for item in axis)
    return _checks.axis("axis", axis)
