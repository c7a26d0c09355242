"""Models and weights in one safetensors file, which any safetensors reader can open.

Files of Keras are read and written by their suffixes; `from_torch` and `to_torch` exchange weights
with PyTorch; `export_onnx` writes what other runtimes can run.
"""

from cgru.saving.custom import (
    custom_object_scope,
    get_custom_objects,
    register_keras_serializable,
)
from cgru.saving.errors import LoadError, MismatchError
from cgru.saving.models import load_model, load_weights, save_model, save_weights
from cgru.saving.onnx import export_onnx
from cgru.saving.torch import from_torch, to_torch

__all__ = [
    "LoadError",
    "MismatchError",
    "custom_object_scope",
    "export_onnx",
    "from_torch",
    "get_custom_objects",
    "load_model",
    "load_weights",
    "register_keras_serializable",
    "save_model",
    "save_weights",
    "to_torch",
]
