"""Models and weights in one safetensors file, which any reader of these can open; PyTorch."""

from cgru.saving.custom import (
    custom_object_scope,
    get_custom_objects,
    register_keras_serializable,
)
from cgru.saving.errors import LoadError, MismatchError
from cgru.saving.models import load_model, load_weights, save_model, save_weights
from cgru.saving.torch import from_torch, to_torch

__all__ = [
    "LoadError",
    "MismatchError",
    "custom_object_scope",
    "from_torch",
    "get_custom_objects",
    "load_model",
    "load_weights",
    "register_keras_serializable",
    "save_model",
    "save_weights",
    "to_torch",
]
