"""Models as the configurations that Keras 3 reads."""

from __future__ import annotations

from typing import Any

from cgru import _configs
from cgru.layers.graph import Graph
from cgru.layers.keras_order import Function, Node, trace
from cgru.saving.hdf5 import class_name

# What Keras has not: classes, and arguments by class, which say nothing to it.
NOT_IN_KERAS = ("FittingAccuracy", "FittingCrossentropy", "Quantile")
DROPPED = {
    **dict.fromkeys(("GRU", "LSTM", "SimpleRNN"), ("implementation",)),
    "SpatialDropout1D": ("noise_shape", "trainable", "activity_regularizer"),
}
NO_ACTIVITY_REGULARIZER = ("SimpleRNN", "SpatialDropout1D")


def export(value: Any) -> Any:
    """An object, or lists and dictionaries of them, as Keras's configuration."""
    if isinstance(value, Graph):
        return _model(value)
    if isinstance(value, (list, tuple)):
        return [export(item) for item in value]
    if isinstance(value, dict):
        return {str(key): export(item) for key, item in value.items()}
    if not isinstance(value, _configs.Configurable):
        return _configs.serialize(value)
    serialized = value.serialized()
    if isinstance(serialized, str):
        return serialized
    name = serialized["class_name"]
    if not serialized["module"].startswith("cgru.") or name in NOT_IN_KERAS:
        raise TypeError(f"filepath: Keras has no {name}; save to a file with another suffix")
    config = {
        key: _exported(value, key, item)
        for key, item in serialized["config"].items()
        if key not in DROPPED.get(name, ())
    }
    if name in NO_ACTIVITY_REGULARIZER and serialized["config"]["activity_regularizer"] is not None:
        raise TypeError(f"filepath: the {name} of Keras heeds no activity_regularizer")
    return _entry(serialized["module"].replace("cgru", "keras", 1), name, config)


def _exported(owner: Any, key: str, item: Any) -> Any:
    """One argument: of an object in it, the configuration is another one for Keras."""
    if key == "seed" and item is not None:
        return item % 2**31  # all that each backend of Keras takes
    if not isinstance(item, dict) or "class_name" not in item:
        return item
    names = {"layer": "forward_layer", "learning_rate": "_learning_rate"}
    return export(getattr(owner, names.get(key, key), None) or getattr(owner, key))


def _entry(module: str, name: str, config: Any, **more: Any) -> dict[str, Any]:
    found = {"module": module, "class_name": name, "config": config, "registered_name": None}
    return found | more


def _model(model: Any) -> dict[str, Any]:
    name = class_name(model)
    if name not in ("Functional", "Sequential"):
        raise TypeError(f"filepath: Keras has no {name}; save to a file with another suffix")
    config: dict[str, Any] = {"name": model.name, "trainable": model.trainable}
    if name == "Sequential":
        own = model.get_config()
        entries = [export(layer) for layer in model.layers]
        if len(own["layers"]) > len(entries):
            first = own["layers"][0]
            entries.insert(0, _entry("keras.layers", "InputLayer", first["config"]))
        config |= {"dtype": model.dtype, "layers": entries}
        if "build_input_shape" in own:
            config["build_input_shape"] = own["build_input_shape"]
        return _entry("keras", name, config)
    config |= _Calls(model).config()
    return _entry("keras.src.models.functional", name, config) | {"registered_name": name}


class _Calls:
    """The calls of a functional model as Keras's nodes."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.shapes = model.output_shapes([tensor.shape for tensor in model.inputs])
        # For each tensor the layer, the number of its call, and that of the output.
        self.histories: dict[int, list[Any]] = {}
        self.nodes: dict[Any, list[Any]] = {layer: [] for layer in model.layers}
        self.functions: dict[str, dict[str, Any]] = {}
        for place in model.sources:
            self.histories[place] = [model.input_layers[place].name, 0, 0]
        nodes, masks = trace(model)
        self.places = {id(node): place for place, node in reversed(nodes.items())}
        for step in model.steps:
            self._add(step, masks)

    def config(self) -> dict[str, Any]:
        """What the configuration of a model says of its layers and calls."""
        entries = []
        for layer in self.model.layers:
            entries.append(export(layer) | {"name": layer.name, "inbound_nodes": self.nodes[layer]})
        return {
            "layers": [*entries, *self.functions.values()],
            "input_layers": self._structure(self.model.sources, self.model._input_keys),
            "output_layers": self._structure(self.model.sinks, self.model._output_keys, 1),
        }

    def _structure(self, places: Any, keys: Any, first: int = 0) -> Any:
        """Tensors by name; calls of functional models are counted from `first` on, as in Keras."""
        functional = {
            layer.name for layer in self.model.layers if class_name(layer) == "Functional"
        }
        histories = [
            [name, number + first * (name in functional), output]
            for name, number, output in (self.histories[place] for place in places)
        ]
        if keys is not None:
            return dict(zip(keys, histories, strict=True))
        return histories if len(histories) > 1 else histories[0]

    def _add(self, step: Any, masks: dict[int, Node | None]) -> None:
        layer, count = step.layer, len(step.inputs)
        if step.training is not None:
            raise TypeError(
                f"filepath: Keras does not keep the training={step.training} of a call of "
                f"{layer.name}; save to a file with another suffix"
            )
        read = [self._tensor(place) for place in step.reads]
        kwargs: dict[str, Any] = {}
        if step.states:
            states = read[count : count + step.states]
            kwargs["initial_state"] = states if step.states > 1 else states[0]
            mask = masks[step.inputs[0]]
            if mask is not None and not step.masked:
                kwargs["mask"] = self._function(mask)
        if step.masked:
            kwargs["mask"] = read[-1]
        args = [read[:count]] if layer.takes_several else read[:1]
        number = len(self.nodes[layer])
        self.nodes[layer].append({"args": args, "kwargs": kwargs})
        for output, place in enumerate(step.writes):
            self.histories[place] = [layer.name, number, output]

    def _tensor(self, place: int) -> dict[str, Any]:
        inputs = {p: t.dtype.name for p, t in enumerate(self.model.inputs)}
        dtype = inputs.get(place, self.model.dtype)
        return _tensor(self.shapes[place], dtype, self.histories[place])

    def _function(self, node: Node) -> dict[str, Any]:
        """The tensor of a mask, for calls that are told it; with the functions that compute it."""
        function = node.subject
        assert isinstance(function, Function)
        if function.name == "not_equal":
            place = self.places[id(node.inputs[0])]
            read, shape = self._tensor(place), list(self.shapes[place])
            value = function.value
            entry = self._operation(function, "NotEqual", "numpy", [read, value], {})
        elif function.name == "any":
            read = self._function(node.inputs[0])
            shape = read["config"]["shape"][:-1]
            config = {"axis": [-1], "keepdims": False}
            entry = self._operation(function, "Any", "numpy", [read], config)
        else:
            raise TypeError(
                "filepath: Keras does not keep the mask of a call with an initial state whose "
                "input has been merged; save to a file with another suffix"
            )
        return _tensor(shape, "bool", [entry["name"], 0, 0])

    def _operation(
        self, function: Function, kind: str, module: str, args: list[Any], config: dict[str, Any]
    ) -> dict[str, Any]:
        name = f"{function.name}_of_{args[0]['config']['keras_history'][0]}"
        entry = _entry(f"keras.src.ops.{module}", kind, {"name": name} | config)
        entry |= {"registered_name": kind, "name": name}
        entry["inbound_nodes"] = [{"args": args, "kwargs": {}}]
        return self.functions.setdefault(name, entry)


def _tensor(shape: Any, dtype: str, history: list[Any]) -> dict[str, Any]:
    config = {"shape": list(shape), "dtype": dtype, "keras_history": history}
    return {"class_name": "__keras_tensor__", "config": config}


def compile_config(model: Any) -> dict[str, Any]:
    """What `compile` was given; empty if it was not called."""
    if not model.compiled:
        return {}
    settings = export(dict(model._compiled_with))
    return settings | {"run_eagerly": False, "steps_per_execution": 1, "jit_compile": "auto"}
