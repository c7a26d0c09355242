"""Layers: the pieces that a model is made of."""

from cgru.layers.base import Layer
from cgru.layers.core import Activation, Dense
from cgru.layers.input import InputLayer
from cgru.layers.recurrent import GRU
from cgru.layers.regularization import Dropout
from cgru.layers.symbolic import Input
from cgru.layers.wrappers import Bidirectional, TimeDistributed

__all__ = [
    "GRU",
    "Activation",
    "Bidirectional",
    "Dense",
    "Dropout",
    "Input",
    "InputLayer",
    "Layer",
    "TimeDistributed",
]
