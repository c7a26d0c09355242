"""Models and weights in one safetensors file, which any safetensors reader can open.

`export_onnx` writes what other runtimes can run.
"""

from cgru.saving.custom import (
    custom_object_scope,
    get_custom_objects,
    register_keras_serializable,
)
from cgru.saving.errors import LoadError, MismatchError
from cgru.saving.models import load_model, load_weights, save_model, save_weights
from cgru.saving.onnx import export_onnx

__all__ = [
    "LoadError",
    "MismatchError",
    "custom_object_scope",
    "export_onnx",
    "get_custom_objects",
    "load_model",
    "load_weights",
    "register_keras_serializable",
    "save_model",
    "save_weights",
]
