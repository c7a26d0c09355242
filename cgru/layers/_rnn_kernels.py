"""The LSTM and the simple RNN in one call of a kernel for the whole sequence, each way."""

from __future__ import annotations

import numpy as np

from cgru import _kernels
from cgru.layers._layout import time_major
from cgru.layers.base import Backward, no_backward
from cgru.layers.recurrent import Recurrent


def forward(
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


def sequence(
    layer: Recurrent,
    x: np.ndarray,
    start: list[np.ndarray] | None,
    mask: np.ndarray | None,
    drop: np.ndarray | None,
    needs_backward: bool,
) -> tuple[np.ndarray, tuple[np.ndarray, ...], Backward]:
    """With tanh and sigmoid, without dropout of states; see `cgru.layers.recurrent.Sequence`."""
    assert drop is None
    x = time_major(x)
    steps_mask = None if mask is None else time_major(mask).view(np.uint8)
    reverse = layer.go_backwards
    states, gates = forward(layer, x, start, steps_mask)
    h, c = states if len(states) == 2 else (states[0], None)
    last = tuple(state[0 if reverse else -1].copy() for state in states)
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
