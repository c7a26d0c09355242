"""The GRU in one call of a kernel for the whole sequence, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cgru import _kernels
from cgru.layers._layout import time_major
from cgru.layers.base import Backward

if TYPE_CHECKING:
    from cgru.layers.recurrent import GRU

# sequence(layer, x, start, mask, needs_backward) -> states [batch, time, units] (None
# where nobody asks for them), the last state
# [batch, units], and backward(dh, dlast, needs_input_grad, needs_start_grad) -> dx, dstart.
Sequence = Callable[..., tuple[np.ndarray | None, np.ndarray, Backward]]


class Workspace:
    """What a layer keeps from call to call: large buffers, and its weights, packed.

    Fresh memory costs a page fault for every 4 kB, as much as the arithmetic on it.  A buffer is
    here only while no call uses it, so that calls from several threads never share one.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, np.ndarray] = {}
        self._packed: tuple[Any, np.ndarray] | None = None

    def take(self, name: str, size: int, dtype: np.dtype) -> np.ndarray:
        """A buffer of at least `size` elements."""
        buffer = self._buffers.pop(name, None)
        if buffer is None or buffer.size < size or buffer.dtype != dtype:
            buffer = np.empty(size, dtype)
        return buffer

    def give_back(self, name: str, buffer: np.ndarray) -> None:
        """Keep a buffer that nobody uses any more."""
        self._buffers[name] = buffer

    def packed_weights(self, layer: GRU, size: int) -> np.ndarray:
        """The layer's packed weights, made anew where they have changed."""
        bias = layer.bias
        key = (
            _kernels.packs(),
            layer.kernel._memory.stamp,
            layer.recurrent_kernel._memory.stamp,
            None if bias is None else bias._memory.stamp,
        )
        known = self._packed
        if known is None or known[0] != key:
            packed = np.empty(size, layer._dtype)
            _pack(layer, packed, True)
            known = self._packed = key, packed
        return known[1]


def _pack(layer: GRU, packed: np.ndarray, recurrent: bool) -> None:
    bias = None if layer.bias is None else layer.bias._value
    _kernels.packed_gru_pack(
        layer.kernel._value, layer.recurrent_kernel._value, bias, packed, recurrent
    )


def packed_sequence(
    layer: GRU,
    x: np.ndarray,
    start: np.ndarray | None,
    mask: np.ndarray | None,
    needs_backward: bool,
) -> tuple[np.ndarray | None, np.ndarray, Backward]:
    """By the packed kernel: products and gates together, reset_after=True only."""
    batch, time, features = x.shape
    units, dtype, reverse = layer.units, x.dtype, layer.go_backwards
    workspace = layer._workspace
    if x.strides[2] != x.itemsize:
        x = np.ascontiguousarray(x)
    packed_size, gates_size, work_size = _kernels.packed_gru_sizes(
        time, batch, features, units, dtype == np.float64, needs_backward
    )
    name = "kept gates" if needs_backward else "gates"
    gates = workspace.take(name, gates_size, dtype)
    # Two states are enough where nobody asks for those in between.
    all_states = needs_backward or layer.return_sequences or time == 1
    first, end = (time, 0) if reverse and all_states else (0, time if all_states else time % 2)
    h = np.empty((time + 1 if all_states else 2, batch, units), dtype)
    h[first] = 0 if start is None else start
    if needs_backward:
        packed = workspace.take("packed", packed_size, dtype)
        _pack(layer, packed, time > 1 or start is not None)
    else:
        packed = workspace.packed_weights(layer, packed_size)
    _kernels.packed_gru_forward(x, packed, mask, reverse, start is None, needs_backward, h, gates)
    states = _states(h, reverse) if layer.return_sequences else None
    if not needs_backward:
        workspace.give_back(name, gates)
        return states, h[end], _no_backward
    workspace.give_back("packed", packed)
    kept = [gates]

    def backward(
        dh: np.ndarray | None, dlast: np.ndarray, needs_input_grad: bool, needs_start_grad: bool
    ) -> tuple[np.ndarray | None, np.ndarray]:
        if not kept:
            raise RuntimeError(
                f"{layer.name}: backward may be called once for each forward pass: it turns the "
                "gates into their gradients in place"
            )
        dx = np.empty((time, batch, features), dtype) if needs_input_grad else None
        gates = kept.pop()
        work = workspace.take("work", work_size, dtype)
        if dh is not None and (dh.dtype != dtype or dh.strides[2] != dh.itemsize):
            dh = np.ascontiguousarray(dh, dtype)
        _kernels.packed_gru_backward(
            x,
            layer.kernel._value,
            layer.recurrent_kernel._value,
            mask,
            reverse,
            start is None,
            h,
            gates,
            dh,
            dlast,
            needs_start_grad,
            dx,
            layer.kernel.grad,
            layer.recurrent_kernel.grad,
            None if layer.bias is None else layer.bias.grad,
            work,
        )
        workspace.give_back("work", work)
        workspace.give_back(name, gates)
        return (None if dx is None else dx.swapaxes(0, 1)), dlast

    return states, h[end].copy(), backward


def _states(h: np.ndarray, reverse: bool) -> np.ndarray:
    return (h[:-1] if reverse else h[1:]).swapaxes(0, 1)


def _no_backward(*_: Any) -> Any:
    raise RuntimeError("backward: the forward pass was told that nobody would call it")


def plain_sequence(
    layer: GRU,
    x: np.ndarray,
    start: np.ndarray | None,
    mask: np.ndarray | None,
    needs_backward: bool,
) -> tuple[np.ndarray, np.ndarray, Backward]:
    """With separate products and gate loops: both variants, and BLAS where asked for."""
    x = time_major(x)
    time, batch, _ = x.shape
    units, dtype, reverse = layer.units, x.dtype, layer.go_backwards
    first, end = (time, 0) if reverse else (0, time)
    kernel, recurrent_kernel = layer.kernel, layer.recurrent_kernel
    bias_shape = (2 if layer.reset_after else 1, 3 * units)
    bias = np.zeros(bias_shape, dtype) if layer.bias is None else layer.bias._value
    steps_mask = None if mask is None else time_major(mask).view(np.uint8)
    h = np.empty((time + 1, batch, units), dtype)
    h[first] = 0 if start is None else start
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
        dh: np.ndarray | None, dlast: np.ndarray, needs_input_grad: bool, needs_start_grad: bool
    ) -> tuple[np.ndarray | None, np.ndarray]:
        nonlocal used
        if used:
            raise RuntimeError(
                f"{layer.name}: backward may be called once for each forward pass: it turns the "
                "gates into their gradients in place"
            )
        used = True
        dx = np.empty_like(x) if needs_input_grad else None
        dbias = np.zeros(bias_shape, dtype) if layer.bias is None else layer.bias.grad
        _kernels.gru_backward(
            x,
            kernel._value,
            recurrent_kernel._value,
            steps_mask,
            reverse,
            h,
            gates,
            None if dh is None else time_major(dh).astype(dtype, copy=False),
            dlast,
            dx,
            kernel.grad,
            recurrent_kernel.grad,
            dbias.reshape(bias_shape),
            work,
        )
        return (None if dx is None else dx.swapaxes(0, 1)), dlast

    return _states(h, reverse), h[end].copy(), backward
