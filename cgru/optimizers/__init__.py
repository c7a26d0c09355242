"""Optimizers: each a kernel over the model's flat parameter vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cgru import _checks
from cgru._configs import deserialize
from cgru.optimizers import schedules
from cgru.optimizers.adam import Adam, Adamax, AdamW, Nadam
from cgru.optimizers.base import Optimizer
from cgru.optimizers.momentum import SGD, Lion
from cgru.optimizers.squares import Adadelta, Adagrad, RMSprop

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "get",
    "schedules",
]

_NAMES = _checks.names_of(
    SGD, RMSprop, Adam, Nadam, Adamax, Adagrad, Adadelta, Lion, AdamW, rmsprop=RMSprop, adamw=AdamW
)


def get(identifier: Any) -> Optimizer:
    """The optimizer that a name, class, configuration or object stands for.

    Examples
    --------
    >>> cgru.optimizers.get("adam").learning_rate
    0.001
    """
    if isinstance(identifier, Mapping):
        identifier = deserialize(identifier)
    return _checks.resolve("optimizer", identifier, Optimizer, _NAMES)
