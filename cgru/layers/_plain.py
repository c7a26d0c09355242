"""Recurrent layers with separate products and gate loops, in one call of a kernel each way.

They are for products by BLAS, and for the GRU with ``reset_after=False``; with tanh and sigmoid,
and without dropout of states.  See `cgru.layers.recurrent.Sequence` for arguments and results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cgru import _kernels
from cgru.layers._layout import time_major
from cgru.layers.base import Backward, no_backward
from cgru.layers.recurrent import Recurrent

if TYPE_CHECKING:
    from cgru.layers.gru import GRU


def gru(
    layer: GRU,
    x: np.ndarray,
    start: list[np.ndarray] | None,
    mask: np.ndarray | None,
    drop: np.ndarray | None,
    needs_backward: bool,
) -> tuple[np.ndarray, tuple[np.ndarray], Backward]:
    """Of both variants."""
    assert drop is None
    x = time_major(x)
    time, batch, _ = x.shape
    units, dtype, reverse = layer.units, x.dtype, layer.go_backwards
    first, end = (time, 0) if reverse else (0, time)
    kernel, recurrent_kernel = layer.kernel, layer.recurrent_kernel
    bias_shape = (2 if layer.reset_after else 1, 3 * units)
    bias = np.zeros(bias_shape, dtype) if layer.bias is None else layer.bias._value
    steps_mask = None if mask is None else time_major(mask).view(np.uint8)
    h = np.empty((time + 1, batch, units), dtype)
    h[first] = 0 if start is None else start[0]
    gates = np.empty((time, batch, 4 * units), dtype)
    work = np.empty((batch + 2, 3 * units), dtype)
    _kernels.gru_forward(
        x,
        kernel._value,
        recurrent_kernel._value,
        bias.reshape(bias_shape),
        steps_mask,
        reverse,
        h,
        gates,
        work[:batch],
    )

    used = False

    def backward(
        dh: np.ndarray | None,
        dlast: list[np.ndarray],
        needs_input_grad: bool,
        needs_start_grad: bool,
    ) -> tuple[np.ndarray | None, list[np.ndarray]]:
        nonlocal used
        if used:
            raise RuntimeError(
                f"{layer.name}: backward may be called once for each forward pass: it turns the "
                "gates into their gradients in place"
            )
        used = True
        dx = np.empty_like(x) if needs_input_grad else None
        counted = layer.bias if layer.trainable else None
        dbias = np.zeros(bias_shape, dtype) if counted is None else counted.grad
        _kernels.gru_backward(
            x,
            kernel._value,
            recurrent_kernel._value,
            steps_mask,
            reverse,
            h,
            gates,
            None if dh is None else time_major(dh).astype(dtype, copy=False),
            dlast[0],
            dx,
            kernel.grad if layer.trainable else None,
            recurrent_kernel.grad if layer.trainable else None,
            dbias.reshape(bias_shape),
            work,
        )
        return (None if dx is None else dx.swapaxes(0, 1)), dlast

    outputs = (h[:-1] if reverse else h[1:]).swapaxes(0, 1)
    return outputs, (h[end].copy(),), backward


def rnn(
    layer: Recurrent,
    x: np.ndarray,
    start: list[np.ndarray] | None,
    mask: np.ndarray | None,
    drop: np.ndarray | None,
    needs_backward: bool,
) -> tuple[np.ndarray, tuple[np.ndarray, ...], Backward]:
    """Of an LSTM or a simple RNN."""
    assert drop is None
    x = time_major(x)
    time, batch, _ = x.shape
    units, dtype, reverse = layer.units, x.dtype, layer.go_backwards
    first, end = (time, 0) if reverse else (0, time)
    kernel, recurrent_kernel = layer.kernel, layer.recurrent_kernel
    width = kernel.shape[1]
    bias = np.zeros(width, dtype) if layer.bias is None else layer.bias._value
    steps_mask = None if mask is None else time_major(mask).view(np.uint8)
    states = [np.empty((time + 1, batch, units), dtype) for _ in range(layer._states)]
    for place, state in enumerate(states):
        state[first] = 0 if start is None else start[place]
    h, c = states if len(states) == 2 else (states[0], None)
    gates = np.empty((time, batch, width), dtype)
    _kernels.rnn_forward(
        x, kernel._value, recurrent_kernel._value, bias, steps_mask, reverse, h, c, gates
    )
    last = tuple(state[end].copy() for state in states)
    outputs = (h[:-1] if reverse else h[1:]).swapaxes(0, 1)
    if not needs_backward:
        return outputs, last, no_backward

    used = False

    def backward(
        dh: np.ndarray | None,
        dlast: list[np.ndarray],
        needs_input_grad: bool,
        needs_start_grad: bool,
    ) -> tuple[np.ndarray | None, list[np.ndarray]]:
        nonlocal used
        if used:
            raise RuntimeError(
                f"{layer.name}: backward may be called once for each forward pass: it turns the "
                "gates into their gradients in place"
            )
        used = True
        weights = (kernel, recurrent_kernel, layer.bias)
        dx = np.empty_like(x) if needs_input_grad else None
        _kernels.rnn_backward(
            x,
            kernel._value,
            recurrent_kernel._value,
            steps_mask,
            reverse,
            h,
            c,
            gates,
            None if dh is None else time_major(dh).astype(dtype, copy=False),
            dlast[0],
            None if c is None else dlast[1],
            dx,
            *(None if w is None or not layer.trainable else w.grad for w in weights),
        )
        return (None if dx is None else dx.swapaxes(0, 1)), dlast

    return outputs, last, backward
