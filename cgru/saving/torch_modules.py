"""Models like modules of PyTorch, which are recognized by the names of their classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cgru import _configs
from cgru.saving.errors import LoadError

ACTIVATIONS = {"ReLU": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "SiLU": "silu"}
RECURRENT = {"GRU": "GRU", "LSTM": "LSTM", "RNN": "SimpleRNN"}


def build(module: Any) -> Any:
    """A built model with the structure of a module, and other weights.

    Raises
    ------
    LoadError
        If the structure is not known, or there is no such layer here.
    """
    leaves = list(_leaves(module, ""))
    dtype = _dtype(module)
    entries = [
        {"module": "cgru.layers", "class_name": name, "config": config | {"dtype": dtype}}
        for path, leaf in leaves
        for name, config in _layers(path, leaf, dtype)
    ]
    modules = [leaf for _, leaf in leaves]
    config = {"layers": entries, "build_input_shape": _input_shape(modules)}
    try:
        return _configs.deserialize(
            {"module": "cgru.models", "class_name": "Sequential", "config": config}
        )
    except ValueError as error:
        raise LoadError(f"source: no model can be made of the module: {error}") from None


def kind(module: Any) -> str | None:
    """The name of a class of PyTorch itself; a class derived from it may do anything."""
    cls = type(module)
    return cls.__name__ if cls.__module__.startswith("torch.nn.modules.") else None


def _leaves(module: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The modules in a Sequential, and where they are in it."""
    if kind(module) == "Sequential":
        for place, child in enumerate(module):
            yield from _leaves(child, f"{path}[{place}]")
        return
    known = ["Sequential", *SIMPLE, *RECURRENT, *ACTIVATIONS]
    if kind(module) not in known:
        raise LoadError(
            f"source{path}: expected one of PyTorch's {known}, got {type(module).__name__}: make "
            "the model yourself, and give it to from_torch(module, model)"
        )
    yield path, module


def _layers(path: str, module: Any, dtype: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The class and the configuration of each layer that a module becomes."""
    name = kind(module)
    if name in ACTIVATIONS:
        yield "Activation", {"activation": ACTIVATIONS[name]}
    elif name in RECURRENT:
        yield from _recurrent(path, module, dtype)
    else:
        yield from SIMPLE[str(name)](path, module)


def _linear(path: str, module: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "Dense", {"units": module.out_features, "use_bias": module.bias is not None}


def _embedding(path: str, module: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if module.max_norm is not None:
        raise LoadError(f"source{path}: an Embedding with max_norm has no counterpart")
    yield "Embedding", {"input_dim": module.num_embeddings, "output_dim": module.embedding_dim}


def _layer_norm(path: str, module: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if len(module.normalized_shape) != 1:
        raise LoadError(
            f"source{path}: expected a LayerNorm over one axis, got {module.normalized_shape}"
        )
    yield (
        "LayerNormalization",
        {
            "epsilon": module.eps,
            "scale": module.weight is not None,
            "center": module.bias is not None,
        },
    )


def _dropout(path: str, module: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "Dropout", {"rate": module.p}


def _identity(path: str, module: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "Identity", {}


SIMPLE: dict[str, Callable[[str, Any], Iterator[tuple[str, dict[str, Any]]]]] = {
    "Linear": _linear,
    "Embedding": _embedding,
    "LayerNorm": _layer_norm,
    "Dropout": _dropout,
    "Identity": _identity,
}


def _recurrent(path: str, module: Any, dtype: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """A layer for each of a recurrent module, with its dropout between them."""
    if module.proj_size:
        raise LoadError(f"source{path}: an LSTM with proj_size has no counterpart")
    config = {"units": module.hidden_size, "use_bias": module.bias, "return_sequences": True}
    if hasattr(module, "nonlinearity"):
        config["activation"] = module.nonlinearity
    name = RECURRENT[module.mode.partition("_")[0]]
    for number in range(module.num_layers):
        if number and module.dropout:
            yield "Dropout", {"rate": module.dropout}
        if module.bidirectional:
            inner = {
                "module": "cgru.layers",
                "class_name": name,
                "config": config | {"dtype": dtype},
            }
            yield "Bidirectional", {"layer": inner}
        else:
            yield name, config


def _dtype(module: Any) -> str:
    """The one dtype of all weights."""
    parameters = list(module.parameters())
    if len(parameters) < len(list(module.named_parameters(remove_duplicate=False))):
        raise LoadError("source: weights that are used twice, which layers here do not share")
    dtypes = {str(parameter.dtype).removeprefix("torch.") for parameter in parameters}
    if not dtypes <= {"float32", "float64"} or len(dtypes) > 1:
        raise LoadError(
            f"source: expected weights of float32, or of float64, got {sorted(dtypes)}; "
            "module.float() makes them float32"
        )
    return dtypes.pop() if dtypes else "float32"


def _input_shape(modules: list[Any]) -> tuple[int | None, ...]:
    """The shape of what the first module with weights reads, with time where one is recurrent."""
    recurrent = [module for module in modules if kind(module) in RECURRENT]
    if len({module.batch_first for module in recurrent}) > 1:
        raise LoadError("source: expected one batch_first for all modules")
    time = (None,) if recurrent else ()
    for module in modules:
        match kind(module):
            case "Embedding":
                return (None, None)
            case "Linear":
                return (None, *time, module.in_features)
            case "LayerNorm":
                return (None, *time, module.normalized_shape[-1])
            case name if name in RECURRENT:
                return (None, None, module.input_size)
    raise LoadError("source: expected a module with weights, of which the input's shape is known")
