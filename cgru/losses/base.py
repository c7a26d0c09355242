"""The base class of losses: how far predictions are from targets, and the gradient of that.

Each gives one value per sample (and time step); the loss of a batch is their mean, each value
first multiplied by its sample weight where there are any.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _checks, _kernels
from cgru._configs import Configurable

EPSILON = 1e-7  # keeps what is divided by, or has its logarithm taken, away from 0

REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None)


class Loss(Configurable):
    """Base class of all losses.

    A subclass implements ``forward(y_true, y_pred)``, which returns the values, of shape
    ``y_pred.shape[:-1]``, and their gradients with respect to `y_pred`, of its shape: an array that
    is changed in place then, unless it is one of the arguments, a view, or read-only.

    Parameters
    ----------
    name : str, optional
    reduction : {"sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None}
        What the loss of a batch is: the mean of its values ("mean" is another word for
        "sum_over_batch_size"), their sum, their sum over that of the sample weights, or, when the
        loss is called, the values as they are.

    Examples
    --------
    A loss of your own:

    >>> class FourthPower(cgru.losses.Loss):
    ...     def forward(self, y_true, y_pred):
    ...         d = y_pred - y_true
    ...         return (d**4).mean(axis=-1), 4 * d**3 / d.shape[-1]
    >>> FourthPower()([[0.0]], [[2.0]])
    16.0
    """

    def __init__(
        self, name: str | None = None, reduction: str | None = "sum_over_batch_size"
    ) -> None:
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction: expected one of {REDUCTIONS}, got {reduction!r}")
        self.name = name or _checks.snake_case(type(self).__name__)
        self.reduction = reduction

    by_step = True  # whether the targets of a sequence with an output for each step are as many

    def counted(self, y_true: np.ndarray, mask: np.ndarray | None) -> np.ndarray | None:
        """What counts of prepared targets, of what is not masked; None for all of it."""
        return mask

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One value per sample, and the gradient of each with respect to its prediction."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def prepare(
        self, y: Any, output_shape: tuple[int, ...], dtype: np.dtype, argument: str = "y"
    ) -> np.ndarray:
        """Check and convert targets for predictions of `output_shape`.

        Targets have that shape, or lack its last axis where it has size 1.
        """
        targets = _checks.floats(argument, y, dtype)
        if output_shape[-1] == 1 and targets.shape == output_shape[:-1]:
            return targets[..., np.newaxis]
        if targets.shape != output_shape:
            raise ValueError(
                f"{argument}: expected shape {output_shape}, that of the predictions, "
                f"got {targets.shape}"
            )
        return targets

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """One value per sample (and time step)."""
        return self.forward(y_true, y_pred)[0]

    def value_and_grad(
        self,
        y_true: np.ndarray,
        y_pred: np.ndarray,
        sample_weight: np.ndarray | None = None,
        mask: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        """The loss of a batch of prepared targets, and its gradient with respect to `y_pred`.

        What is masked has no part in either, whatever it is.
        """
        values, grad = self.forward(y_true, y_pred)
        values = np.ascontiguousarray(values, y_pred.dtype)
        grad = np.ascontiguousarray(grad, y_pred.dtype)
        if mask is not None and mask.ndim > values.ndim:
            mask = None  # it was of steps that are gone
        if mask is None and self.reduction in ("sum_over_batch_size", "mean"):
            others = grad is y_true or grad is y_pred or grad.base is not None
            if others or not grad.flags.writeable:  # it is not there to be changed
                grad = grad.copy()
            return _kernels.mean_loss(values, grad, _spread(sample_weight, values)), grad
        weight, divisor = self._weights(values, sample_weight, mask)
        if mask is not None:
            valid = _spread(mask, values)
            values = np.where(valid, values, values.dtype.type(0))
            inner = valid.reshape(valid.shape + (1,) * (grad.ndim - valid.ndim))
            grad = np.where(inner, grad, grad.dtype.type(0))
        if weight is not None:
            values = values * weight
            grad = grad * weight.reshape(weight.shape + (1,) * (grad.ndim - weight.ndim))
        return float(values.sum(dtype=np.float64) / divisor), grad / grad.dtype.type(divisor)

    def _weights(
        self, values: np.ndarray, sample_weight: np.ndarray | None, mask: np.ndarray | None
    ) -> tuple[np.ndarray | None, float]:
        """The factor of each value, and what their sum is divided by; masks as in Keras."""
        weight = _spread(sample_weight, values)
        if mask is not None:
            factor = _spread(mask, values).astype(values.dtype)
            if self.reduction in ("sum_over_batch_size", "mean"):
                factor = factor * values.dtype.type(mask.size / max(1, mask.sum()))
            weight = factor if weight is None else weight * factor
        if self.reduction == "mean_with_sample_weight" and weight is not None:
            return weight, float(weight.sum(dtype=np.float64)) or 1.0
        return weight, 1.0 if self.reduction == "sum" else float(values.size)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of predictions.

        Parameters
        ----------
        y_true, y_pred : array_like
        sample_weight : array_like, shape (batch,) or (batch, time), optional

        Returns
        -------
        float, or ndarray where the reduction is none
        """
        predictions = _checks.numbers("y_pred", y_pred)
        dtype = np.result_type(predictions, np.float32)
        predictions = _checks.floats("y_pred", predictions, dtype)
        targets = self.prepare(y_true, predictions.shape, dtype, "y_true")
        if sample_weight is not None:
            sample_weight = _checks.floats("sample_weight", sample_weight, dtype)
            sample_weight = check_sample_weight(sample_weight, predictions.shape)
        if self.reduction in ("none", None):
            values = self.values(targets, predictions)
            return values if sample_weight is None else values * _spread(sample_weight, values)
        return self.value_and_grad(targets, predictions, sample_weight)[0]


def check_sample_weight(
    weight: np.ndarray, output_shape: tuple[int, ...], argument: str = "sample_weight"
) -> np.ndarray:
    """The weights, without a last axis of size 1 that is too much.

    Raises
    ------
    ValueError
        Unless there is a weight per sample, or per sample and time step.
    """
    allowed = {output_shape[: axis + 1] for axis in range(max(1, len(output_shape) - 1))}
    if weight.shape not in allowed and weight.shape[:-1] in allowed and weight.shape[-1] == 1:
        weight = weight[..., 0]
    if weight.shape not in allowed:
        expected = " or ".join(map(str, sorted(allowed, key=len)))
        raise ValueError(f"{argument}: expected shape {expected}, got {weight.shape}")
    if weight.min() < 0:
        raise ValueError(f"{argument}: expected weights >= 0, got {weight.min()}")
    return weight


def by_shapes(
    y_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    binary: Any,
    sparse: Any,
    categorical: Any,
) -> Any:
    """Which of three fits targets and predictions of these shapes, as in Keras."""
    if output_shape[-1] == 1:
        return binary
    if len(y_shape) < len(output_shape) or y_shape[-1] == 1:
        return sparse
    return categorical


def _spread(weight: np.ndarray | None, values: np.ndarray) -> Any:
    """Weights of samples as weights of all their values."""
    if weight is None or weight.shape == values.shape:
        return weight
    wide = weight.reshape(weight.shape + (1,) * (values.ndim - weight.ndim))
    return np.ascontiguousarray(np.broadcast_to(wide, values.shape))
