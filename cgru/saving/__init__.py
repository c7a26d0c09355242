"""Models and weights in one safetensors file, which any safetensors reader can open."""

from cgru.saving.contents import MismatchError
from cgru.saving.models import load_model, load_weights, save_model, save_weights

__all__ = ["MismatchError", "load_model", "load_weights", "save_model", "save_weights"]
