"""Models: layers put together, over one flat parameter vector."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from cgru.layers.base import Backward, Layer, Shape, SymbolicTensor
from cgru.training import Trainer


class Sequential(Trainer):
    """A chain of layers, each reading what the one before it returns.

    Parameters
    ----------
    layers : list of Layer, optional
        May begin with an `Input`; without one the model is built for the first data it sees.
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

    def __init__(self, layers: Iterable[Any] | None = None, name: str | None = None) -> None:
        super().__init__(name=name)
        self.layers: list[Layer] = []
        self._input: Shape | None = None  # as an Input described it
        self._built_for: Shape | None = None
        self._checked: tuple[Shape, list[Layer], Any] | None = None
        for layer in layers or ():
            self.add(layer)

    def add(self, layer: Layer | SymbolicTensor) -> None:
        """Append a layer (or begin with an `Input`)."""
        if isinstance(layer, SymbolicTensor):
            if self.layers or self._input is not None:
                raise ValueError(f"layer: {layer!r} must be the first entry of a Sequential")
            self._input = layer.shape
            self._dtype = layer.dtype
            return
        if not isinstance(layer, Layer):
            raise TypeError(f"layer: expected a Layer or an Input, got {layer!r}")
        if any(layer.name == other.name for other in self.layers):
            raise ValueError(f"layer: the model has a layer named {layer.name!r} already")
        if layer.dtype != self.dtype and (self.layers or self._input is not None):
            raise ValueError(
                "dtype: the input and all layers of a model must have one dtype, got "
                f"{self.dtype} and, for {layer.name}, {layer.dtype}"
            )
        shape = self._built_for or self._input
        if shape is not None:
            for earlier in self.layers:
                shape = _output_shape(earlier, shape)
            layer.ensure_built(shape)
            self._built_for = self._built_for or self._input
            self.built = True
        self._dtype = layer._dtype
        self.layers.append(layer)

    # ---- Shapes ----

    @property
    def input_shape(self) -> Shape:  # type: ignore[override]
        """The shape that the model reads, None for what is free."""
        return self._built_for or self._input or (None,)

    @property
    def output_shape(self) -> Shape:
        """The shape that a built model returns."""
        if not self.built:
            raise ValueError(f"{self.name} has no output shape before it is built")
        return self.compute_output_shape(self.input_shape)

    @property
    def stateful(self) -> bool:  # type: ignore[override]
        """Whether a layer carries its state from batch to batch."""
        return any(getattr(layer, "stateful", False) for layer in self.layers)

    def check_input(self, shape: Shape, argument: str = "x") -> None:
        if not self.layers:
            raise ValueError(f"{self.name} has no layers: add some first")
        expected = self._input
        if expected is not None and (
            len(shape) != len(expected)
            or any(e not in (None, s) for e, s in zip(expected[1:], shape[1:], strict=True))
        ):
            raise ValueError(
                f"{argument}: {self.name} expects shape {(None, *expected[1:])}, got {shape}"
            )
        for layer in self.layers:
            layer.check_input(shape, argument)
            shape = _output_shape(layer, shape)
            argument = f"output of {layer.name}"

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        for layer in self.layers:
            input_shape = _output_shape(layer, input_shape)
        return input_shape

    def checked_output_shape(self, input_shape: tuple[int, ...]) -> Any:
        known = self._checked
        if known is None or known[0] != input_shape or known[1] != self.layers:
            self.check_input(input_shape)
            known = input_shape, self.layers.copy(), self.compute_output_shape(input_shape)
            self._checked = known
        return known[2]

    def compute_mask(self, x: np.ndarray, mask: np.ndarray | None) -> np.ndarray | None:
        for layer in self.layers:
            mask = layer.compute_mask(x, mask)
        return mask

    def build(self, input_shape: Shape) -> None:
        """Make the weights for inputs of `input_shape`, such as ``(None, 10, 3)``."""
        shape = self._built_for = input_shape
        for layer in self.layers:
            layer.ensure_built(shape)
            shape = _output_shape(layer, shape)

    # ---- Forward and backward ----

    def forward(
        self,
        x: np.ndarray,
        training: bool = False,
        mask: np.ndarray | None = None,
        needs_input_grad: bool = True,
        needs_backward: bool = True,
    ) -> tuple[np.ndarray, Backward]:
        context = {
            "training": training,
            "mask": mask,
            "initial_state": None,
            "needs_input_grad": needs_input_grad,
            "needs_backward": needs_backward,
        }
        backwards: list[Backward] = []
        for layer in self.layers:
            y, layer_backward = layer.run(x, context)
            backwards.append(layer_backward)
            context["mask"] = mask = layer.compute_mask(x, mask)
            context["needs_input_grad"] = True  # by the layer before
            x = y

        def backward(dy: np.ndarray) -> np.ndarray:
            for layer_backward in reversed(backwards):
                dy = layer_backward(dy)
            return dy

        return x, backward

    def reset_states(self) -> None:
        """Let the next batch of stateful layers start from zeros."""
        for layer in self.layers:
            if hasattr(layer, "reset_states"):
                layer.reset_states()

    # ---- Looking at it ----

    def summary(self, print_fn: Callable[[str], Any] = print) -> None:
        """Print the layers, the shapes of their outputs and their numbers of weights.

        Parameters
        ----------
        print_fn : callable
            Given each line.

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
        Total parameters: 113 (452 bytes), trainable: 113
        """
        if not self.built:
            raise ValueError(f"{self.name}: call build() or show it data before summary()")
        shape = self.input_shape
        print_fn(f"Model: {self.name}")
        print_fn(f"{'Layer (type)':<29} {'Output shape':<24} {'Parameters':>11}")
        for layer in self.layers:
            shape = _output_shape(layer, shape)
            name = f"{layer.name} ({type(layer).__name__})"
            print_fn(f"{name:<29} {shape!s:<24} {layer.count_params():>11,}")
        total = self.count_params()
        trainable = sum(weight.size for weight in self.trainable_weights)
        size = total * self._dtype.itemsize
        print_fn(f"Total parameters: {total:,} ({size:,} bytes), trainable: {trainable:,}")


def _output_shape(layer: Layer, input_shape: Shape) -> Shape:
    """The shape of the one output that a Sequential can pass on."""
    shape = layer.compute_output_shape(input_shape)
    if shape and isinstance(shape[0], tuple):
        raise ValueError(
            f"{layer.name}: expected a layer with one output in a Sequential, got one with "
            f"{len(shape)}, of shapes {shape} (return_state?)"
        )
    return shape
