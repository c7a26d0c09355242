"""Layers around another layer: over time in both directions, or at each step of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _configs
from cgru.layers.base import Backward, Layer
from cgru.layers.normalization import BatchNormalization
from cgru.layers.symbolic import Shape, is_several

MERGE_MODES = ("sum", "mul", "ave", "concat", None)


class Bidirectional(Layer):
    """A recurrent layer that reads sequences from both ends.

    Parameters
    ----------
    layer : Layer
        A recurrent layer; it is copied, one copy for each direction.
    merge_mode : {"concat", "sum", "mul", "ave", None}
        How the outputs of both directions are put together; None returns both.
    weights : list of array_like, optional
        First those of the forward layer, then those of the backward layer.
    backward_layer : Layer, optional
        The layer that reads from the end, instead of a copy of `layer`.
    **kwargs
        As for `Layer`.

    Attributes
    ----------
    forward_layer, backward_layer : Layer

    Notes
    -----
    As in Keras, steps that are masked give 0 where sequences are returned, and the outputs of the
    backward layer are put in the order of the input.

    References
    ----------
    Schuster and Paliwal 1997, "Bidirectional recurrent neural networks".

    Examples
    --------
    >>> layer = cgru.layers.Bidirectional(cgru.layers.GRU(4, return_sequences=True))
    >>> layer(np.zeros((2, 7, 3))).shape
    (2, 7, 8)
    """

    _heeds_masks = True

    def __init__(
        self,
        layer: Layer,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Layer | None = None,
        **kwargs: Any,
    ) -> None:
        for argument, value in (("layer", layer), ("backward_layer", backward_layer)):
            if not hasattr(value, "go_backwards") and (value is not None or argument == "layer"):
                raise ValueError(f"{argument}: expected a recurrent layer, got {value!r}")
        if merge_mode not in MERGE_MODES:
            raise ValueError(f"merge_mode: expected one of {MERGE_MODES}, got {merge_mode!r}")
        kwargs.setdefault("dtype", layer.dtype)
        super().__init__(**kwargs)
        self.merge_mode = merge_mode
        self.forward_layer: Any = _copy(layer, "forward_")
        if backward_layer is None:
            self.backward_layer: Any = _copy(layer, "backward_", go_backwards=True)
        else:
            self.backward_layer = backward_layer
        first: Any = self.forward_layer
        second: Any = self.backward_layer
        if first.go_backwards == second.go_backwards:
            raise ValueError(
                "backward_layer: expected the other go_backwards than that of layer, got "
                f"{second.go_backwards} for both"
            )
        for name in ("stateful", "return_sequences", "return_state"):
            if getattr(first, name) != getattr(second, name):
                raise ValueError(
                    f"backward_layer: expected {name}={getattr(first, name)}, as of layer, got "
                    f"{getattr(second, name)}"
                )
        for one in (first, second):
            one.zero_output_for_mask = one.return_sequences
        self.return_sequences: bool = first.return_sequences
        self.return_state: bool = first.return_state
        self._initial_weights = None if weights is None else list(weights)

    def __call__(
        self, x: Any, initial_state: Any = None, mask: Any = None, training: bool | None = None
    ) -> Any:
        """The output for x; see `Layer`, whose arguments have the order of Keras here."""
        return super().__call__(x, training=training, mask=mask, initial_state=initial_state)

    @property
    def stateful(self) -> bool:
        """Whether both layers carry their states from batch to batch."""
        return self.forward_layer.stateful

    def reset_state(self) -> None:
        """Let the next batch of a stateful layer start from zeros."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    reset_states = reset_state

    def check_states(self, shapes: list[Shape], batch: int | None = None) -> None:
        half = (len(shapes) + 1) // 2
        self.forward_layer.check_states(shapes[:half], batch)
        self.backward_layer.check_states(shapes[half:], batch)

    def check_input(self, shape: Shape, argument: str = "x") -> None:
        self.forward_layer.check_input(shape, argument)
        self.backward_layer.check_input(shape, argument)

    def build(self, input_shape: Shape) -> None:
        self.forward_layer.ensure_built(input_shape)
        self.backward_layer.ensure_built(input_shape)
        if self._initial_weights is not None:
            self.set_weights(self._initial_weights)

    def compute_output_shape(self, input_shape: Shape) -> Any:
        output, *states = _as_tuple(self.forward_layer.compute_output_shape(input_shape))
        other, *other_states = _as_tuple(self.backward_layer.compute_output_shape(input_shape))
        if self.merge_mode is None:
            return (output, other, *states, *other_states)
        if self.merge_mode == "concat":
            output = (*output[:-1], output[-1] + other[-1])
        return (output, *states, *other_states) if states else output

    def compute_mask(self, x: np.ndarray, mask: np.ndarray | None = None) -> Any:
        kept = mask if self.return_sequences else None
        outputs = [kept, kept] if self.merge_mode is None else [kept]
        count = len(_as_tuple(self.compute_output_shape(x.shape)))
        masks = (*outputs, *[None] * (count - len(outputs)))
        return masks if count > 1 else masks[0]

    def forward(
        self,
        x: np.ndarray,
        training: bool = False,
        mask: np.ndarray | None = None,
        initial_state: list[np.ndarray] | None = None,
        needs_input_grad: bool = True,
        needs_backward: bool = True,
        penalties: list[Any] | None = None,
    ) -> tuple[Any, Backward]:
        context = {
            "training": training,
            "mask": mask,
            "needs_input_grad": needs_input_grad,
            "needs_backward": needs_backward,
            "penalties": penalties,
        }
        half = len(initial_state) // 2 if initial_state is not None else 0
        starts: list[Any] = [None, None]
        if initial_state is not None:
            starts = [initial_state[:half], initial_state[half:]]
        first, first_backward = self.forward_layer.run(x, context | {"initial_state": starts[0]})
        second, second_backward = self.backward_layer.run(x, context | {"initial_state": starts[1]})
        output, *states = first if self.return_state else (first,)
        other, *other_states = second if self.return_state else (second,)
        if self.return_sequences:
            other = other[:, ::-1]
        merged, merge_backward = _merge(self.merge_mode, output, other)
        result = (*merged, *states, *other_states)

        def backward(dy: Any) -> Any:
            dy = list(dy) if len(result) > 1 else [dy]
            douter, dstates = dy[: len(merged)], dy[len(merged) :]
            doutput, dother = merge_backward(douter)
            if dother is not None and self.return_sequences:
                dother = dother[:, ::-1]
            count = len(states)
            grads: list[Any] = []
            for run_back, d, ds in (
                (first_backward, doutput, dstates[:count]),
                (second_backward, dother, dstates[count:]),
            ):
                if d is None and not any(item is not None for item in ds):
                    grads.append((None, [None] * half) if half else None)
                else:
                    grads.append(run_back((d, *ds) if self.return_state else d))
            if not half:
                return _sum(*grads)
            (dx, dstart), (dx_other, dstart_other) = grads
            return _sum(dx, dx_other), [*dstart, *dstart_other]

        return (result if len(result) > 1 else result[0]), backward

    def get_config(self) -> dict[str, Any]:
        # The layer is named as the one it was copied from, of which nothing else is known.
        config = {name: getattr(self, name) for name in ("name", "dtype", "trainable")}
        return config | {
            "activity_regularizer": _configs.serialize(self.activity_regularizer),
            "merge_mode": self.merge_mode,
            "layer": self.forward_layer.serialized(),
            "backward_layer": self.backward_layer.serialized(),
        }


def _copy(layer: Layer, prefix: str, **changes: Any) -> Layer:
    """A fresh layer with the configuration of another."""
    name = prefix + layer.name.removeprefix(prefix)
    return type(layer).from_config(layer.get_config() | changes | {"name": name})


def _as_tuple(shape: Any) -> tuple[Any, ...]:
    return tuple(shape) if is_several(shape) else (shape,)


def _sum(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _merge(mode: str | None, a: np.ndarray, b: np.ndarray) -> tuple[tuple[Any, ...], Any]:
    """What is returned for the outputs of both directions, and the way back."""
    if mode is None:
        return (a, b), lambda dy: dy
    if mode == "concat":
        cut = a.shape[-1]
        joined = _concatenate(a, b)

        def split(dy: list[Any]) -> tuple[Any, Any]:
            return (None, None) if dy[0] is None else (dy[0][..., :cut], dy[0][..., cut:])

        return (joined,), split
    factors = {"sum": (1, 1), "ave": (0.5, 0.5), "mul": (b, a)}[mode]
    merged = a * b if mode == "mul" else a + b
    if mode == "ave":
        merged = merged / a.dtype.type(2)

    def scale(dy: list[Any]) -> tuple[Any, Any]:
        if dy[0] is None:
            return None, None
        return tuple((dy[0] * f).astype(a.dtype, copy=False) for f in factors)

    return (merged,), scale


def _concatenate(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Side by side, time-major in memory as recurrent layers want it."""
    if a.ndim == 3:
        return np.concatenate([a.swapaxes(0, 1), b.swapaxes(0, 1)], axis=-1).swapaxes(0, 1)
    return np.concatenate([a, b], axis=-1)


class TimeDistributed(Layer):
    """A layer applied to every time step of [batch, time, ...].

    Parameters
    ----------
    layer : Layer
    **kwargs
        As for `Layer`.

    Notes
    -----
    All steps are one large batch to the layer: statistics of a batch (`BatchNormalization`) are
    those of all steps that are not masked, where Keras takes each step by itself.

    Examples
    --------
    >>> layer = cgru.layers.TimeDistributed(cgru.layers.Dense(2))
    >>> layer(np.zeros((5, 7, 3))).shape
    (5, 7, 2)
    """

    def __init__(self, layer: Layer, **kwargs: Any) -> None:
        if not isinstance(layer, Layer):
            raise ValueError(f"layer: expected a Layer, got {layer!r}")
        kwargs.setdefault("dtype", layer.dtype)
        super().__init__(**kwargs)
        self.layer = layer

    @property
    def reads_integers(self) -> bool:  # type: ignore[override]
        """Whether the layer does."""
        return self.layer.reads_integers

    stepwise = True

    def check_input(self, shape: Shape, argument: str = "x") -> None:
        if len(shape) < 3:
            raise ValueError(f"{argument}: {self.name} expects [batch, time, ...], got {shape}")
        self.layer.check_input(_step_shape(shape), argument)

    def build(self, input_shape: Shape) -> None:
        self.layer.ensure_built(_step_shape(input_shape))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = self.layer.compute_output_shape(_step_shape(input_shape))
        if is_several(shape):
            raise ValueError(f"{self.name}: expected a layer with one output, got {self.layer!r}")
        return (*input_shape[:2], *shape[1:])

    def forward(
        self,
        x: np.ndarray,
        training: bool = False,
        mask: np.ndarray | None = None,
        needs_input_grad: bool = True,
        needs_backward: bool = True,
        penalties: list[Any] | None = None,
    ) -> tuple[np.ndarray, Backward]:
        batch, time = x.shape[:2]
        context = {
            "training": training,
            "mask": self._mask_of_rows(x.shape, mask),
            "initial_state": None,
            "needs_input_grad": needs_input_grad,
            "needs_backward": needs_backward,
            "penalties": penalties,
        }
        rows, rows_backward = self.layer.run(_fold(x), context)

        def backward(dy: np.ndarray) -> np.ndarray | None:
            dx = rows_backward(_fold(dy))
            return None if dx is None else dx.reshape(x.shape)

        return rows.reshape(batch, time, *rows.shape[1:]), backward

    def _mask_of_rows(self, shape: tuple[int, ...], mask: np.ndarray | None) -> np.ndarray | None:
        """Which rows count, for the layer that mixes them; others read each of them alone."""
        if mask is None or not isinstance(self.layer, BatchNormalization):
            return None
        wide = mask.reshape(*mask.shape, *[1] * (len(shape) - 1 - mask.ndim))
        return _fold(np.broadcast_to(wide, shape[:-1]))


def _step_shape(shape: Shape) -> Shape:
    return (shape[0], *shape[2:])


def _fold(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).reshape(-1, *x.shape[2:])
