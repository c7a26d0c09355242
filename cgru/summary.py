"""What `Model.summary` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cgru.layers.graph import Graph

TITLES = ["Layer (type)", "Output shape", "Parameters", "Reads"]
LEAST = (29, 24, 11)  # the widths of columns, at least


def lines(
    model: Any, expand_nested: bool, show_trainable: bool, layer_range: list[Any] | None
) -> Iterator[str]:
    """A table of the layers in the order of their calls, and the totals."""
    shape = model.input_shape
    chain, rows = _rows(model, shape, expand_nested, show_trainable, set(), layer_range)
    rows = [TITLES, *rows]
    yield f"Model: {model.name}"
    widths = [max(least, *(len(row[i]) for row in rows)) for i, least in enumerate(LEAST)]
    for name, output, count, reads in rows:
        line = f"{name:<{widths[0]}} {output:<{widths[1]}} {count:>{widths[2]}}"
        yield line if chain else f"{line}  {reads}".rstrip()
    total = model.count_params()
    trainable = sum(weight.size for weight in model.trainable_weights)
    size = sum(weight.value.nbytes for weight in model.weights)
    yield (
        f"Total parameters: {total:,} ({size:,} bytes), trainable: {trainable:,}, frozen: "
        f"{total - trainable:,}"
    )


def _rows(
    model: Any,
    shape: Any,
    expand_nested: bool,
    show_trainable: bool,
    seen: set[Any],
    layer_range: list[Any] | None = None,
) -> tuple[bool, list[list[str]]]:
    """Whether each layer reads what the one before it returns; and a row for each call."""
    shapes = dict(enumerate(model.output_shapes(shape if model.takes_several else [shape])))
    names = dict(enumerate(model.input_names))
    chain = all(step.reads == (place,) for place, step in enumerate(model.steps))
    rows = (
        []
        if chain
        else [
            [f"{name} (InputLayer)", str(shapes[place]), "0", ""] for place, name in names.items()
        ]
    )
    first, last = layer_range or (None, None)
    shown = first is None
    for step in model.steps:
        layer, written = step.layer, [shapes[place] for place in step.writes]
        names |= dict.fromkeys(step.writes, layer.name)
        count = f"{layer.count_params():,}" if layer not in seen else "(shared)"
        name = f"{layer.name} ({type(layer).__name__})"
        if show_trainable and not layer.trainable:
            name += ", frozen"
        first_time = layer not in seen
        seen.add(layer)
        shown = shown or layer is first
        if not shown:
            continue
        reads = ", ".join(dict.fromkeys(names[place] for place in step.reads))
        outputs = str(written[0]) if len(written) == 1 else ", ".join(map(str, written))
        rows.append([name, outputs, count, reads])
        if expand_nested and first_time and isinstance(layer, Graph):
            read = [shapes[place] for place in step.reads]
            inner = read if layer.takes_several else read[0]
            inner_chain, inside = _rows(layer, inner, True, show_trainable, seen)
            chain = chain and inner_chain
            rows += [["  " + row[0], *row[1:]] for row in inside]
        if layer is last:
            break
    return chain, rows
