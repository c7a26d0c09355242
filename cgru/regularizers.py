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
        return self.forward(_checks.numbers("x", x))[0]


def get(identifier: Any, argument: str = "regularizer") -> Regularizer | None:
    """The regularizer that a name, class or object stands for; None stands for none."""
    if identifier is None:
        return None
    return _checks.resolve(argument, identifier, Regularizer, {})
