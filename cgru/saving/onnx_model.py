"""A model as an ONNX graph: its inputs, its outputs, and what is between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru.layers.symbolic import Shape
from cgru.saving import onnx_layers
from cgru.saving.onnx_graph import Builder, Value


def serialized(model: Any, stateful: bool) -> bytes:
    """The file of a model; `stateful` as in `export_onnx`."""
    g = Builder(np.dtype(model.dtype), stateful)
    several = model.takes_several
    inputs = []
    shapes = model.accepted_shapes()
    for name, shape, integers in zip(model.input_names, shapes, model.integers, strict=True):
        dtype = np.dtype(np.int64) if integers else g.dtype
        if stateful and len(shape) + integers > 2:  # any number of time steps
            shape = (shape[0], None, *shape[2:])
        inputs.append(Value(g.add_input(name, _sizes(name, shape, several), dtype), shape))
    outputs = onnx_layers.run(g, model, inputs)
    if stateful and not g.outputs:
        raise ValueError(
            f"stateful: expected a recurrent layer that reads the time steps of {model.name}, "
            "got none"
        )
    states, g.outputs = g.outputs, []
    for name, output in zip(model.output_names, outputs, strict=True):
        g.add_output(output.name, name, _sizes(name, output.shape, True))
    g.outputs += states
    return g.serialized(model.name)


def _sizes(name: str, shape: Shape, several: bool) -> list[Any]:
    """The sizes along the axes; names for what is free."""
    prefix = f"{name}_" if several else ""
    names = ["batch", f"{prefix}time", *(f"{prefix}axis_{axis}" for axis in range(2, len(shape)))]
    known = [None, *shape[1:]]
    return [names[axis] if size is None else size for axis, size in enumerate(known)]
