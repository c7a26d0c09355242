"""Losses of classes and probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _checks, activations
from cgru.losses.base import EPSILON, Loss, by_shapes
from cgru.losses.regression import MeanLoss


class _Crossentropy(Loss):
    """Targets that are probabilities."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(name, reduction)
        if axis != -1:
            raise ValueError(f"axis: expected -1, got {axis!r}")
        self.axis = axis
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
    axis : int
        The axis of the classes; only the last one.
    reduction : str, optional
        As for `Loss`.
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
    axis : int
        The axis of the classes; only the last one.
    reduction : str, optional
        As for `Loss`.
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
            log_p = activations.log_softmax(y_pred)
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
    ignore_class : int, optional
        A label that does not count.
    reduction : str, optional
        As for `Loss`.
    axis : int
        The axis of the classes; only the last one.
    name : str, optional

    Examples
    --------
    >>> loss = cgru.losses.SparseCategoricalCrossentropy()
    >>> round(loss([1], [[0.5, 0.5]]), 4)
    0.6931
    """

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = None,
    ) -> None:
        super().__init__(name, reduction)
        if axis != -1:
            raise ValueError(f"axis: expected -1, got {axis!r}")
        self.axis = axis
        self.from_logits = bool(from_logits)
        self.ignore_class = ignore_class

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
        if self.ignore_class is not None:
            bad &= labels != self.ignore_class
        if bad.any():
            raise ValueError(
                f"{argument}: expected integer labels from 0 to {classes - 1}, one for each of "
                f"the {classes} outputs, got {labels[bad][0]}"
            )
        return integers

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.ignore_class is None:
            return self._forward(y_true, y_pred)
        counts = y_true != self.ignore_class
        values, grad = self._forward(np.where(counts, y_true, 0), y_pred)
        return values * counts, grad * counts[..., np.newaxis]

    def counted(self, y_true: np.ndarray, mask: np.ndarray | None) -> np.ndarray | None:
        if self.ignore_class is None:
            return mask
        counts: np.ndarray = y_true != self.ignore_class
        return counts if mask is None else mask & counts

    def value_and_grad(
        self,
        y_true: np.ndarray,
        y_pred: np.ndarray,
        sample_weight: np.ndarray | None = None,
        mask: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        return super().value_and_grad(y_true, y_pred, sample_weight, self.counted(y_true, mask))

    def _forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        label = y_true[..., np.newaxis]
        if self.from_logits:
            log_p = activations.log_softmax(y_pred)
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


class FittingCrossentropy(Loss):
    """What ``"crossentropy"`` stands for: the cross-entropy that fits the shapes, as in Keras."""

    def fitting(self, y_true: np.ndarray, output_shape: tuple[int, ...]) -> Loss:
        """The one for these targets, prepared or not."""
        kinds = BinaryCrossentropy, SparseCategoricalCrossentropy, CategoricalCrossentropy
        kind: type[Loss] = by_shapes(y_true.shape, output_shape, *kinds)
        return kind()

    def prepare(
        self, y: Any, output_shape: tuple[int, ...], dtype: np.dtype, argument: str = "y"
    ) -> np.ndarray:
        targets = _checks.numbers(argument, y)
        return self.fitting(targets, output_shape).prepare(targets, output_shape, dtype, argument)

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.fitting(y_true, y_pred.shape).forward(y_true, y_pred)


class BinaryFocalCrossentropy(_Crossentropy):
    """Binary cross-entropy in which what is predicted well counts less (Lin et al. 2018).

    Parameters
    ----------
    apply_class_balancing : bool
        Whether to weigh the classes by `alpha` and ``1 - alpha``.
    alpha : float
    gamma : float
        How much less.
    from_logits : bool
    label_smoothing : float
    axis : int
        Only the last one.
    reduction : str, optional
        As for `Loss`.
    name : str, optional

    Examples
    --------
    >>> round(cgru.losses.BinaryFocalCrossentropy()([[1.0]], [[0.5]]), 4)
    0.1733
    """

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name)
        self.apply_class_balancing = bool(apply_class_balancing)
        self.alpha = _checks.real("alpha", alpha, 0)
        self.gamma = _checks.real("gamma", gamma, 0)

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        t = y_true * (1 - self.label_smoothing) + self.label_smoothing / 2
        prediction = activations.sigmoid(y_pred) if self.from_logits else y_pred
        p, inside = _clip(prediction)
        entropy = -(t * np.log(p) + (1 - t) * np.log1p(-p))
        dentropy = np.where(inside, (p - t) / (p * (1 - p)), 0)
        rest = 1 - (t * prediction + (1 - t) * (1 - prediction))
        factor = rest**self.gamma
        dfactor = self.gamma * rest ** (self.gamma - 1) * (1 - 2 * t) if self.gamma else 0 * rest
        if self.apply_class_balancing:
            balance = t * self.alpha + (1 - t) * (1 - self.alpha)
            factor, dfactor = factor * balance, dfactor * balance
        grad = dfactor * entropy + factor * dentropy
        if self.from_logits:
            grad = grad * prediction * (1 - prediction)
        grad = grad / y_pred.shape[-1]
        return (factor * entropy).mean(axis=-1), grad.astype(y_pred.dtype, copy=False)


class CategoricalFocalCrossentropy(CategoricalCrossentropy):
    """Categorical cross-entropy in which what is predicted well counts less (Lin et al. 2018).

    Parameters
    ----------
    alpha : float
        Factor on all classes.
    gamma : float
        How much less.
    from_logits : bool
    label_smoothing : float
    axis : int
        Only the last one.
    reduction : str, optional
        As for `Loss`.
    name : str, optional

    Examples
    --------
    >>> round(cgru.losses.CategoricalFocalCrossentropy()([[0.0, 1.0]], [[0.5, 0.5]]), 4)
    0.0433
    """

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name)
        self.alpha = _checks.real("alpha", alpha, 0)
        self.gamma = _checks.real("gamma", gamma, 0)

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        t = y_true
        if self.label_smoothing:
            t = t * (1 - self.label_smoothing) + self.label_smoothing / y_pred.shape[-1]
        prediction = activations.softmax(y_pred) if self.from_logits else y_pred
        total = prediction.sum(axis=-1, keepdims=True)
        p, inside = _clip(prediction / total)
        power = (1 - p) ** self.gamma
        values = -(self.alpha * power * t * np.log(p)).sum(axis=-1)
        slope = self.gamma * (1 - p) ** (self.gamma - 1) if self.gamma else 0 * p
        dp = np.where(inside, self.alpha * t * (slope * np.log(p) - power / p), 0)
        grad = (dp - (dp * prediction / total).sum(axis=-1, keepdims=True)) / total
        if self.from_logits:
            grad = prediction * (grad - (grad * prediction).sum(axis=-1, keepdims=True))
        return values, grad.astype(y_pred.dtype, copy=False)


class CategoricalGeneralizedCrossEntropy(SparseCategoricalCrossentropy):
    """``(1 - p**q) / q`` of the probability of the label: robust to labels that are wrong.

    Parameters
    ----------
    q : float
        Between 0, where it is the cross-entropy, and 1, where it is the absolute error.
    reduction : str, optional
        As for `Loss`.
    name : str, optional

    References
    ----------
    Zhang and Sabuncu 2018, "Generalized cross entropy loss for training deep neural networks with
    noisy labels".

    Examples
    --------
    >>> cgru.losses.CategoricalGeneralizedCrossEntropy()([1], [[0.75, 0.25]])
    1.0
    """

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_generalized_cross_entropy",
    ) -> None:
        super().__init__(reduction=reduction, name=name)
        self.q = _checks.real("q", q, 0, 1, open_minimum=True, open_maximum=True)

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        labels = y_true[..., np.newaxis]
        p, q = np.take_along_axis(y_pred, labels, axis=-1), y_pred.dtype.type(self.q)
        grad = np.zeros_like(y_pred)
        np.put_along_axis(grad, labels, -(p ** (q - 1)), axis=-1)
        return ((1 - p**q) / q)[..., 0], grad


class KLDivergence(Loss):
    """``sum(y_true * log(y_true / y_pred))`` over the last axis (Kullback and Leibler 1951).

    Parameters
    ----------
    reduction : str, optional
        As for `Loss`.
    name : str, optional

    Examples
    --------
    >>> cgru.losses.KLDivergence()([[0.5, 0.5]], [[0.5, 0.5]])
    0.0
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "kl_divergence",
    ) -> None:
        super().__init__(name, reduction)

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        least = y_pred.dtype.type(EPSILON)
        t, p = np.clip(y_true, least, 1), np.clip(y_pred, least, 1)
        return (t * np.log(t / p)).sum(axis=-1), np.where(p == y_pred, -t / p, 0).astype(p.dtype)


class _Margin(MeanLoss):
    """Targets of -1 and 1; 0 stands for -1 where they are 0 and 1, as in Keras."""

    def signs(self, y_true: np.ndarray) -> np.ndarray:
        """The targets as -1 and 1."""
        return 2 * y_true - 1 if np.isin(y_true, (0, 1)).all() else y_true


class Hinge(_Margin):
    """The mean of ``max(1 - y_true * y_pred, 0)``, for targets of -1 and 1.

    Parameters
    ----------
    reduction : str, optional
        As for `Loss`.
    name : str, optional

    Examples
    --------
    >>> cgru.losses.Hinge()([[1.0], [-1.0]], [[0.5], [-2.0]])
    0.25
    """

    def places(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        t = self.signs(y_true)
        rest = 1 - t * y_pred
        return np.maximum(rest, 0), _step(rest) * -t


class SquaredHinge(_Margin):
    """The mean of the squares of ``max(1 - y_true * y_pred, 0)``, for targets of -1 and 1.

    Parameters
    ----------
    reduction : str, optional
        As for `Loss`.
    name : str, optional

    Examples
    --------
    >>> cgru.losses.SquaredHinge()([[1.0], [-1.0]], [[0.5], [-2.0]])
    0.125
    """

    def places(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        t = self.signs(y_true)
        rest = np.maximum(1 - t * y_pred, 0)
        return np.square(rest), -2 * t * rest


class CategoricalHinge(Loss):
    """How much the best wrong class comes near to the right one, and more.

    Parameters
    ----------
    reduction : str, optional
        As for `Loss`.
    name : str, optional

    Examples
    --------
    >>> cgru.losses.CategoricalHinge()([[0.0, 1.0]], [[0.5, 1.0]])
    0.5
    """

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = None
    ) -> None:
        super().__init__(name, reduction)

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        wrong = (1 - y_true) * y_pred
        worst = wrong.max(axis=-1, keepdims=True)
        rest = worst - (y_true * y_pred).sum(axis=-1, keepdims=True) + 1
        top = (wrong == worst).astype(y_pred.dtype)
        share = top / top.sum(axis=-1, keepdims=True)
        return np.maximum(rest, 0)[..., 0], _step(rest) * (share * (1 - y_true) - y_true)


class Tversky(Loss):
    """One less the Tversky index of two sets, over the last axis (Salehi et al. 2017).

    Parameters
    ----------
    alpha, beta : float
        Weights of what is missed, and of what is found too much.
    reduction : str, optional
        As for `Loss`.
    name : str, optional
    axis : int
        Only the last one, where Keras's default is all of them.

    Examples
    --------
    >>> round(cgru.losses.Tversky()([[1.0, 0.0]], [[1.0, 0.0]]), 4)
    0.0
    """

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(name, reduction)
        if axis != -1:
            raise ValueError(f"axis: expected -1, got {axis!r}")
        self.alpha = _checks.real("alpha", alpha, 0)
        self.beta = _checks.real("beta", beta, 0)
        self.axis = axis

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        both = (y_true * y_pred).sum(axis=-1, keepdims=True)
        missed = ((1 - y_pred) * y_true).sum(axis=-1, keepdims=True)
        extra = (y_pred * (1 - y_true)).sum(axis=-1, keepdims=True)
        whole = both + missed * self.alpha + extra * self.beta + EPSILON
        slope = y_true * (1 - self.alpha) + self.beta * (1 - y_true)
        grad = -(y_true / whole - both * slope / np.square(whole))
        values = 1 - both / whole
        return values[..., 0], grad.astype(y_pred.dtype, copy=False)


class Dice(Tversky):
    """One less the Dice coefficient of two sets, over the last axis.

    Parameters
    ----------
    reduction : str, optional
        As for `Loss`.
    name : str, optional
    axis : int
        Only the last one, where Keras's default is all of them.

    Examples
    --------
    >>> round(cgru.losses.Dice()([[1.0, 0.0]], [[1.0, 0.0]]), 4)
    0.0
    """

    unconfigured = ("alpha", "beta")

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(0.5, 0.5, reduction, name, axis)

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        both = 2 * (y_true * y_pred).sum(axis=-1, keepdims=True)
        whole = (y_true + y_pred).sum(axis=-1, keepdims=True) + EPSILON
        grad = -(2 * y_true / whole - both / np.square(whole))
        return (1 - both / whole)[..., 0], grad.astype(y_pred.dtype, copy=False)


def _step(rest: np.ndarray) -> np.ndarray:
    """The derivative of ``max(rest, 0)``, a half at the kink, as in Keras on JAX."""
    return np.where(rest == 0, 0.5, rest > 0).astype(rest.dtype)


def _clip(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities kept off 0 and 1, and where that changed nothing."""
    clipped = np.clip(p, p.dtype.type(EPSILON), p.dtype.type(1 - EPSILON))
    return clipped, clipped == p
