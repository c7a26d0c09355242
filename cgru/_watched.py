"""A copy of a model whose recurrent layers keep what they read: for `cgru.inspect`."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from cgru.layers import _packed, _plain
from cgru.layers._layout import time_major
from cgru.layers._steps import product
from cgru.layers.base import Backward, Layer
from cgru.layers.gru import GRU
from cgru.layers.lstm import LSTM
from cgru.layers.normalization import BatchNormalization
from cgru.layers.recurrent import Recurrent
from cgru.training import Trainer

_KERNELS = (_packed.sequence, _plain.gru, _plain.rnn)


class Call:
    """One call of a recurrent layer: what it read, its states, and the way back step by step.

    Arrays are [time, batch, ...], in the order of x.

    Attributes
    ----------
    name : str
        Of the layer, below those of the models and wrappers it is in.
    layer : Recurrent
    order : range
        The steps in the order in which they were read.
    mask : ndarray of bool, shape (time, batch), or None
    states, before : dict of str to ndarray, shape (time, batch, units)
        After and before each step: ``"state"``, and of an LSTM ``"cell"``.
    gates : dict of str to ndarray, shape (time, batch, units)
        At masked steps NaN.
    state_grads : dict of str to ndarray, shape (time, batch)
        After the backward pass: the norms of the gradients with respect to `states`.
    """

    def __init__(
        self,
        name: str,
        layer: Any,
        x: np.ndarray,
        start: list[np.ndarray] | None,
        mask: np.ndarray | None,
        drop: np.ndarray | None,
    ) -> None:
        self.name, self.layer, self.drop = name, layer, drop
        self.x = time_major(x)
        self.mask = None if mask is None else time_major(mask)
        time, batch, _ = self.x.shape
        self.order = range(time)[:: -1 if layer.go_backwards else 1]
        self._compute = type(layer)._sequence(layer, drop)
        self._asked = copy.copy(layer)
        self._asked.return_sequences = True  # all states, whoever asks for them
        if start is None:
            start = [np.zeros((batch, layer.units), x.dtype) for _ in range(layer._states)]
        self._start = [state.astype(x.dtype, copy=False) for state in start]
        self.states: dict[str, np.ndarray] = {}
        self.before: dict[str, np.ndarray] = {}
        if drop is None and self._compute in _KERNELS:
            self.gates = self._by_kernel()
        else:
            self.gates = self._by_parts()
        if self.mask is not None:
            for values in self.gates.values():
                values[~self.mask] = np.nan
        self.last = tuple(states[self.order[-1]].copy() for states in self.states.values())
        self.state_grads = {name: np.zeros((time, batch), x.dtype) for name in self.states}

    def _keep(self, name: str, states: np.ndarray, start: np.ndarray) -> None:
        """Note the states after each step, and before it."""
        first = start[np.newaxis]
        shifted = [states[1:], first] if self.layer.go_backwards else [first, states[:-1]]
        self.states[name], self.before[name] = states, np.concatenate(shifted)

    # ---- Gates ----

    def _by_kernel(self) -> dict[str, np.ndarray]:
        """As the kernels that train leave them."""
        layer = self.layer
        mask = None if self.mask is None else self.mask.view(np.uint8)
        if isinstance(layer, GRU):
            h, values = _plain.gru_forward(layer, self.x, self._start, mask)
            states, names = [h], ["candidate", "update", "reset"]
        else:
            states, values = _plain.rnn_forward(layer, self.x, self._start, mask)
            names = ["input", "forget", "candidate", "output"] if len(states) > 1 else []
        for name, part in zip(("state", "cell"), states, strict=False):
            after, before = part[1:], part[:-1]
            if layer.go_backwards:
                after, before = before, after
            self.states[name], self.before[name] = after, before
        blocks = np.split(values, values.shape[2] // layer.units, axis=2)
        return dict(zip(names, blocks, strict=False))

    def _by_parts(self) -> dict[str, np.ndarray]:
        """All at once, from the states that the layer finds; and from them the cell of an LSTM."""
        layer = self.layer
        x, mask = self.x.swapaxes(0, 1), None if self.mask is None else self.mask.swapaxes(0, 1)
        h, _, _ = self._compute(self._asked, x, self._start, mask, self.drop, False)
        self._keep("state", time_major(h), self._start[0])
        if isinstance(layer, GRU):
            found = self._gru_gates()
        elif isinstance(layer, LSTM):
            found = self._lstm_gates()
        else:
            return {}
        shape = self.states["state"].shape
        found = {name: values.reshape(shape) for name, values in found.items()}
        if isinstance(layer, LSTM):
            self._find_cells(found)
        return found

    def _read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``x W + b``, what the gates read of the states, and the bias c, with steps as rows."""
        layer = self.layer
        kernel = layer.kernel._value
        bias = np.zeros((2, kernel.shape[1]), kernel.dtype)
        if layer.bias is not None:
            bias[: layer.bias.size // kernel.shape[1]] = layer.bias._value
        read = self.before["state"] if self.drop is None else self.before["state"] * self.drop
        projected = product(self.x.reshape(-1, self.x.shape[2]), kernel)
        projected += bias[0]
        return projected, read.reshape(-1, layer.units), bias[1]

    def _gru_gates(self) -> dict[str, np.ndarray]:
        layer, units = self.layer, self.layer.units
        recurrent = layer.recurrent_kernel._value
        projected, read, bias = self._read()
        hu = product(read, recurrent)
        hu += bias
        zr = (projected[:, : 2 * units] + hu[:, : 2 * units]).reshape(-1, 2, units)
        z, r = np.moveaxis(layer.recurrent_activation(zr), 1, 0)
        if layer.reset_after:
            seen = r * hu[:, 2 * units :]
        else:
            seen = product(r * read, recurrent[:, 2 * units :])
        n = layer.activation(projected[:, 2 * units :] + seen)
        return {"update": z, "reset": r, "candidate": n}

    def _lstm_gates(self) -> dict[str, np.ndarray]:
        layer = self.layer
        projected, read, _ = self._read()
        a = (projected + product(read, layer.recurrent_kernel._value)).reshape(-1, 4, layer.units)
        i, f, o = np.moveaxis(layer.recurrent_activation(a[:, [0, 1, 3]]), 1, 0)
        return {"input": i, "forget": f, "candidate": layer.activation(a[:, 2]), "output": o}

    def _find_cells(self, gates: dict[str, np.ndarray]) -> None:
        cell = self._start[1]
        cells = np.empty_like(self.states["state"])
        for t in self.order:
            new = gates["forget"][t] * cell + gates["input"][t] * gates["candidate"][t]
            cell = new if self.mask is None else np.where(self.mask[t][:, np.newaxis], new, cell)
            cells[t] = cell
        self._keep("cell", cells, self._start[1])

    # ---- The way back ----

    def step_back(
        self, t: int, dstates: list[np.ndarray], copies: int = 1
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Gradients of x [rows, features] and of the states before step t.

        The step is taken once more by the layer's own kernels, so that this is exact for each of
        them.  `dstates`, each [rows, units], are the gradients of the states after it; each
        sequence has `copies` rows in them.
        """

        def repeated(array: np.ndarray | None) -> Any:
            return None if array is None else np.repeat(array, copies, axis=0)

        x = repeated(self.x[t])[:, np.newaxis]
        start = [repeated(states[t]) for states in self.before.values()]
        mask = None if self.mask is None else repeated(self.mask[t])[:, np.newaxis]
        _, _, backward = self._compute(self._asked, x, start, mask, repeated(self.drop), True)
        dx, dstart = backward(None, [np.array(d, order="C") for d in dstates], True, True)
        return dx[:, 0], list(dstart)

    def backward(
        self,
        dh: np.ndarray | None,
        dlast: list[np.ndarray],
        needs_input_grad: bool,
        needs_start_grad: bool,
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """The layer's way back, which notes the gradients of the states on it."""
        dx, grads = np.empty_like(self.x), list(dlast)
        for t in reversed(self.order):
            if dh is not None:
                grads[0] = grads[0] + dh[:, t]
            for norms, grad in zip(self.state_grads.values(), grads, strict=True):
                norms[t] = np.linalg.norm(grad, axis=1)
            dx[t], grads = self.step_back(t, grads)
        return dx.swapaxes(0, 1), grads


def watched(model: Trainer, dtype: Any = None) -> tuple[Any, list[Call]]:
    """A frozen copy of the model, and a list to which it appends each call of a recurrent layer.

    The copy computes in `dtype`, if given one.  Nothing that is done with it changes the model:
    neither states, nor gradients, nor the numbers that are drawn next.
    """
    trainers = [layer for layer in (model, *model.inner_layers()) if isinstance(layer, Trainer)]
    # What belongs to training is large, or anyone's, and is not copied.
    left = [part for one in trainers for part in (one.optimizer, one.history) if part is not None]
    twin: Any = copy.deepcopy(model, {id(part): part for part in left})
    normalizations = [
        layer
        for layer in twin.inner_layers()
        if isinstance(layer, BatchNormalization) and layer.trainable
    ]
    twin.trainable = False
    for layer in normalizations:
        layer.trainable = True  # a frozen one computes something else, where it is told to train
    if dtype is not None:
        for layer in (twin, *twin.inner_layers()):
            _convert(layer, np.dtype(dtype))
    calls: list[Call] = []
    for path, layer in recurrent_layers(twin):
        if "_sequence" not in vars(layer):  # a shared one has the first of its names
            layer._sequence = _watcher(path, layer, calls)
    return twin, calls


def recurrent_layers(layer: Layer, path: str = "") -> Iterator[tuple[str, Any]]:
    """All recurrent layers inside one, each with its name below those that it is in."""
    for inner in layer.sublayers():
        if isinstance(inner, Recurrent):
            yield path + inner.name, inner
        yield from recurrent_layers(inner, f"{path}{inner.name}/")


def _watcher(path: str, layer: Any, calls: list[Call]) -> Any:
    """What stands for the layer's `_sequence`."""

    def sequence(
        _: Any,
        x: np.ndarray,
        start: list[np.ndarray] | None,
        mask: np.ndarray | None,
        drop: np.ndarray | None,
        needs_backward: bool,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...], Backward]:
        names = {call.name for call in calls}
        name, count = path, 1
        while name in names:  # called, or named so, more than once
            count += 1
            name = f"{path}_call_{count}"
        call = Call(name, layer, x, start, mask, drop)
        calls.append(call)
        return call.states["state"].swapaxes(0, 1), call.last, call.backward

    return lambda drop: sequence


def _convert(layer: Any, dtype: np.dtype) -> None:
    layer._dtype = dtype
    for weight in layer._variables:
        weight.__setstate__(weight.__getstate__() | {"_value": weight._value.astype(dtype)})
