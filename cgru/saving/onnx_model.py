"""A model as an ONNX graph: its inputs, its outputs, and what is between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru.layers.symbolic import Shape
from cgru.saving import onnx_layers
from cgru.saving.onnx_graph import Builder, Value


def _takes_any_length(model: Any, shape: Any) -> bool:
    """Whether a Sequential that was built by data of one length reads another one as well."""
    if getattr(model, "_built_for", None) is None or model._input is not None or shape[1] is None:
        return False
    try:
        model.check_input((shape[0], shape[1] + 1, *shape[2:]))
    except ValueError:
        return False
    return True


def serialized(model: Any, stateful: bool) -> bytes:
    """The file of a model; `stateful` as in `export_onnx`."""
    g = Builder(np.dtype(model.dtype), stateful)
    several = model.takes_several
    inputs = []
    shapes = model.input_shape if several else [model.input_shape]
    for name, shape, integers in zip(model.input_names, shapes, model.integers, strict=True):
        dtype = np.dtype(np.int64) if integers else g.dtype
        # Time steps: any number of them, unless an Input says how many.
        if len(shape) + integers > 2 and (stateful or _takes_any_length(model, shape)):
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
