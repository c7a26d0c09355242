"""Models: layers put together, over one flat parameter vector."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from cgru import _configs, _room, saving
from cgru._door import by_name
from cgru.layers import graph
from cgru.layers.base import Layer
from cgru.layers.graph import Step
from cgru.layers.input import InputLayer
from cgru.layers.keras_order import in_order
from cgru.layers.symbolic import Input, Shape, SymbolicTensor, is_several
from cgru.saving import load_model as load_model
from cgru.saving import save_model as save_model
from cgru.saving.errors import LoadError, refusing
from cgru.streaming import Stream
from cgru.summary import lines
from cgru.training import Trainer

M = TypeVar("M", bound="Model")


class Model(Trainer):
    """A graph of layers, from inputs to outputs.

    Parameters
    ----------
    inputs : SymbolicTensor, or a list or dictionary of them
        What `cgru.Input` returned.
    outputs : SymbolicTensor, or a list or dictionary of them
        What layers returned that were called on the inputs, or on what others returned.
    name : str, optional
    trainable : bool

    Attributes
    ----------
    layers : list of Layer
        One `InputLayer` for each input among them; in the order of Keras, which is by their
        distance from the outputs.
    input_layers : tuple of InputLayer
        Those of `inputs`, in their order.
    inputs : list of SymbolicTensor
    outputs : list of SymbolicTensor

    Examples
    --------
    Two inputs, one layer that reads both, and two outputs:

    >>> a, b = cgru.Input((None, 3), name="a"), cgru.Input((None, 3), name="b")
    >>> gru = cgru.layers.GRU(4)
    >>> both = cgru.layers.Concatenate()([gru(a), gru(b)])
    >>> same = cgru.layers.Dense(1, activation="sigmoid", name="same")(both)
    >>> length = cgru.layers.Dense(1, name="length")(both)
    >>> model = cgru.Model([a, b], [same, length])
    >>> model.compile("adam", ["binary_crossentropy", "mse"])
    >>> x = np.zeros((5, 7, 3))
    >>> [y.shape for y in model.predict([x, x])]
    [(5, 1), (5, 1)]
    """

    def __init__(
        self, inputs: Any, outputs: Any, name: str | None = None, trainable: bool = True
    ) -> None:
        self.inputs, self._input_keys = _tensors("inputs", inputs)
        self.outputs, self._output_keys = _tensors("outputs", outputs)
        for tensor in self.inputs:
            if tensor.call is not None:
                raise ValueError(f"inputs: expected what Input() returned, got {tensor!r}")
        names = [tensor.name for tensor in self.inputs]
        if len(set(names)) < len(names):
            raise ValueError(f"inputs: expected different names, got {names}")
        calls = graph.trace(self.inputs, self.outputs)
        dtypes = {call.layer.dtype for call in calls} or {self.inputs[0].dtype.name}
        if len(dtypes) > 1:
            raise ValueError(f"dtype: all layers of a model must have one dtype, got {dtypes}")
        super().__init__(name=name, trainable=trainable, dtype=dtypes.pop())
        places: dict[int, int] = {}
        for tensor in [*self.inputs, *(tensor for call in calls for tensor in call.outputs)]:
            places.setdefault(id(tensor), len(places))
        # A tuple: only lists are searched for inner layers, which are those of `layers`.
        self.input_layers = tuple(InputLayer.of(tensor) for tensor in self.inputs)
        _check_names([*self.input_layers, *dict.fromkeys(call.layer for call in calls)])
        steps = [
            Step(
                call.layer,
                tuple(places[id(tensor)] for tensor in call.inputs),
                tuple(places[id(tensor)] for tensor in call.outputs),
                call.states,
                call.training,
                call.masked,
            )
            for call in calls
        ]
        sinks = [places[id(tensor)] for tensor in self.outputs]
        self.link(steps, len(places), range(len(self.inputs)), sinks)
        self.layers: list[Layer] = in_order(self)
        self.built = True

    # ---- Inputs and outputs ----

    @property
    def input(self) -> Any:
        """The input, or the inputs in the structure in which they were given."""
        return _structured(self.inputs, self._input_keys)

    @property
    def output(self) -> Any:
        """The output, or the outputs in the structure in which they were given."""
        return _structured(self.outputs, self._output_keys)

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs, as dictionaries of data use them."""
        return [tensor.name for tensor in self.inputs]

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs, those of their layers or of the dictionary of outputs."""
        return self._output_keys or [tensor.name for tensor in self.outputs]

    @property
    def input_shape(self) -> Any:
        """The shape that the model reads, None for what is free; a list for several inputs."""
        shapes = [tensor.shape for tensor in self.inputs]
        return shapes if self.takes_several else shapes[0]

    @property
    def output_shape(self) -> Any:
        """The shape that the model returns; a list for several outputs."""
        shape = self.compute_output_shape(self.input_shape)
        return list(shape) if self.returns_several else shape

    @property
    def stateful(self) -> bool:
        """Whether a layer carries its state from batch to batch."""
        return any(getattr(layer, "stateful", False) for layer in self.layers)

    def _structured(self, outputs: list[Any]) -> Any:
        return _structured(outputs, self._output_keys)

    def __call__(
        self, x: Any, training: bool | None = None, mask: Any = None, *, initial_state: Any = None
    ) -> Any:
        """The output for x, or the outputs, in a dictionary if the model was made with one.

        Parameters
        ----------
        x : array_like, SymbolicTensor, or a list or dictionary of them
        training, mask, initial_state
            As for `Layer`.

        Returns
        -------
        ndarray, or a tuple or dictionary of them
        """
        if isinstance(x, Mapping):
            x = by_name(self, x)
            x = x if self.takes_several else x[0]
        y = super().__call__(x, training=training, mask=mask, initial_state=initial_state)
        if self._output_keys is None:
            return y
        return self._structured(list(y) if self.returns_several else [y])

    def check_input(self, shape: Any, argument: str = "x") -> None:
        shapes = shape if self.takes_several else [shape]
        for tensor, found in zip(self.inputs, shapes, strict=True):
            name = f"{argument}[{tensor.name!r}]" if self.takes_several else argument
            self._check_shape(tensor, found, name)

    def _check_shape(self, tensor: SymbolicTensor, found: Shape, argument: str) -> None:
        expected = tensor.shape
        if len(found) != len(expected) or any(
            e not in (None, s) for e, s in zip(expected[1:], found[1:], strict=True)
        ):
            raise ValueError(
                f"{argument}: {self.name} expects shape {(None, *expected[1:])}, got {found}"
            )

    def accepted_shapes(self) -> list[Shape]:
        """The shapes that the inputs may have, None for what is free."""
        return [tensor.shape for tensor in self.inputs]

    def compute_output_shape(self, input_shape: Any) -> Any:
        shapes = self.output_shapes(input_shape if self.takes_several else [input_shape])
        found = tuple(shapes[place] for place in self.sinks)
        return found if self.returns_several else found[0]

    def known_input_shape(self) -> Any:
        return self.input_shape

    def build(self, input_shape: Any = None) -> None:
        """Make the weights; those of a model that has its inputs are there already."""

    # ---- Its layers ----

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by its name or its place in `layers`.

        Raises
        ------
        ValueError
            If there is none.
        """
        if (name is None) == (index is None):
            raise ValueError(f"name, index: expected one of them, got {name!r} and {index!r}")
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise ValueError(f"index: {self.name} has {len(self.layers)} layers, got {index}")
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = [layer.name for layer in self.layers]
        raise ValueError(f"name: expected one of {names}, got {name!r}")

    def reset_states(self) -> None:
        """Let the next batch of stateful layers start from zeros."""
        for layer in self.layers:
            if hasattr(layer, "reset_states"):
                layer.reset_states()

    def stream(self, batch_size: int = 1) -> Stream:
        """A stream, which reads sequences step by step and carries the states.

        Parameters
        ----------
        batch_size : int
            The number of sequences that are read side by side.

        Returns
        -------
        cgru.streaming.Stream

        Raises
        ------
        ValueError
            If a layer needs more of a sequence than the steps so far, as `Bidirectional` does.

        Examples
        --------
        >>> model = cgru.Sequential([cgru.Input((None, 3)), cgru.layers.GRU(4)])
        >>> model.stream().step(np.zeros((1, 3))).shape
        (1, 4)
        """
        return Stream(self, batch_size)

    # ---- Looking at it ----

    def summary(
        self,
        line_length: int | None = None,
        positions: Any = None,
        print_fn: Callable[..., Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Any = None,
    ) -> None:
        """Print the layers, the shapes of their outputs and their numbers of weights.

        Parameters
        ----------
        line_length, positions : optional
            Accepted for Keras's sake: columns are as wide as they have to be.
        print_fn : callable, optional
            Given each line; `print` by default.
        expand_nested : bool
            Whether to show the layers of models that are layers.
        show_trainable : bool
            Whether to show which layers do not train.
        layer_range : list of two str, optional
            The names of the first and the last layer to show.

        Examples
        --------
        >>> model = cgru.Sequential(
        ...     [
        ...         cgru.Input((None, 3)),
        ...         cgru.layers.GRU(4, name="gru"),
        ...         cgru.layers.Dense(1, name="dense"),
        ...     ],
        ...     name="forecast",
        ... )
        >>> model.summary()
        Model: forecast
        Layer (type)                  Output shape              Parameters
        gru (GRU)                     (None, 4)                        108
        dense (Dense)                 (None, 1)                          5
        Total parameters: 113 (452 bytes), trainable: 113, frozen: 0
        """
        if not self.built:
            raise ValueError(f"{self.name}: call build() or show it data before summary()")
        if layer_range is not None:
            known = {layer.name: layer for layer in self.layers}
            if len(layer_range) != 2 or not known.keys() >= set(layer_range):
                raise ValueError(
                    f"layer_range: expected names of two of the layers {list(known)}, got "
                    f"{layer_range!r}"
                )
            layer_range = [known[name] for name in layer_range]
        for line in lines(self, expand_nested, show_trainable, layer_range):
            (print_fn or print)(line)

    # ---- Files ----

    def save(self, filepath: Any, overwrite: bool = True, zipped: Any = None) -> None:
        """Save the model: see `cgru.saving.save_model`."""
        saving.save_model(self, filepath, overwrite, zipped)

    def save_weights(self, filepath: Any, overwrite: bool = True) -> None:
        """Save the weights: see `cgru.saving.save_weights`."""
        saving.save_weights(self, filepath, overwrite)

    def load_weights(self, filepath: Any, skip_mismatch: bool = False) -> None:
        """Load the weights: see `cgru.saving.load_weights`."""
        saving.load_weights(self, filepath, skip_mismatch)

    # ---- As a dictionary ----

    def get_config(self) -> dict[str, Any]:
        # The inputs first, so that their places are those of the tensors.
        layers = list(dict.fromkeys([*self.input_layers, *self.layers]))
        calls = [
            {
                "layer": layers.index(step.layer),
                "reads": list(step.reads),
                "writes": list(step.writes),
                "states": step.states,
                "training": step.training,
                "masked": step.masked,
            }
            for step in self.steps
        ]
        return {
            "name": self.name,
            "trainable": self.trainable,
            "layers": [layer.serialized() for layer in layers],
            "calls": calls,
            "outputs": list(self.sinks),
            "input_keys": self._input_keys,
            "output_keys": self._output_keys,
        }

    @classmethod
    def from_config(
        cls: type[M], config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> M:
        layers = [_configs.deserialize(layer, custom_objects) for layer in config["layers"]]
        tensors = dict(enumerate(layer.output for layer in layers if isinstance(layer, InputLayer)))
        inputs = list(tensors.values())
        for call in config["calls"]:
            layer = layers[call["layer"]]
            read = [tensors[place] for place in call["reads"]]
            mask = read.pop() if call.get("masked") else None
            count = len(read) - call["states"]
            states = {"initial_state": read[count:]} if call["states"] else {}
            x = read[:count] if layer.takes_several else read[0]
            written = layer(x, training=call["training"], mask=mask, **states)
            if isinstance(written, dict):
                written = tuple(written.values())
            elif not isinstance(written, tuple):
                written = (written,)
            tensors |= zip(call["writes"], written, strict=True)
        outputs = [tensors[place] for place in config["outputs"]]
        return cls(
            _structured(inputs, config.get("input_keys")),
            _structured(outputs, config.get("output_keys")),
            name=config.get("name"),
            trainable=config.get("trainable", True),
        )

    def to_json(self, **kwargs: Any) -> str:
        """The configuration as JSON, for `model_from_json`.

        Parameters
        ----------
        **kwargs
            As for `json.dumps`.
        """
        _configs.check_sharing(self)
        return json.dumps(self.serialized(), **kwargs)


class Sequential(Model):
    """A chain of layers, each reading what the one before it returns.

    Parameters
    ----------
    layers : list of Layer, optional
        May begin with an `Input`; without one the model is built for the first data it sees.
    trainable : bool
    name : str, optional

    Attributes
    ----------
    layers : list of Layer

    Examples
    --------
    >>> cgru.utils.set_random_seed(1)
    >>> x = np.random.rand(200, 10, 1)
    >>> y = x.sum(axis=1)
    >>> model = cgru.Sequential([cgru.layers.GRU(8), cgru.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> history = model.fit(x, y, epochs=20)
    >>> model.predict(x).shape
    (200, 1)
    """

    def __init__(
        self, layers: Iterable[Any] | None = None, trainable: bool = True, name: str | None = None
    ) -> None:
        Trainer.__init__(self, name=name, trainable=trainable)
        self.layers: list[Layer] = []
        self._input: SymbolicTensor | None = None  # as an Input described it
        self._stand_in: SymbolicTensor | None = None  # for it, where none did
        self._built_for: Shape | None = None
        self._input_keys = self._output_keys = None
        read = None
        for layer in layers or ():
            read = self._append(layer, read)
        self._link()

    def add(self, layer: Layer | SymbolicTensor) -> None:
        """Append a layer (or begin with an `Input`)."""
        read = self._first_shape() if self.layers else None
        for earlier in self.layers[:-1]:
            read = None if read is None else _single(earlier, read)
        self._append(layer, read)
        self._link()

    def _append(self, layer: Any, read: Shape | None) -> Shape | None:
        """Append a layer, given the shape that the last one reads; return that it reads itself.

        None stands for a shape that is not known, and for that of the first.
        """
        if isinstance(layer, InputLayer):
            layer = layer.output
        if isinstance(layer, SymbolicTensor):
            if self.layers or self._input is not None:
                raise ValueError(f"layer: {layer!r} must be the first entry of a Sequential")
            self._input = layer
            if layer.dtype.kind == "f":
                self._dtype = layer.dtype
            return None
        if not isinstance(layer, Layer):
            raise ValueError(f"layer: expected a Layer or an Input, got {layer!r}")
        if any(layer.name == earlier.name for earlier in self.layers):
            raise ValueError(f"layer: the model has a layer named {layer.name!r} already")
        if layer.dtype != self.dtype and (self.layers or self._input is not None):
            raise ValueError(
                "dtype: the input and all layers of a model must have one dtype, got "
                f"{self.dtype} and, for {layer.name}, {layer.dtype}"
            )
        if layer.first_shape is not None and not self.layers and self._input is None:
            dtype = "int64" if layer.reads_integers else layer.dtype
            described = Input(layer.first_shape, dtype=dtype)
            layer.check_input(described.shape)
            self._input = described
        shape = self._first_shape() if read is None else _single(self.layers[-1], read)
        if shape is not None:
            layer.ensure_built(shape)
            self._built_for = self._built_for or self.input_shape
            self.built = True
        self._dtype = layer._dtype
        self.layers.append(layer)
        return shape

    def pop(self) -> Layer:
        """Remove the last layer, and return it."""
        if not self.layers:
            raise ValueError(f"{self.name} has no layers to remove")
        layer = self.layers.pop()
        self._link()
        return layer

    def _link(self) -> None:
        steps = [Step(layer, (i,), (i + 1,)) for i, layer in enumerate(self.layers)]
        self.link(steps, len(steps) + 1, (0,), (len(steps),))
        self._known_shapes.clear()

    # ---- Inputs and outputs ----

    @property
    def inputs(self) -> list[SymbolicTensor]:  # type: ignore[override]
        """The input, once its shape is known."""
        tensor = self._input or self._stand_in
        if tensor is None:
            dtype = "int64" if self.reads_integers else self.dtype
            tensor = self._stand_in = Input(batch_shape=self._shape(), dtype=dtype)
        self._called_on(tensor)
        return [tensor]

    @property
    def outputs(self) -> list[SymbolicTensor]:  # type: ignore[override]
        """The output, once its shape is known."""
        return [self._called_on(self.inputs[0])]

    def _called_on(self, tensor: SymbolicTensor) -> SymbolicTensor:
        """What the layers return for the input, of calls that are made when first asked for."""
        for layer in self.layers:
            known = [call for call in layer._calls if call.inputs[0] is tensor]
            tensor = known[-1].outputs[0] if known else layer(tensor)
        return tensor

    @property
    def output_names(self) -> list[str]:
        return [self.layers[-1].name] if self.layers else ["output"]

    @property
    def input_names(self) -> list[str]:
        return ["input" if self._input is None else self._input.name]

    def _shape(self) -> Shape:
        if not self.built:
            raise ValueError(f"{self.name} has no shapes before it is built")
        assert self._built_for is not None
        return self._built_for

    def _first_shape(self) -> Shape | None:
        """The shape that the model reads, if it is known."""
        return self._built_for or (None if self._input is None else self._input.shape)

    @property
    def input_shape(self) -> Shape:
        """The shape that the model reads, None for what is free."""
        return self._first_shape() or (None,)

    @property
    def output_shape(self) -> Shape:
        """The shape that a built model returns."""
        return self.compute_output_shape(self._shape())

    def check_input(self, shape: Shape, argument: str = "x") -> None:
        if not self.layers:
            raise ValueError(f"{self.name} has no layers: add some first")
        if self._input is not None:
            self._check_shape(self._input, shape, argument)
        for layer in self.layers:
            layer.check_input(shape, argument)
            shape = _single(layer, shape)
            argument = f"output of {layer.name}"

    def accepted_shapes(self) -> list[Shape]:
        shape = self.input_shape
        if self._input is None and len(shape) + self.reads_integers > 2 and shape[1] is not None:
            # Built by data of one length: are others refused?
            try:
                self.check_input((shape[0], shape[1] + 1, *shape[2:]))
            except ValueError:
                return [shape]
            shape = (shape[0], None, *shape[2:])
        return [shape]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        for layer in self.layers:
            input_shape = _single(layer, input_shape)
        return input_shape

    def known_input_shape(self) -> Shape | None:
        return self._first_shape()

    def build(self, input_shape: Any = None) -> None:
        """Make the weights for inputs of `input_shape`, such as ``(None, 10, 3)``.

        It may be left out where an `Input` says it.
        """
        shape = input_shape
        for layer in self.layers:
            layer.ensure_built(shape)
            shape = _single(layer, shape)
        self._built_for, self._stand_in = input_shape, None

    # ---- As a dictionary ----

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable}
        config["layers"] = [layer.serialized() for layer in self.layers]
        if self._input is not None:
            entry = InputLayer.of(self._input)
            config["layers"].insert(0, entry.serialized())
        elif self._built_for is not None:
            config["build_input_shape"] = list(self._built_for)
        return config

    @classmethod
    def from_config(
        cls: type[M], config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> M:
        layers = [_configs.deserialize(layer, custom_objects) for layer in config["layers"]]
        model = cls(layers, config.get("trainable", True), config.get("name"))
        if config.get("build_input_shape"):
            model.build(config["build_input_shape"])
        return model


def _single(layer: Layer, input_shape: Shape) -> Shape:
    """The shape of the one output that a Sequential can pass on."""
    shape = layer.compute_output_shape(input_shape)
    if is_several(shape):
        raise ValueError(
            f"{layer.name}: expected a layer with one output in a Sequential, got one with "
            f"{len(shape)}, of shapes {shape} (return_state?)"
        )
    return shape


def _check_names(layers: list[Layer]) -> None:
    names: set[str] = set()
    for layer in layers:
        if layer.name in names:
            raise ValueError(f"layer: the model has a layer named {layer.name!r} already")
        names.add(layer.name)


def _tensors(argument: str, value: Any) -> tuple[list[SymbolicTensor], list[str] | None]:
    """Symbolic tensors as a list, and the keys of a dictionary of them."""
    keys = None
    if isinstance(value, Mapping):
        keys, value = list(value), list(value.values())
    tensors = list(value) if isinstance(value, (list, tuple)) else [value]
    for tensor in tensors:
        if not isinstance(tensor, SymbolicTensor):
            raise ValueError(
                f"{argument}: expected what Input() or a layer called on it returned, got "
                f"{tensor!r}; a model of your own class is a Layer with forward"
            )
    if not tensors:
        raise ValueError(f"{argument}: expected at least one")
    return tensors, keys


def _structured(tensors: list[Any], keys: list[str] | None) -> Any:
    if keys is not None:
        return dict(zip(keys, tensors, strict=True))
    return tensors if len(tensors) > 1 else tensors[0]


def clone_model(model: M) -> M:
    """A model with the same layers and fresh weights.

    Parameters
    ----------
    model : Model

    Examples
    --------
    >>> model = cgru.Sequential([cgru.Input((None, 3)), cgru.layers.GRU(4)])
    >>> cgru.models.clone_model(model).count_params() == model.count_params()
    True
    """
    if not isinstance(model, Model):
        raise ValueError(f"model: expected a Model, got {model!r}")
    _configs.check_sharing(model)
    return type(model).from_config(model.get_config())


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> Model:
    """The model that `Model.to_json` described, with fresh weights.

    Parameters
    ----------
    json_string : str
        Of at most four million characters, several hundred layers and 130 million weights.
    custom_objects : dict, optional
        Classes by name, for those that are not cgru's own.

    Raises
    ------
    cgru.saving.LoadError
        If it is not the JSON of a model, or names a class that is not known.

    Examples
    --------
    >>> model = cgru.Sequential([cgru.Input((None, 3)), cgru.layers.GRU(4)])
    >>> cgru.models.model_from_json(model.to_json()).output_shape
    (None, 4)
    """
    room = _room.at_most(_room.MAX_FRESH)
    with refusing("json_string: expected the JSON of a model"), room:
        model = _configs.deserialize(json.loads(_room.check_text(json_string)), custom_objects)
    if not isinstance(model, Model):
        raise LoadError(f"json_string: expected the JSON of a model, got that of {model!r:.200}")
    return model
