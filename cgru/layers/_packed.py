"""Recurrent layers by the packed kernels: products and gates together, for the whole sequence."""

from __future__ import annotations

import numpy as np

from cgru.layers.base import Backward, no_backward
from cgru.layers.recurrent import Recurrent, used_up


def sequence(
    layer: Recurrent,
    x: np.ndarray,
    start: list[np.ndarray] | None,
    mask: np.ndarray | None,
    drop: np.ndarray | None,
    needs_backward: bool,
) -> tuple[np.ndarray | None, tuple[np.ndarray, ...], Backward]:
    """With tanh and sigmoid; see `cgru.layers.recurrent.Sequence`."""
    reverse, sequences = layer.go_backwards, layer.return_sequences
    h, last, c, last_c, read, gates = layer._workspace.forward(
        x, start, mask, drop, layer._variables, reverse, sequences, needs_backward
    )
    states = (h[:-1] if reverse else h[1:]).swapaxes(0, 1) if sequences else None
    if not needs_backward:
        return states, (last,) if last_c is None else (last, last_c), no_backward
    return (
        states,
        (last.copy(),) if last_c is None else (last.copy(), last_c.copy()),
        _backward(layer, x, start is None, mask, drop, h, c, read, gates),
    )


def _backward(
    layer: Recurrent,
    x: np.ndarray,
    from_zero: bool,
    mask: np.ndarray | None,
    drop: np.ndarray | None,
    h: np.ndarray,
    c: np.ndarray | None,
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
            raise used_up(layer)
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
            c,
            read,
            used,
            dh,
            dlast[0],
            None if c is None else dlast[1],
            needs_input_grad,
            needs_start_grad,
            not layer.trainable,
        )
        return (None if dx is None else dx.swapaxes(0, 1)), dlast

    return backward
