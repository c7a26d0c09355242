"""Activation functions, each with its derivative.

`activation(x)` gives the value; `activation.forward(x)` gives the value and a function that takes
the gradient with respect to it back to x.
"""

from __future__ import annotations

import functools
import math
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
        ``function(x) -> y``, of the same shape.  It may take options with defaults.
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

    def __call__(self, x: Any, *args: Any, **options: Any) -> np.ndarray:
        """The value; with the options of Keras's function, which layers leave at their defaults."""
        return self.function(_floats(x), *args, **options)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The value, and the function that takes a gradient back to x."""
        y = self.function(x)
        return y, lambda dy: self.gradient(dy, x, y)

    def serialized(self) -> Any:
        """The name, as which layers are given built-in activations too."""
        if not self._is_built_in:
            raise TypeError(
                f"config: the activation {self.name} is made of functions, which have no "
                "configuration"
            )
        return self.name

    @property
    def _is_built_in(self) -> bool:
        return _NAMES.get(self.name, lambda: None)() is self

    def __reduce__(self) -> Any:
        # A copy of a built-in activation is the same one: kernels are chosen, and names written,
        # by what it is.
        return self.name if self._is_built_in else super().__reduce__()

    def __repr__(self) -> str:
        return f"<activation {self.name}>"


def _floats(x: Any) -> np.ndarray:
    """An array of floats: slopes and limits between integers would be lost in one of these."""
    array = np.asarray(x)
    return array.astype(np.result_type(array, np.float32), copy=False)


def _by_kernel(kernel: Callable[[np.ndarray, np.ndarray], None]) -> Callable[..., np.ndarray]:
    def function(x: np.ndarray) -> np.ndarray:
        x = np.ascontiguousarray(x, dtype=np.result_type(x, np.float32))
        y = np.empty_like(x)
        kernel(x.reshape(-1), y.reshape(-1))
        return y

    return function


def _softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    exp = np.exp(x - x.max(axis=axis, keepdims=True))
    return exp / exp.sum(axis=axis, keepdims=True)


def _softmax_gradient(dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def _relu(
    x: np.ndarray,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
) -> np.ndarray:
    if negative_slope == 0 and threshold == 0:
        y = np.maximum(x, 0)
    else:
        y = np.where(x >= threshold, x, negative_slope * (x - threshold))
    return y if max_value is None else np.minimum(y, max_value)


def _elu(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _celu(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


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


def _log_softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _gelu(x: np.ndarray, approximate: bool = False) -> np.ndarray:
    if approximate:
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
        return 0.5 * x * (1 + np.tanh(inner))
    return x * _normal(x)


def _normal(x: np.ndarray) -> np.ndarray:
    """The distribution function of the normal distribution."""
    from scipy.special import ndtr  # not needed, so not imported, where nobody asks for it

    return ndtr(x).astype(x.dtype, copy=False)


def _gelu_gradient(dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    density = np.exp(-np.square(x) / 2) * x.dtype.type(1 / math.sqrt(2 * math.pi))
    return dy * (_normal(x) + x * density)


def _mish_gradient(dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    t = tanh(_softplus(x))
    return dy * (t + x * (1 - t * t) * sigmoid(x))


def _sparsemax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """The nearest point of the simplex (Martins and Astudillo 2016)."""
    if axis not in (-1, x.ndim - 1):
        return np.moveaxis(_sparsemax(np.moveaxis(x, axis, -1)), -1, axis)
    ordered = -np.sort(-x, axis=-1)
    sums = ordered.cumsum(axis=-1)
    places = np.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    count = (1 + places * ordered > sums).sum(axis=-1, keepdims=True)
    threshold = (np.take_along_axis(sums, count - 1, axis=-1) - 1) / count.astype(x.dtype)
    return np.maximum(x - threshold, 0)


def _sparsemax_gradient(dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    kept = y > 0
    mean = (dy * kept).sum(axis=-1, keepdims=True) / kept.sum(axis=-1, keepdims=True)
    return (kept * (dy - mean)).astype(dy.dtype, copy=False)


def _pieces(
    name: str,
    function: Callable[..., np.ndarray],
    slope: Callable[[np.ndarray], np.ndarray],
) -> Activation:
    """An activation of its derivative at x."""

    def gradient(dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (dy * slope(x)).astype(dy.dtype, copy=False)

    @functools.wraps(function)
    def value(x: np.ndarray, *args: Any, **options: Any) -> np.ndarray:
        return function(x, *args, **options).astype(x.dtype, copy=False)

    return Activation(value, gradient, name)


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805

linear = _Linear()
sigmoid = Activation(_by_kernel(_kernels.sigmoid), lambda dy, x, y: dy * y * (1 - y), "sigmoid")
tanh = Activation(_by_kernel(_kernels.tanh), lambda dy, x, y: dy * (1 - y * y), "tanh")
softmax = Activation(_softmax, _softmax_gradient, "softmax")
log_softmax = Activation(
    _log_softmax,
    lambda dy, x, y: dy - np.exp(y) * dy.sum(axis=-1, keepdims=True),
    "log_softmax",
)
sparsemax = Activation(_sparsemax, _sparsemax_gradient, "sparsemax")
relu = Activation(_relu, lambda dy, x, y: dy * (x > 0), "relu")
relu6 = _pieces("relu6", lambda x: np.clip(x, 0, 6), lambda x: (x > 0) & (x < 6))
leaky_relu = _pieces(
    "leaky_relu",
    lambda x, negative_slope=0.2: np.where(x >= 0, x, negative_slope * x),
    lambda x: np.where(x >= 0, 1, 0.2),
)
elu = Activation(_elu, lambda dy, x, y: dy * np.where(x > 0, 1, y + 1), "elu")
selu = _pieces(
    "selu",
    lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
    lambda x: SELU_SCALE * np.where(x > 0, 1, SELU_ALPHA * np.exp(np.minimum(x, 0))),
)
celu = Activation(_celu, lambda dy, x, y: dy * np.where(x > 0, 1, y + 1), "celu")
gelu = Activation(_gelu, _gelu_gradient, "gelu")
softplus = Activation(_softplus, lambda dy, x, y: dy * sigmoid(x), "softplus")
softsign = Activation(
    lambda x: x / (1 + np.abs(x)), lambda dy, x, y: dy * np.square(1 - np.abs(y)), "softsign"
)
squareplus = _pieces(
    "squareplus",
    lambda x, b=4: (x + np.sqrt(np.square(x) + b)) / 2,
    lambda x: (1 + x / np.sqrt(np.square(x) + 4)) / 2,
)
silu = Activation(lambda x: x * sigmoid(x), _silu_gradient, "silu")
mish = Activation(lambda x: x * tanh(_softplus(x)), _mish_gradient, "mish")
log_sigmoid = Activation(lambda x: -_softplus(-x), lambda dy, x, y: dy * sigmoid(-x), "log_sigmoid")
hard_sigmoid = Activation(
    lambda x: np.clip(x / 6 + x.dtype.type(0.5), 0, 1),
    lambda dy, x, y: dy * (np.abs(x) < 3) / 6,
    "hard_sigmoid",
)
hard_silu = _pieces(
    "hard_silu",
    lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    lambda x: np.clip(x / 6 + 0.5, 0, 1) + x * (np.abs(x) < 3) / 6,
)
hard_tanh = _pieces("hard_tanh", lambda x: np.clip(x, -1, 1), lambda x: np.abs(x) < 1)
hard_shrink = _pieces(
    "hard_shrink",
    lambda x, threshold=0.5: x * (np.abs(x) > threshold),
    lambda x: np.abs(x) > 0.5,
)
soft_shrink = _pieces(
    "soft_shrink",
    lambda x, threshold=0.5: np.sign(x) * np.maximum(np.abs(x) - threshold, 0),
    lambda x: np.abs(x) > 0.5,
)
tanh_shrink = Activation(lambda x: x - tanh(x), lambda dy, x, y: dy * tanh(x) ** 2, "tanh_shrink")
sparse_plus = _pieces(
    "sparse_plus",
    lambda x: np.where(x <= -1, 0, np.where(x < 1, np.square(x + 1) / 4, x)),
    lambda x: np.clip((x + 1) / 2, 0, 1),
)
sparse_sigmoid = _pieces(
    "sparse_sigmoid", lambda x: np.clip((x + 1) / 2, 0, 1), lambda x: (np.abs(x) < 1) / 2
)
exponential = Activation(lambda x: np.exp(x), lambda dy, x, y: dy * y, "exponential")

_BUILT_IN = (
    linear,
    sigmoid,
    tanh,
    softmax,
    log_softmax,
    sparsemax,
    relu,
    relu6,
    leaky_relu,
    elu,
    selu,
    celu,
    gelu,
    softplus,
    softsign,
    squareplus,
    silu,
    mish,
    log_sigmoid,
    hard_sigmoid,
    hard_silu,
    hard_tanh,
    hard_shrink,
    soft_shrink,
    tanh_shrink,
    sparse_plus,
    sparse_sigmoid,
    exponential,
)
swish, hard_swish = silu, hard_silu
_NAMES: dict[str, Callable[[], Activation]] = {
    activation.name: (lambda activation=activation: activation) for activation in _BUILT_IN
} | {"swish": lambda: silu, "hard_swish": lambda: hard_silu}


def glu(x: Any, axis: int = -1) -> np.ndarray:
    """One half of x times the sigmoid of the other (Dauphin et al. 2017).

    A function only: a layer's activation keeps the shape.

    Parameters
    ----------
    x : array_like
    axis : int
        That which is halved.

    Examples
    --------
    >>> cgru.activations.glu([3.0, 0.0])
    array([1.5])
    """
    value, gate = np.split(np.asarray(x), 2, axis=axis)
    return value * sigmoid(gate)


def threshold(x: Any, threshold: float, default_value: float) -> np.ndarray:
    """Numbers that are above a threshold, and another value in place of the others.

    Parameters
    ----------
    x : array_like
    threshold, default_value : float

    Examples
    --------
    >>> cgru.activations.threshold([0.5, 2.0], 1.0, 0.0)
    array([0., 2.])
    """
    array = _floats(x)
    return np.where(array > threshold, array, array.dtype.type(default_value))


class _OfLayer(Activation):
    """What a layer without weights does, such as `LeakyReLU`.

    Parameters
    ----------
    layer : Layer
    argument : str
        For which it was given.
    """

    def __init__(self, layer: Any, argument: str) -> None:
        # It is told neither of training nor of the axes that were folded into one.
        if not (layer.stepwise and set(layer._accepts) <= {"mask"}) or layer.sublayers():
            raise ValueError(
                f"{argument}: expected a layer that does the same to each step, in training or "
                f"not, got {layer!r}"
            )
        self.layer, self.argument = layer, argument
        super().__init__(
            lambda x: self.forward(x)[0], lambda dy, x, y: self.forward(x)[1](dy), layer.name
        )

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        self.layer.ensure_built(x.shape)
        if self.layer.weights or self.layer.compute_output_shape(x.shape) != x.shape:
            raise ValueError(
                f"{self.argument}: expected a layer without weights that keeps the shape, got "
                f"{self.layer!r}"
            )
        found: tuple[np.ndarray, Backward] = self.layer.forward(x)
        return found

    def serialized(self) -> Any:
        return self.layer.serialized()

    def __reduce__(self) -> Any:
        return type(self), (self.layer, self.argument)


def get(identifier: Any, argument: str = "activation") -> Activation:
    """The activation that a name, an object or a layer without weights stands for.

    None is linear.

    Examples
    --------
    >>> cgru.activations.get("tanh")
    <activation tanh>
    """
    if identifier is None:
        return linear
    if hasattr(identifier, "forward") and hasattr(identifier, "sublayers"):
        return _OfLayer(identifier, argument)
    if callable(identifier) and not isinstance(identifier, Activation):
        raise TypeError(
            f"{argument}: expected a name or an Activation, got {identifier!r}; a function of "
            "your own needs its derivative: cgru.activations.Activation(function, gradient)"
        )
    return _checks.resolve(argument, identifier, Activation, _NAMES)
