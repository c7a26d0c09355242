"""Optimizers that divide the gradient by the root of a sum or mean of its squares."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _checks, _kernels
from cgru.optimizers.base import Optimizer, Rate


class RMSprop(Optimizer):
    """Divides the gradient by a running root mean square (Tieleman and Hinton 2012).

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
    rho : float
        Decay of the running mean; at least 0 and less than 1.
    momentum : float
        At least 0 and less than 1.
    epsilon : float
        Added to the mean square; at least 0.
    centered : bool
        Subtract the square of the running mean gradient, leaving the variance.
    *args, **kwargs
        As for `Optimizer`, from weight_decay on.

    Examples
    --------
    >>> cgru.optimizers.RMSprop().learning_rate
    0.001
    """

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, *args, **kwargs)
        self.rho = _checks.real("rho", rho, 0, 1, open_maximum=True)
        self.momentum = _checks.real("momentum", momentum, 0, 1, open_maximum=True)
        self.epsilon = _checks.real("epsilon", epsilon, 0)
        self.centered = bool(centered)
        self.slots = ("square",)
        self.slots += ("mean",) * self.centered + ("velocity",) * (self.momentum > 0)

    def step(self, theta: np.ndarray, grad: np.ndarray, learning_rate: float) -> None:
        _kernels.rmsprop(
            theta,
            grad,
            self.state["square"],
            self.state.get("mean"),
            self.state.get("velocity"),
            learning_rate,
            self.rho,
            self.momentum,
            self.epsilon,
        )


class Adagrad(Optimizer):
    """Divides the gradient by the root of the sum of all squares so far (Duchi et al. 2011).

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
    initial_accumulator_value : float
        Where the sum begins; at least 0.
    epsilon : float
        Added to the sum; at least 0.
    *args, **kwargs
        As for `Optimizer`, from weight_decay on.

    Examples
    --------
    >>> cgru.optimizers.Adagrad(0.01).initial_accumulator_value
    0.1
    """

    slots = ("square",)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, *args, **kwargs)
        self.initial_accumulator_value = _checks.real(
            "initial_accumulator_value", initial_accumulator_value, 0
        )
        self.epsilon = _checks.real("epsilon", epsilon, 0)

    def make_state(self, size: int, dtype: np.dtype) -> dict[str, np.ndarray]:
        state = super().make_state(size, dtype)
        state["square"][:] = self.initial_accumulator_value
        return state

    def step(self, theta: np.ndarray, grad: np.ndarray, learning_rate: float) -> None:
        _kernels.adagrad(theta, grad, self.state["square"], learning_rate, self.epsilon)


class Adadelta(Optimizer):
    """Steps as large as those before, so that there is no rate to choose (Zeiler 2012).

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
        A factor on the steps: 1 in the paper (arXiv:1212.5701).
    rho : float
        Decay of both running means of squares; at least 0 and less than 1.
    epsilon : float
        Added to both; at least 0.
    *args, **kwargs
        As for `Optimizer`, from weight_decay on.

    Examples
    --------
    >>> cgru.optimizers.Adadelta(1.0).rho
    0.95
    """

    slots = ("square", "step_square")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, *args, **kwargs)
        self.rho = _checks.real("rho", rho, 0, 1, open_maximum=True)
        self.epsilon = _checks.real("epsilon", epsilon, 0)

    def step(self, theta: np.ndarray, grad: np.ndarray, learning_rate: float) -> None:
        _kernels.adadelta(
            theta,
            grad,
            self.state["square"],
            self.state["step_square"],
            learning_rate,
            self.rho,
            self.epsilon,
        )
