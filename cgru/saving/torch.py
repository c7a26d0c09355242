"""Weights from PyTorch's modules and state dicts, and back: PyTorch itself is never imported."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cgru import layers
from cgru.layers.base import Layer
from cgru.layers.graph import Graph
from cgru.saving import torch_modules
from cgru.saving.errors import LoadError, MismatchError, Problems
from cgru.saving.file import read

Names = Mapping[str, str | Sequence[str]]


def from_torch(source: Any, model: Any = None, *, names: Names | None = None) -> Any:
    """A model with the weights of PyTorch.

    Parameters
    ----------
    source : torch.nn.Module, mapping of str to array or tensor, or str or path
        A module; its state dict; or a safetensors file of that.
    model : Model, optional
        Takes the weights.  Without it the model is made, which needs a module whose structure is
        known: `Linear`, `Embedding`, `GRU`, `LSTM`, `RNN`, `LayerNorm`, `Dropout`, a simple
        activation, or a `Sequential` of them.
    names : dict, optional
        For prefixes of the names in `source`, the name of the layer of `model`; a list of them for
        a recurrent module of several layers.

    Returns
    -------
    Model
        `model`, or the one that was made.

    Raises
    ------
    FileNotFoundError
    LoadError
        If the file is damaged or a pickle, a value is not finite or no array that NumPy has, or
        the structure of a module is not known.
    MismatchError
        If names, shapes or dtypes do not fit; all are listed, and nothing is changed.

    Notes
    -----
    Without `names`, the modules in `source` are those layers with weights that have the same names;
    if not all have, the first is the first layer, and so on.  The arrays of a file have no order,
    so that it needs `names`, unless names are the same or numbers, as those of a `Sequential` are.

    Models of cgru read [batch, time, features], whatever `batch_first` was.  A recurrent module
    becomes layers that return all steps, which is the first thing that PyTorch returns.

    Examples
    --------
    >>> state = {"out.weight": np.array([[1.0, 2.0]], "float32"), "out.bias": np.ones(1, "float32")}
    >>> model = cgru.Sequential([cgru.Input((2,)), cgru.layers.Dense(1)])
    >>> model = cgru.saving.from_torch(state, model)
    >>> model.predict([[10.0, 20.0]])
    array([[51.]], dtype=float32)
    """
    module = source if hasattr(source, "state_dict") else None
    if model is None:
        if module is None:
            raise LoadError(
                "model: needed for a state dict, which does not say what becomes of its weights"
            )
        model = torch_modules.build(module)
    ordered = True
    if module is not None:
        state = _arrays(module.state_dict())
    elif isinstance(source, Mapping):
        state = _arrays(source)
    else:
        state, ordered = _read(source), False
    parts = _parts(state, model, names, ordered)
    _load(state, parts, model, [] if module is None else _other_options(module, parts))
    return model


def to_torch(
    model: Any, module: Any = None, *, names: Names | None = None
) -> dict[str, np.ndarray]:
    """The weights of a model as PyTorch has them, in a module of PyTorch if one is given.

    Parameters
    ----------
    model : Model
        Built.
    module : torch.nn.Module, optional
        Takes the weights.
    names : dict, optional
        As for `from_torch`.

    Returns
    -------
    dict of ndarray
        A state dict, with the names of `module`.  Without it the prefixes are those of `names`, or
        the names of the layers.

    Raises
    ------
    LoadError
        If PyTorch has no such layer.
    MismatchError
        If the weights are not those of `module`, which is not changed then.

    Examples
    --------
    >>> model = cgru.Sequential([cgru.Input((None, 3)), cgru.layers.GRU(4, name="gru")])
    >>> for name, array in cgru.saving.to_torch(model).items():
    ...     print(name, array.shape)
    gru.weight_ih_l0 (12, 3)
    gru.weight_hh_l0 (12, 4)
    gru.bias_ih_l0 (12,)
    gru.bias_hh_l0 (12,)
    """
    if module is None:
        parts = _named_parts(model, names)
        if unused := _unused(model, parts):
            raise LoadError(
                f"names: expected a prefix for each layer with weights, none for {[*unused]}"
            )
        return _exported(parts)
    tensors = module.state_dict()
    wanted = _arrays(tensors)
    parts = _parts(wanted, model, names, ordered=True)
    problems, state = Problems(), _exported(parts)
    problems.compare(wanted, state | _unused(model, parts), "")
    if problems:
        raise MismatchError(problems, type(module).__name__, f"model: {model.name}")
    _check_tied(tensors, state)
    module.load_state_dict({name: tensors[name].new_tensor(a) for name, a in state.items()})
    return {name: state[name] for name in tensors}


# ---- What a layer's weights are in PyTorch ----


class Gates(NamedTuple):
    """How the gates of a recurrent layer lie in PyTorch's weights."""

    order: tuple[int, ...]  # the place here of each gate there; its own inverse
    two_biases: bool  # whether the layer has both of PyTorch's, of which others have the sum
    activations: list[list[str]]  # those that PyTorch has: of the state, of the gates

    def swapped(self, array: np.ndarray) -> np.ndarray:
        """The blocks of the last axis in the other order."""
        blocks = np.split(array, len(self.order), axis=-1)
        return np.concatenate([blocks[place] for place in self.order], axis=-1)


PEERS: dict[type, str] = {
    layers.Dense: "Linear",
    layers.Embedding: "Embedding",
    layers.LayerNormalization: "LayerNorm",
    layers.GRU: "GRU",
    layers.LSTM: "LSTM",
    layers.SimpleRNN: "RNN",
}

GATES: dict[type, Gates] = {
    layers.GRU: Gates((1, 0, 2), True, [["tanh", "sigmoid"]]),  # z, r, n and r, z, n
    layers.LSTM: Gates((0, 1, 2, 3), False, [["tanh", "sigmoid"]]),
    layers.SimpleRNN: Gates((0,), False, [["tanh"], ["relu"]]),
}


def _to_torch(layer: Any) -> dict[str, np.ndarray]:
    """Copies of the weights of one layer, by PyTorch's names for them in a module of its own."""
    if isinstance(layer, layers.Bidirectional):
        backward = _to_torch(layer.backward_layer)
        return _to_torch(layer.forward_layer) | {f"{n}_reverse": a for n, a in backward.items()}
    values = [variable.value for variable in layer.weights]
    if type(layer) not in GATES:
        turned = (_turned(layer, value) for value in values)
        return {n: np.array(a, order="C") for n, a in zip(("weight", "bias"), turned, strict=False)}
    gates = GATES[type(layer)]
    rows = values[:2]
    if layer.use_bias:
        rows.extend(values[2] if gates.two_biases else (values[2], np.zeros_like(values[2])))
    kinds = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    swapped = (gates.swapped(array).T for array in rows)
    return {n: np.ascontiguousarray(a) for n, a in zip(kinds, swapped, strict=False)}


def _from_torch(layer: Any, state: Mapping[str, np.ndarray]) -> Iterator[tuple[Any, np.ndarray]]:
    """Each variable of a layer, with its value: `_to_torch` the other way."""
    if isinstance(layer, layers.Bidirectional):
        yield from _from_torch(layer.forward_layer, state)
        backward = {n.removesuffix("_reverse"): a for n, a in state.items() if "_reverse" in n}
        yield from _from_torch(layer.backward_layer, backward)
    elif type(layer) not in GATES:
        yield from zip(layer.weights, (_turned(layer, a) for a in state.values()), strict=True)
    else:
        gates = GATES[type(layer)]
        yield layer.kernel, gates.swapped(state["weight_ih_l0"].T)
        yield layer.recurrent_kernel, gates.swapped(state["weight_hh_l0"].T)
        if layer.use_bias:
            both = np.stack([state["bias_ih_l0"], state["bias_hh_l0"]])
            yield layer.bias, gates.swapped(both if gates.two_biases else both.sum(axis=0))


def _turned(layer: Any, array: np.ndarray) -> np.ndarray:
    """The kernel of a `Dense` layer transposed; others are alike."""
    return array.T if isinstance(layer, layers.Dense) else array


def _kind(layer: Any) -> str:
    """The class of PyTorch's module, and whether it reads both ways."""
    if isinstance(layer, layers.Bidirectional):
        return f"bidirectional {PEERS[type(layer.forward_layer)]}"
    return PEERS[type(layer)]


def _why_not(layer: Any) -> str | None:
    """What PyTorch does not have of a layer."""
    if isinstance(layer, layers.Bidirectional):
        if layer.merge_mode != "concat" or layer.forward_layer.go_backwards:
            return "directions that are not put side by side, forwards first"
        if type(layer.forward_layer) is not type(layer.backward_layer):
            return "directions of two kinds"
        directions = layer.forward_layer, layer.backward_layer
        if len({repr(_activations(one)) for one in directions}) > 1:
            return "directions with different activations"
        return _why_not_recurrent(directions[0]) or _why_not_recurrent(directions[1])
    if type(layer) in GATES:
        return "go_backwards=True" if layer.go_backwards else _why_not_recurrent(layer)
    if type(layer) is layers.LayerNormalization:
        if layer.gamma is None:
            return "beta without gamma"
        # Over the features alone, as PyTorch's.
        return None if layer.stepwise else "another axis than the last, or several"
    return None if type(layer) in PEERS else f"the class {type(layer).__name__}"


def _why_not_recurrent(layer: Any) -> str | None:
    if not getattr(layer, "reset_after", True):
        return "reset_after=False"
    names = _activations(layer)
    return None if names in GATES[type(layer)].activations else f"the activations {names}"


def _activations(layer: Any) -> list[str]:
    recurrent = getattr(layer, "recurrent_activation", None)
    return [layer.activation.name, *([] if recurrent is None else [recurrent.name])]


# ---- Which layer has which names ----


class Part(NamedTuple):
    """A layer, and where its weights are in a state dict."""

    layer: Any
    prefix: str
    number: int  # of the layer in a recurrent module

    def name(self, own: str) -> str:
        """The name in the state dict of what is called `own` in the layer's own module."""
        own = own.replace("_l0", f"_l{self.number}")
        return f"{self.prefix}.{own}" if self.prefix else own


RECURRENT = re.compile(r"(?:weight|bias)_(?:ih|hh)_l(\d+)(?:_reverse)?")


def _parts(state: Mapping[str, Any], model: Any, names: Names | None, ordered: bool) -> list[Part]:
    """What each layer's weights are called in `state`."""
    sizes: dict[str, int] = {}  # how many layers a module has, by its prefix
    for name in state:
        prefix, _, own = name.rpartition(".")
        recurrent = RECURRENT.fullmatch(own)
        number = int(recurrent[1]) + 1 if recurrent and len(recurrent[1]) < 5 else 1
        sizes[prefix] = max(sizes.get(prefix, 0), number)
    own_names = {layer.name for layer in _weighted(model)}
    if names is not None or own_names == sizes.keys():
        return _named_parts(model, names)
    if not ordered and len(sizes) > 1:
        parents = {prefix.rpartition(".")[0] for prefix in sizes}
        numbers = {prefix: prefix.rpartition(".")[2] for prefix in sizes}
        if len(parents) > 1 or not all(re.fullmatch("[0-9]{1,9}", n) for n in numbers.values()):
            raise LoadError(
                f"names: needed for a file, which has no order: of {sorted(sizes)} in it to the "
                f"layers {sorted(own_names)}"
            )
        sizes = dict(sorted(sizes.items(), key=lambda item: int(numbers[item[0]])))
    places = ((prefix, number) for prefix, size in sizes.items() for number in range(size))
    return [Part(layer, *place) for layer, place in zip(_weighted(model), places, strict=False)]


def _named_parts(model: Any, names: Names | None) -> list[Part]:
    """The layers that `names` gives to prefixes, or all under their own names."""
    known = {layer.name: layer for layer in _weighted(model)}
    if names is None:
        return [Part(layer, name, 0) for name, layer in known.items()]
    if not isinstance(names, Mapping):
        raise ValueError(f"names: expected a dictionary of prefixes and layers, got {names!r}")
    lists = {
        prefix: list(name) if isinstance(name, (list, tuple)) else [name]
        for prefix, name in names.items()
    }
    given = [name for items in lists.values() for name in items]
    if not all(name in list(known) for name in given) or len(set(given)) < len(given):
        raise ValueError(
            f"names: expected each of the layers {list(known)} no more than once, got {given}"
        )
    for prefix, items in lists.items():
        kinds = {_kind(known[name]) for name in items}
        if len(items) > 1 and (len(kinds) > 1 or kinds & {"Linear", "Embedding", "LayerNorm"}):
            raise ValueError(
                f"names[{prefix!r}]: expected the layers of one recurrent module, got {items}"
            )
    return [
        Part(known[name], prefix, number)
        for prefix, items in lists.items()
        for number, name in enumerate(items)
    ]


def _weighted(model: Any) -> list[Any]:
    """The layers with weights, those in models and `TimeDistributed` too."""
    if not isinstance(model, Layer):
        raise ValueError(f"model: expected a Model, got {model!r}")
    model.check_built()
    found = list(dict.fromkeys(_leaves(model)))
    wrong = {layer.name: why for layer in found if (why := _why_not(layer)) is not None}
    if wrong:
        raise LoadError(f"model: PyTorch has no counterpart of the layers {wrong}")
    return found


def _leaves(layer: Any) -> Iterator[Any]:
    if isinstance(layer, Graph):
        for inner in layer.sublayers():
            yield from _leaves(inner)
    elif isinstance(layer, layers.TimeDistributed):
        yield from _leaves(layer.layer)
    elif layer.weights:
        yield layer


# ---- Arrays ----


def _exported(parts: Iterable[Part]) -> dict[str, np.ndarray]:
    return {p.name(own): array for p in parts for own, array in _to_torch(p.layer).items()}


def _unused(model: Any, parts: Iterable[Part]) -> dict[str, Any]:
    """The weights of layers that have no names in a state dict."""
    used = {id(variable) for part in parts for variable in part.layer.weights}
    weights = [v for layer in _weighted(model) for v in layer.weights if id(v) not in used]
    return {variable.path: variable for variable in weights}


def _other_options(module: Any, parts: Iterable[Part]) -> list[str]:
    """Modules that compute something else than the layers that are to have their weights."""
    modules, found = dict(module.named_modules()), []
    for part in parts:
        peer: Any = modules.get(part.prefix)
        layer = getattr(part.layer, "forward_layer", part.layer)
        name = torch_modules.kind(peer)
        if name in PEERS.values() and name != PEERS[type(layer)]:
            found.append(f"{part.prefix}: expected {PEERS[type(layer)]}, got {name}")
        elif name == "LayerNorm" and peer.eps != layer.epsilon:
            found.append(f"{part.prefix}: expected eps {layer.epsilon}, got {peer.eps}")
        elif name == "RNN" and peer.nonlinearity != layer.activation.name:
            found.append(
                f"{part.prefix}: expected nonlinearity {layer.activation.name}, got "
                f"{peer.nonlinearity}"
            )
    return found


def _load(
    state: dict[str, np.ndarray], parts: list[Part], model: Any, other_options: list[str]
) -> None:
    """Give the layers their values: all, or none."""
    problems = Problems()
    problems.different = other_options
    problems.compare(_exported(parts) | _unused(model, parts), state, "")
    if problems:
        raise MismatchError(problems, model.name, "source: the state dict")
    bad = [name for name, array in state.items() if not np.isfinite(array).all()]
    if bad:
        raise LoadError(f"source: values that are not finite, in {bad}")
    for part in parts:
        own = {name: state[part.name(name)] for name in _to_torch(part.layer)}
        for variable, value in _from_torch(part.layer, own):
            variable.assign(value)


def _arrays(state: Mapping[Any, Any]) -> dict[str, np.ndarray]:
    """A state dict as arrays, which share memory with its tensors."""
    arrays, bad = {}, []
    for name, value in state.items():
        try:
            tensor = value.detach().cpu().numpy() if hasattr(value, "detach") else value
            if not (isinstance(name, str) and hasattr(tensor, "__array__")):
                raise TypeError
            arrays[name] = np.asarray(tensor)
        except (TypeError, RuntimeError):
            bad.append(f"{name!r} ({getattr(value, 'dtype', type(value).__name__)})")
    if bad:
        raise LoadError(
            f"source: expected arrays or dense tensors of float32 or float64 by names, got "
            f"{', '.join(bad)}"
        )
    return arrays


def _read(path: Any) -> dict[str, np.ndarray]:
    if not isinstance(path, (str, os.PathLike)):
        raise LoadError(
            f"source: expected a module, a state dict or the path of a safetensors file, got "
            f"{path!r:.200}"
        )
    try:
        return read(path).arrays
    except LoadError as error:
        with open(path, "rb") as file:
            start = file.read(4)
        if start != b"PK\3\4" and start[:1] != b"\x80":
            raise
        raise LoadError(
            f"source: {os.fspath(path)!r} seems to be a pickle, which could run anything and is "
            "not read; where PyTorch is: state = torch.load(path, weights_only=True), then "
            "from_torch(state, model), or safetensors.torch.save_file(state, ...)"
        ) from error


def _check_tied(tensors: Mapping[str, Any], state: Mapping[str, np.ndarray]) -> None:
    """Refuse different values for names that share one tensor."""
    first: dict[Any, str] = {}
    for name, tensor in tensors.items():
        other = first.setdefault((tensor.data_ptr(), tensor.shape), name)
        if not np.array_equal(state[name], state[other]):
            raise LoadError(f"module: {other} and {name} are one tensor, but differ in the model")
