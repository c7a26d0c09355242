"""Constraints: what weights are made to fulfil after each step of the optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _checks
from cgru._configs import Configurable, Function

EPSILON = 1e-7  # keeps a norm of 0 from being divided by


class Constraint(Configurable):
    """Base class: a subclass implements ``__call__(w)``, which returns the weight as it may be."""

    def __call__(self, w: np.ndarray) -> np.ndarray:
        """The nearest weight that fulfils the constraint."""
        raise NotImplementedError(f"{type(self).__name__}.__call__")


class MaxNorm(Constraint):
    """Columns are scaled down to at most a given norm (Srivastava et al. 2014).

    Parameters
    ----------
    max_value : float
    axis : int or list of int
        The axes along which the norm is taken.

    Examples
    --------
    >>> cgru.constraints.MaxNorm(1.0)(np.array([[3.0], [4.0]])).round(4)
    array([[0.6],
           [0.8]])
    """

    def __init__(self, max_value: float = 2, axis: Any = 0) -> None:
        self.max_value = _checks.real("max_value", max_value, 0)
        self.axis = axis

    def __call__(self, w: np.ndarray) -> np.ndarray:
        norms = _norms(w, self.axis)
        return w * (np.clip(norms, 0, self.max_value) / (EPSILON + norms)).astype(w.dtype)


class NonNeg(Constraint):
    """Negative values become 0.

    Examples
    --------
    >>> cgru.constraints.NonNeg()(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    def __call__(self, w: np.ndarray) -> np.ndarray:
        return np.maximum(w, w.dtype.type(0))


class UnitNorm(Constraint):
    """Columns are scaled to norm 1.

    Parameters
    ----------
    axis : int or list of int
        The axes along which the norm is taken.

    Examples
    --------
    >>> cgru.constraints.UnitNorm()(np.array([[3.0], [4.0]])).round(4)
    array([[0.6],
           [0.8]])
    """

    def __init__(self, axis: Any = 0) -> None:
        self.axis = axis

    def __call__(self, w: np.ndarray) -> np.ndarray:
        return w / (EPSILON + _norms(w, self.axis)).astype(w.dtype)


class MinMaxNorm(Constraint):
    """Columns are drawn towards norms between two limits.

    Parameters
    ----------
    min_value, max_value : float
    rate : float
        1 sets the norm; less goes a part of the way.
    axis : int or list of int
        The axes along which the norm is taken.

    Examples
    --------
    >>> cgru.constraints.MinMaxNorm(0.0, 1.0)(np.array([[3.0], [4.0]])).round(4)
    array([[0.6],
           [0.8]])
    """

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: Any = 0,
    ) -> None:
        self.min_value = _checks.real("min_value", min_value, 0)
        self.max_value = _checks.real("max_value", max_value, self.min_value)
        self.rate = _checks.real("rate", rate, 0, 1)
        self.axis = axis

    def __call__(self, w: np.ndarray) -> np.ndarray:
        norms = _norms(w, self.axis)
        wanted = self.rate * np.clip(norms, self.min_value, self.max_value)
        wanted = wanted + (1 - self.rate) * norms
        return w * (wanted / (EPSILON + norms)).astype(w.dtype)


class _Function(Function, Constraint):
    """A function of the values."""

    def __call__(self, w: np.ndarray) -> np.ndarray:
        found = np.asarray(self.function(w), w.dtype)
        if found.shape != w.shape:
            raise ValueError(
                f"constraint: expected shape {w.shape} of {self.function!r}, got {found.shape}"
            )
        return found


def _norms(w: np.ndarray, axis: Any) -> np.ndarray:
    axes = tuple(axis) if isinstance(axis, (list, tuple)) else axis
    return np.sqrt(np.square(w).sum(axis=axes, keepdims=True))


_NAMES = _checks.names_of(MaxNorm, NonNeg, UnitNorm, MinMaxNorm)

# As Keras calls the classes, too.
max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm


def get(identifier: Any, argument: str = "constraint") -> Constraint | None:
    """The constraint that a name, class, object or function stands for; None stands for none.

    A function of a weight's values returns others in their place; it cannot be saved.

    Examples
    --------
    >>> cgru.constraints.get("non_neg")  # doctest: +ELLIPSIS
    <cgru.constraints.NonNeg object at ...>
    """
    if identifier is None:
        return None
    if callable(identifier) and not isinstance(identifier, (Constraint, type)):
        return _Function(identifier)
    return _checks.resolve(argument, identifier, Constraint, _NAMES)
