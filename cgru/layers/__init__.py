"""Layers: the pieces that a model is made of."""

from cgru.layers.base import Input, Layer
from cgru.layers.core import Activation, Dense
from cgru.layers.recurrent import GRU
from cgru.layers.regularization import Dropout

__all__ = ["GRU", "Activation", "Dense", "Dropout", "Input", "Layer"]
