"""The GRU step by step in NumPy, for what the kernels do not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cgru import _kernels
from cgru.layers._layout import time_major
from cgru.layers.base import Backward

if TYPE_CHECKING:
    from cgru.layers.recurrent import GRU


def sequence(
    layer: GRU,
    x: np.ndarray,
    start: np.ndarray | None,
    mask: np.ndarray | None,
    drop: np.ndarray | None,
    needs_backward: bool,
) -> tuple[np.ndarray, np.ndarray, Backward]:
    """The whole sequence, as in `_gru_kernels`; `drop` are factors on what the gates read of h."""
    x = time_major(x)
    time, batch, features = x.shape
    units, dtype = layer.units, x.dtype
    kernel, recurrent = layer.kernel._value, layer.recurrent_kernel._value
    steps = range(time)[:: -1 if layer.go_backwards else 1]
    bias = np.zeros((2, 3 * units), dtype)
    if layer.bias is not None:
        bias[: layer.bias.size // (3 * units)] = layer.bias._value
    projected = _product(x, kernel) + bias[0]
    states = np.empty((time, batch, units), dtype)
    last = np.zeros((batch, units), dtype) if start is None else start
    backwards = []
    for t in steps:
        keep = None if mask is None else mask[:, t, np.newaxis]
        last, step_backward = _step(layer, projected[t], last, recurrent, bias[1], keep, drop)
        states[t] = last
        backwards.append(step_backward)

    def backward(
        dh: np.ndarray | None, dlast: np.ndarray, needs_input_grad: bool, needs_start_grad: bool
    ) -> tuple[np.ndarray | None, np.ndarray]:
        dprojected = np.empty_like(projected)
        drecurrent, dbias = np.zeros_like(recurrent), np.zeros_like(bias)
        for t, step_backward in zip(reversed(steps), reversed(backwards), strict=True):
            if dh is not None:
                dlast = dlast + dh[:, t]
            dprojected[t], dlast = step_backward(dlast, drecurrent, dbias[1])
        rows = dprojected.reshape(time * batch, 3 * units)
        if layer.trainable:
            layer.kernel.grad += x.reshape(time * batch, features).T @ rows
            layer.recurrent_kernel.grad += drecurrent
        if layer.trainable and layer.bias is not None:
            dbias[0] = rows.sum(axis=0)
            layer.bias.grad += dbias.reshape(-1)[: layer.bias.size].reshape(layer.bias.shape)
        dx = (dprojected @ kernel.T).swapaxes(0, 1) if needs_input_grad else None
        return dx, dlast

    return states.swapaxes(0, 1), last, backward


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a @ b``, each row the same whatever the other rows are."""
    rows = np.ascontiguousarray(a).reshape(-1, a.shape[-1])
    product = np.empty((len(rows), b.shape[1]), a.dtype)
    _kernels.matmul(rows, np.ascontiguousarray(b), product)
    return product.reshape(*a.shape[:-1], b.shape[1])


def _step(
    layer: GRU,
    projected: np.ndarray,
    h: np.ndarray,
    recurrent: np.ndarray,
    bias: np.ndarray,
    keep: np.ndarray | None,
    drop: np.ndarray | None,
) -> tuple[np.ndarray, Backward]:
    """One step from state h; `projected` is x W + b, `bias` c, `keep` False where masked."""
    units = layer.units
    both = 2 * units
    columns = [slice(gate * units, (gate + 1) * units) for gate in range(3)]
    read = h if drop is None else h * drop

    def product(gate: int) -> np.ndarray:
        return _product(read, recurrent[:, columns[gate]]) + bias[columns[gate]]

    zr = projected[:, :both] + np.concatenate([product(0), product(1)], axis=1)
    gates, gates_backward = layer.recurrent_activation.forward(zr.reshape(-1, 2, units))
    z, r = gates[:, 0], gates[:, 1]
    u = product(2) if layer.reset_after else r * read
    candidate = r * u if layer.reset_after else _product(u, recurrent[:, both:])
    n, n_backward = layer.activation.forward(projected[:, both:] + candidate)
    new = z * h + (1 - z) * n
    if keep is not None:
        new = np.where(keep, new, h)

    def backward(
        dnew: np.ndarray, drecurrent: np.ndarray, dbias: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        d = dnew if keep is None else dnew * keep
        dn = n_backward(d * (1 - z))
        if layer.reset_after:
            dr, du = dn * u, dn * r
            drecurrent[:, both:] += read.T @ du
            dbias[both:] += du.sum(axis=0)
            dread = du @ recurrent[:, both:].T
        else:
            drh = dn @ recurrent[:, both:].T
            dr = drh * read
            drecurrent[:, both:] += u.T @ dn
            dread = drh * r
        dzr = gates_backward(np.stack([d * (h - n), dr], axis=1)).reshape(-1, both)
        dbias[:both] += dzr.sum(axis=0)
        drecurrent[:, :both] += read.T @ dzr
        dread += dzr @ recurrent[:, :both].T
        dh = dnew - d + d * z + (dread if drop is None else dread * drop)
        return np.concatenate([dzr, dn], axis=1), dh

    return new, backward
