"""Optimizers that go along the gradient, or a running mean of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _checks, _kernels
from cgru.optimizers.base import Optimizer, Rate


class SGD(Optimizer):
    """Gradient descent, with momentum or Nesterov's accelerated gradient.

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
    momentum : float
        At least 0 and less than 1.
    nesterov : bool
        Apply the momentum once more, ahead of the step (Sutskever et al. 2013).
    *args, **kwargs
        As for `Optimizer`, from weight_decay on.

    Examples
    --------
    >>> cgru.optimizers.SGD(0.1, momentum=0.9).learning_rate
    0.1
    """

    def __init__(
        self,
        learning_rate: Rate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, *args, **kwargs)
        self.momentum = _checks.real("momentum", momentum, 0, 1, open_maximum=True)
        self.nesterov = bool(nesterov)
        self.slots = ("velocity",) if self.momentum else ()

    def step(self, theta: np.ndarray, grad: np.ndarray, learning_rate: float) -> None:
        velocity = self.state.get("velocity")
        _kernels.sgd(theta, grad, velocity, learning_rate, self.momentum, self.nesterov)


class Lion(Optimizer):
    """Steps of one size, by the sign of a mean gradient (Chen et al. 2023, arXiv:2302.06675).

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
        The size: a third to a tenth of what Adam takes.
    beta_1 : float
        What the mean weighs against the gradient in a step; greater than 0, at most 1.
    beta_2 : float
        Decay of the mean; at least 0, less than 1.
    *args, **kwargs
        As for `Optimizer`, from weight_decay on.

    Examples
    --------
    >>> cgru.optimizers.Lion(1e-4, weight_decay=0.1).beta_2
    0.99
    """

    slots = ("m",)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, *args, **kwargs)
        self.beta_1 = _checks.real("beta_1", beta_1, 0, 1, open_minimum=True)
        self.beta_2 = _checks.real("beta_2", beta_2, 0, 1, open_maximum=True)

    def step(self, theta: np.ndarray, grad: np.ndarray, learning_rate: float) -> None:
        _kernels.lion(theta, grad, self.state["m"], learning_rate, self.beta_1, self.beta_2)
