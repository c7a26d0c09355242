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
from cgru.layers.recurrent import Recurrent, once

if TYPE_CHECKING:
    from cgru.layers.gru import GRU


def gru_forward(
    layer: GRU, x: np.ndarray, start: list[np.ndarray] | None, mask: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The states [time + 1, batch, units] and the gates, as in csrc/gates.h.

    x and mask are time-major.
    """
    time, batch, _ = x.shape
    units, reverse = layer.units, layer.go_backwards
    bias_shape = (2 if layer.reset_after else 1, 3 * units)
    bias = np.zeros(bias_shape, x.dtype) if layer.bias is None else layer.bias._value
    h = np.empty((time + 1, batch, units), x.dtype)
    h[time if reverse else 0] = 0 if start is None else start[0]
    gates = np.empty((time, batch, 4 * units), x.dtype)
    _kernels.gru_forward(
        x,
        layer.kernel._value,
        layer.recurrent_kernel._value,
        bias.reshape(bias_shape),
        mask,
        reverse,
        h,
        gates,
        np.empty((batch, 3 * units), x.dtype),
    )
    return h, gates


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
    steps_mask = None if mask is None else time_major(mask).view(np.uint8)
    kernel, recurrent_kernel, reverse = layer.kernel, layer.recurrent_kernel, layer.go_backwards
    h, gates = gru_forward(layer, x, start, steps_mask)
    outputs, last = _outputs(h, reverse), (h[0 if reverse else -1].copy(),)
    if not needs_backward:
        return outputs, last, no_backward

    take_turn = once(layer)

    def backward(
        dh: np.ndarray | None,
        dlast: list[np.ndarray],
        needs_input_grad: bool,
        needs_start_grad: bool,
    ) -> tuple[np.ndarray | None, list[np.ndarray]]:
        take_turn()
        dtype, width = x.dtype, 3 * layer.units
        bias_shape = (2 if layer.reset_after else 1, width)
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
            np.empty((x.shape[1] + 2, width), dtype),
        )
        return (None if dx is None else dx.swapaxes(0, 1)), dlast

    return outputs, last, backward


def rnn_forward(
    layer: Recurrent, x: np.ndarray, start: list[np.ndarray] | None, mask: np.ndarray | None
) -> tuple[list[np.ndarray], np.ndarray]:
    """The states, each [time + 1, batch, units], and the gates, as in csrc/gates.h.

    x and mask are time-major.
    """
    time, batch, _ = x.shape
    kernel, reverse = layer.kernel._value, layer.go_backwards
    width = kernel.shape[1]
    bias = np.zeros(width, x.dtype) if layer.bias is None else layer.bias._value
    states = [np.empty((time + 1, batch, layer.units), x.dtype) for _ in range(layer._states)]
    for place, state in enumerate(states):
        state[time if reverse else 0] = 0 if start is None else start[place]
    gates = np.empty((time, batch, width), x.dtype)
    _kernels.rnn_forward(
        x,
        kernel,
        layer.recurrent_kernel._value,
        bias,
        mask,
        reverse,
        states[0],
        states[1] if len(states) == 2 else None,
        gates,
    )
    return states, gates


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
    steps_mask = None if mask is None else time_major(mask).view(np.uint8)
    reverse = layer.go_backwards
    states, gates = rnn_forward(layer, x, start, steps_mask)
    h, c = states if len(states) == 2 else (states[0], None)
    last = tuple(state[0 if reverse else -1].copy() for state in states)
    outputs = _outputs(h, reverse)
    if not needs_backward:
        return outputs, last, no_backward

    take_turn = once(layer)

    def backward(
        dh: np.ndarray | None,
        dlast: list[np.ndarray],
        needs_input_grad: bool,
        needs_start_grad: bool,
    ) -> tuple[np.ndarray | None, list[np.ndarray]]:
        take_turn()
        weights = (layer.kernel, layer.recurrent_kernel, layer.bias)
        dx = np.empty_like(x) if needs_input_grad else None
        _kernels.rnn_backward(
            x,
            layer.kernel._value,
            layer.recurrent_kernel._value,
            steps_mask,
            reverse,
            h,
            c,
            gates,
            None if dh is None else time_major(dh).astype(x.dtype, copy=False),
            dlast[0],
            None if c is None else dlast[1],
            dx,
            *(None if w is None or not layer.trainable else w.grad for w in weights),
        )
        return (None if dx is None else dx.swapaxes(0, 1)), dlast

    return outputs, last, backward


def _outputs(h: np.ndarray, reverse: bool) -> np.ndarray:
    return (h[:-1] if reverse else h[1:]).swapaxes(0, 1)
