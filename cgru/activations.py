"""Activation functions, each with its derivative.

`activation(x)` gives the value; `activation.forward(x)` gives the value and a function that takes
the gradient with respect to it back to x.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cgru import _checks, _kernels
from cgru._configs import Configurable

Backward = Callable[[np.ndarray], np.ndarray]


class Activation(Configurable):
    """A function of an array and its derivative.

    Parameters
    ----------
    function : callable
        ``function(x) -> y``, of the same shape.
    gradient : callable
        ``gradient(dy, x, y) -> dx``: the gradient with respect to x from that with respect to y.
    name : str

    Examples
    --------
    A function of your own, used like the built-in ones:

    >>> square = cgru.activations.Activation(np.square, lambda dy, x, y: dy * 2 * x, "square")
    >>> cgru.layers.Dense(3, activation=square)([[1.0, 2.0]]).shape
    (1, 3)
    """

    def __init__(
        self,
        function: Callable[[np.ndarray], np.ndarray],
        gradient: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
        name: str = "activation",
    ) -> None:
        self.function = function
        self.gradient = gradient
        self.name = name

    def __call__(self, x: Any) -> np.ndarray:
        return self.function(np.asarray(x))

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The value, and the function that takes a gradient back to x."""
        y = self.function(x)
        return y, lambda dy: self.gradient(dy, x, y)

    def serialized(self) -> Any:
        """The name, as which layers are given built-in activations too."""
        if _NAMES.get(self.name, lambda: None)() is not self:
            raise TypeError(
                f"config: the activation {self.name} is made of functions, which have no "
                "configuration"
            )
        return self.name

    def __repr__(self) -> str:
        return f"<activation {self.name}>"


def _by_kernel(kernel: Callable[[np.ndarray, np.ndarray], None]) -> Callable[..., np.ndarray]:
    def function(x: np.ndarray) -> np.ndarray:
        x = np.ascontiguousarray(x, dtype=np.result_type(x, np.float32))
        y = np.empty_like(x)
        kernel(x.reshape(-1), y.reshape(-1))
        return y

    return function


def _softmax(x: np.ndarray) -> np.ndarray:
    exp = np.exp(x - x.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def _softmax_gradient(dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def _elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(x, x.dtype.type(0))


def _silu_gradient(dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    s = sigmoid(x)
    return dy * (s + y * (1 - s))


class _Linear(Activation):
    """The values as they are."""

    def __init__(self) -> None:
        super().__init__(_same, lambda dy, x, y: dy, "linear")

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        return x, _same


def _same(x: np.ndarray) -> np.ndarray:
    return x


linear = _Linear()
sigmoid = Activation(_by_kernel(_kernels.sigmoid), lambda dy, x, y: dy * y * (1 - y), "sigmoid")
tanh = Activation(_by_kernel(_kernels.tanh), lambda dy, x, y: dy * (1 - y * y), "tanh")
softmax = Activation(_softmax, _softmax_gradient, "softmax")
relu = Activation(lambda x: np.maximum(x, 0), lambda dy, x, y: dy * (x > 0), "relu")
elu = Activation(_elu, lambda dy, x, y: dy * np.where(x > 0, 1, y + 1), "elu")
softplus = Activation(_softplus, lambda dy, x, y: dy * sigmoid(x), "softplus")
softsign = Activation(
    lambda x: x / (1 + np.abs(x)), lambda dy, x, y: dy * np.square(1 - np.abs(y)), "softsign"
)
silu = Activation(lambda x: x * sigmoid(x), _silu_gradient, "silu")
hard_sigmoid = Activation(
    lambda x: np.clip(x / 6 + x.dtype.type(0.5), 0, 1),
    lambda dy, x, y: dy * (np.abs(x) < 3) / 6,
    "hard_sigmoid",
)
exponential = Activation(np.exp, lambda dy, x, y: dy * y, "exponential")

_BUILT_IN = (
    linear,
    sigmoid,
    tanh,
    softmax,
    relu,
    elu,
    softplus,
    softsign,
    silu,
    hard_sigmoid,
    exponential,
)
_NAMES: dict[str, Callable[[], Activation]] = {
    activation.name: (lambda activation=activation: activation) for activation in _BUILT_IN
} | {"swish": lambda: silu}


def get(identifier: Any, argument: str = "activation") -> Activation:
    """The activation that a name or an object stands for; None is linear.

    Examples
    --------
    >>> cgru.activations.get("tanh")
    <activation tanh>
    """
    if identifier is None:
        return linear
    if callable(identifier) and not isinstance(identifier, Activation):
        raise TypeError(
            f"{argument}: expected a name or an Activation, got {identifier!r}; a function of "
            "your own needs its derivative: cgru.activations.Activation(function, gradient)"
        )
    return _checks.resolve(argument, identifier, Activation, _NAMES)
