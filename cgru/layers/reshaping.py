"""Layers that put values into other places."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cgru import _checks
from cgru.layers.base import Backward, Layer, Shape


class Flatten(Layer):
    """[batch, ...] as [batch, features].

    Parameters
    ----------
    data_format : {"channels_last"}, optional
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> cgru.layers.Flatten()(np.zeros((2, 3, 4))).shape
    (2, 12)
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = channels_last(data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], _product(input_shape[1:])

    def compute_mask(self, x: np.ndarray, mask: np.ndarray | None = None) -> None:
        return None

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        return x.reshape(len(x), -1), lambda dy: dy.reshape(x.shape)


class Reshape(Layer):
    """The values of each sample in another shape.

    Parameters
    ----------
    target_shape : tuple of int
        Without the batch; one entry may be -1, for what is left.
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> cgru.layers.Reshape((-1, 2))(np.zeros((5, 6))).shape
    (5, 3, 2)
    """

    def __init__(self, target_shape: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target_shape = tuple(
            _checks.integer(f"target_shape[{place}]", size, -1)
            for place, size in enumerate(target_shape)
        )
        if self.target_shape.count(-1) > 1:
            raise ValueError(f"target_shape: expected at most one -1, got {self.target_shape}")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        size, target = _product(input_shape[1:]), self.target_shape
        known = math.prod(entry for entry in target if entry != -1)
        if size is None:
            return (input_shape[0], *(None if entry == -1 else entry for entry in target))
        if (size != known) if -1 not in target else (known == 0 or size % known):
            raise ValueError(
                f"target_shape: {self.name} expects {size} values, of shape {input_shape[1:]}, "
                f"got {target}"
            )
        return (input_shape[0], *(size // known if entry == -1 else entry for entry in target))

    def check_input(self, shape: Shape, argument: str = "x") -> None:
        self.compute_output_shape(shape)

    def compute_mask(self, x: np.ndarray, mask: np.ndarray | None = None) -> None:
        return None

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        y = x.reshape(self.compute_output_shape(x.shape))  # type: ignore[arg-type]
        return y, lambda dy: dy.reshape(x.shape)


class Permute(Layer):
    """The axes of each sample in another order.

    Parameters
    ----------
    dims : tuple of int
        The old places of the axes; the first after the batch is 1.
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> cgru.layers.Permute((2, 1))(np.zeros((2, 3, 4))).shape
    (2, 4, 3)
    """

    def __init__(self, dims: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(
                f"dims: expected the numbers from 1 to {len(self.dims)}, each once, got {dims}"
            )

    def check_input(self, shape: Shape, argument: str = "x") -> None:
        if len(shape) != len(self.dims) + 1:
            raise ValueError(
                f"{argument}: {self.name} expects {len(self.dims) + 1} dimensions, got {shape}"
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *(input_shape[place] for place in self.dims))

    def compute_mask(self, x: np.ndarray, mask: np.ndarray | None = None) -> None:
        return None

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        axes = (0, *self.dims)
        back = np.argsort(axes)
        return x.transpose(axes), lambda dy: dy.transpose(back)


class RepeatVector(Layer):
    """[batch, features] at each of `n` time steps.

    Parameters
    ----------
    n : int
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> cgru.layers.RepeatVector(3)(np.zeros((2, 4))).shape
    (2, 3, 4)
    """

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(n, int) or isinstance(n, bool):
            raise TypeError(f"n: expected an integer, got {n!r}")
        self.n = _checks.integer("n", n, 1)

    def check_input(self, shape: Shape, argument: str = "x") -> None:
        if len(shape) != 2:
            raise ValueError(f"{argument}: {self.name} expects [batch, features], got {shape}")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], self.n, input_shape[1]

    def compute_mask(self, x: np.ndarray, mask: np.ndarray | None = None) -> None:
        return None

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        y = np.repeat(x[np.newaxis], self.n, axis=0).swapaxes(0, 1)
        return y, lambda dy: dy.sum(axis=1)


class ZeroPadding1D(Layer):
    """Zeros before and after the time steps.

    Parameters
    ----------
    padding : int or tuple of int
        Steps on each side, or on the left and on the right.
    data_format : {"channels_last"}, optional
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> cgru.layers.ZeroPadding1D((1, 2))(np.zeros((2, 3, 4))).shape
    (2, 6, 4)
    """

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.padding = _pair("padding", padding)
        self.data_format = channels_last(data_format)

    def check_input(self, shape: Shape, argument: str = "x") -> None:
        steps_and_features(self, shape, argument)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        time = input_shape[1]
        longer = None if time is None else time + sum(self.padding)
        return (input_shape[0], longer, *input_shape[2:])

    def compute_mask(self, x: np.ndarray, mask: np.ndarray | None = None) -> None:
        return None

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        left, right = self.padding
        y = np.pad(x, ((0, 0), (left, right), (0, 0)))
        return y, lambda dy: dy[:, left : dy.shape[1] - right]


class Cropping1D(Layer):
    """The time steps without the first and the last ones.

    Parameters
    ----------
    cropping : int or tuple of int
        Steps on each side, or on the left and on the right.
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> cgru.layers.Cropping1D((1, 2))(np.zeros((2, 6, 4))).shape
    (2, 3, 4)
    """

    def __init__(self, cropping: Any = (1, 1), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cropping = _pair("cropping", cropping)

    def check_input(self, shape: Shape, argument: str = "x") -> None:
        steps_and_features(self, shape, argument)
        if shape[1] is not None and shape[1] <= sum(self.cropping):
            raise ValueError(
                f"cropping: expected less than the {shape[1]} time steps of {argument}, got "
                f"{self.cropping}"
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        time = input_shape[1]
        shorter = None if time is None else time - sum(self.cropping)
        return (input_shape[0], shorter, *input_shape[2:])

    def compute_mask(self, x: np.ndarray, mask: np.ndarray | None = None) -> None:
        return None

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        left, right = self.cropping
        y = x[:, left : x.shape[1] - right]
        return y, lambda dy: np.pad(dy, ((0, 0), (left, right), (0, 0)))


class UpSampling1D(Layer):
    """Each time step several times.

    Parameters
    ----------
    size : int
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> cgru.layers.UpSampling1D(2)(np.zeros((2, 3, 4))).shape
    (2, 6, 4)
    """

    def __init__(self, size: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = _checks.integer("size", size, 1)

    def check_input(self, shape: Shape, argument: str = "x") -> None:
        steps_and_features(self, shape, argument)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        time = input_shape[1]
        return (input_shape[0], None if time is None else time * self.size, *input_shape[2:])

    def compute_mask(self, x: np.ndarray, mask: np.ndarray | None = None) -> None:
        return None

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        batch, time, features = x.shape

        def backward(dy: np.ndarray) -> np.ndarray:
            return dy.reshape(batch, time, self.size, features).sum(axis=2)

        return np.repeat(x, self.size, axis=1), backward


def channels_last(data_format: str | None) -> str:
    """The only layout of data: features last."""
    if data_format not in (None, "channels_last"):
        raise ValueError(
            f"data_format: expected 'channels_last', [batch, time, features], got {data_format!r}"
        )
    return "channels_last"


def steps_and_features(layer: Layer, shape: Shape, argument: str) -> None:
    """Raise a ValueError unless a shape is that of sequences."""
    if len(shape) != 3:
        raise ValueError(f"{argument}: {layer.name} expects [batch, time, features], got {shape}")


def _pair(argument: str, value: Any) -> tuple[int, int]:
    if isinstance(value, (list, tuple)):
        if len(value) != 2:
            raise ValueError(f"{argument}: expected an integer or two, got {value}")
        left, right = (_checks.integer(argument, item, 0) for item in value)
        return left, right
    size = _checks.integer(argument, value, 0)
    return size, size


def _product(sizes: Shape) -> int | None:
    if any(size is None for size in sizes):
        return None
    return math.prod(sizes)  # type: ignore[arg-type]
