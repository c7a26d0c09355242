"""Convolution over time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cgru import _checks, _kernels, activations, constraints, initializers, regularizers
from cgru.layers.base import Backward, Layer, Shape
from cgru.layers.pooling import check_window, padding_steps, single, window_count
from cgru.layers.reshaping import channels_last, steps_and_features


class Conv1D(Layer):
    """``activation(windows kernel + bias)`` for each window of time steps.

    Parameters
    ----------
    filters : int
        Size of the output's last axis.
    kernel_size : int
        Steps of a window.
    strides : int
        Steps from one window to the next.
    padding : {"valid", "same", "causal"}
        Zeros around the sequence: none; as many as keep its length; or all of them before it, so
        that no output depends on later steps.
    data_format : {"channels_last"}, optional
    dilation_rate : int
        Distance of the steps of a window.
    groups : int
        Parts of the features that are convolved by themselves.
    activation : str or Activation, optional
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
    kernel_regularizer, bias_regularizer, activity_regularizer : str or Regularizer, optional
    kernel_constraint, bias_constraint : str or Constraint, optional
    **kwargs
        As for `Layer`.

    Attributes
    ----------
    kernel : Variable, shape (kernel_size, features // groups, filters)
    bias : Variable or None, shape (filters,)

    Notes
    -----
    Masks end here, as in Keras.

    Examples
    --------
    >>> cgru.layers.Conv1D(8, 3, padding="causal")(np.zeros((2, 10, 4))).shape
    (2, 10, 8)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
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
        self.filters = _checks.integer("filters", filters, 1)
        self.kernel_size = single("kernel_size", kernel_size)
        self.strides = single("strides", strides)
        if padding not in ("valid", "same", "causal"):
            raise ValueError(f"padding: expected 'valid', 'same' or 'causal', got {padding!r}")
        self.padding = padding
        self.data_format = channels_last(data_format)
        self.dilation_rate = single("dilation_rate", dilation_rate)
        if self.strides > 1 and self.dilation_rate > 1:
            raise ValueError(
                "strides, dilation_rate: expected at most one above 1, got "
                f"{self.strides} and {self.dilation_rate}"
            )
        self.groups = _checks.integer("groups", groups, 1)
        if self.filters % self.groups:
            raise ValueError(f"filters: expected a multiple of groups={groups}, got {filters}")
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer, "kernel_initializer")
        self.bias_initializer = initializers.get(bias_initializer, "bias_initializer")
        self.kernel_regularizer = regularizers.get(kernel_regularizer, "kernel_regularizer")
        self.bias_regularizer = regularizers.get(bias_regularizer, "bias_regularizer")
        self.kernel_constraint = constraints.get(kernel_constraint, "kernel_constraint")
        self.bias_constraint = constraints.get(bias_constraint, "bias_constraint")

    @property
    def _reach(self) -> int:
        """Steps from the first to the last of a window."""
        return (self.kernel_size - 1) * self.dilation_rate + 1

    def check_input(self, shape: Shape, argument: str = "x") -> None:
        steps_and_features(self, shape, argument)
        features = shape[2]
        if features is None or features % self.groups:
            raise ValueError(
                f"{argument}: {self.name} expects features in {self.groups} groups, got {shape}"
            )
        if self.built and features != self.kernel.shape[1] * self.groups:
            raise ValueError(
                f"{argument}: {self.name} was built for {self.kernel.shape[1] * self.groups} "
                f"features, got shape {shape}"
            )
        check_window(self, shape, self._reach, self.padding, argument)

    def build(self, input_shape: Shape) -> None:
        features = input_shape[2]
        assert features is not None
        self.kernel = self.add_weight(
            (self.kernel_size, features // self.groups, self.filters),
            self.kernel_initializer,
            "kernel",
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                (self.filters,),
                self.bias_initializer,
                "bias",
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, time, _ = input_shape
        return batch, window_count(time, self._reach, self.strides, self.padding), self.filters

    def compute_mask(self, x: np.ndarray, mask: np.ndarray | None = None) -> None:
        return None

    def forward(self, x: np.ndarray, needs_input_grad: bool = True) -> tuple[np.ndarray, Backward]:
        batch, time, features = x.shape
        before, after = padding_steps(time, self._reach, self.strides, self.padding)
        padded = np.pad(x, ((0, 0), (before, after), (0, 0)))
        windows = sliding_window_view(padded, self._reach, axis=1)
        windows = windows[:, :: self.strides, :, :: self.dilation_rate]
        count = windows.shape[1]
        kernel, bias = self.kernel, self.bias
        width, part = features // self.groups, self.filters // self.groups
        # One product for each group; its rows are windows, [step, feature] in one axis.
        rows, products = [], []
        for group in range(self.groups):
            mine = windows[:, :, group * width : (group + 1) * width]
            rows.append(np.ascontiguousarray(mine.swapaxes(2, 3)).reshape(batch * count, -1))
            columns = slice(group * part, (group + 1) * part)
            products.append(
                _kernels.dense_forward(
                    rows[-1],
                    self._kernel_part(columns),
                    None if bias is None else np.ascontiguousarray(bias.value[columns]),
                )
            )
        values = products[0] if self.groups == 1 else np.concatenate(products, axis=1)
        y, activation_backward = self.activation.forward(values.reshape(batch, count, -1))

        def backward(dy: np.ndarray) -> np.ndarray | None:
            d = activation_backward(dy).reshape(batch * count, -1).astype(x.dtype, copy=False)
            dpadded = np.zeros_like(padded, order="C") if needs_input_grad else None
            for group in range(self.groups):
                columns = slice(group * part, (group + 1) * part)
                dkernel = np.zeros((self.kernel_size * width, part), x.dtype)
                drows = _kernels.dense_backward(
                    rows[group],
                    self._kernel_part(columns),
                    np.ascontiguousarray(d[:, columns]),
                    needs_input_grad,
                    dkernel if self.trainable else None,
                    None,
                )
                if self.trainable:
                    kernel.grad[:, :, columns] += dkernel.reshape(self.kernel_size, width, part)
                if dpadded is not None:
                    assert drows is not None
                    dsteps = drows.reshape(batch, count, self.kernel_size, width)
                    self._spread(dsteps, dpadded[:, :, group * width : (group + 1) * width])
            if self.trainable and bias is not None:
                bias.grad += d.sum(axis=0)
            return None if dpadded is None else dpadded[:, before : before + time]

        return y, backward

    def _kernel_part(self, columns: slice) -> np.ndarray:
        """The kernel of one group as a matrix."""
        part = np.ascontiguousarray(self.kernel.value[:, :, columns])
        return part.reshape(-1, part.shape[-1])

    def _spread(self, dsteps: np.ndarray, to: np.ndarray) -> None:
        """Add what the windows give each step back."""
        count = dsteps.shape[1]
        for place in range(self.kernel_size):
            first = place * self.dilation_rate
            to[:, first : first + (count - 1) * self.strides + 1 : self.strides] += dsteps[
                :, :, place
            ]
