"""Activation functions with numbers of their own, as layers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from cgru import _checks, constraints, initializers, regularizers
from cgru.layers.base import Backward, Layer, Shape


class ReLU(Layer):
    """``max(x, 0)``, with options.

    Parameters
    ----------
    max_value : float, optional
        What the output does not exceed.
    negative_slope : float
        Below the threshold: ``negative_slope * (x - threshold)``.
    threshold : float
        Below which a value counts as negative.
    **kwargs
        As for `Layer`.

    Notes
    -----
    The gradient at the threshold is that below it, and at `max_value` 0; Keras differs there with
    its backend.

    Examples
    --------
    >>> cgru.layers.ReLU(max_value=1.0)([[-1.0, 0.5, 2.0]])
    array([[0. , 0.5, 1. ]], dtype=float32)
    """

    stepwise = True

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_value = None if max_value is None else _checks.real("max_value", max_value, 0)
        self.negative_slope = _checks.real("negative_slope", negative_slope, 0)
        self.threshold = _checks.real("threshold", threshold, 0)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        slope, threshold = x.dtype.type(self.negative_slope), x.dtype.type(self.threshold)
        above = x > threshold if self.threshold else x > 0
        y = np.where(above, x, slope * (x - threshold) + 0)  # no -0
        factor = np.where(above, x.dtype.type(1), slope)
        if self.max_value is not None:
            factor = factor * (y < self.max_value)
            y = np.minimum(y, x.dtype.type(self.max_value))
        return y, lambda dy: dy * factor


class LeakyReLU(Layer):
    """x where it is positive, and a small part of it where not.

    Parameters
    ----------
    negative_slope : float
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> cgru.layers.LeakyReLU(0.5)([[-1.0, 2.0]])
    array([[-0.5,  2. ]], dtype=float32)
    """

    stepwise = True

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        if "alpha" in kwargs:
            warnings.warn("alpha: the argument is called negative_slope now", stacklevel=2)
            negative_slope = kwargs.pop("alpha")
        super().__init__(**kwargs)
        self.negative_slope = _checks.real("negative_slope", negative_slope, 0)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        factor = np.where(x >= 0, x.dtype.type(1), x.dtype.type(self.negative_slope))
        return x * factor, lambda dy: dy * factor


class PReLU(Layer):
    """`LeakyReLU` with slopes that are learned (He et al. 2015).

    Parameters
    ----------
    alpha_initializer : str or Initializer
    alpha_regularizer : str or Regularizer, optional
    alpha_constraint : str or Constraint, optional
    shared_axes : list of int, optional
        Axes along which one slope serves; ``[1]`` for all time steps.
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> cgru.layers.PReLU("ones")([[-1.0, 2.0]])
    array([[-1.,  2.]], dtype=float32)
    """

    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.alpha_initializer = initializers.get(alpha_initializer, "alpha_initializer")
        self.alpha_regularizer = regularizers.get(alpha_regularizer, "alpha_regularizer")
        self.alpha_constraint = constraints.get(alpha_constraint, "alpha_constraint")
        axes = [shared_axes] if isinstance(shared_axes, int) else shared_axes
        self.shared_axes = None if axes is None else list(axes)

    def build(self, input_shape: Shape) -> None:
        shape = list(input_shape[1:])
        if any(axis not in range(1, len(input_shape)) for axis in self.shared_axes or ()):
            raise ValueError(
                f"shared_axes: expected axes from 1 to {len(shape)}, got {self.shared_axes}"
            )
        for axis in self.shared_axes or ():
            shape[axis - 1] = 1
        if any(size is None for size in shape):
            raise ValueError(
                f"shared_axes: {self.name} expects axes of unknown size among them, got "
                f"{self.shared_axes} for {input_shape}"
            )
        self.alpha = self.add_weight(
            tuple(shape),  # type: ignore[arg-type]
            self.alpha_initializer,
            "alpha",
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
        )

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        alpha = self.alpha.value
        negative = np.minimum(x, 0)
        factor = np.where(x > 0, x.dtype.type(1), alpha * (x < 0))

        def backward(dy: np.ndarray) -> np.ndarray:
            if self.trainable:
                d = (dy * negative).sum(axis=0)
                axes = tuple(a for a, size in enumerate(alpha.shape) if size == 1)
                self.alpha.grad += d.sum(axis=axes, keepdims=True)
            return dy * factor

        return x * factor, backward


class ELU(Layer):
    """x where it is positive, ``alpha (exp(x) - 1)`` where not (Clevert et al. 2016).

    Parameters
    ----------
    alpha : float
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> cgru.layers.ELU()([[0.0, 2.0]])
    array([[0., 2.]], dtype=float32)
    """

    stepwise = True

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = _checks.real("alpha", alpha)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        alpha = x.dtype.type(self.alpha)
        bent = alpha * np.expm1(np.minimum(x, 0))
        positive = x > 0
        return np.where(positive, x, bent), lambda dy: dy * np.where(positive, 1, bent + alpha)


class Softmax(Layer):
    """Positive numbers with sum 1 along an axis.

    Parameters
    ----------
    axis : int or tuple of int
    **kwargs
        As for `Layer`.

    Notes
    -----
    A mask of the input's own shape leaves places out, as in Keras; so does one of [batch, time] if
    `axis` is that of time, where Keras raises an error.  Along other axes it is passed on only.

    Examples
    --------
    >>> cgru.layers.Softmax()([[0.0, 0.0]])
    array([[0.5, 0.5]], dtype=float32)
    """

    def __init__(self, axis: Any = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = tuple(axis) if isinstance(axis, (list, tuple)) else axis

    @property
    def stepwise(self) -> bool:  # type: ignore[override]
        """Whether it runs over the features."""
        return self.axis in (-1, 2)

    def forward(self, x: np.ndarray, mask: np.ndarray | None = None) -> tuple[np.ndarray, Backward]:
        kept = mask
        if mask is not None and mask.shape != x.shape:
            axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
            over_time = any(axis in (1, 1 - x.ndim) for axis in axes)
            kept = mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim)) if over_time else None
        logits = x if kept is None else np.where(kept, x, x.dtype.type(-1e9))
        exp = np.exp(logits - logits.max(axis=self.axis, keepdims=True))
        y = exp / exp.sum(axis=self.axis, keepdims=True)
        if kept is not None:
            y = y * kept
        return y, lambda dy: y * (dy - (dy * y).sum(axis=self.axis, keepdims=True))
