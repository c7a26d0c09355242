"""Layers that put time steps together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cgru import _checks
from cgru.layers.base import Backward, Layer, Shape
from cgru.layers.reshaping import channels_last, steps_and_features


class _GlobalPooling1D(Layer):
    """One value for each feature of a sequence."""

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = channels_last(data_format)
        self.keepdims = bool(keepdims)

    def check_input(self, shape: Shape, argument: str = "x") -> None:
        steps_and_features(self, shape, argument)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, _, features = input_shape
        return (batch, 1, features) if self.keepdims else (batch, features)

    def compute_mask(self, x: np.ndarray, mask: np.ndarray | None = None) -> None:
        return None


class GlobalAveragePooling1D(_GlobalPooling1D):
    """The mean over the time steps that are not masked.

    Parameters
    ----------
    data_format : {"channels_last"}, optional
    keepdims : bool
        Whether to keep a time axis of length 1.
    **kwargs
        As for `Layer`.

    Notes
    -----
    A sequence without any step gives 0, where Keras gives NaN.

    Examples
    --------
    >>> cgru.layers.GlobalAveragePooling1D()(np.ones((2, 3, 4))).shape
    (2, 4)
    """

    _heeds_masks = True

    def forward(self, x: np.ndarray, mask: np.ndarray | None = None) -> tuple[np.ndarray, Backward]:
        if mask is None:
            weight = np.full((1, 1, 1), 1 / x.shape[1], x.dtype)
            y = x.sum(axis=1, keepdims=self.keepdims) * x.dtype.type(1 / x.shape[1])
        else:
            count = np.maximum(mask.sum(axis=1), 1)
            weight = (mask / count[:, np.newaxis]).astype(x.dtype)[..., np.newaxis]
            kept = np.where(mask[..., np.newaxis], x, 0)
            y = (kept * weight).sum(axis=1, keepdims=self.keepdims)

        def backward(dy: np.ndarray) -> np.ndarray:
            dy = dy.reshape(len(x), 1, x.shape[2])
            return np.broadcast_to(dy * weight, x.shape)

        return y, backward


class GlobalMaxPooling1D(_GlobalPooling1D):
    """The largest value over time.

    Parameters
    ----------
    data_format : {"channels_last"}, optional
    keepdims : bool
        Whether to keep a time axis of length 1.
    **kwargs
        As for `Layer`.

    Notes
    -----
    Steps that are masked count as others, as in Keras.  Equal values share the gradient.

    Examples
    --------
    >>> cgru.layers.GlobalMaxPooling1D()(np.ones((2, 3, 4))).shape
    (2, 4)
    """

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        top = x.max(axis=1, keepdims=True)

        def backward(dy: np.ndarray) -> np.ndarray:
            here = (x == top).astype(x.dtype)
            share = dy.reshape(len(x), 1, x.shape[2]) / here.sum(axis=1, keepdims=True)
            return here * share

        return (top if self.keepdims else top[:, 0]), backward


class _Pooling1D(Layer):
    """A value for each window of time steps."""

    def __init__(
        self,
        pool_size: Any,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = single("pool_size", pool_size)
        self.strides = self.pool_size if strides is None else single("strides", strides)
        if padding not in ("valid", "same"):
            raise ValueError(f"padding: expected 'valid' or 'same', got {padding!r}")
        self.padding = padding
        self.data_format = channels_last(data_format)

    def check_input(self, shape: Shape, argument: str = "x") -> None:
        steps_and_features(self, shape, argument)
        check_window(self, shape, self.pool_size, self.padding, argument)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, time, features = input_shape
        return batch, window_count(time, self.pool_size, self.strides, self.padding), features

    def compute_mask(self, x: np.ndarray, mask: np.ndarray | None = None) -> None:
        return None

    def windows(self, x: np.ndarray, fill: float) -> tuple[np.ndarray, int]:
        """[batch, windows, features, steps], and the steps of padding before the first."""
        before, after = padding_steps(x.shape[1], self.pool_size, self.strides, self.padding)
        if before or after:
            x = np.pad(x, ((0, 0), (before, after), (0, 0)), constant_values=fill)
        return sliding_window_view(x, self.pool_size, axis=1)[:, :: self.strides], before

    def spread(self, dwindows: np.ndarray, shape: tuple[int, ...], before: int) -> np.ndarray:
        """The sum of what the windows give each step back."""
        count = dwindows.shape[1]
        length = max(before + shape[1], (count - 1) * self.strides + self.pool_size)
        dx = np.zeros((shape[0], length, shape[2]), dwindows.dtype)
        for step in range(self.pool_size):
            dx[:, step : step + count * self.strides : self.strides][:, :count] += dwindows[
                ..., step
            ]
        return dx[:, before : before + shape[1]]


class MaxPooling1D(_Pooling1D):
    """The largest value of each window of time steps.

    Parameters
    ----------
    pool_size : int
        Steps of a window.
    strides : int, optional
        Steps from one window to the next; `pool_size` by default.
    padding : {"valid", "same"}
    data_format : {"channels_last"}, optional
    **kwargs
        As for `Layer`.

    Notes
    -----
    Masks end here, as in Keras.  The first of equal values has the gradient.

    Examples
    --------
    >>> cgru.layers.MaxPooling1D(2)(np.zeros((2, 6, 4))).shape
    (2, 3, 4)
    """

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, **kwargs)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        windows, before = self.windows(x, -np.inf)
        place = windows.argmax(axis=-1)[..., np.newaxis]

        def backward(dy: np.ndarray) -> np.ndarray:
            dwindows = np.zeros(windows.shape, dy.dtype)
            np.put_along_axis(dwindows, place, dy[..., np.newaxis], axis=-1)
            return self.spread(dwindows, x.shape, before)

        return np.take_along_axis(windows, place, axis=-1)[..., 0], backward


class AveragePooling1D(_Pooling1D):
    """The mean of each window of time steps.

    Parameters
    ----------
    pool_size : int
        Steps of a window.
    strides : int, optional
        Steps from one window to the next; `pool_size` by default.
    padding : {"valid", "same"}
        Padding does not count in the mean.
    data_format : {"channels_last"}, optional
    **kwargs
        As for `Layer`.

    Notes
    -----
    Masks end here, as in Keras.

    Examples
    --------
    >>> cgru.layers.AveragePooling1D(2)(np.zeros((2, 6, 4))).shape
    (2, 3, 4)
    """

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        windows, before = self.windows(x, 0)
        counts = self.windows(np.ones((1, x.shape[1], 1), x.dtype), 0)[0].sum(axis=-1)

        def backward(dy: np.ndarray) -> np.ndarray:
            dwindows = np.broadcast_to((dy / counts)[..., np.newaxis], windows.shape)
            return self.spread(dwindows, x.shape, before)

        return windows.sum(axis=-1) / counts, backward


def single(argument: str, value: Any) -> int:
    """An integer, which Keras takes as a tuple of one as well."""
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    return _checks.integer(argument, value, 1)


def window_count(time: int | None, size: int, strides: int, padding: str) -> int | None:
    """How many windows of `size` steps there are."""
    if time is None:
        return None
    if padding == "valid":
        return (time - size) // strides + 1
    return -(-time // strides)


def padding_steps(time: int, size: int, strides: int, padding: str) -> tuple[int, int]:
    """The steps of padding before and after a sequence."""
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return size - 1, 0
    total = max(0, (-(-time // strides) - 1) * strides + size - time)
    return total // 2, total - total // 2


def check_window(layer: Layer, shape: Shape, size: int, padding: str, argument: str) -> None:
    """Raise a ValueError where not a single window fits."""
    if padding == "valid" and shape[1] is not None and shape[1] < size:
        raise ValueError(
            f"{argument}: {layer.name} expects at least {size} time steps, got shape {shape}"
        )
