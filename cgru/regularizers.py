"""Regularizers: penalties on weights or outputs, added to the loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _checks
from cgru._configs import Configurable


class Regularizer(Configurable):
    """Base class: a subclass implements ``forward(x) -> (value, gradient)``."""

    def forward(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """The penalty for x, and its gradient, of x's shape and dtype."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def __call__(self, x: Any) -> float:
        """The penalty for x."""
        array = _checks.numbers("x", x)
        return self.forward(array.astype(np.result_type(array, np.float32)))[0]


class L1L2(Regularizer):
    """``l1 * sum(abs(x)) + l2 * sum(x**2)``.

    Parameters
    ----------
    l1, l2 : float

    Examples
    --------
    >>> cgru.regularizers.L1L2(l1=0.5, l2=0.1)([1.0, -2.0])
    2.0
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = _checks.real("l1", 0.0 if l1 is None else l1, 0)
        self.l2 = _checks.real("l2", 0.0 if l2 is None else l2, 0)

    def forward(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = 0.0, np.zeros_like(x, order="K")
        if self.l1:
            value += self.l1 * float(np.abs(x).sum())
            gradient += x.dtype.type(self.l1) * np.sign(x)
        if self.l2:
            value += self.l2 * float(np.square(x).sum())
            gradient += x.dtype.type(2 * self.l2) * x
        return value, gradient


class L1(L1L2):
    """``l1 * sum(abs(x))``.

    Parameters
    ----------
    l1 : float

    Examples
    --------
    >>> cgru.regularizers.L1(0.5)([1.0, -2.0])
    1.5
    """

    unconfigured = ("l2",)

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(0.01 if l1 is None else l1, 0.0)


class L2(L1L2):
    """``l2 * sum(x**2)``.

    Parameters
    ----------
    l2 : float

    Examples
    --------
    >>> cgru.regularizers.L2(0.5)([1.0, -2.0])
    2.5
    """

    unconfigured = ("l1",)

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(0.0, 0.01 if l2 is None else l2)


class OrthogonalRegularizer(Regularizer):
    """Draws the rows, or the columns, of a matrix towards right angles (Brock et al. 2017).

    Half the sum of the sizes of the cosines between all pairs of them.

    Parameters
    ----------
    factor : float
    mode : {"rows", "columns"}

    Examples
    --------
    >>> cgru.regularizers.OrthogonalRegularizer()([[1.0, 0.0], [0.0, 1.0]])
    0.0
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        self.factor = _checks.real("factor", factor, 0)
        if mode not in ("rows", "columns"):
            raise ValueError(f"mode: expected 'rows' or 'columns', got {mode!r}")
        self.mode = mode

    def forward(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        if x.ndim != 2:
            raise ValueError(f"x: expected a matrix, got shape {x.shape}")
        rows = x if self.mode == "rows" else x.T
        norm = np.sqrt(np.maximum(np.square(rows).sum(axis=1, keepdims=True), 1e-12))
        unit = rows / norm
        cosines = unit @ unit.T
        np.fill_diagonal(cosines, 0)
        pairs = max(len(rows) * (len(rows) - 1) / 2, 1)
        value = self.factor * 0.5 * float(np.abs(cosines).sum()) / pairs
        dunit = np.sign(cosines) @ unit * x.dtype.type(self.factor / pairs)
        grad = (dunit - unit * (dunit * unit).sum(axis=1, keepdims=True)) / norm
        return value, (grad if self.mode == "rows" else grad.T)


_NAMES = _checks.names_of(L1, L2, L1L2, OrthogonalRegularizer, l1_l2=L1L2)

# As Keras calls the classes, too.
l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer


def get(identifier: Any, argument: str = "regularizer") -> Regularizer | None:
    """The regularizer that a name, class or object stands for; None stands for none.

    Examples
    --------
    >>> cgru.regularizers.get("l2").l2
    0.01
    """
    if identifier is None:
        return None
    return _checks.resolve(argument, identifier, Regularizer, _NAMES)
