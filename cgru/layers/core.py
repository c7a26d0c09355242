"""Layers that act on each place by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _checks, _kernels, activations, constraints, initializers, regularizers
from cgru.layers._layout import as_rows
from cgru.layers.base import Backward, Layer, Shape, no_backward


class Dense(Layer):
    """``activation(x kernel + bias)``, over the last axis of x.

    Parameters
    ----------
    units : int
        Size of the output's last axis.
    activation : str or Activation, optional
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
    kernel_regularizer, bias_regularizer, activity_regularizer : str or Regularizer, optional
    kernel_constraint, bias_constraint : str or Constraint, optional
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> cgru.layers.Dense(2, activation="relu")(np.ones((5, 7, 3))).shape
    (5, 7, 2)
    """

    stepwise = True

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = _checks.integer("units", units, 1)
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer, "kernel_initializer")
        self.bias_initializer = initializers.get(bias_initializer, "bias_initializer")
        self.kernel_regularizer = regularizers.get(kernel_regularizer, "kernel_regularizer")
        self.bias_regularizer = regularizers.get(bias_regularizer, "bias_regularizer")
        self.kernel_constraint = constraints.get(kernel_constraint, "kernel_constraint")
        self.bias_constraint = constraints.get(bias_constraint, "bias_constraint")

    def check_input(self, shape: Shape, argument: str = "x") -> None:
        self.check_axes(argument, shape, len(shape) >= 2, "[batch, ..., features]")

    def build(self, input_shape: Shape) -> None:
        features = input_shape[-1]
        assert features is not None
        self.kernel = self.add_weight(
            (features, self.units),
            self.kernel_initializer,
            "kernel",
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                (self.units,),
                self.bias_initializer,
                "bias",
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def forward(
        self, x: np.ndarray, needs_input_grad: bool = True, needs_backward: bool = True
    ) -> tuple[np.ndarray, Backward]:
        if x.dtype != self._dtype:
            x = x.astype(self._dtype)
        kernel, bias = self.kernel._value, None if self.bias is None else self.bias._value
        if x.ndim == 2 and not needs_backward:  # a small model's time goes into such things
            return self.activation.forward(_kernels.dense_forward(x, kernel, bias))[0], no_backward
        rows, restore = as_rows(x)
        values = _kernels.dense_forward(rows, kernel, bias)
        y, activation_backward = self.activation.forward(values)
        if not needs_backward:
            return restore(y), no_backward
        return restore(y), self._backward(x, rows, restore, activation_backward, needs_input_grad)

    def _backward(
        self,
        x: np.ndarray,
        rows: np.ndarray,
        restore: Backward,
        activation_backward: Backward,
        needs_input_grad: bool,
    ) -> Backward:
        kernel, bias = self.kernel, self.bias

        def backward(dy: np.ndarray) -> np.ndarray | None:
            dvalues = activation_backward(as_rows(dy, like=x)[0])
            dx = _kernels.dense_backward(
                rows,
                kernel._value,
                dvalues if dvalues.dtype == rows.dtype else dvalues.astype(rows.dtype),
                needs_input_grad,
                kernel.grad if self._trainable else None,
                bias.grad if bias is not None and self._trainable else None,
            )
            return None if dx is None else restore(dx)

        return backward


class Activation(Layer):
    """An activation function as a layer.

    Parameters
    ----------
    activation : str or Activation
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> cgru.layers.Activation("relu")([[-1.0, 2.0]])
    array([[0., 2.]], dtype=float32)
    """

    stepwise = True

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        return self.activation.forward(x)


class Identity(Layer):
    """Returns what it reads.

    Examples
    --------
    >>> cgru.layers.Identity()([[1.0]])
    array([[1.]], dtype=float32)
    """

    stepwise = True

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        return x, lambda dy: dy
