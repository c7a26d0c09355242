"""Objects from the configurations in files of Keras.

Nothing is imported or run because a file names it: classes are those of cgru, and those given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cgru import _configs, _room, layers
from cgru.layers.base import Layer
from cgru.layers.keras_order import passes_mask
from cgru.layers.symbolic import SymbolicTensor
from cgru.saving.errors import LoadError

# Arguments that cgru has not, with the value that changes nothing.
NEUTRAL: dict[str, Any] = {
    "autocast": True,
    "axis": -1,
    "from_sorted_ids": False,
    "input_axes": None,
    "label_weights": None,
    "lora_alpha": None,
    "lora_rank": None,
    "multi_label": False,
    "num_labels": None,
    "optional": False,
    "output_axes": None,
    "quantization_config": None,
    "ragged": False,
    "renorm": False,
    "rms_scaling": False,
    "sparse": False,
}
MEANINGLESS = ("renorm_clipping", "renorm_momentum")
# Arguments that say how much memory a metric takes.
MOST = {"num_thresholds": 100_000, "num_classes": 10_000}
MODELS = ("Functional", "Model")
MAX_LOOKS = 20_000  # more would take long
NAMESPACES = ("keras", "keras.src", *(f"keras.{module}" for module in _configs.MODULES))

# Where Keras has its optimizers' classes on PyTorch.
TORCH_OPTIMIZERS = "keras.src.backend.torch.optimizers.torch_"


class Importer:
    """Makes objects from configurations.

    Parameters
    ----------
    path : str
        What errors call the file.
    custom_objects : dict, optional
        Classes by name, for those that are not cgru's own.
    sequential, functional : type
        The classes of models.

    Attributes
    ----------
    order : dict
        For each model that was made, its layers in the order of the file.
    """

    def __init__(
        self, path: Any, custom_objects: Mapping[str, Any] | None, sequential: Any, functional: Any
    ) -> None:
        self.path = path
        self.custom_objects = custom_objects
        self.sequential, self.functional = sequential, functional
        self.order: dict[Layer, list[Layer]] = {}

    def error(self, text: str) -> LoadError:
        """What is raised for something in the file."""
        return LoadError(f"filepath: {self.path} {text}")

    def make(self, value: Any) -> Any:
        """The object of a configuration; lists and dictionaries of them stay such."""
        if isinstance(value, list):
            return [self.make(item) for item in value]
        if not isinstance(value, Mapping):
            return value
        if "class_name" not in value:
            return {key: self.make(item) for key, item in value.items()}
        module, name, config = value.get("module"), value["class_name"], value.get("config")
        if name == "DTypePolicy" or str(name).endswith("DTypePolicy"):
            return self._dtype(name, config)
        if name == "function" and isinstance(config, str) and module in NAMESPACES:
            return config
        if not isinstance(name, str) or not isinstance(config, Mapping) or name == "Lambda":
            raise self.error(f"names {module}.{name}, code or nothing that can be loaded")
        cls = self._class(module, name, value.get("registered_name"))
        with _room.one_part():
            if cls is self.functional:
                return self._functional(config)
            if cls is self.sequential:
                return self._sequential(config)
            return cls.from_config({k: self.make(v) for k, v in self._known(cls, config).items()})

    def _dtype(self, name: str, config: Any) -> str:
        dtype = config.get("name") if isinstance(config, Mapping) else None
        if name != "DTypePolicy" or dtype not in ("float32", "float64"):
            raise self.error(
                f"asks for the dtype policy {dtype!r} ({name}); cgru has float32 and 64"
            )
        return str(dtype)

    def _class(self, module: Any, name: str, registered: Any) -> Any:
        for given in (self.custom_objects or {}, _configs.REGISTERED):
            for key in (registered, name):
                if key in given:
                    return given[key]
        if isinstance(module, str) and module.startswith(TORCH_OPTIMIZERS):
            module = "keras.optimizers"
        if module == "keras.src.models.functional" or module in ("keras", "keras.models"):
            models = {"Sequential": self.sequential} | dict.fromkeys(MODELS, self.functional)
            if name in models:
                return models[name]
        if module not in NAMESPACES or (registered or name) != name:
            raise self.error(
                f"names {module}.{name}, which is not loaded: nothing is imported because a file "
                f"says so; if there is such a class for cgru, pass custom_objects={{{name!r}: ...}}"
            )
        try:
            return _configs.find_class(module, name)
        except ValueError:
            raise self.error(f"names {module}.{name}, which cgru has not") from None

    def _known(self, cls: type, config: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that a class takes; it is an error if others would change anything."""
        if not cls.__module__.startswith("cgru."):
            return dict(config)
        names = {*_configs.arguments(cls), *(("learning_rate",) if "step" in vars(cls) else ())}
        if not issubclass(cls, Layer):
            names.discard("dtype")
        unknown = {
            key: value
            for key, value in config.items()
            if key not in names
            and key not in MEANINGLESS
            and not (key in NEUTRAL and value == NEUTRAL[key])
            and not (key == "dtype" and self.make(value) in (None, "float32", "float64"))
            and not (key == "trainable" and value is True)
        }
        if unknown:
            raise self.error(f"asks for arguments of {cls.__name__} that cgru has not: {unknown}")
        for key, most in MOST.items():
            if isinstance(config.get(key), int) and config[key] > most:
                raise self.error(f"asks for {key}={config[key]}; at most {most} are loaded")
        return {key: value for key, value in config.items() if key in names}

    # ---- Models ----

    def _sequential(self, config: Mapping[str, Any]) -> Any:
        self.make(config.get("dtype"))
        made = [self.make(layer) for layer in config["layers"]]
        model = self.sequential(made, config.get("trainable", True), config.get("name"))
        if config.get("build_input_shape") and not model.built:
            model.build(config["build_input_shape"])
        self.order[model] = list(model.layers)
        return model

    def _functional(self, config: Mapping[str, Any]) -> Any:
        graph = _Graph(self, config)
        inputs, outputs = (
            graph.structure(config[key]) for key in ("input_layers", "output_layers")
        )
        model = self.functional(
            inputs, outputs, name=config.get("name"), trainable=config.get("trainable", True)
        )
        used = set(model.layers)
        self.order[model] = [layer for layer in graph.layers.values() if layer in used]
        return model


class _Graph:
    """The layers of a functional model, called as its configuration says."""

    def __init__(self, importer: Importer, config: Mapping[str, Any]) -> None:
        self.importer = importer
        self.layers: dict[str, Layer] = {}
        self.tensors: dict[tuple[str, int], Any] = {}
        self.masked: set[int] = set()  # tensors that have a mask
        self.looks = 0  # at calls and tensors, so far
        # The functions that compute masks, with what they read.
        self.functions: dict[str, list[Any]] = {}
        waiting: dict[str, list[Any]] = {}
        for entry in config["layers"]:
            name = str(entry["name"])
            if name in self.layers or name in self.functions:
                raise importer.error(f"has two layers named {name!r}")
            if str(entry.get("module")).startswith("keras.src.ops."):
                self.functions[name] = [entry["class_name"], entry["inbound_nodes"]]
                continue
            layer = self.layers[name] = importer.make(entry)
            if not isinstance(layer, Layer):
                raise importer.error(f"has {entry['class_name']} for a layer")
            if isinstance(layer, layers.InputLayer):
                self.tensors[name, 0] = [layer.output]
            else:
                waiting[name] = list(enumerate(entry["inbound_nodes"]))
        self._call_all(waiting)

    def _call_all(self, waiting: dict[str, list[Any]]) -> None:
        while waiting:
            self._look(len(waiting))
            before = sum(map(len, waiting.values()))
            for name, nodes in list(waiting.items()):
                while nodes and self._ready(nodes[0][1]):
                    number, node = nodes.pop(0)
                    self.tensors[name, number] = self._call(self.layers[name], node)
                if not nodes:
                    del waiting[name]
            if waiting and sum(map(len, waiting.values())) == before:
                raise self.importer.error(f"has calls that wait for each other: {sorted(waiting)}")

    def _look(self, count: int) -> None:
        self.looks += count
        if self.looks > MAX_LOOKS:
            raise self.importer.error("has calls in too great a disorder, or too many")

    def _ready(self, node: Any) -> bool:
        read = [node["args"], node["kwargs"].get("initial_state"), node["kwargs"].get("mask")]
        return all(
            history[:2] in self.tensors
            for history in _histories(read)
            if history[0] not in self.functions
        )

    def _call(self, layer: Layer, node: Any) -> list[Any]:
        args, kwargs = list(node["args"]), dict(node["kwargs"])
        kwargs.pop("training", None)  # Keras does not use it again
        if len(args) == 2 and hasattr(layer, "go_backwards"):
            kwargs["initial_state"] = args.pop()
        mask = kwargs.pop("mask", None)
        states = self.structure_of(kwargs.pop("initial_state", None))
        if len(args) != 1 or any(value is not None for value in kwargs.values()):
            raise self.importer.error(f"calls {layer.name} in a way that cgru has not: {kwargs}")
        x = self.structure_of(args[0])
        first = x[0] if isinstance(x, list) else x
        told = self._mask(layer, mask, x)
        if states is not None and mask is None and id(first) in self.masked:
            # Keras heeds no mask where there is an initial state, unless it is told to.
            x = first = layers.Cropping1D(0, name=f"{layer.name}_unmasked")(x)
        if layer.takes_several and not isinstance(x, list):
            x = [x]
        written = layer(x, mask=told, initial_state=states)
        if isinstance(written, dict):
            written = tuple(written.values())
        found = list(written) if isinstance(written, tuple) else [written]
        read = x if isinstance(x, list) else [x]
        masks = layer.makes_mask or any(id(tensor) in self.masked for tensor in read)
        if masks and (layer.makes_mask or layer.takes_several or passes_mask(layer, first.shape)):
            self.masked |= {id(tensor) for tensor in found if tensor.ndim > 2}
        return found

    def _mask(self, layer: Layer, mask: Any, x: Any) -> Any:
        """The mask that a call is told, unless it is that which comes with its input."""
        histories = _histories(mask)
        if not histories or isinstance(mask, list):
            return None
        if histories[0][0] not in self.functions:
            return self.structure_of(mask)
        sources = self._sources(histories[0][0])
        if not sources <= self._above(x):
            raise self.importer.error(f"gives {layer.name} a mask that is not that of its input")
        return None

    def _sources(self, name: str) -> set[int]:
        """The tensors on which the function depends that computes a mask."""
        found: set[int] = set()
        seen, missing = {name}, [name]
        while missing:
            kind, nodes = self.functions[missing.pop()]
            for history in _histories(nodes):
                if history[0] in self.functions:
                    missing += [] if history[0] in seen else [history[0]]
                    seen.add(history[0])
                elif kind == "NotEqual":
                    found.add(id(self.tensor(history)))
        return found

    def _above(self, x: Any) -> set[int]:
        """All tensors on which x depends."""
        found: set[int] = set()
        missing = list(x) if isinstance(x, list) else [x]
        while missing:
            tensor = missing.pop()
            if id(tensor) not in found:
                found.add(id(tensor))
                self._look(1)
                missing += tensor.call.inputs if tensor.call else ()
        return found

    def structure_of(self, value: Any) -> Any:
        """The tensors that an argument of a call names."""
        if value is None:
            return None
        if isinstance(value, list):
            return [self.structure_of(item) for item in value]
        histories = _histories(value) if isinstance(value, Mapping) else []
        if len(histories) != 1:
            raise self.importer.error(f"calls a layer on {value!r}, expected a tensor"[:300])
        return self.tensor(histories[0])

    def structure(self, value: Any) -> Any:
        """The tensors that are named as inputs or outputs: one, a list or a dictionary."""
        if isinstance(value, Mapping):
            return {key: self.structure(item) for key, item in value.items()}
        if value and isinstance(value[0], str):
            name, node, place = value
            if type(self.layers.get(name)) is self.importer.functional:
                # Here, and nowhere else, Keras counts these from 1; -1 is the last one.
                node = (node or len([key for key in self.tensors if key[0] == name])) - 1
            return self.tensor([name, node, place])
        return [self.structure(item) for item in value]

    def tensor(self, history: Any) -> SymbolicTensor:
        """One tensor, by the name of its layer, the number of the call and of the output."""
        name, node, place = history
        if name in self.functions:
            kind = self.functions[name][0]
            raise self.importer.error(f"uses the function {kind} as a layer, which cgru has not")
        if (name, node) not in self.tensors or not 0 <= place < len(self.tensors[name, node]):
            raise self.importer.error(f"names the tensor {history}, which no layer returns")
        return self.tensors[name, node][place]


def _histories(value: Any) -> list[tuple[str, int, int]]:
    """The tensors that are named anywhere in a value."""
    if isinstance(value, (list, tuple)):
        return [history for item in value for history in _histories(item)]
    if not isinstance(value, Mapping):
        return []
    if value.get("class_name") == "__keras_tensor__":
        name, node, place = value["config"]["keras_history"]
        return [(str(name), int(node), int(place))]
    return [history for item in value.values() for history in _histories(item)]
