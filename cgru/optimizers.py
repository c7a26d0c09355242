"""Optimizers: each a kernel over the model's flat parameter vector."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cgru import _checks, _kernels
from cgru._configs import Configurable
from cgru.variables import FlatVector, aligned_zeros


class Optimizer(Configurable):
    """Base class of all optimizers.

    A subclass names its state vectors in `slots` and implements `step`.

    Parameters
    ----------
    learning_rate : float
    clipnorm : float, optional
        Scale the gradient of each weight down to at most this norm.
    clipvalue : float, optional
        Cut each entry of the gradient to at most this size.
    global_clipnorm : float, optional
        Scale the whole gradient down to at most this norm.
    name : str, optional

    Attributes
    ----------
    iterations : int
        Steps so far.
    """

    slots: tuple[str, ...] = ()

    def __init__(
        self,
        learning_rate: float,
        *,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        name: str | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        limits = dict(clipnorm=clipnorm, clipvalue=clipvalue, global_clipnorm=global_clipnorm)
        given = {key: value for key, value in limits.items() if value is not None}
        if len(given) > 1:
            raise ValueError(f"clipping: expected at most one limit, got {given}")
        for key, value in given.items():
            _checks.real(key, value, 0, open_minimum=True)
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.name = name or _checks.snake_case(type(self).__name__)
        self.iterations = 0
        self.state: dict[str, np.ndarray] = {}
        self._flat: FlatVector | None = None

    @property
    def learning_rate(self) -> float:
        """The learning rate; may be set at any time."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = _checks.real("learning_rate", value, 0)

    def build(self, flat: FlatVector) -> None:
        """Make the state for the parameters of `flat`, unless it is there already."""
        if self._flat is flat:
            return
        known = [] if self._flat is None else self._flat.variables
        if [id(variable) for variable in known] != [id(variable) for variable in flat.variables]:
            if self.iterations:
                raise ValueError(
                    f"optimizer: this {self.name} was used with other weights (another model, or "
                    "layers added or frozen since); compile the model with a new one"
                )
            size, dtype = flat.value.size, flat.value.dtype
            self.state = {slot: aligned_zeros(size, dtype) for slot in self.slots}
        self._flat = flat

    def update(self, flat: FlatVector) -> None:
        """Change the parameters of `flat` by one step along its gradient."""
        self.build(flat)
        self._clip(flat)
        self.iterations += 1
        self.step(flat.to_change(), flat.grad)

    def step(self, theta: np.ndarray, grad: np.ndarray) -> None:
        """Change theta, in place, by the step for `grad`."""
        raise NotImplementedError(f"{type(self).__name__}.step")

    def _clip(self, flat: FlatVector) -> None:
        if self.clipvalue is not None:
            np.clip(flat.grad, -self.clipvalue, self.clipvalue, out=flat.grad)
        elif self.global_clipnorm is not None:
            _limit_norm(flat.grad, self.global_clipnorm)
        elif self.clipnorm is not None:
            for variable in flat.variables:
                _limit_norm(variable.grad.reshape(-1), self.clipnorm)


def _limit_norm(grad: np.ndarray, limit: float) -> None:
    norm = _kernels.norm(grad)
    if norm > limit:
        grad *= grad.dtype.type(limit / norm)


class SGD(Optimizer):
    """Gradient descent, with momentum or Nesterov's accelerated gradient.

    Parameters
    ----------
    learning_rate : float
    momentum : float
        At least 0 and less than 1.
    nesterov : bool
        Apply the momentum once more, ahead of the step (Sutskever et al. 2013).
    **kwargs
        As for `Optimizer`: clipping and name.

    Examples
    --------
    >>> cgru.optimizers.SGD(0.1, momentum=0.9).learning_rate
    0.1
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.momentum = _checks.real("momentum", momentum, 0, 1, open_maximum=True)
        self.nesterov = bool(nesterov)
        self.slots = ("velocity",) if self.momentum else ()

    def step(self, theta: np.ndarray, grad: np.ndarray) -> None:
        _kernels.sgd(
            theta,
            grad,
            self.state.get("velocity"),
            self.learning_rate,
            self.momentum,
            self.nesterov,
        )


class RMSprop(Optimizer):
    """Divides the gradient by a running root mean square (Tieleman and Hinton 2012).

    Parameters
    ----------
    learning_rate : float
    rho : float
        Decay of the running mean; at least 0 and less than 1.
    momentum : float
        At least 0 and less than 1.
    epsilon : float
        Added to the mean square; at least 0.
    centered : bool
        Subtract the square of the running mean gradient, leaving the variance.
    **kwargs
        As for `Optimizer`: clipping and name.

    Examples
    --------
    >>> cgru.optimizers.RMSprop().learning_rate
    0.001
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.rho = _checks.real("rho", rho, 0, 1, open_maximum=True)
        self.momentum = _checks.real("momentum", momentum, 0, 1, open_maximum=True)
        self.epsilon = _checks.real("epsilon", epsilon, 0)
        self.centered = bool(centered)
        self.slots = ("square",)
        self.slots += ("mean",) * self.centered + ("velocity",) * (self.momentum > 0)

    def step(self, theta: np.ndarray, grad: np.ndarray) -> None:
        _kernels.rmsprop(
            theta,
            grad,
            self.state["square"],
            self.state.get("mean"),
            self.state.get("velocity"),
            self.learning_rate,
            self.rho,
            self.momentum,
            self.epsilon,
        )


class Adam(Optimizer):
    """Adaptive moments (Kingma and Ba 2015, arXiv:1412.6980).

    Parameters
    ----------
    learning_rate : float
    beta_1, beta_2 : float
        Decay of the running means of the gradient and of its square; at least 0, less than 1.
    epsilon : float
        Added to the root mean square; at least 0.
    amsgrad : bool
        Use the largest mean square so far (Reddi et al. 2018).
    **kwargs
        As for `Optimizer`: clipping and name.

    Examples
    --------
    >>> cgru.optimizers.Adam(clipnorm=1.0).clipnorm
    1.0
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = _checks.real("beta_1", beta_1, 0, 1, open_maximum=True)
        self.beta_2 = _checks.real("beta_2", beta_2, 0, 1, open_maximum=True)
        self.epsilon = _checks.real("epsilon", epsilon, 0)
        self.amsgrad = bool(amsgrad)
        self.slots = ("m", "v", "v_max") if self.amsgrad else ("m", "v")

    def step(self, theta: np.ndarray, grad: np.ndarray) -> None:
        t = self.iterations
        corrected = math.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        _kernels.adam(
            theta,
            grad,
            self.state["m"],
            self.state["v"],
            self.state.get("v_max"),
            self.learning_rate * corrected,
            self.beta_1,
            self.beta_2,
            self.epsilon,
        )


_NAMES = _checks.names_of(SGD, RMSprop, Adam, rmsprop=RMSprop)


def get(identifier: Any) -> Optimizer:
    """The optimizer that a name, class or object stands for.

    Examples
    --------
    >>> cgru.optimizers.get("adam").learning_rate
    0.001
    """
    return _checks.resolve("optimizer", identifier, Optimizer, _NAMES)
