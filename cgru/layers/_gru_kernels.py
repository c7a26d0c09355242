"""The GRU in one call of a kernel for the whole sequence, forward and backward."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cgru import _kernels
from cgru.layers._layout import time_major
from cgru.layers.base import Backward, no_backward

if TYPE_CHECKING:
    from cgru.layers.gru import GRU


def packed_sequence(
    layer: GRU,
    x: np.ndarray,
    start: list[np.ndarray] | None,
    mask: np.ndarray | None,
    drop: np.ndarray | None,
    needs_backward: bool,
) -> tuple[np.ndarray | None, tuple[np.ndarray], Backward]:
    """By the packed kernel: products and gates together, reset_after=True only."""
    reverse, sequences = layer.go_backwards, layer.return_sequences
    h, read, last, gates = layer._workspace.forward(
        x,
        None if start is None else start[0],
        mask,
        drop,
        layer._variables,
        reverse,
        sequences,
        needs_backward,
    )
    states = _states(h, reverse) if sequences else None
    if not needs_backward:
        return states, (last,), no_backward
    return (
        states,
        (last.copy(),),
        _packed_backward(layer, x, start is None, mask, drop, h, read, gates),
    )


def _packed_backward(
    layer: GRU,
    x: np.ndarray,
    from_zero: bool,
    mask: np.ndarray | None,
    drop: np.ndarray | None,
    h: np.ndarray,
    read: np.ndarray | None,
    gates: np.ndarray | None,
) -> Backward:
    """The way back, in a function of its own: a prediction then makes nothing for it."""

    def backward(
        dh: np.ndarray | None,
        dlast: list[np.ndarray],
        needs_input_grad: bool,
        needs_start_grad: bool,
    ) -> tuple[np.ndarray | None, list[np.ndarray]]:
        nonlocal gates
        if gates is None:
            raise RuntimeError(
                f"{layer.name}: backward may be called once for each forward pass: it turns the "
                "gates into their gradients in place"
            )
        used, gates = gates, None
        if dh is not None and dh.dtype != x.dtype:
            dh = dh.astype(x.dtype)
        dx = layer._workspace.backward(
            x,
            from_zero,
            mask,
            drop,
            layer._variables,
            layer.go_backwards,
            h,
            read,
            used,
            dh,
            dlast[0],
            needs_input_grad,
            needs_start_grad,
            not layer.trainable,
        )
        return (None if dx is None else dx.swapaxes(0, 1)), dlast

    return backward


def _states(h: np.ndarray, reverse: bool) -> np.ndarray:
    return (h[:-1] if reverse else h[1:]).swapaxes(0, 1)


def plain_forward(
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


def plain_sequence(
    layer: GRU,
    x: np.ndarray,
    start: list[np.ndarray] | None,
    mask: np.ndarray | None,
    drop: np.ndarray | None,
    needs_backward: bool,
) -> tuple[np.ndarray, tuple[np.ndarray], Backward]:
    """With separate products and gate loops, without dropout: both variants, and BLAS."""
    assert drop is None
    x = time_major(x)
    steps_mask = None if mask is None else time_major(mask).view(np.uint8)
    kernel, recurrent_kernel, reverse = layer.kernel, layer.recurrent_kernel, layer.go_backwards
    h, gates = plain_forward(layer, x, start, steps_mask)

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

    return _states(h, reverse), (h[0 if reverse else -1].copy(),), backward
