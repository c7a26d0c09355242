"""Activation functions in operators of ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from cgru import activations
from cgru.saving.onnx_graph import Builder


def apply(g: Builder, activation: Any, x: str, owner: str) -> str:
    """The activation of x; `owner` is the layer that has it."""
    if not activation._is_built_in:
        raise ValueError(
            f"model: the activation {activation.name!r} of {owner} is a function of Python, which "
            "ONNX cannot hold"
        )
    return TABLE[activation.name](g, x)


def is_known(activation: Any) -> bool:
    """Whether ONNX's recurrent operators have it."""
    return activation.name in RECURRENT and activation._is_built_in


# Their names in ONNX's recurrent operators: those that every runtime has, and without numbers.
RECURRENT = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}


def bent(g: Builder, x: str, alpha: float = 1.0, width: float = 1.0) -> str:
    """x, and alpha (exp(x / width) - 1) where it is negative."""
    low = g.Div(g.Min(x, 0.0), width)
    return g.Add(g.Max(x, 0.0), g.Mul(g.Sub(g.Exp(low), 1.0), alpha))


def leaky(g: Builder, x: str, slope: Any) -> str:
    """x, and slope x where it is negative."""
    return g.Add(g.Max(x, 0.0), g.Mul(g.Min(x, 0.0), slope))


def _softplus(g: Builder, x: str) -> str:
    return g.Add(g.Max(x, 0.0), g.Log(g.Add(g.Exp(g.Neg(g.Abs(x))), 1.0)))


def _clipped(g: Builder, x: str, low: float, high: float) -> str:
    return g.Min(g.Max(x, low), high)


def _hard_sigmoid(g: Builder, x: str) -> str:
    return _clipped(g, g.Add(g.Div(x, 6.0), 0.5), 0.0, 1.0)


def _gelu(g: Builder, x: str) -> str:
    return g.Mul(g.Mul(x, 0.5), g.Add(g.Erf(g.Mul(x, math.sqrt(0.5))), 1.0))


def _sparsemax(g: Builder, x: str) -> str:
    size = g.Shape(x, start=-1)
    ordered = g.TopK(x, size, outputs=2)[0]
    sums = g.CumSum(ordered, -1)
    places = g.CumSum(g.Expand(1.0, size), 0)
    inside = g.cast(g.Less(sums, g.Add(g.Mul(places, ordered), 1.0)), g.dtype)
    count = g.ReduceSum(inside, [-1])
    total = g.ReduceSum(g.Mul(inside, ordered), [-1])
    return g.Max(g.Sub(x, g.Div(g.Sub(total, 1.0), count)), 0.0)


def _sparse_plus(g: Builder, x: str) -> str:
    curve = g.Div(_square(g, g.Add(x, 1.0)), 4.0)
    return g.Where(g.Less(x, 1.0), g.Where(g.Greater(x, -1.0), curve, 0.0), x)


def _square(g: Builder, x: str) -> str:
    return g.Mul(x, x)


TABLE: dict[str, Callable[[Builder, str], str]] = {
    "linear": lambda g, x: x,
    "sigmoid": lambda g, x: g.Sigmoid(x),
    "tanh": lambda g, x: g.Tanh(x),
    "softmax": lambda g, x: g.Softmax(x, axis=-1),
    "log_softmax": lambda g, x: g.LogSoftmax(x, axis=-1),
    "sparsemax": _sparsemax,
    "relu": lambda g, x: g.Relu(x),
    "relu6": lambda g, x: _clipped(g, x, 0.0, 6.0),
    "leaky_relu": lambda g, x: leaky(g, x, 0.2),
    "elu": bent,
    "selu": lambda g, x: g.Mul(bent(g, x, activations.SELU_ALPHA), activations.SELU_SCALE),
    "celu": bent,
    "gelu": _gelu,
    "softplus": _softplus,
    "softsign": lambda g, x: g.Div(x, g.Add(g.Abs(x), 1.0)),
    "squareplus": lambda g, x: g.Div(g.Add(x, g.Sqrt(g.Add(_square(g, x), 4.0))), 2.0),
    "silu": lambda g, x: g.Mul(x, g.Sigmoid(x)),
    "mish": lambda g, x: g.Mul(x, g.Tanh(_softplus(g, x))),
    "log_sigmoid": lambda g, x: g.Neg(_softplus(g, g.Neg(x))),
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": lambda g, x: g.Mul(x, _hard_sigmoid(g, x)),
    "hard_tanh": lambda g, x: _clipped(g, x, -1.0, 1.0),
    "hard_shrink": lambda g, x: g.Where(g.Greater(g.Abs(x), 0.5), x, 0.0),
    "soft_shrink": lambda g, x: g.Sub(x, _clipped(g, x, -0.5, 0.5)),
    "tanh_shrink": lambda g, x: g.Sub(x, g.Tanh(x)),
    "sparse_plus": _sparse_plus,
    "sparse_sigmoid": lambda g, x: _clipped(g, g.Div(g.Add(x, 1.0), 2.0), 0.0, 1.0),
    "exponential": lambda g, x: g.Exp(x),
}
