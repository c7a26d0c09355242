"""Constraints: what weights are made to fulfil after each step of the optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _checks
from cgru._configs import Configurable


class Constraint(Configurable):
    """Base class: a subclass implements ``__call__(w)``, which returns the weight as it may be."""

    def __call__(self, w: np.ndarray) -> np.ndarray:
        """The nearest weight that fulfils the constraint."""
        raise NotImplementedError(f"{type(self).__name__}.__call__")


def get(identifier: Any, argument: str = "constraint") -> Constraint | None:
    """The constraint that a name, class or object stands for; None stands for none."""
    if identifier is None:
        return None
    return _checks.resolve(argument, identifier, Constraint, {})
