"""Losses: how far predictions are from targets, and the gradient of that.

Each gives one value per sample (and time step); the loss of a batch is their mean, each value
first multiplied by its sample weight where there are any.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _checks, _kernels, activations
from cgru._configs import Configurable

EPSILON = 1e-7  # keeps probabilities away from 0 and 1 before their logarithm is taken


class Loss(Configurable):
    """Base class of all losses.

    A subclass implements ``forward(y_true, y_pred)``, which returns the values, of shape
    ``y_pred.shape[:-1]``, and their gradients with respect to `y_pred`, of its shape.

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

    def __init__(self, name: str | None = None) -> None:
        self.name = name or _checks.snake_case(type(self).__name__)

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

    def value_and_grad(
        self, y_true: np.ndarray, y_pred: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> tuple[float, np.ndarray]:
        """The loss of a batch of prepared targets, and its gradient with respect to `y_pred`."""
        values, grad = self.forward(y_true, y_pred)
        values = np.ascontiguousarray(values, y_pred.dtype)
        grad = np.ascontiguousarray(grad, y_pred.dtype)
        if sample_weight is not None and sample_weight.ndim < values.ndim:
            axes = (1,) * (values.ndim - sample_weight.ndim)
            weight = sample_weight.reshape(sample_weight.shape + axes)
            sample_weight = np.ascontiguousarray(np.broadcast_to(weight, values.shape))
        return _kernels.mean_loss(values, grad, sample_weight), grad

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """The loss of predictions.

        Parameters
        ----------
        y_true, y_pred : array_like
        sample_weight : array_like, shape (batch,) or (batch, time), optional

        Returns
        -------
        float
        """
        predictions = _checks.numbers("y_pred", y_pred)
        dtype = np.result_type(predictions, np.float32)
        predictions = _checks.floats("y_pred", predictions, dtype)
        targets = self.prepare(y_true, predictions.shape, dtype, "y_true")
        if sample_weight is not None:
            sample_weight = _checks.floats("sample_weight", sample_weight, dtype)
            check_sample_weight(sample_weight, predictions.shape)
        return self.value_and_grad(targets, predictions, sample_weight)[0]


def check_sample_weight(
    weight: np.ndarray, output_shape: tuple[int, ...], argument: str = "sample_weight"
) -> None:
    """Raise a ValueError unless there is a weight per sample, or per sample and time step."""
    allowed = {output_shape[: axis + 1] for axis in range(max(1, len(output_shape) - 1))}
    if weight.shape not in allowed:
        expected = " or ".join(map(str, sorted(allowed, key=len)))
        raise ValueError(f"{argument}: expected shape {expected}, got {weight.shape}")
    if weight.min() < 0:
        raise ValueError(f"{argument}: expected weights >= 0, got {weight.min()}")


class MeanSquaredError(Loss):
    """The mean of squared differences.

    Examples
    --------
    >>> cgru.losses.MeanSquaredError()([[1.0], [2.0]], [[1.0], [4.0]])
    2.0
    """

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _kernels.squared_error(y_true, y_pred)


class MeanAbsoluteError(Loss):
    """The mean of absolute differences.

    Examples
    --------
    >>> cgru.losses.MeanAbsoluteError()([[1.0], [2.0]], [[1.0], [4.0]])
    1.0
    """

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        d = y_pred - y_true
        return _mean(np.abs(d)), np.sign(d) * d.dtype.type(1 / d.shape[-1])


class _Crossentropy(Loss):
    """Targets that are probabilities."""

    def __init__(
        self, from_logits: bool = False, label_smoothing: float = 0.0, name: str | None = None
    ) -> None:
        super().__init__(name)
        self.from_logits = bool(from_logits)
        self.label_smoothing = _checks.real("label_smoothing", label_smoothing, 0, 1)

    def prepare(
        self, y: Any, output_shape: tuple[int, ...], dtype: np.dtype, argument: str = "y"
    ) -> np.ndarray:
        targets = super().prepare(y, output_shape, dtype, argument)
        if targets.min() < 0 or targets.max() > 1:
            raise ValueError(
                f"{argument}: expected targets between 0 and 1, got values from "
                f"{targets.min():g} to {targets.max():g}"
            )
        return targets


class BinaryCrossentropy(_Crossentropy):
    """Cross-entropy of yes-or-no targets, averaged over the last axis.

    Parameters
    ----------
    from_logits : bool
        Whether predictions are logits rather than probabilities.
    label_smoothing : float
        Between 0 and 1: moves targets this far towards 0.5.
    name : str, optional

    Examples
    --------
    >>> loss = cgru.losses.BinaryCrossentropy(from_logits=True)
    >>> round(loss([[1.0], [0.0]], [[0.0], [0.0]]), 4)
    0.6931
    """

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        count = y_pred.shape[-1]
        t = y_true * (1 - self.label_smoothing) + self.label_smoothing / 2
        if self.from_logits:
            values = np.maximum(y_pred, 0) - y_pred * t + np.log1p(np.exp(-np.abs(y_pred)))
            grad = activations.sigmoid(y_pred) - t
        else:
            p, inside = _clip(y_pred)
            values = -(t * np.log(p) + (1 - t) * np.log1p(-p))
            grad = np.where(inside, (p - t) / (p * (1 - p)), 0)
        return values.mean(axis=-1), (grad / count).astype(y_pred.dtype, copy=False)


class CategoricalCrossentropy(_Crossentropy):
    """Cross-entropy of one-hot targets over the last axis.

    Parameters
    ----------
    from_logits : bool
        Whether predictions are logits rather than probabilities.
    label_smoothing : float
        Between 0 and 1: moves targets this far towards equal probabilities.
    name : str, optional

    Examples
    --------
    >>> loss = cgru.losses.CategoricalCrossentropy()
    >>> round(loss([[0.0, 1.0]], [[0.5, 0.5]]), 4)
    0.6931
    """

    def prepare(
        self, y: Any, output_shape: tuple[int, ...], dtype: np.dtype, argument: str = "y"
    ) -> np.ndarray:
        try:
            return super().prepare(y, output_shape, dtype, argument)
        except ValueError as error:
            if np.shape(y) in (output_shape[:-1], (*output_shape[:-1], 1)):
                raise ValueError(
                    f"{error}; for integer labels use sparse_categorical_crossentropy"
                ) from None
            raise

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        t = y_true
        if self.label_smoothing:
            smoothing = y_pred.dtype.type(self.label_smoothing)
            t = t * (1 - smoothing) + smoothing / y_pred.shape[-1]
        if self.from_logits:
            log_p = _log_softmax(y_pred)
            return -(t * log_p).sum(axis=-1), np.exp(log_p) * t.sum(axis=-1, keepdims=True) - t
        total = y_pred.sum(axis=-1, keepdims=True)
        p, inside = _clip(y_pred / total)
        dp = np.where(inside, -t / p, 0)
        grad = (dp - (dp * p).sum(axis=-1, keepdims=True)) / total
        return -(t * np.log(p)).sum(axis=-1), grad


class SparseCategoricalCrossentropy(Loss):
    """Cross-entropy of integer labels over the last axis.

    Parameters
    ----------
    from_logits : bool
        Whether predictions are logits rather than probabilities.
    name : str, optional

    Examples
    --------
    >>> loss = cgru.losses.SparseCategoricalCrossentropy()
    >>> round(loss([1], [[0.5, 0.5]]), 4)
    0.6931
    """

    def __init__(self, from_logits: bool = False, name: str | None = None) -> None:
        super().__init__(name)
        self.from_logits = bool(from_logits)

    def prepare(
        self, y: Any, output_shape: tuple[int, ...], dtype: np.dtype, argument: str = "y"
    ) -> np.ndarray:
        labels = _checks.numbers(argument, y)
        if labels.shape == (*output_shape[:-1], 1):
            labels = labels[..., 0]
        if labels.shape != output_shape[:-1]:
            hint = (
                "; for one-hot targets use categorical_crossentropy"
                if labels.shape == output_shape
                else ""
            )
            raise ValueError(
                f"{argument}: expected integer labels of shape {output_shape[:-1]}, "
                f"got shape {labels.shape}{hint}"
            )
        classes = output_shape[-1]
        with np.errstate(invalid="ignore"):  # NaN is reported just below
            integers = labels.astype(np.intp)
        bad = (integers != labels) | (integers < 0) | (integers >= classes)
        if bad.any():
            raise ValueError(
                f"{argument}: expected integer labels from 0 to {classes - 1}, one for each of "
                f"the {classes} outputs, got {labels[bad][0]}"
            )
        return integers

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        label = y_true[..., np.newaxis]
        if self.from_logits:
            log_p = _log_softmax(y_pred)
            grad = np.exp(log_p)
            here = np.take_along_axis(grad, label, axis=-1)
            np.put_along_axis(grad, label, here - 1, axis=-1)
            return -np.take_along_axis(log_p, label, axis=-1)[..., 0], grad
        total = y_pred.sum(axis=-1, keepdims=True)
        p, inside = _clip(np.take_along_axis(y_pred, label, axis=-1) / total)
        dp = np.where(inside, -1 / p, 0)
        grad = np.broadcast_to(-dp * p / total, y_pred.shape).copy()
        here = np.take_along_axis(grad, label, axis=-1)
        np.put_along_axis(grad, label, here + dp / total, axis=-1)
        return -np.log(p)[..., 0], grad


def _mean(values: np.ndarray) -> np.ndarray:
    """``values.mean(axis=-1)``, in a third of its time for small arrays."""
    return np.add.reduce(values, axis=-1) / values.dtype.type(values.shape[-1])


def _log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _clip(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities kept off 0 and 1, and where that changed nothing."""
    clipped = np.clip(p, p.dtype.type(EPSILON), p.dtype.type(1 - EPSILON))
    return clipped, clipped == p


_NAMES = _checks.names_of(
    MeanSquaredError,
    MeanAbsoluteError,
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    mse=MeanSquaredError,
    MSE=MeanSquaredError,
    mae=MeanAbsoluteError,
    MAE=MeanAbsoluteError,
    bce=BinaryCrossentropy,
)


def get(identifier: Any) -> Loss:
    """The loss that a name, class or object stands for.

    Examples
    --------
    >>> cgru.losses.get("mse").name
    'mean_squared_error'
    """
    return _checks.resolve("loss", identifier, Loss, _NAMES)
