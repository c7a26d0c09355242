"""Recurrent layers step by step in NumPy, for what the kernels do not have."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cgru import _kernels
from cgru.layers._layout import time_major
from cgru.layers.base import Backward, no_backward
from cgru.layers.recurrent import Recurrent

if TYPE_CHECKING:
    from cgru.layers.gru import GRU
    from cgru.layers.lstm import LSTM
    from cgru.layers.simple_rnn import SimpleRNN

# step(layer, projected, states, recurrent, bias, drop) -> the new states and
# backward(their gradients, drecurrent, dbias) -> the gradients of projected and of the states.
# `projected` is x W + b, `bias` the GRU's c; drecurrent and dbias are added to.
Step = Callable[..., tuple[list[np.ndarray], Backward]]


def _sequence(
    step: Step,
    layer: Recurrent,
    x: np.ndarray,
    start: list[np.ndarray] | None,
    mask: np.ndarray | None,
    drop: np.ndarray | None,
    needs_backward: bool,
) -> tuple[np.ndarray, tuple[np.ndarray, ...], Backward]:
    """The whole sequence; `drop` are factors on what the gates read of h."""
    x = time_major(x)
    time, batch, features = x.shape
    units, dtype = layer.units, x.dtype
    kernel, recurrent = layer.kernel._value, layer.recurrent_kernel._value
    width = kernel.shape[1]
    steps = range(time)[:: -1 if layer.go_backwards else 1]
    bias = np.zeros((2, width), dtype)
    if layer.bias is not None:
        bias[: layer.bias.size // width] = layer.bias._value
    projected = product(x, kernel) + bias[0]
    if mask is not None:  # computed from zeros, so that 0 times the slope there is a number
        projected[~time_major(mask)] = 0
    outputs = np.empty((time, batch, units), dtype)
    states = start
    if states is None:
        states = [np.zeros((batch, units), dtype) for _ in range(layer._states)]
    backwards = []
    for t in steps:
        keep = None if mask is None else mask[:, t, np.newaxis]
        read = states if keep is None else [np.where(keep, s, s.dtype.type(0)) for s in states]
        new, step_backward = step(layer, projected[t], read, recurrent, bias[1], drop)
        if keep is not None:
            new = [np.where(keep, *pair) for pair in zip(new, states, strict=True)]
        states = new
        outputs[t] = states[0]
        if needs_backward:
            backwards.append((keep, step_backward))
    last = tuple(states)
    if not needs_backward:
        return outputs.swapaxes(0, 1), last, no_backward

    def backward(
        dh: np.ndarray | None,
        dlast: list[np.ndarray],
        needs_input_grad: bool,
        needs_start_grad: bool,
    ) -> tuple[np.ndarray | None, list[np.ndarray]]:
        dprojected = np.empty_like(projected)
        drecurrent, dbias = np.zeros_like(recurrent), np.zeros_like(bias)
        for t, (keep, step_backward) in zip(reversed(steps), reversed(backwards), strict=True):
            if dh is not None:
                dlast = [dlast[0] + dh[:, t], *dlast[1:]]
            dnew = dlast if keep is None else [d * keep for d in dlast]
            dprojected[t], dold = step_backward(dnew, drecurrent, dbias[1])
            if keep is not None:
                dold = [np.where(keep, *pair) for pair in zip(dold, dlast, strict=True)]
            dlast = dold
        rows = dprojected.reshape(time * batch, width)
        if layer.trainable:
            layer.kernel.grad += x.reshape(time * batch, features).T @ rows
            layer.recurrent_kernel.grad += drecurrent
        if layer.trainable and layer.bias is not None:
            dbias[0] = rows.sum(axis=0)
            layer.bias.grad += dbias.reshape(-1)[: layer.bias.size].reshape(layer.bias.shape)
        dx = (dprojected @ kernel.T).swapaxes(0, 1) if needs_input_grad else None
        return dx, dlast

    return outputs.swapaxes(0, 1), last, backward


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a @ b``, each row the same whatever the other rows are."""
    rows = np.ascontiguousarray(a).reshape(-1, a.shape[-1])
    found = np.empty((len(rows), b.shape[1]), a.dtype)
    _kernels.matmul(rows, np.ascontiguousarray(b), found)
    return found.reshape(*a.shape[:-1], b.shape[1])


def _gru_step(
    layer: GRU,
    projected: np.ndarray,
    states: list[np.ndarray],
    recurrent: np.ndarray,
    bias: np.ndarray,
    drop: np.ndarray | None,
) -> tuple[list[np.ndarray], Backward]:
    units = layer.units
    both = 2 * units
    columns = [slice(gate * units, (gate + 1) * units) for gate in range(3)]
    (h,) = states
    read = h if drop is None else h * drop

    def gate_of(gate: int) -> np.ndarray:
        return product(read, recurrent[:, columns[gate]]) + bias[columns[gate]]

    zr = projected[:, :both] + np.concatenate([gate_of(0), gate_of(1)], axis=1)
    gates, gates_backward = layer.recurrent_activation.forward(zr.reshape(-1, 2, units))
    z, r = gates[:, 0], gates[:, 1]
    u = gate_of(2) if layer.reset_after else r * read
    candidate = r * u if layer.reset_after else product(u, recurrent[:, both:])
    n, n_backward = layer.activation.forward(projected[:, both:] + candidate)

    def backward(
        dnew: list[np.ndarray], drecurrent: np.ndarray, dbias: np.ndarray
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        (d,) = dnew
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
        dh = d * z + (dread if drop is None else dread * drop)
        return np.concatenate([dzr, dn], axis=1), [dh]

    return [z * h + (1 - z) * n], backward


def _lstm_step(
    layer: LSTM,
    projected: np.ndarray,
    states: list[np.ndarray],
    recurrent: np.ndarray,
    bias: np.ndarray,
    drop: np.ndarray | None,
) -> tuple[list[np.ndarray], Backward]:
    h, c = states
    read = h if drop is None else h * drop
    gates = (projected + product(read, recurrent)).reshape(-1, 4, layer.units)
    values, gates_backward = layer.recurrent_activation.forward(gates[:, [0, 1, 3]])
    i, f, o = values[:, 0], values[:, 1], values[:, 2]
    g, g_backward = layer.activation.forward(gates[:, 2])
    cell = f * c + i * g
    shown, shown_backward = layer.activation.forward(cell)

    def backward(
        dnew: list[np.ndarray], drecurrent: np.ndarray, dbias: np.ndarray
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        dh, dcell = dnew
        dcell = dcell + shown_backward(dh * o)
        difo = gates_backward(np.stack([dcell * g, dcell * c, dh * shown], axis=1))
        dgates = np.insert(difo, 2, g_backward(dcell * i), axis=1).reshape(projected.shape)
        drecurrent += read.T @ dgates
        dread = dgates @ recurrent.T
        return dgates, [dread if drop is None else dread * drop, dcell * f]

    return [o * shown, cell], backward


def _simple_step(
    layer: SimpleRNN,
    projected: np.ndarray,
    states: list[np.ndarray],
    recurrent: np.ndarray,
    bias: np.ndarray,
    drop: np.ndarray | None,
) -> tuple[list[np.ndarray], Backward]:
    (h,) = states
    read = h if drop is None else h * drop
    new, new_backward = layer.activation.forward(projected + product(read, recurrent))

    def backward(
        dnew: list[np.ndarray], drecurrent: np.ndarray, dbias: np.ndarray
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        d = new_backward(dnew[0])
        drecurrent += read.T @ d
        dread = d @ recurrent.T
        return d, [dread if drop is None else dread * drop]

    return [new], backward


gru: Any = functools.partial(_sequence, _gru_step)
lstm: Any = functools.partial(_sequence, _lstm_step)
simple: Any = functools.partial(_sequence, _simple_step)
