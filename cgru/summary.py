"""What `Model.summary` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def lines(model: Any, show_trainable: bool) -> Iterator[str]:
    """A table of the layers in the order of their calls, and the totals."""
    inputs = model.input_shape if model.takes_several else [model.input_shape]
    shapes = dict(enumerate(model.output_shapes(inputs)))
    names = dict(enumerate(model.input_names))
    chain = all(step.reads == (place,) for place, step in enumerate(model.steps))
    rows = [["Layer (type)", "Output shape", "Parameters", "Reads"]]
    seen = set()
    for step in model.steps:
        layer, written = step.layer, [shapes[place] for place in step.writes]
        names |= dict.fromkeys(step.writes, layer.name)
        count = f"{layer.count_params():,}" if layer not in seen else "(shared)"
        name = f"{layer.name} ({type(layer).__name__})"
        if show_trainable and not layer.trainable:
            name += ", frozen"
        seen.add(layer)
        reads = ", ".join(dict.fromkeys(names[place] for place in step.reads))
        shape = str(written[0]) if len(written) == 1 else ", ".join(map(str, written))
        rows.append([name, shape, count, reads])
    yield f"Model: {model.name}"
    widths = [max(least, *(len(row[i]) for row in rows)) for i, least in enumerate((29, 24, 11))]
    for name, shape, count, reads in rows:
        line = f"{name:<{widths[0]}} {shape:<{widths[1]}} {count:>{widths[2]}}"
        yield line if chain else f"{line}  {reads}"
    total = model.count_params()
    trainable = sum(weight.size for weight in model.trainable_weights)
    size = sum(weight.value.nbytes for weight in model.weights)
    yield f"Total parameters: {total:,} ({size:,} bytes), trainable: {trainable:,}"
