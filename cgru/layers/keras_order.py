"""The order in which Keras keeps the layers of a model.

It sorts them by their distance from the outputs, in calls, and then in the order in which it meets
them on the way back from these.  Masks count as calls, of the functions that compute them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

import numpy as np

from cgru.layers.embedding import Embedding, Masking
from cgru.layers.merging import Concatenate, Dot

# Those whose call takes the mask as an argument, beside recurrent layers and models.
READS_MASK = ("BatchNormalization", "GlobalAveragePooling1D", "Softmax", "TimeDistributed")


class Function:
    """A function that computes a mask.

    Parameters
    ----------
    name : str
    value : float
        With which it compares.
    """

    def __init__(self, name: str, value: float = 0) -> None:
        self.name = name
        self.value = value


class Node(NamedTuple):
    """One call of a layer, or of a function on masks."""

    subject: Hashable
    inputs: list[Node]


def in_order(model: Any) -> list[Any]:
    """The layers of a functional model in the order of Keras.

    Of masks that are made inside a model that is a layer nothing is known; they do not count.
    """
    nodes, _ = trace(model)
    found = sort([nodes[place] for place in model.sinks], model.input_layers)
    return [layer for layer in found if not isinstance(layer, Function)]


def trace(model: Any) -> tuple[dict[int, Node], dict[int, Node | None]]:
    """For the tensors of a model the calls that return them, and those that return their masks."""
    nodes = {place: Node(model.input_layers[place], []) for place in model.sources}
    masks: dict[int, Node | None] = dict.fromkeys(nodes)
    shapes = model.output_shapes([tensor.shape for tensor in model.inputs])
    for step in model.steps:
        layer, count = step.layer, len(step.inputs)
        read = [nodes[place] for place in step.reads]
        mask = [masks[place] for place in step.inputs]
        if step.masked:
            mask = [read[-1]]
        recurrent = hasattr(layer, "return_state") or hasattr(layer, "steps")
        takes_mask = recurrent or type(layer).__name__ in READS_MASK
        # A call with an initial state is told its mask, if there is one.
        told = [mask[0]] if takes_mask and mask[0] is not None and not step.masked else []
        node = Node(layer, [*read, *told])
        made = _mask_of(layer, read[:count], mask, [shapes[place] for place in step.inputs])
        for place in step.writes:
            nodes[place] = node
            masks[place] = made if len(shapes[place]) > 2 or made is None else None
    return nodes, masks


def _mask_of(
    layer: Any, read: list[Node], masks: list[Node | None], shapes: list[Any]
) -> Node | None:
    if isinstance(layer, Embedding):
        return _mask("not_equal", *read) if layer.mask_zero else None
    if isinstance(layer, Masking):
        return _mask("any", Node(Function("not_equal", layer.mask_value), read))
    if isinstance(layer, Concatenate):
        return _joined(read, masks)
    if layer.takes_several:
        if isinstance(layer, Dot) or None in masks:
            return None
        found = masks[0]
        for mask in masks[1:]:
            found = _mask("logical_or", found, mask)
        return found
    return masks[0] if masks[0] is not None and passes_mask(layer, shapes[0]) else None


def passes_mask(layer: Any, shape: Any) -> bool:
    """Whether the mask of its input is that of its (first) output."""
    x = np.zeros([1] * len(shape))
    try:
        found = layer.compute_mask(x, np.ones(x.shape[:2], bool))
    except Exception:  # that of a class of your own may need more than one step
        return False
    return (found[0] if isinstance(found, (list, tuple)) else found) is not None


def _joined(read: list[Node], masks: list[Node | None]) -> Node | None:
    if all(mask is None for mask in masks):
        return None
    parts = [
        _mask("ones_like", node)
        if mask is None
        else _mask("logical_or", _mask("expand_dims", mask), _mask("zeros_like", node))
        for node, mask in zip(read, masks, strict=True)
    ]
    return _mask("all", _mask("concatenate", *parts))


def _mask(name: str, *inputs: Any) -> Node:
    return Node(Function(name), list(inputs))


def sort(outputs: list[Node], inputs: Iterable[Any]) -> list[Any]:
    """The subjects of the calls that lead to the outputs, by depth, and then as they are met.

    Inputs that lead to none of them count as met first among the last.
    """
    finished: dict[int, Node] = {}
    met: dict[Any, int] = {}
    stack: list[tuple[Node, bool]] = [(node, False) for node in reversed(outputs)]
    started: set[int] = set()
    while stack:
        node, done = stack.pop()
        if done:
            finished[id(node)] = node
        elif id(node) not in started:
            started.add(id(node))
            met.setdefault(node.subject, len(met))
            stack.append((node, True))
            stack += [(read, False) for read in reversed(node.inputs)]
    depths: dict[int, int] = {}
    subjects: dict[Any, int] = {}
    for key, node in reversed(finished.items()):
        depth = max(depths.get(key, 0), subjects.get(node.subject, 0))
        subjects[node.subject] = depths[key] = depth
        for read in node.inputs:
            depths[id(read)] = max(depth + 1, depths.get(id(read), 0))
    for layer in inputs:
        if layer not in subjects:
            subjects[layer], met[layer] = 0, -1
    return sorted(subjects, key=lambda subject: (-subjects[subject], met[subject]))
