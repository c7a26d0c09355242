"""Layers that read several arrays and make one of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cgru.layers.base import Backward, Layer, Shape


class Merge(Layer):
    """Base of the layers that merge arrays element by element.

    Arrays of fewer dimensions get axes of length 1 after the batch, as in Keras; then they are
    broadcast.
    """

    takes_several = True
    stepwise = True

    def check_input(self, shape: Any, argument: str = "x") -> None:
        if not isinstance(shape, list) or not shape:
            raise ValueError(f"{argument}: {self.name} expects a list of inputs, got {shape}")
        self.compute_output_shape(shape)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        ndim = max(map(len, input_shape))
        merged: list[int | None] = [1] * ndim
        for shape in input_shape:
            for axis, size in enumerate(_expanded(shape, ndim)):
                if merged[axis] == 1:
                    merged[axis] = size
                elif size not in (1, None, merged[axis]) and merged[axis] is not None:
                    raise ValueError(
                        f"x: {self.name} expects inputs of shapes that can be broadcast, got "
                        f"{input_shape}"
                    )
        return tuple(merged)

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        if mask is None or any(item is None for item in mask):
            return None
        return functools.reduce(np.logical_or, mask)  # which may be broadcast

    def forward(self, x: list[np.ndarray], mask: Any = None) -> tuple[np.ndarray, Backward]:
        ndim = max(item.ndim for item in x)
        expanded = [item.reshape(_expanded(item.shape, ndim)) for item in x]
        masks = [None] * len(x) if mask is None else mask
        y, backward = self.merge(expanded, masks)

        def run_back(dy: np.ndarray) -> list[np.ndarray]:
            return [_unbroadcast(d, item.shape) for d, item in zip(backward(dy), x, strict=True)]

        return y, run_back

    def merge(self, x: list[np.ndarray], masks: Sequence[Any]) -> tuple[np.ndarray, Backward]:
        """The output, and the function that gives a gradient for each input, broadcast."""
        raise NotImplementedError(f"{type(self).__name__}.merge")


class Add(Merge):
    """The sum of its inputs.

    Examples
    --------
    >>> cgru.layers.Add()([np.ones((2, 3)), np.ones((2, 3))])[0]
    array([2., 2., 2.], dtype=float32)
    """

    def merge(self, x: list[np.ndarray], masks: Sequence[Any]) -> tuple[np.ndarray, Backward]:
        return _sum(x), lambda dy: [dy] * len(x)


class Subtract(Merge):
    """The difference of two inputs.

    Examples
    --------
    >>> cgru.layers.Subtract()([np.ones((1, 2)), np.ones((1, 2))])
    array([[0., 0.]], dtype=float32)
    """

    def check_input(self, shape: Any, argument: str = "x") -> None:
        _check_two(self, shape, argument)
        super().check_input(shape, argument)

    def merge(self, x: list[np.ndarray], masks: Sequence[Any]) -> tuple[np.ndarray, Backward]:
        return x[0] - x[1], lambda dy: [dy, -dy]


class Average(Merge):
    """The mean of its inputs.

    Examples
    --------
    >>> cgru.layers.Average()([np.zeros((1, 2)), np.ones((1, 2))])
    array([[0.5, 0.5]], dtype=float32)
    """

    def merge(self, x: list[np.ndarray], masks: Sequence[Any]) -> tuple[np.ndarray, Backward]:
        count = x[0].dtype.type(len(x))
        return _sum(x) / count, lambda dy: [dy / count] * len(x)


class Multiply(Merge):
    """The product of its inputs.

    Where an input is masked it counts as 1; where all are, the product is 0.

    Examples
    --------
    >>> cgru.layers.Multiply()([np.full((1, 2), 2), np.full((1, 2), 3)])
    array([[6., 6.]], dtype=float32)
    """

    def merge(self, x: list[np.ndarray], masks: Sequence[Any]) -> tuple[np.ndarray, Backward]:
        valid = [None if m is None else m[..., np.newaxis] for m in masks]
        factors = [
            item if v is None else np.where(v, item, item.dtype.type(1))
            for item, v in zip(x, valid, strict=True)
        ]
        everywhere = None
        known = [v for v in valid if v is not None]
        if len(known) == len(valid):
            everywhere = functools.reduce(np.logical_or, known)
        y = factors[0]
        for factor in factors[1:]:
            y = y * factor
        if everywhere is not None:
            y = y * everywhere

        def backward(dy: np.ndarray) -> list[np.ndarray]:
            if everywhere is not None:
                dy = dy * everywhere
            found = []
            for place, v in enumerate(valid):
                d = dy
                for factor in factors[:place] + factors[place + 1 :]:
                    d = d * factor
                found.append(d if v is None else d * v)
            return found

        return y, backward


class _Extremum(Merge):
    """The larger or smaller of inputs; where one is masked, the other."""

    better: Callable[..., Any]

    def merge(self, x: list[np.ndarray], masks: Sequence[Any]) -> tuple[np.ndarray, Backward]:
        shape = np.broadcast_shapes(*(item.shape for item in x))
        y = np.broadcast_to(x[0], shape)
        shares = [np.ones(shape, y.dtype)]  # of each input in the output
        known = None if masks[0] is None else np.broadcast_to(masks[0][..., np.newaxis], shape)
        for item, mask in zip(x[1:], masks[1:], strict=True):
            other = np.broadcast_to(item, shape)
            valid = None if mask is None else np.broadcast_to(mask[..., np.newaxis], shape)
            take = type(self).better(other, y).astype(y.dtype)
            take[other == y] = 0.5
            if valid is not None:
                take = np.where(valid, take, y.dtype.type(0))
                other = np.where(valid, other, y)
            if known is not None:
                take = np.where(known, take, y.dtype.type(1))
                if valid is not None:
                    take = np.where(~known & ~valid, y.dtype.type(0), take)
            y = np.where(take > 0, np.where(take == 1, other, y), y)
            shares = [share * (1 - take) for share in shares] + [take]
            known = known | valid if known is not None and valid is not None else None
        return y, lambda dy: [dy * share for share in shares]


class Maximum(_Extremum):
    """The largest of its inputs, element by element; equal ones share the gradient.

    Examples
    --------
    >>> cgru.layers.Maximum()([np.zeros((1, 2)), np.ones((1, 2))])
    array([[1., 1.]], dtype=float32)
    """

    better = staticmethod(np.greater)


class Minimum(_Extremum):
    """The smallest of its inputs, element by element; equal ones share the gradient.

    Examples
    --------
    >>> cgru.layers.Minimum()([np.zeros((1, 2)), np.ones((1, 2))])
    array([[0., 0.]], dtype=float32)
    """

    better = staticmethod(np.less)


class Concatenate(Layer):
    """Its inputs side by side.

    Parameters
    ----------
    axis : int
        The axis along which they may differ.
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> cgru.layers.Concatenate()([np.zeros((2, 3)), np.zeros((2, 4))]).shape
    (2, 7)
    """

    takes_several = True

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    @property
    def stepwise(self) -> bool:  # type: ignore[override]
        """Whether features are put together, not steps."""
        return self.axis in (-1, 2)

    def check_input(self, shape: Any, argument: str = "x") -> None:
        if not isinstance(shape, list) or not shape:
            raise ValueError(f"{argument}: {self.name} expects a list of inputs, got {shape}")
        ndim = len(shape[0])
        axis = self.axis % ndim if -ndim <= self.axis < ndim else None
        fits = axis not in (None, 0) and all(len(other) == ndim for other in shape)
        if not fits or any(
            len({other[place] for other in shape} - {None}) > 1
            for place in range(ndim)
            if place != axis
        ):
            raise ValueError(
                f"{argument}: {self.name} expects inputs that differ in axis {self.axis} only, "
                f"got {shape}"
            )

    def compute_output_shape(self, input_shape: Any) -> Shape:
        merged = list(input_shape[0])
        sizes = [shape[self.axis] for shape in input_shape]
        merged[self.axis] = None if None in sizes else sum(sizes)
        return tuple(merged)

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        if mask is None or all(item is None for item in mask):
            return None
        filled = [
            np.ones(item.shape[:2], bool) if part is None else part
            for item, part in zip(x, mask, strict=True)
        ]
        if self.axis in (1, 1 - x[0].ndim):
            return np.concatenate(filled, axis=1)
        return np.logical_or.reduce(filled)

    def forward(self, x: list[np.ndarray]) -> tuple[np.ndarray, Backward]:
        cuts = np.cumsum([item.shape[self.axis] for item in x])[:-1]

        def backward(dy: np.ndarray) -> list[np.ndarray]:
            return np.split(dy, cuts, axis=self.axis)

        if x[0].ndim == 3 and self.axis in (-1, 2):  # time-major in memory, as layers want it
            y = np.concatenate([item.swapaxes(0, 1) for item in x], axis=2).swapaxes(0, 1)
        else:
            y = np.concatenate(x, axis=self.axis)
        return y, backward


class Dot(Layer):
    """The sums of products of two inputs along an axis of each.

    Parameters
    ----------
    axes : int or tuple of int
        The axis, of both or of each.
    normalize : bool
        Whether to divide by the norms along these axes: the cosine of the angle.
    **kwargs
        As for `Layer`.

    Examples
    --------
    Scores of each step of one sequence with each of another:

    >>> cgru.layers.Dot(axes=2)([np.zeros((2, 5, 3)), np.zeros((2, 7, 3))]).shape
    (2, 5, 7)
    """

    takes_several = True

    def __init__(self, axes: Any, normalize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(axes, int):
            if not isinstance(axes, (list, tuple)):
                raise TypeError(f"axes: expected an integer or two, got {axes!r}")
            if len(axes) != 2 or not all(isinstance(axis, int) for axis in axes):
                raise ValueError(f"axes: expected an integer or two, got {axes!r}")
        self.axes = axes
        self.normalize = bool(normalize)

    def _axes(self, ndims: list[int]) -> list[int]:
        axes = [self.axes] * 2 if isinstance(self.axes, int) else list(self.axes)
        return [axis + ndim if axis < 0 else axis for axis, ndim in zip(axes, ndims, strict=True)]

    def check_input(self, shape: Any, argument: str = "x") -> None:
        _check_two(self, shape, argument)
        axes = self._axes([len(other) for other in shape])
        fits = all(0 < axis < len(other) for axis, other in zip(axes, shape, strict=True))
        sizes = {other[axis] for axis, other in zip(axes, shape, strict=True)} if fits else set()
        if not fits or len(sizes - {None}) > 1:
            raise ValueError(
                f"{argument}: {self.name} expects inputs of one size along the axes {axes}, got "
                f"{shape}"
            )

    def compute_output_shape(self, input_shape: Any) -> Shape:
        axes = self._axes([len(shape) for shape in input_shape])
        rest = [
            [size for place, size in enumerate(shape) if place not in (0, axis)]
            for axis, shape in zip(axes, input_shape, strict=True)
        ]
        return input_shape[0][0], *(rest[0] + rest[1] or [1])

    def compute_mask(self, x: Any, mask: Any = None) -> None:
        return None

    def forward(self, x: list[np.ndarray]) -> tuple[np.ndarray, Backward]:
        axes = self._axes([item.ndim for item in x])
        a, b = (np.moveaxis(item, axis, -1) for item, axis in zip(x, axes, strict=True))
        norms = [1.0, 1.0]
        if self.normalize:
            norms = [
                np.sqrt(np.maximum(np.square(i).sum(-1, keepdims=True), 1e-12)) for i in (a, b)
            ]
            a, b = a / norms[0], b / norms[1]
        rows = [item.reshape(len(item), -1, item.shape[-1]) for item in (a, b)]
        # By einsum, not by BLAS: a row must not depend on how many there are.
        y = np.einsum("bif,bjf->bij", *rows)
        shape: Any = self.compute_output_shape([item.shape for item in x])

        def backward(dy: np.ndarray) -> list[np.ndarray]:
            d = dy.reshape(y.shape)
            grads = [
                np.einsum("bij,bjf->bif", d, rows[1]).reshape(a.shape),
                np.einsum("bij,bif->bjf", d, rows[0]).reshape(b.shape),
            ]
            if self.normalize:
                grads = [
                    (g - item * (g * item).sum(-1, keepdims=True)) / norm
                    for g, item, norm in zip(grads, (a, b), norms, strict=True)
                ]
            return [np.moveaxis(g, -1, axis) for g, axis in zip(grads, axes, strict=True)]

        return y.reshape(shape), backward


def _expanded(shape: Any, ndim: int) -> Any:
    return (*shape[:1], *[1] * (ndim - len(shape)), *shape[1:])


def _unbroadcast(d: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The sum of a gradient over the axes along which an input was broadcast."""
    wide = _expanded(shape, d.ndim)
    axes = tuple(axis for axis, size in enumerate(wide) if size == 1 and d.shape[axis] != 1)
    return (d.sum(axis=axes, keepdims=True) if axes else d).reshape(shape)


def _sum(x: list[np.ndarray]) -> np.ndarray:
    y = x[0]
    for item in x[1:]:
        y = y + item
    return y


def _check_two(layer: Layer, shape: Any, argument: str) -> None:
    if not isinstance(shape, list) or len(shape) != 2:
        raise ValueError(f"{argument}: {layer.name} expects a list of 2 inputs, got {shape}")


def add(inputs: Any, **kwargs: Any) -> Any:
    """`Add` of the inputs.

    Examples
    --------
    >>> cgru.layers.add([np.ones((1, 2)), np.ones((1, 2))])
    array([[2., 2.]], dtype=float32)
    """
    return Add(**kwargs)(inputs)


def subtract(inputs: Any, **kwargs: Any) -> Any:
    """`Subtract` of the inputs.

    Examples
    --------
    >>> cgru.layers.subtract([np.ones((1, 2)), np.ones((1, 2))])
    array([[0., 0.]], dtype=float32)
    """
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Any, **kwargs: Any) -> Any:
    """`Multiply` of the inputs.

    Examples
    --------
    >>> cgru.layers.multiply([np.ones((1, 2)), np.ones((1, 2))])
    array([[1., 1.]], dtype=float32)
    """
    return Multiply(**kwargs)(inputs)


def average(inputs: Any, **kwargs: Any) -> Any:
    """`Average` of the inputs.

    Examples
    --------
    >>> cgru.layers.average([np.ones((1, 2)), np.zeros((1, 2))])
    array([[0.5, 0.5]], dtype=float32)
    """
    return Average(**kwargs)(inputs)


def maximum(inputs: Any, **kwargs: Any) -> Any:
    """`Maximum` of the inputs.

    Examples
    --------
    >>> cgru.layers.maximum([np.ones((1, 2)), np.zeros((1, 2))])
    array([[1., 1.]], dtype=float32)
    """
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Any, **kwargs: Any) -> Any:
    """`Minimum` of the inputs.

    Examples
    --------
    >>> cgru.layers.minimum([np.ones((1, 2)), np.zeros((1, 2))])
    array([[0., 0.]], dtype=float32)
    """
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Any, axis: int = -1, **kwargs: Any) -> Any:
    """`Concatenate` of the inputs.

    Examples
    --------
    >>> cgru.layers.concatenate([np.zeros((2, 3)), np.zeros((2, 4))]).shape
    (2, 7)
    """
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs: Any, axes: Any = -1, **kwargs: Any) -> Any:
    """`Dot` of the inputs.

    Examples
    --------
    >>> cgru.layers.dot([np.ones((1, 3)), np.ones((1, 3))], axes=1)
    array([[3.]], dtype=float32)
    """
    return Dot(axes=axes, **kwargs)(inputs)
