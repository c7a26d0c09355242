"""Gated recurrent networks that train and run fast on an ordinary CPU.

Examples
--------
>>> x = np.random.rand(100, 20, 3)
>>> y = x.mean(axis=(1, 2))
>>> model = cgru.Sequential([cgru.layers.GRU(8), cgru.layers.Dense(1)])
>>> model.compile(optimizer="adam", loss="mse")
>>> history = model.fit(x, y, epochs=3)
>>> model.predict(x).shape
(100, 1)
"""

import importlib
from typing import Any

from cgru import (
    activations,
    callbacks,
    config,
    constraints,
    datasets,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
    saving,
    streaming,
    testing,
    utils,
)
from cgru.config import get_num_threads, set_num_threads, show_config
from cgru.initializers import Initializer
from cgru.layers import Input, Layer
from cgru.losses import Loss
from cgru.metrics import Metric
from cgru.models import Model, Sequential
from cgru.optimizers import Optimizer
from cgru.regularizers import Regularizer
from cgru.saving import load_model
from cgru.variables import Variable

__version__ = "0.5.0"

__all__ = [
    "Initializer",
    "Input",
    "Layer",
    "Loss",
    "Metric",
    "Model",
    "Optimizer",
    "Regularizer",
    "Sequential",
    "Variable",
    "activations",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "get_num_threads",
    "initializers",
    "inspect",
    "layers",
    "load_model",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "plot",
    "regularizers",
    "saving",
    "set_num_threads",
    "show_config",
    "streaming",
    "testing",
    "utils",
]


def __getattr__(name: str) -> Any:
    """The modules for looking inside, imported when first used."""
    if name in ("inspect", "plot"):
        return importlib.import_module(f"cgru.{name}")
    raise AttributeError(f"module 'cgru' has no attribute {name!r}")
