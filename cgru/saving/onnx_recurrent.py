"""Recurrent layers in operators of ONNX, with masks of any kind.

ONNX's recurrent operators know no masks, only lengths.  So the steps that are not masked are moved
to the front, in their order; what the operator returns after the last of them is not used.  A step
then has the state after as many steps as are valid up to it.

Where an operator lacks an activation, the dtype in ONNX Runtime, or a state after every step, the
steps are written out in a Scan.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cgru import layers
from cgru.saving import onnx_activations
from cgru.saving.onnx_graph import Builder, Value


class Cell(NamedTuple):
    """What is to be known of a recurrent layer.

    `order` has the places of ONNX's gates among those of the layer, `activations` the layer's
    attributes in ONNX's order.  ``step(g, layer, states, row, bias)`` returns the next states;
    `row` is x W + b, `bias` belongs to the recurrent product.
    """

    operator: str
    states: tuple[str, ...]
    order: tuple[int, ...]
    activations: tuple[str, ...]
    step: Callable[[Builder, Any, list[str], str, np.ndarray], list[str]]


class States(NamedTuple):
    """The states after every step, [time, batch, units], and the last ones, [batch, units]."""

    every: list[str]
    last: list[str]


def recurrent(g: Builder, layer: Any, x: Value, starts: list[str] | None = None) -> list[str]:
    """The output of a recurrent layer and, if it returns them, its states."""
    if type(layer) not in CELLS:
        raise not_ours(layer)
    carried = g.carries and x.shape[1] is None
    if carried and starts is not None:
        raise ValueError(
            f"stateful: expected no layer with an initial state, which is that of a whole "
            f"sequence, got {layer.name}"
        )
    names = [f"{layer.name}_{state}" for state in CELLS[type(layer)].states]
    if carried:
        size = ("batch", layer.units)
        starts = [g.add_input(f"{name}_in", size, g.dtype) for name in names]
    steps, mask = x.name, None if x.mask is None else x.mask.name
    if layer.go_backwards:
        steps, mask = reverse(g, steps), None if mask is None else reverse(g, mask)
    if mask is None:
        states = _run(g, layer, g.Transpose(steps, perm=[1, 0, 2]), starts)
        every, last = g.Transpose(states.every[0], perm=[1, 0, 2]), states.last
    else:
        every, last = _masked(g, layer, steps, mask, starts, carried or layer.return_state)
    if carried:
        for name, state in zip(names, last, strict=True):
            g.add_output(state, f"{name}_out", size)
    output = every if layer.return_sequences else last[0]
    if layer.zero_output_for_mask and mask is not None:
        valid = mask if layer.return_sequences else g.Gather(mask, -1, axis=1)
        output = g.Mul(output, g.cast(g.Unsqueeze(valid, [-1]), g.dtype))
    return [output, *last] if layer.return_state else [output]


def not_ours(layer: Any) -> ValueError:
    """The error for a layer that has no place in a table."""
    return ValueError(
        f"model: the layer {layer.name} is a {type(layer).__name__}, and only cgru's own layers "
        "can be written in operators of ONNX"
    )


def reverse(g: Builder, x: str) -> str:
    """The steps of x from the last to the first."""
    return g.Slice(x, [-1], [np.iinfo(np.int64).min], [1], [-1])


def _masked(
    g: Builder, layer: Any, x: str, mask: str, starts: list[str] | None, all_last: bool
) -> tuple[str, list[str]]:
    """The state after every step, [batch, time, units], and the last ones: all, or the first."""
    valid = g.cast(mask, np.int64)
    reached = g.CumSum(valid, 1)  # steps that are valid so far
    total = g.ReduceSum(valid, [1], keepdims=1)
    time = g.Shape(x, start=1, end=2)
    # A step's place in the new order: the valid ones come first, each kind in its order.
    places = g.CumSum(g.Expand(1, time), 0)
    keys = g.Sub(g.Mul(valid, time), places)
    order = g.TopK(keys, time, axis=1, outputs=2)[1]
    moved = g.GatherND(x, g.Unsqueeze(order, [-1]), batch_dims=1)
    steps = g.Transpose(moved, perm=[1, 0, 2])
    if starts is None:
        starts = _zeros(g, layer, steps)
    states = _run(g, layer, steps, starts, all_last)
    reachable = [
        g.Transpose(g.Concat(g.Unsqueeze(start, [0]), every, axis=0), perm=[1, 0, 2])
        for start, every in zip(starts, states.every, strict=False)
    ]
    every = g.GatherND(reachable[0], g.Unsqueeze(reached, [-1]), batch_dims=1)
    return every, [g.GatherND(state, total, batch_dims=1) for state in reachable]


def _zeros(g: Builder, layer: Any, steps: str) -> list[str]:
    """The states to start from where none are given."""
    shape = g.Concat(g.Shape(steps, start=1, end=2), [layer.units], axis=0)
    return [g.Expand(0.0, shape)] * len(CELLS[type(layer)].states)


def _run(
    g: Builder, layer: Any, steps: str, starts: list[str] | None, every_state: bool = False
) -> States:
    """The states of [time, batch, features], from the first step to the last."""
    cell = CELLS[type(layer)]
    known = all(onnx_activations.is_known(getattr(layer, name)) for name in cell.activations)
    has_every = len(cell.states) == 1 or not every_state
    if g.dtype == np.float32 and known and has_every:
        return _operator(g, layer, steps, starts)
    bias = _biases(layer)
    projected = g.Add(g.MatMul(steps, layer.kernel.numpy()), bias[0])

    def step(body: Builder, states: list[str], row: str) -> list[str]:
        return cell.step(body, layer, states, row, bias[1])

    last, every = g.scan(step, starts or _zeros(g, layer, steps), projected)
    return States(every, last)


def _operator(g: Builder, layer: Any, steps: str, starts: list[str] | None) -> States:
    """By ONNX's own operator."""
    cell = CELLS[type(layer)]
    kernel, recurrent_kernel, biases = (
        np.concatenate([_gates(layer, array)[place] for place in cell.order], axis=-1)
        for array in (layer.kernel.numpy(), layer.recurrent_kernel.numpy(), _biases(layer))
    )
    read = [steps, kernel.T[np.newaxis], recurrent_kernel.T[np.newaxis], biases.reshape(1, -1)]
    if starts is not None:
        read += ["", *(g.Unsqueeze(start, [0]) for start in starts)]
    options = {"linear_before_reset": int(layer.reset_after)} if cell.operator == "GRU" else {}
    every, *last = g.node(
        cell.operator,
        *read,
        outputs=1 + len(cell.states),
        hidden_size=layer.units,
        activations=[
            onnx_activations.RECURRENT[getattr(layer, name).name] for name in cell.activations
        ],
        **options,
    )
    return States([g.Squeeze(every, [1])], [g.Squeeze(state, [0]) for state in last])


def _biases(layer: Any) -> np.ndarray:
    """Those of the inputs and of the states, [2, gates * units]."""
    width = layer.kernel.shape[1]
    biases = np.zeros((2, width), layer.dtype)
    if layer.bias is not None:
        biases[: layer.bias.size // width] = layer.bias.numpy()
    return biases


def _gates(layer: Any, array: np.ndarray) -> list[np.ndarray]:
    """The parts of a weight that belong to each gate."""
    return np.split(array, array.shape[-1] // layer.units, axis=-1)


def _products(g: Builder, layer: Any, bias: np.ndarray) -> Callable[[str, int], str]:
    """A function of a state and a gate: the recurrent product."""
    kernels, biases = _gates(layer, layer.recurrent_kernel.numpy()), _gates(layer, bias)
    return lambda h, gate: g.Add(g.MatMul(h, kernels[gate]), biases[gate])


def _gru_step(g: Builder, layer: Any, states: list[str], row: str, bias: np.ndarray) -> list[str]:
    (h,), product = states, _products(g, layer, bias)
    inputs = g.Split(row, [layer.units] * 3, axis=-1, outputs=3)

    def gate(place: int) -> str:
        total = g.Add(inputs[place], product(h, place))
        return onnx_activations.apply(g, layer.recurrent_activation, total, layer.name)

    z, r = gate(0), gate(1)
    candidate = g.Mul(r, product(h, 2)) if layer.reset_after else product(g.Mul(r, h), 2)
    n = onnx_activations.apply(g, layer.activation, g.Add(inputs[2], candidate), layer.name)
    return [g.Add(g.Mul(z, h), g.Mul(g.Sub(1.0, z), n))]


def _lstm_step(g: Builder, layer: Any, states: list[str], row: str, bias: np.ndarray) -> list[str]:
    (h, c), product = states, _products(g, layer, bias)
    inputs = g.Split(row, [layer.units] * 4, axis=-1, outputs=4)

    def gate(place: int, activation: Any) -> str:
        total = g.Add(inputs[place], product(h, place))
        return onnx_activations.apply(g, activation, total, layer.name)

    i, f, o = (gate(place, layer.recurrent_activation) for place in (0, 1, 3))
    c = g.Add(g.Mul(f, c), g.Mul(i, gate(2, layer.activation)))
    return [g.Mul(o, onnx_activations.apply(g, layer.activation, c, layer.name)), c]


def _simple_step(
    g: Builder, layer: Any, states: list[str], row: str, bias: np.ndarray
) -> list[str]:
    total = g.Add(row, _products(g, layer, bias)(states[0], 0))
    return [onnx_activations.apply(g, layer.activation, total, layer.name)]


CELLS: dict[type, Cell] = {
    layers.GRU: Cell(
        "GRU", ("state",), (0, 1, 2), ("recurrent_activation", "activation"), _gru_step
    ),
    layers.LSTM: Cell(
        "LSTM",
        ("state", "cell"),
        (0, 3, 1, 2),
        ("recurrent_activation", "activation", "activation"),
        _lstm_step,
    ),
    layers.SimpleRNN: Cell("RNN", ("state",), (0,), ("activation",), _simple_step),
}
