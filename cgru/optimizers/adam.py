"""Adam and its relatives: a running mean of the gradient, divided by one of its size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cgru import _checks, _kernels
from cgru.optimizers.base import Optimizer, Rate


class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba 2015, arXiv:1412.6980).

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
    beta_1, beta_2 : float
        Decay of the running means of the gradient and of its square; at least 0, less than 1.
    epsilon : float
        Added to the root mean square; at least 0.
    amsgrad : bool
        Use the largest mean square so far (Reddi et al. 2018).
    *args, **kwargs
        As for `Optimizer`, from weight_decay on.

    Examples
    --------
    >>> cgru.optimizers.Adam(clipnorm=1.0).clipnorm
    1.0
    """

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, *args, **kwargs)
        self.beta_1, self.beta_2 = _betas(beta_1, beta_2)
        self.epsilon = _checks.real("epsilon", epsilon, 0)
        self.amsgrad = bool(amsgrad)
        self.slots = ("m", "v", "v_max") if self.amsgrad else ("m", "v")

    def step(self, theta: np.ndarray, grad: np.ndarray, learning_rate: float) -> None:
        t = self.iterations + 1
        corrected = math.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        _kernels.adam(
            theta,
            grad,
            self.state["m"],
            self.state["v"],
            self.state.get("v_max"),
            learning_rate * corrected,
            self.beta_1,
            self.beta_2,
            self.epsilon,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101).

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
    weight_decay : float
        Before each step, weights shrink by this part of the learning rate.
    beta_1, beta_2 : float
        Decay of the running means of the gradient and of its square; at least 0, less than 1.
    epsilon : float
        Added to the root mean square; at least 0.
    amsgrad : bool
        Use the largest mean square so far.
    *args, **kwargs
        As for `Optimizer`, from clipnorm on.

    Examples
    --------
    >>> cgru.optimizers.AdamW(0.001, 0.01).weight_decay
    0.01
    """

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if weight_decay is None:
            raise ValueError("weight_decay: expected a number >= 0, got None")
        super().__init__(
            learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, *args, **kwargs
        )


class Nadam(Optimizer):
    """Adam with Nesterov's look ahead (Dozat 2016).

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
    beta_1, beta_2 : float
        Decay of the running means of the gradient and of its square; at least 0, less than 1.
    epsilon : float
        Added to the root mean square; at least 0.
    *args, **kwargs
        As for `Optimizer`, from weight_decay on.

    Examples
    --------
    >>> cgru.optimizers.Nadam().beta_1
    0.9
    """

    slots = ("m", "v")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, *args, **kwargs)
        self.beta_1, self.beta_2 = _betas(beta_1, beta_2)
        self.epsilon = _checks.real("epsilon", epsilon, 0)

    def make_state(self, size: int, dtype: np.dtype) -> dict[str, np.ndarray]:
        # The momenta warm up; with them, the product of all so far takes the place of a power.
        return super().make_state(size, dtype) | {"momenta": np.ones(1)}

    def step(self, theta: np.ndarray, grad: np.ndarray, learning_rate: float) -> None:
        t = self.iterations + 1
        now, after = (self.beta_1 * (1 - 0.5 * 0.96**i) for i in (t, t + 1))
        self.state["momenta"] *= now
        momenta = float(self.state["momenta"][0])
        # The root of the bias correction of v, taken out of the fraction.
        root = math.sqrt(1 - self.beta_2**t)
        _kernels.nadam(
            theta,
            grad,
            self.state["m"],
            self.state["v"],
            learning_rate * root * after / (1 - momenta * after),
            learning_rate * root * (1 - now) / (1 - momenta),
            self.beta_1,
            self.beta_2,
            self.epsilon * root,
        )


class Adamax(Optimizer):
    """Adam with the largest, fading size of gradients for the root mean square (same paper).

    Parameters
    ----------
    learning_rate : float or LearningRateSchedule
    beta_1, beta_2 : float
        Decay of the running mean, and of the largest size; at least 0, less than 1.
    epsilon : float
        Added to the largest size; at least 0.
    *args, **kwargs
        As for `Optimizer`, from weight_decay on.

    Examples
    --------
    >>> cgru.optimizers.Adamax(0.002).beta_2
    0.999
    """

    slots = ("m", "u")

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, *args, **kwargs)
        self.beta_1, self.beta_2 = _betas(beta_1, beta_2)
        self.epsilon = _checks.real("epsilon", epsilon, 0)

    def step(self, theta: np.ndarray, grad: np.ndarray, learning_rate: float) -> None:
        corrected = learning_rate / (1 - self.beta_1 ** (self.iterations + 1))
        _kernels.adamax(
            theta,
            grad,
            self.state["m"],
            self.state["u"],
            corrected,
            self.beta_1,
            self.beta_2,
            self.epsilon,
        )


def _betas(beta_1: float, beta_2: float) -> tuple[float, float]:
    return (
        _checks.real("beta_1", beta_1, 0, 1, open_maximum=True),
        _checks.real("beta_2", beta_2, 0, 1, open_maximum=True),
    )
