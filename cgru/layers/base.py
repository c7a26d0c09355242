"""The `Layer` base class: a function with weights, whose forward pass returns its backward pass."""

from __future__ import annotations

import functools
import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cgru import _checks, _room, config, constraints, initializers, regularizers
from cgru._configs import Configurable
from cgru.layers import symbolic
from cgru.layers.symbolic import Shape as Shape
from cgru.variables import Variable, structure

Backward = Callable[..., Any]

# What a forward pass may want to know besides x; a layer's `forward` names what it uses.
CONTEXT = (
    "training",
    "mask",
    "initial_state",
    "needs_input_grad",
    "needs_backward",
    "penalties",
)


def no_backward(*_: Any) -> Any:
    """What stands for `backward` where nobody is to call it."""
    raise RuntimeError("backward: the forward pass was told that nobody would call it")


class Layer(Configurable):
    """Base class of all layers.

    A subclass implements `build`, which makes the weights once the input's shape is known, and
    `forward`, which returns the output and a function `backward`.  That function takes the
    gradient of the loss with respect to the output, adds the gradients of the weights to their
    ``grad``, and returns the gradient with respect to the input.  What it needs is kept in the
    function itself, not on the layer, so that one layer serves many threads, and may be used
    more than once.

    Parameters
    ----------
    name : str, optional
        By default the name of the class with a number.
    dtype : {"float32", "float64"}, optional
        Of weights and outputs; `cgru.config.floatx()` by default.
    trainable : bool
        Whether training changes the weights.
    activity_regularizer : str or Regularizer, optional
        Of the outputs, added to the loss.

    Examples
    --------
    A layer of your own:

    >>> class Scale(cgru.layers.Layer):
    ...     def build(self, input_shape):
    ...         self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")
    ...
    ...     def forward(self, x):
    ...         factor = self.factor.value
    ...
    ...         def backward(dy):
    ...             if self.trainable:
    ...                 self.factor.grad += (dy * x).reshape(-1, x.shape[-1]).sum(axis=0)
    ...             return dy * factor
    ...
    ...         return x * factor, backward
    >>> Scale()([[1.0, 2.0]])
    array([[1., 2.]], dtype=float32)
    >>> cgru.testing.check_layer(Scale, (None, 2))  # among others its gradients

    Notes
    -----
    `forward` may name further arguments, and is given what it names: ``training`` (bool),
    ``mask`` ([batch, time] of bool or None), ``initial_state``, ``needs_input_grad`` (False: nobody
    will use what backward returns), ``needs_backward`` (False: nobody will call backward) and
    ``penalties`` (a list, to which a layer appends what it adds to the loss; its backward includes
    the gradient of that).

    A layer that reads several arrays sets `takes_several`; x, the input's shape and the mask are
    then lists, and so is what backward returns.  One with several outputs returns a tuple of them,
    `compute_output_shape` a tuple of shapes, and backward is given a tuple of gradients, None for
    an output that nobody used.

    A layer that treats each time step alone says so with ``stepwise = True`` in its class: then
    sequences of different lengths are padded into one batch, and `tbptt` can cut them.
    """

    # Whether inputs are indices, and stay integers: those of an Embedding, for example.
    reads_integers = False
    # Whether what is returned for a time step depends on that step alone, or, through a state that
    # is carried, on those before it.
    stepwise = False
    # Whether its output has a mask where its input has none.
    makes_mask = False
    # Whether steps that are masked, at the end of a sequence, have no effect on what is returned
    # for it; so it is where each step is read alone.
    _heeds_masks = False
    # Whether a call reads a list of arrays.
    takes_several = False

    # What an argument `input_shape`, as of earlier versions of Keras, said.
    first_shape: Any = None

    # The calls on symbolic tensors.
    _calls: tuple[symbolic.Call, ...] = ()

    _accepts: tuple[str, ...] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        parameters = inspect.signature(cls.forward).parameters
        names = [name for name in CONTEXT if name in parameters]
        arguments = ", ".join(f"{name}=context[{name!r}]" for name in names)
        cls._accepts = tuple(names)
        # As one would write it out for the class: this runs for each layer and batch.
        cls.run = eval(  # type: ignore[method-assign]
            f"lambda self, x, context: self.forward(x, {arguments})"
        )
        if "build" in vars(cls):
            cls.build = _checked_build(cls.build)  # type: ignore[assignment, method-assign]

    def __init__(
        self,
        *,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
        activity_regularizer: Any = None,
        **unknown: Any,
    ) -> None:
        self.first_shape = _first_shape(unknown)
        if unknown:
            raise ValueError(f"{type(self).__name__}: unknown arguments {sorted(unknown)}")
        _room.claim_parts(_room.PER_LAYER)
        if name is None:
            kind = _checks.snake_case(type(self).__name__)
            number = next(symbolic.name_counters[kind])
            name = f"{kind}_{number}" if number else kind
        if not isinstance(name, str):
            raise TypeError(f"name: expected a string, got {name!r}")
        self.name = name
        self.built = False
        self._dtype = config.as_dtype(dtype)
        self._trainable = bool(trainable)
        self.activity_regularizer = regularizers.get(activity_regularizer, "activity_regularizer")
        if self.activity_regularizer is not None:
            self.run = self._run_regularized  # type: ignore[method-assign]
        self._variables: list[Variable] = []

    # ---- What a subclass implements ----

    def build(self, input_shape: Shape) -> None:
        """Make the weights for inputs of `input_shape` (its first entry, the batch, is None)."""
        self.built = True

    def forward(self, x: Any) -> tuple[Any, Backward]:
        """The output for x, and the function that takes a gradient back."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def compute_output_shape(self, input_shape: Shape) -> Any:
        """The shape of the output for inputs of `input_shape`: the same, unless overridden."""
        return input_shape

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """The mask of the output: that of the input, unless overridden."""
        return mask

    def check_input(self, shape: Shape, argument: str = "x") -> None:
        """Raise a ValueError if the layer cannot read inputs of `shape`."""

    def check_states(self, shapes: list[Shape], batch: int | None = None) -> None:
        """Raise a ValueError if the layer cannot start from states of `shapes`."""

    # ---- What a subclass uses ----

    def add_weight(
        self,
        shape: tuple[int, ...],
        initializer: Any = "glorot_uniform",
        name: str = "weight",
        trainable: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
    ) -> Variable:
        """Make a weight of this layer.

        Parameters
        ----------
        shape : tuple of int
        initializer : str or Initializer
        name : str
        trainable : bool
        regularizer : str or Regularizer, optional
            Added to the loss.
        constraint : str or Constraint, optional
            Applied after each step of the optimizer, and tried once here.

        Returns
        -------
        Variable
        """
        _room.claim(math.prod(shape))
        draw = np.zeros if _room.weights_follow() else initializers.get(initializer)
        value = draw(tuple(shape), self._dtype)
        variable = Variable(value, name, trainable, path=f"{self.name}/{name}")
        variable.regularizer = regularizers.get(regularizer)
        variable.constraint = constraints.get(constraint)
        if variable.constraint is not None:
            _try_constraint(variable)
        self._variables.append(variable)
        structure.changed()
        return variable

    def check_axes(self, argument: str, shape: Shape, fits: bool, axes: str) -> None:
        """Raise a ValueError unless `shape` fits `axes`, and the kernel of a built layer."""
        if not fits or shape[-1] is None:
            raise ValueError(f"{argument}: {self.name} expects {axes}, got shape {shape}")
        if self.built and shape[-1] != (features := self._variables[0].shape[0]):
            raise ValueError(
                f"{argument}: {self.name} was built for {features} features, got shape {shape}"
            )

    # ---- Using a layer ----

    def known_input_shape(self) -> Any:
        """The shape for which `build` makes the weights if it is given none."""
        return None

    def check_built(self) -> None:
        """Raise a ValueError where there are no weights yet."""
        if not self.built:
            raise ValueError(
                f"{self.name} has no weights yet: start it with an Input, call build(), or show it "
                "data"
            )

    def ensure_built(self, input_shape: Any) -> None:
        """Check `input_shape`, and build the layer for it on first use."""
        self.check_input(input_shape)
        if not self.built:
            if self.takes_several:
                shapes: Any = [(None, *shape[1:]) for shape in input_shape]
                self.build(shapes)
            else:
                self.build((None, *input_shape[1:]))

    def run(self, x: Any, context: dict[str, Any]) -> tuple[Any, Backward]:
        """`forward`, with that part of `context` which it names."""
        return self.forward(x)  # each subclass has its own, made for its forward

    def _run_regularized(self, x: Any, context: dict[str, Any]) -> tuple[Any, Backward]:
        """`run`, and the penalty on its output, for each sample, as in Keras."""
        y, backward = type(self).run(self, x, context)
        assert self.activity_regularizer is not None
        outputs = y if isinstance(y, tuple) else (y,)
        found = []
        for output in outputs:
            value, grad = self.activity_regularizer.forward(output)
            found.append((value / len(output), grad / output.dtype.type(len(output))))
        if context["penalties"] is not None:
            context["penalties"].append(sum(value for value, _ in found))

        def regularized(dy: Any) -> Any:
            if not isinstance(y, tuple):
                return backward(dy + found[0][1])
            return backward(
                tuple(g if d is None else d + g for d, (_, g) in zip(dy, found, strict=True))
            )

        return y, regularized

    def __call__(
        self, x: Any, *, training: bool | None = None, mask: Any = None, initial_state: Any = None
    ) -> Any:
        """The output for x.

        Parameters
        ----------
        x : array_like, SymbolicTensor, or a list of them
            Converted to the layer's dtype.  For symbolic tensors the call is noted, for a model.
        training : bool
            Whether to behave as in training (dropout).
        mask : array_like of bool or SymbolicTensor, shape (batch, time), optional
            False where a time step is to be skipped.  Masks of symbolic tensors travel with them,
            also to a call with an initial state, where Keras 3 drops them.
        initial_state : array_like, or a list of them, optional
            The state that a recurrent layer starts from.

        Returns
        -------
        ndarray, or a tuple of them where the layer has several outputs
        """
        if initial_state is not None and "initial_state" not in self._accepts:
            raise TypeError(f"initial_state: {self.name} has no state")
        states = _as_list(initial_state)
        if symbolic.is_symbolic(x):
            return symbolic.connect(self, x, states, training, mask)
        context: dict[str, Any] = dict.fromkeys(CONTEXT)
        context |= {"training": bool(training), "needs_input_grad": False, "needs_backward": False}
        arrays = [self._array("x", item) for item in (x if self.takes_several else [x])]
        masks = list(mask) if self.takes_several and mask is not None else [mask] * len(arrays)
        for place, (array, item) in enumerate(zip(arrays, masks, strict=True)):
            if item is not None:
                masks[place] = np.asarray(item, dtype=bool)
                axes = max(masks[place].ndim, min(2, array.ndim - 1))
                if masks[place].shape != array.shape[:axes]:
                    raise ValueError(
                        f"mask: expected shape {array.shape[:2]}, got {masks[place].shape}"
                    )
        if states:
            context["initial_state"] = [
                _checks.floats("initial_state", state, self._dtype) for state in states
            ]
        several = self.takes_several
        self.ensure_built([array.shape for array in arrays] if several else arrays[0].shape)
        context["mask"] = masks if several else masks[0]
        return self.run(arrays if several else arrays[0], context)[0]

    def _array(self, argument: str, value: Any) -> np.ndarray:
        """An input as this layer reads it."""
        if self.reads_integers:
            return _checks.integers(argument, value)
        return _checks.floats(argument, value, self._dtype)

    # ---- Its call on symbolic tensors ----

    @property
    def input(self) -> Any:
        """What the layer was called on for a model; a list where it reads several.

        Raises
        ------
        AttributeError
            Unless it was called on symbolic tensors, and once only.
        """
        call = self._only_call("input")
        read = list(call.inputs[: len(call.inputs) - call.states - call.masked])
        return read if self.takes_several else read[0]

    @property
    def output(self) -> Any:
        """What that call returned, of use for a model that ends at this layer.

        Examples
        --------
        >>> x = cgru.Input((None, 3))
        >>> features = cgru.layers.GRU(4, name="features")
        >>> model = cgru.Model(x, cgru.layers.Dense(1)(features(x)))
        >>> cgru.Model(model.input, model.get_layer("features").output).output_shape
        (None, 4)
        """
        outputs = self._only_call("output").outputs
        return list(outputs) if len(outputs) > 1 else outputs[0]

    def _only_call(self, argument: str) -> symbolic.Call:
        if len(self._calls) != 1:
            raise AttributeError(
                f"{argument}: expected {self.name} to have been called on symbolic tensors once, "
                f"got {len(self._calls)} calls"
            )
        return self._calls[0]

    # ---- Weights ----

    @property
    def heeds_masks(self) -> bool:
        """Whether sequences that are padded, with a mask, give what they give alone."""
        return self.stepwise or self._heeds_masks

    @property
    def predicts_stepwise(self) -> bool:
        """Whether it is stepwise in a prediction, whatever it is in training."""
        return self.stepwise

    @property
    def dtype(self) -> str:
        """The name of the dtype of weights and outputs."""
        return self._dtype.name

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights; setting it sets that of all inner layers."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for layer in self.sublayers():
            layer.trainable = value
        structure.changed()

    def sublayers(self) -> list[Layer]:
        """The layers that are attributes of this one, or in lists that are."""
        found = []
        for value in self._holders:
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, Layer):
                    found.append(item)
        return found

    def inner_layers(self) -> Iterator[Layer]:
        """All layers inside this one, at any depth."""
        for layer in self.sublayers():
            yield layer
            yield from layer.inner_layers()

    @functools.cached_property
    def _holders(self) -> list[Any]:
        """The attributes that are layers, and the lists, which may hold some now or later."""
        return [
            value
            for name, value in vars(self).items()
            if isinstance(value, (Layer, list)) and name != "_variables"
        ]

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, (Layer, list)):
            structure.changed()
        vars(self).pop("_holders", None)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        vars(self).pop("_holders", None)

    @property
    def weights(self) -> list[Variable]:
        """All weights, those of inner layers after the layer's own."""
        inner = (weight for layer in self.sublayers() for weight in layer.weights)
        return list(dict.fromkeys([*self._variables, *inner]))

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that training changes."""
        found: list[Variable] = []
        self._collect_trainable(found)
        return found if len(set(found)) == len(found) else list(dict.fromkeys(found))

    def _collect_trainable(self, found: list[Variable]) -> None:
        if not self._trainable:
            return
        for weight in self._variables:
            if weight.trainable:
                found.append(weight)
        if self._holders:
            for layer in self.sublayers():
                layer._collect_trainable(found)

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that training leaves alone."""
        trainable = set(self.trainable_weights)
        return [weight for weight in self.weights if weight not in trainable]

    variables = weights
    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights."""
        return [weight.numpy() for weight in self.weights]

    def set_weights(self, weights: Any) -> None:
        """Set all weights; either all are set or, where one does not fit, none.

        Parameters
        ----------
        weights : list of array_like
            In the order and with the shapes of `get_weights()`.
        """
        arrays = list(weights)
        if len(arrays) != len(self.weights):
            raise ValueError(
                f"weights: {self.name} has {len(self.weights)} weights, got {len(arrays)}"
            )
        fitting = []
        for variable, array in zip(self.weights, arrays, strict=True):
            values = _checks.numbers(f"weights, {variable.path}", array)
            if values.shape != variable.shape:
                raise ValueError(
                    f"weights, {variable.path}: expected shape {variable.shape}, got {values.shape}"
                )
            fitting.append(values)
        for variable, values in zip(self.weights, fitting, strict=True):
            variable.assign(values)

    def count_params(self) -> int:
        """The number of values in all weights."""
        return sum(weight.size for weight in self.weights)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}, built={self.built}>"


def _first_shape(arguments: dict[str, Any]) -> Any:
    """The shape, without the batch, that the first layer of a Sequential was given to read."""
    shape = arguments.pop("input_shape", None)
    if (size := arguments.pop("input_dim", None)) is not None:
        shape = (size,)
    if shape is None:
        return None
    warnings.warn(
        "input_shape, input_dim: begin the Sequential with cgru.Input(shape) instead", stacklevel=4
    )
    return shape


def _try_constraint(variable: Variable) -> None:
    """Raise a ValueError if a weight's constraint fails, now and not after the first step."""
    try:
        shape = np.shape(variable.constraint(variable.value))
    except Exception as error:
        raise ValueError(
            f"constraint: expected one for {variable.path} of shape {variable.shape}, got {error}"
        ) from error
    if shape != variable.shape:
        raise ValueError(
            f"constraint: expected {variable.path} of shape {variable.shape}, got {shape}"
        )


def _as_list(states: Any) -> list[Any]:
    """Initial states as a list, as which a single one counts too."""
    if states is None:
        return []
    return list(states) if isinstance(states, (list, tuple)) else [states]


def _checked_build(build: Callable[[Any, Shape], None]) -> Callable[[Any, Shape], None]:
    """A layer's `build`, which then checks its argument, and marks the layer as built."""

    @functools.wraps(build)
    def checked(self: Layer, input_shape: Any = None) -> None:
        several: Any = self.known_input_shape() if input_shape is None else input_shape
        if several is None:
            raise ValueError(
                f"input_shape: {self.name} expects the shape of what it is to read, such as "
                "(None, 10, 3), got None"
            )
        shape: Any = [tuple(one) for one in several] if self.takes_several else tuple(several)
        self.check_input(shape)
        build(self, shape)
        self.built = True

    return checked
