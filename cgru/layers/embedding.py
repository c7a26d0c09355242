"""Layers that read indices, or find out what is padding."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from cgru import _checks, constraints, initializers, regularizers
from cgru.layers.base import Backward, Layer, Shape


class Embedding(Layer):
    """A vector for each index: rows of a table.

    Parameters
    ----------
    input_dim : int
        The number of different indices; they are from 0 to ``input_dim - 1``.
    output_dim : int
        The size of the vectors.
    embeddings_initializer : str, Initializer, array_like or callable
        An ndarray is where the table starts; as it is part of the configuration, give a large
        one, of pretrained vectors perhaps, as ``weights=[table]`` instead.
    embeddings_regularizer : str or Regularizer, optional
    embeddings_constraint : str or Constraint, optional
    mask_zero : bool
        Whether index 0 is padding, which the layers that follow skip.
    weights : array_like, optional
        The table, or a list with it.
    **kwargs
        As for `Layer`.

    Attributes
    ----------
    embeddings : Variable, shape (input_dim, output_dim)

    Notes
    -----
    A mask that indices have already is kept (Keras drops it).

    Examples
    --------
    >>> cgru.layers.Embedding(100, 8)([[1, 2, 3], [4, 0, 0]]).shape
    (2, 3, 8)
    """

    reads_integers = True
    stepwise = True
    unconfigured = ("weights",)

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        **kwargs: Any,
    ) -> None:
        if kwargs.pop("input_length", None) is not None:
            warnings.warn("input_length: not needed, and without effect", stacklevel=2)
        super().__init__(**kwargs)
        self.input_dim = _checks.integer("input_dim", input_dim, 1)
        self.output_dim = _checks.integer("output_dim", output_dim, 1)
        self.embeddings_initializer = initializers.get(
            embeddings_initializer, "embeddings_initializer"
        )
        self.embeddings_regularizer = regularizers.get(
            embeddings_regularizer, "embeddings_regularizer"
        )
        self.embeddings_constraint = constraints.get(embeddings_constraint, "embeddings_constraint")
        self.mask_zero = self.makes_mask = bool(mask_zero)
        if weights is not None:
            self.build((None,))
            self.set_weights(weights if isinstance(weights, list) else [weights])

    def build(self, input_shape: Shape) -> None:
        self.embeddings = self.add_weight(
            (self.input_dim, self.output_dim),
            self.embeddings_initializer,
            "embeddings",
            regularizer=self.embeddings_regularizer,
            constraint=self.embeddings_constraint,
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.output_dim)

    def compute_mask(self, x: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray | None:
        if not self.mask_zero:
            return mask
        return x != 0 if mask is None else (x != 0) & mask

    def check_indices(self, indices: np.ndarray, argument: str = "x") -> None:
        """Raise a ValueError for an index that has no row."""
        if indices.size and (indices.min() < 0 or indices.max() >= self.input_dim):
            bad = indices[(indices < 0) | (indices >= self.input_dim)][0]
            raise ValueError(
                f"{argument}: {self.name} expects indices from 0 to {self.input_dim - 1}, got {bad}"
            )

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        indices = x if x.dtype.kind in "iu" else _checks.integers("x", x)
        self.check_indices(indices)
        steps_first = indices.ndim == 2  # in memory, as recurrent layers want it
        order = indices.T if steps_first else indices
        y = self.embeddings.value[order]

        def backward(dy: np.ndarray) -> None:
            if self.trainable:
                d = dy.swapaxes(0, 1) if steps_first else dy
                _add_rows(self.embeddings.grad, order.reshape(-1), d.reshape(order.size, -1))

        return (y.swapaxes(0, 1) if steps_first else y), backward


def _add_rows(table: np.ndarray, places: np.ndarray, rows: np.ndarray) -> None:
    """``table[places] += rows``, also where a place comes more than once."""
    if not len(places):
        return
    order = np.argsort(places, kind="stable")  # then sums of neighbours: np.add.at is slower
    places = places[order]
    starts = np.flatnonzero(np.concatenate([[True], places[1:] != places[:-1]]))
    table[places[starts]] += np.add.reduceat(rows[order], starts, axis=0)


class Masking(Layer):
    """Masks the time steps at which all features have a given value, and sets them to 0.

    Parameters
    ----------
    mask_value : float
    **kwargs
        As for `Layer`.

    Notes
    -----
    Steps that are masked already stay so.  (In Keras the new mask takes the place of the old one.)

    Examples
    --------
    The second step is skipped:

    >>> x = np.array([[[1.0], [0.0]]])
    >>> model = cgru.Sequential([cgru.layers.Masking(), cgru.layers.GRU(2)])
    >>> bool((model.predict(x) == model.predict(x[:, :1])).all())
    True
    """

    makes_mask = True
    stepwise = True

    def __init__(self, mask_value: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mask_value = _checks.real("mask_value", mask_value)

    def compute_mask(self, x: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray | None:
        valid = self._valid(x)
        # Sequences that were padded stay masked in the padding, whatever it holds.
        return valid if mask is None else valid & mask

    def _valid(self, x: np.ndarray) -> np.ndarray:
        """The steps at which a feature has another value; counted, since `any` takes longer."""
        other = (x != x.dtype.type(self.mask_value)).astype(x.dtype)
        return other @ np.ones(x.shape[-1], x.dtype) > 0

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        valid = self._valid(x)[..., np.newaxis]
        return x * valid, lambda dy: dy * valid
