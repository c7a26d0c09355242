"""The layer that stands for a model's input."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru.layers.base import Backward, Layer
from cgru.layers.symbolic import Input, SymbolicTensor


class InputLayer(Layer):
    """A model's input as one of its layers: what `cgru.Input` describes.

    Parameters
    ----------
    shape : tuple of int or None
        Without the batch.
    batch_size : int, optional
    dtype : str, optional
    batch_shape : tuple of int or None, optional
        Instead of `shape` and `batch_size`.
    name : str, optional

    Attributes
    ----------
    output : SymbolicTensor

    Examples
    --------
    >>> cgru.layers.InputLayer((None, 3)).output.shape
    (None, None, 3)
    """

    stepwise = True

    def __init__(
        self,
        shape: Any = None,
        batch_size: int | None = None,
        dtype: Any = None,
        *,
        batch_shape: Any = None,
        name: str | None = None,
    ) -> None:
        tensor = self._tensor = Input(shape, batch_size, dtype, batch_shape=batch_shape, name=name)
        super().__init__(name=tensor.name, dtype=tensor.dtype if tensor.dtype.kind == "f" else None)
        self.built = True

    @property
    def output(self) -> SymbolicTensor:
        """The input as layers are called on it."""
        return self._tensor

    input = output

    @classmethod
    def of(cls, tensor: SymbolicTensor) -> InputLayer:
        """The layer of an input."""
        return cls(batch_shape=tensor.shape, dtype=tensor.dtype.name, name=tensor.name)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        return x, lambda dy: dy

    def get_config(self) -> dict[str, Any]:
        return {
            "batch_shape": list(self.output.shape),
            "dtype": self.output.dtype.name,
            "name": self.name,
        }
