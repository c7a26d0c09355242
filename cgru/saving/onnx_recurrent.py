"""Recurrent layers in operators of ONNX, with masks of any kind.

ONNX's recurrent operators know no masks, only lengths.  So the steps that are not masked are moved
to the front, in their order; what the operator returns after the last of them is not used.  A step
then has the state after as many steps as are valid up to it.

Where an operator lacks an activation, or the dtype in ONNX Runtime, the steps are written out in a
Scan.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cgru.saving import onnx_activations
from cgru.saving.onnx_graph import Builder, Value


class States(NamedTuple):
    """The state after every step, [time, batch, units], and the last one, [batch, units]."""

    every: str
    last: str


def recurrent(g: Builder, layer: Any, x: Value, starts: list[str] | None = None) -> list[str]:
    """The output of a recurrent layer and, if it returns them, its states."""
    carried = g.carries and x.shape[1] is None
    if carried and starts is not None:
        raise ValueError(
            f"stateful: expected no layer with an initial state, which is that of a whole "
            f"sequence, got {layer.name}"
        )
    if carried:
        starts = [g.add_input(f"{layer.name}_state_in", ("batch", layer.units), g.dtype)]
    name, mask = x.name, None if x.mask is None else x.mask.name
    if layer.go_backwards:
        name, mask = reverse(g, name), None if mask is None else reverse(g, mask)
    if mask is None:
        states = _run(g, layer, g.Transpose(name, perm=[1, 0, 2]), starts)
        every, last = g.Transpose(states.every, perm=[1, 0, 2]), states.last
    else:
        every, last = _masked(g, layer, name, mask, starts)
    if carried:
        g.add_output(last, f"{layer.name}_state_out", ("batch", layer.units))
    output = every if layer.return_sequences else last
    if layer.zero_output_for_mask and mask is not None:
        valid = mask if layer.return_sequences else g.Gather(mask, -1, axis=1)
        output = g.Mul(output, g.cast(g.Unsqueeze(valid, [-1]), g.dtype))
    return [output, last] if layer.return_state else [output]


def reverse(g: Builder, x: str) -> str:
    """The steps of x from the last to the first."""
    return g.Slice(x, [-1], [np.iinfo(np.int64).min], [1], [-1])


def _masked(g: Builder, layer: Any, x: str, mask: str, starts: list[str] | None) -> tuple[str, str]:
    """The states of [batch, time, features] with a mask, [batch, time, units] and the last."""
    valid = g.cast(mask, np.int64)
    reached = g.CumSum(valid, 1)  # steps that are valid so far
    time = g.Shape(x, start=1, end=2)
    # A step's place in the new order: the valid ones come first, each kind in its order.
    places = g.CumSum(g.Expand(1, time), 0)
    keys = g.Sub(g.Mul(valid, time), places)
    order = g.TopK(keys, time, axis=1, outputs=2)[1]
    moved = g.GatherND(x, g.Unsqueeze(order, [-1]), batch_dims=1)
    steps = g.Transpose(moved, perm=[1, 0, 2])
    start = _starts(g, layer, steps, starts)
    states = _run(g, layer, steps, start)
    every = g.Transpose(g.Concat(g.Unsqueeze(start[0], [0]), states.every, axis=0), perm=[1, 0, 2])
    total = g.ReduceSum(valid, [1], keepdims=1)
    return (
        g.GatherND(every, g.Unsqueeze(reached, [-1]), batch_dims=1),
        g.GatherND(every, total, batch_dims=1),
    )


def _starts(g: Builder, layer: Any, steps: str, starts: list[str] | None) -> list[str]:
    """The states to start from: those given, or zeros."""
    if starts is not None:
        return starts
    return [g.Expand(0.0, g.Concat(g.Shape(steps, start=1, end=2), [layer.units], axis=0))]


def _run(g: Builder, layer: Any, steps: str, starts: list[str] | None) -> States:
    """The states of [time, batch, features], from the first step to the last."""
    known = all(
        onnx_activations.is_known(item) for item in (layer.activation, layer.recurrent_activation)
    )
    if g.dtype == np.float32 and known:  # ONNX Runtime has it in float32 only
        return _operator(g, layer, steps, starts)
    bias = _biases(layer)
    projected = g.Add(g.MatMul(steps, layer.kernel.numpy()), bias[0])

    def step(body: Builder, states: list[str], row: str) -> list[str]:
        return [_gru_step(body, layer, states[0], row, bias[1])]

    last, every = g.scan(step, _starts(g, layer, steps, starts), projected)
    return States(every[0], last[0])


def _operator(g: Builder, layer: Any, steps: str, starts: list[str] | None) -> States:
    """By ONNX's own operator, whose gates are z, r, h."""
    names = [
        onnx_activations.RECURRENT[item.name]
        for item in (layer.recurrent_activation, layer.activation)
    ]
    read = [
        steps,
        layer.kernel.numpy().T[np.newaxis],
        layer.recurrent_kernel.numpy().T[np.newaxis],
        _biases(layer).reshape(1, -1),
    ]
    if starts is not None:
        read += ["", g.Unsqueeze(starts[0], [0])]
    every, last = g.GRU(
        *read,
        outputs=2,
        hidden_size=layer.units,
        linear_before_reset=int(layer.reset_after),
        activations=names,
    )
    return States(g.Squeeze(every, [1]), g.Squeeze(last, [0]))


def _biases(layer: Any) -> np.ndarray:
    """Those of the inputs and of the states, [2, 3 * units]."""
    biases = np.zeros((2, 3 * layer.units), layer.dtype)
    if layer.bias is not None:
        biases[: layer.bias.size // (3 * layer.units)] = layer.bias.numpy()
    return biases


def _gru_step(g: Builder, layer: Any, h: str, row: str, bias: np.ndarray) -> str:
    """The next state; `row` is x W + b."""
    sizes = [layer.units] * 3
    kernels, biases = np.split(layer.recurrent_kernel.numpy(), 3, axis=1), np.split(bias, 3)
    inputs = g.Split(row, sizes, axis=-1, outputs=3)

    def product(state: str, gate: int) -> str:
        return g.Add(g.MatMul(state, kernels[gate]), biases[gate])

    def gate(place: int) -> str:
        total = g.Add(inputs[place], product(h, place))
        return onnx_activations.apply(g, layer.recurrent_activation, total, layer.name)

    z, r = gate(0), gate(1)
    candidate = g.Mul(r, product(h, 2)) if layer.reset_after else product(g.Mul(r, h), 2)
    n = onnx_activations.apply(g, layer.activation, g.Add(inputs[2], candidate), layer.name)
    return g.Add(g.Mul(z, h), g.Mul(g.Sub(1.0, z), n))
