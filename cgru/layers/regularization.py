"""Layers that act in training only."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cgru import _checks, _random, regularizers
from cgru.layers.base import Backward, Layer


class Dropout(Layer):
    """Sets a random part of its inputs to 0 in training, and scales the rest up to match.

    Srivastava et al. 2014.  Outside training it passes its inputs through.

    Parameters
    ----------
    rate : float
        The part that is set to 0; at least 0 and less than 1.
    noise_shape : tuple of int or None, optional
        Shape of the noise, broadcast against the input; None entries are the input's sizes.
        ``(None, 1, None)`` drops the same features at every time step.
    seed : int, optional
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> y = cgru.layers.Dropout(0.5, seed=1)(np.ones((100, 100)), training=True)
    >>> np.unique(y)
    array([0., 2.], dtype=float32)
    """

    stepwise = True

    def __init__(
        self, rate: float, noise_shape: Any = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.rate = _checks.real("rate", rate, 0, 1, open_maximum=True)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)
        self.seed = seed
        self._random = _random.generator(seed)

    def check_input(self, shape: Any, argument: str = "x") -> None:
        noise = self.noise_shape
        if noise is None:
            return
        if len(noise) != len(shape) or any(
            None not in (n, size) and n not in (1, size)
            for n, size in zip(noise, shape, strict=True)
        ):
            raise ValueError(f"noise_shape: expected to broadcast to {shape}, got {noise}")

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Backward]:
        if not training or self.rate == 0:
            return x, lambda dy: dy
        noise = _random.dropout(self._random, self._shape(x.shape), self.rate, x.dtype)
        return x * noise, lambda dy: dy * noise

    def _shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """That of the noise, for inputs of `shape`."""
        if self.noise_shape is None:
            return shape
        pairs = zip(self.noise_shape, shape, strict=True)
        return tuple(size if n is None else n for n, size in pairs)


class SpatialDropout1D(Dropout):
    """Sets a random part of the features to 0 in training, each at all time steps.

    Tompson et al. 2014.

    Parameters
    ----------
    rate : float
        The part that is set to 0.
    seed : int, optional
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> y = cgru.layers.SpatialDropout1D(0.5, seed=1)(np.ones((2, 5, 8)), training=True)
    >>> bool((y == y[:, :1]).all())
    True
    """

    unconfigured = ("noise_shape",)

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, (None, 1, None), seed, **kwargs)


class GaussianNoise(Layer):
    """Adds normal noise in training.

    Parameters
    ----------
    stddev : float
    seed : int, optional
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> layer = cgru.layers.GaussianNoise(0.1, seed=1)
    >>> layer([[1.0]])
    array([[1.]], dtype=float32)
    """

    stepwise = True

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stddev = _checks.real("stddev", stddev, 0)
        self.seed = seed
        self._random = _random.generator(seed)

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Backward]:
        if not training or self.stddev == 0:
            return x, lambda dy: dy
        noise = self._random.standard_normal(x.shape, dtype=np.float32)
        return x + noise.astype(x.dtype) * x.dtype.type(self.stddev), lambda dy: dy


class GaussianDropout(Layer):
    """Multiplies by normal noise of mean 1 in training (Srivastava et al. 2014).

    Parameters
    ----------
    rate : float
        The noise has the standard deviation of dropout with this rate.
    seed : int, optional
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> cgru.layers.GaussianDropout(0.5, seed=1)([[1.0]])
    array([[1.]], dtype=float32)
    """

    stepwise = True

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = _checks.real("rate", rate, 0, 1, open_maximum=True)
        self.seed = seed
        self._random = _random.generator(seed)

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Backward]:
        if not training or self.rate == 0:
            return x, lambda dy: dy
        deviation = x.dtype.type(math.sqrt(self.rate / (1 - self.rate)))
        noise = self._random.standard_normal(x.shape, dtype=np.float32).astype(x.dtype)
        factor = 1 + deviation * noise
        return x * factor, lambda dy: dy * factor


class AlphaDropout(Dropout):
    """Dropout that keeps mean and variance of what `selu` returns (Klambauer et al. 2017).

    Parameters
    ----------
    rate : float
        The part that is set to the value that selu tends to.
    noise_shape : tuple of int or None, optional
        As for `Dropout`.
    seed : int, optional
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> cgru.layers.AlphaDropout(0.5, seed=1)([[1.0]])
    array([[1.]], dtype=float32)
    """

    def forward(self, x: np.ndarray, training: bool = False) -> tuple[np.ndarray, Backward]:
        if not training or self.rate == 0:
            return x, lambda dy: dy
        low = -1.7580993408473766  # - alpha * scale of selu
        kept = self._random.random(self._shape(x.shape), dtype=np.float32) >= self.rate
        a = ((1 - self.rate) * (1 + self.rate * low**2)) ** -0.5
        b = -a * low * self.rate
        factor = kept.astype(x.dtype) * x.dtype.type(a)
        y = np.where(kept, x, x.dtype.type(low)) * x.dtype.type(a) + x.dtype.type(b)
        return y, lambda dy: dy * factor


class ActivityRegularization(Layer):
    """Adds a penalty on what passes through it to the loss.

    Parameters
    ----------
    l1, l2 : float
        Factors on the sums of sizes and of squares.
    **kwargs
        As for `Layer`.

    Notes
    -----
    The gradient of a size is 0 at 0 (Keras with JAX takes 1).

    Examples
    --------
    >>> cgru.layers.ActivityRegularization(l2=0.1)([[1.0]])
    array([[1.]], dtype=float32)
    """

    stepwise = True
    unconfigured = ("activity_regularizer",)

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(activity_regularizer=regularizers.L1L2(l1, l2), **kwargs)
        self.l1 = float(l1)
        self.l2 = float(l2)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        return x, lambda dy: dy
