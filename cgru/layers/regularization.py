"""Layers that act in training only."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _checks, _random
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
        shape = x.shape
        if self.noise_shape is not None:
            shape = tuple(
                size if n is None else n for n, size in zip(self.noise_shape, shape, strict=True)
            )
        kept = self._random.random(shape, dtype=np.float32) >= self.rate
        noise = kept.astype(x.dtype) * x.dtype.type(1 / (1 - self.rate))
        return x * noise, lambda dy: dy * noise
