"""Symbolic tensors: the shapes of arrays that are yet to come, and the calls of layers on them.

A layer that is called on symbolic tensors computes nothing: it is built for their shapes, and the
call is noted on the tensors it returns.  `cgru.Model` follows these notes back from its outputs.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from cgru import _checks, _room, config

Shape = tuple[int | None, ...]

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool")

_order = itertools.count()
# What those without a name are called by: for each kind how many there were.
name_counters: dict[str, Iterator[int]] = collections.defaultdict(itertools.count)


class SymbolicTensor:
    """The shape and dtype of an array that is yet to come.

    Attributes
    ----------
    shape : tuple of int or None
        The batch included; None for what is free.
    dtype : dtype
    name : str
    call : Call or None
        The call of a layer that returns it; None for a model's input.
    """

    def __init__(self, shape: Shape, dtype: np.dtype, name: str, call: Call | None = None) -> None:
        self.shape = shape
        self.dtype = dtype
        self.name = name
        self.call = call

    @property
    def ndim(self) -> int:
        """The number of dimensions, the batch included."""
        return len(self.shape)

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError(f"expected an array, got {self!r}, which has no values yet")

    def __repr__(self) -> str:
        return f"<SymbolicTensor {self.name}, shape={self.shape}, dtype={self.dtype}>"


class Call(NamedTuple):
    """One call of a layer.

    `inputs` begins with what it reads, several tensors if it takes a list; `states` initial states
    follow and, if it is `masked`, a mask.
    """

    order: int
    layer: Any
    inputs: tuple[SymbolicTensor, ...]
    states: int
    training: bool | None
    outputs: list[SymbolicTensor]
    masked: bool = False


def is_symbolic(value: Any) -> bool:
    """Whether a value, or the first of a list, is a symbolic tensor."""
    if isinstance(value, (list, tuple)) and len(value) > 0:
        value = value[0]
    return isinstance(value, SymbolicTensor)


def connect(layer: Any, x: Any, states: list[Any], training: bool | None, mask: Any = None) -> Any:
    """Note the call of a layer on symbolic tensors; return its output, or a tuple of them."""
    _room.claim_parts(1)
    several = layer.takes_several
    tensors = list(x) if isinstance(x, (list, tuple)) else [x]
    if not several and len(tensors) != 1:
        raise ValueError(f"x: {layer.name} expects one input, got {len(tensors)}")
    if mask is not None and several:
        raise TypeError(f"mask: expected none for {layer.name}, which reads several tensors")
    masks = [] if mask is None else [mask]
    given = {"x": tensors, "initial_state": states, "mask": masks}
    for argument, items in given.items():
        for tensor in items:
            if not isinstance(tensor, SymbolicTensor):
                raise TypeError(
                    f"{argument}: {layer.name} expects a symbolic tensor, got {tensor!r}"
                )
    shape: Any = [tensor.shape for tensor in tensors] if several else tensors[0].shape
    if states:
        layer.check_states([state.shape for state in states])
    layer.ensure_built(shape)
    result = layer.compute_output_shape(shape)
    shapes = list(result) if is_several(result) else [result]
    read = (*tensors, *states, *masks)
    call = Call(next(_order), layer, read, len(states), training, [], bool(masks))
    for place, output_shape in enumerate(shapes):
        name = layer.name if len(shapes) == 1 else f"{layer.name}_{place}"
        call.outputs.append(SymbolicTensor(tuple(output_shape), layer._dtype, name, call))
    layer._calls = (*layer._calls, call)
    return tuple(call.outputs) if is_several(result) else call.outputs[0]


def is_several(shape: Any) -> bool:
    """Whether what `compute_output_shape` gave is the shapes of several outputs."""
    return len(shape) > 0 and isinstance(shape[0], (tuple, list))


def Input(  # noqa: N802 (Keras's name)
    shape: Any = None,
    batch_size: int | None = None,
    dtype: Any = None,
    *,
    batch_shape: Any = None,
    name: str | None = None,
) -> SymbolicTensor:
    """Describe a model's input.

    Parameters
    ----------
    shape : tuple of int or None
        Without the batch; None where a length is free, as in ``(None, 3)`` for sequences of any
        length with three features.
    batch_size : int, optional
        If every batch will have this size.
    dtype : str, optional
        ``"float32"`` or ``"float64"``, `cgru.config.floatx()` by default; or an integer type, for
        indices.
    batch_shape : tuple of int or None, optional
        The shape with the batch, instead of `shape` and `batch_size`.
    name : str, optional

    Returns
    -------
    SymbolicTensor
        To be the first entry of a `Sequential`, or to call layers on.

    Examples
    --------
    >>> model = cgru.Sequential([cgru.Input((None, 3)), cgru.layers.GRU(4)])
    >>> model.output_shape
    (None, 4)
    >>> a = cgru.Input((None, 3))
    >>> cgru.Model(a, cgru.layers.Dense(1)(cgru.layers.GRU(4)(a))).output_shape
    (None, 1)
    """
    if batch_shape is not None:
        if shape is not None or batch_size is not None:
            raise ValueError("batch_shape: expected without shape and batch_size")
        batch_size, *shape = batch_shape
    if isinstance(shape, int) or not hasattr(shape, "__iter__"):
        raise ValueError(f"shape: expected a tuple such as (None, 3), got {shape!r}")
    sizes = tuple(
        None if size is None else _checks.integer(f"shape[{axis}]", size, 1)
        for axis, size in enumerate(shape)
    )
    if batch_size is not None:
        batch_size = _checks.integer("batch_size", batch_size, 1)
    if isinstance(dtype, type):
        dtype = np.dtype(dtype)  # np.int32, which calls itself otherwise
    number = next(name_counters["input"])
    return SymbolicTensor(
        (batch_size, *sizes),
        np.dtype(dtype) if str(dtype) in INTEGERS else config.as_dtype(dtype),
        name or (f"input_{number}" if number else "input"),
    )
