"""What `Model.summary` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cgru.layers.graph import Graph


def lines(model: Any, show_trainable: bool, expand_nested: bool, layer_range: Any) -> Iterator[str]:
    """A table of the layers in the order of their calls, and the totals."""
    chain = all(step.reads == (place,) for place, step in enumerate(model.steps))
    rows = [["Layer (type)", "Output shape", "Parameters", "Reads"]]
    found = list(_rows(model, show_trainable, expand_nested))
    if layer_range is not None:
        places = [place for place, (layer, _) in enumerate(found) if layer.name in layer_range]
        if len({found[place][0].name for place in places}) < len(set(layer_range)):
            raise ValueError(f"layer_range: expected names of layers, got {layer_range!r}")
        found = found[places[0] : places[-1] + 1]
    rows += [row for _, row in found]
    yield f"Model: {model.name}"
    widths = [max(least, *(len(row[i]) for row in rows)) for i, least in enumerate((29, 24, 11))]
    for name, shape, count, reads in rows:
        line = f"{name:<{widths[0]}} {shape:<{widths[1]}} {count:>{widths[2]}}"
        yield line if chain else f"{line}  {reads}"
    total = model.count_params()
    trainable = sum(weight.size for weight in model.trainable_weights)
    size = sum(weight.value.nbytes for weight in model.weights)
    yield f"Total parameters: {total:,} ({size:,} bytes), trainable: {trainable:,}"


def _rows(
    model: Any, show_trainable: bool, expand_nested: bool, depth: int = 0
) -> Iterator[tuple[Any, list[str]]]:
    """The layers, and what the table says of each."""
    inputs = model.input_shape if model.takes_several else [model.input_shape]
    shapes = dict(enumerate(model.output_shapes(inputs)))
    names = dict(enumerate(model.input_names))
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
        yield layer, ["  " * depth + name, shape, count, reads]
        if expand_nested and isinstance(layer, Graph):
            yield from _rows(layer, show_trainable, True, depth + 1)
