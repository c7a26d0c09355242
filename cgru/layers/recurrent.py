"""What recurrent layers have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cgru import _checks, _kernels, _random, activations, constraints, initializers, regularizers
from cgru.layers.base import Backward, Layer, Shape

# sequence(layer, x, start, mask, drop, needs_backward) -> states [batch, time, units] (None where
# nobody asks for them), the last states (each [batch, units]), and
# backward(dh, dlast, needs_input_grad, needs_start_grad) -> dx, dstart.  `start` is None for zeros.
Sequence = Callable[..., tuple["np.ndarray | None", "tuple[np.ndarray, ...]", Backward]]


class Recurrent(Layer):
    """A layer that reads sequences [batch, time, features] step by step and keeps states.

    A subclass has the number of its gates, which is how many blocks of `units` columns its kernels
    have, and of its states, and says in `_sequence` how a sequence is computed.
    """

    _gates: int
    _states = 1

    def __init__(
        self,
        units: int,
        activation: Any,
        use_bias: bool,
        kernel_initializer: Any,
        recurrent_initializer: Any,
        bias_initializer: Any,
        kernel_regularizer: Any,
        recurrent_regularizer: Any,
        bias_regularizer: Any,
        activity_regularizer: Any,
        kernel_constraint: Any,
        recurrent_constraint: Any,
        bias_constraint: Any,
        dropout: float,
        recurrent_dropout: float,
        seed: int | None,
        return_sequences: bool,
        return_state: bool,
        go_backwards: bool,
        stateful: bool,
        unroll: bool,
        implementation: int,
        zero_output_for_mask: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = _checks.integer("units", units, 1)
        self.activation = activations.get(activation)
        self.use_bias = bool(use_bias)
        self.seed = None if seed is None else _checks.integer("seed", seed, 0)
        self.kernel_initializer = self._initializer("kernel_initializer", kernel_initializer, 0)
        self.recurrent_initializer = self._initializer(
            "recurrent_initializer", recurrent_initializer, 1
        )
        self.bias_initializer = self._initializer("bias_initializer", bias_initializer, 2)
        self.kernel_regularizer = regularizers.get(kernel_regularizer, "kernel_regularizer")
        self.recurrent_regularizer = regularizers.get(
            recurrent_regularizer, "recurrent_regularizer"
        )
        self.bias_regularizer = regularizers.get(bias_regularizer, "bias_regularizer")
        self.kernel_constraint = constraints.get(kernel_constraint, "kernel_constraint")
        self.recurrent_constraint = constraints.get(recurrent_constraint, "recurrent_constraint")
        self.bias_constraint = constraints.get(bias_constraint, "bias_constraint")
        self.dropout = _checks.real("dropout", dropout, 0, 1)
        self.recurrent_dropout = _checks.real("recurrent_dropout", recurrent_dropout, 0, 1)
        self._random = _random.generator(self.seed)
        self.return_sequences = bool(return_sequences)
        self.return_state = bool(return_state)
        self.go_backwards = bool(go_backwards)
        self.stateful = bool(stateful)
        self.unroll = bool(unroll)
        self.implementation = implementation
        self.zero_output_for_mask = bool(zero_output_for_mask)
        self._state: list[np.ndarray] | None = None
        self._workspace = _kernels.Workspace(self._gates)

    def _initializer(self, argument: str, identifier: Any, place: int) -> Any:
        initializer = initializers.get(identifier, argument)
        if self.seed is not None and isinstance(identifier, str) and hasattr(initializer, "seed"):
            initializer.seed = self.seed + place
        return initializer

    def __call__(
        self, x: Any, initial_state: Any = None, mask: Any = None, training: bool | None = None
    ) -> Any:
        """The output for x; see `Layer`, whose arguments have the order of Keras here."""
        return super().__call__(x, training=training, mask=mask, initial_state=initial_state)

    @property
    def stepwise(self) -> bool:  # type: ignore[override]
        """Whether it reads forwards."""
        return not self.go_backwards

    @property
    def heeds_masks(self) -> bool:
        """Whether it does: the last state is the same, unless it is 0 where a step is masked."""
        return self.stepwise if self.return_sequences else not self.zero_output_for_mask

    def check_input(self, shape: Shape, argument: str = "x") -> None:
        self.check_axes(argument, shape, len(shape) == 3, "[batch, time, features]")

    def check_states(self, shapes: list[Shape], batch: int | None = None) -> None:
        if len(shapes) != self._states:
            expected = "one array" if self._states == 1 else f"{self._states} arrays"
            raise ValueError(f"initial_state: {self.name} expects {expected}, got {len(shapes)}")
        for shape in shapes:
            if tuple(shape[1:]) != (self.units,) or (batch is not None and shape[0] != batch):
                expected = f"({'batch' if batch is None else batch}, {self.units})"
                raise ValueError(
                    f"initial_state: {self.name} expects shape {expected}, got {shape}"
                )

    def build(self, input_shape: Shape) -> None:
        features = input_shape[-1]
        assert features is not None
        width = self._gates * self.units
        self.kernel = self.add_weight(
            (features, width),
            self.kernel_initializer,
            "kernel",
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.recurrent_kernel = self.add_weight(
            (self.units, width),
            self.recurrent_initializer,
            "recurrent_kernel",
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                self._bias_shape(),
                self.bias_initializer,
                "bias",
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def _bias_shape(self) -> tuple[int, ...]:
        return (self._gates * self.units,)

    def compute_output_shape(self, input_shape: Shape) -> Any:
        batch, time = input_shape[:2]
        output = (batch, time, self.units) if self.return_sequences else (batch, self.units)
        return (output, *[(batch, self.units)] * self._states) if self.return_state else output

    def compute_mask(self, x: np.ndarray, mask: np.ndarray | None = None) -> Any:
        output = mask if self.return_sequences else None
        return (output, *[None] * self._states) if self.return_state else output

    def reset_state(self) -> None:
        """Let a stateful layer's next batch start from zeros."""
        self._state = None

    reset_states = reset_state

    def reset_rows(self, rows: np.ndarray) -> None:
        """Let some rows of a stateful layer's next batch start from zeros.

        Parameters
        ----------
        rows : ndarray of bool, shape (batch,)
        """
        if self._state is not None:
            batch = len(self._state[0])
            if rows.shape != (batch,):
                raise ValueError(
                    f"reset_mask: {self.name} carries the states of {batch} rows, got "
                    f"shape {rows.shape}"
                )
            for state in self._state:
                state[rows] = 0

    def forward(
        self,
        x: np.ndarray,
        training: bool = False,
        mask: np.ndarray | None = None,
        initial_state: list[np.ndarray] | None = None,
        needs_input_grad: bool = True,
        needs_backward: bool = True,
    ) -> tuple[Any, Backward]:
        if x.dtype != self._dtype:
            x = x.astype(self._dtype)
        start = None
        if initial_state is not None or self._state is not None:
            start = self._start(len(x), initial_state)
        x, dropout_backward = self._dropped(x) if training and self.dropout else (x, None)
        drop = self._recurrent_drop(len(x)) if training and self.recurrent_dropout else None
        # h[:, t] is the state after the step that read x[:, t], whatever the direction.
        sequence = self._sequence(drop)
        h, last, sequence_backward = sequence(self, x, start, mask, drop, needs_backward)
        if self.stateful:
            self._state = [state.copy() for state in last]
        output = last[0].copy() if self.return_state else last[0]
        if self.return_sequences:
            assert h is not None
            output = h
        valid = None
        if self.zero_output_for_mask and mask is not None:
            steps = mask if self.return_sequences else mask[:, 0 if self.go_backwards else -1]
            valid = steps[..., np.newaxis]
            output = output * valid
        if self.return_sequences and self.go_backwards:
            output = output[:, ::-1]
        result = (output, *last) if self.return_state else output
        if not needs_backward:
            return result, sequence_backward
        given = initial_state is not None
        return result, self._backward(
            sequence_backward, last, valid, dropout_backward, needs_input_grad, given
        )

    def _backward(
        self,
        sequence_backward: Backward,
        last: tuple[np.ndarray, ...],
        valid: np.ndarray | None,
        dropout_backward: Backward | None,
        needs_input_grad: bool,
        needs_start_grad: bool,
    ) -> Backward:
        """The way back, in a function of its own: a prediction then makes nothing for it."""

        def backward(dy: Any) -> Any:
            doutput, dstates = (dy[0], dy[1:]) if self.return_state else (dy, ())
            if doutput is not None:
                if self.return_sequences and self.go_backwards:
                    doutput = doutput[:, ::-1]
                if valid is not None:
                    doutput = doutput * valid
            dtype = last[0].dtype
            if self.return_sequences or doutput is None:
                dh, dlast = doutput, [np.zeros(last[0].shape, dtype)]
            else:
                dh, dlast = None, [doutput.astype(dtype, order="C")]
            if len(last) == 2:
                dlast.append(np.zeros(last[1].shape, dtype))
            for place, dstate in enumerate(dstates):
                if dstate is not None:
                    dlast[place] += dstate
            dx, dstart = sequence_backward(dh, dlast, needs_input_grad, needs_start_grad)
            if dx is not None and dropout_backward is not None:
                dx = dropout_backward(dx)
            return (dx, dstart) if needs_start_grad else dx

        return backward

    def _start(self, batch: int, initial_state: list[np.ndarray] | None) -> list[np.ndarray]:
        """The states to start from: some that are given or, in a stateful layer, the last ones."""
        if initial_state is not None:
            self.check_states([state.shape for state in initial_state], batch)
            return initial_state
        assert self._state is not None
        for state in self._state:
            if state.shape != (batch, self.units):
                raise ValueError(
                    f"initial_state: {self.name} expects shape {(batch, self.units)}, got "
                    f"{state.shape}; a stateful layer keeps one batch size until reset_state()"
                )
        return self._state

    def _dropped(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """Inputs with the same features set to 0 at each step, and the way back."""
        noise = _random.dropout(self._random, (len(x), 1, x.shape[2]), self.dropout, x.dtype)
        return x * noise, lambda dx: dx * noise

    def _recurrent_drop(self, batch: int) -> np.ndarray:
        """Factors on the states that the gates read, [batch, units]."""
        shape = (batch, self.units)
        return _random.dropout(self._random, shape, self.recurrent_dropout, self._dtype)

    def _sequence(self, drop: np.ndarray | None) -> Sequence:
        """How a sequence is computed: by the fastest way that has what this layer asks for."""
        raise NotImplementedError


def used_up(layer: Layer) -> RuntimeError:
    """The error for a second call of a backward function."""
    return RuntimeError(
        f"{layer.name}: backward may be called once for each forward pass: it turns the gates into "
        "their gradients in place"
    )


def once(layer: Layer) -> Callable[[], None]:
    """A function that raises that error from its second call on."""
    used = False

    def take_turn() -> None:
        nonlocal used
        if used:
            raise used_up(layer)
        used = True

    return take_turn


def check_cudnn(use_cudnn: Any) -> Any:
    """The argument `use_cudnn` of layers that Keras runs by cuDNN."""
    if use_cudnn not in ("auto", True, False):
        raise ValueError(f"use_cudnn: expected 'auto', True or False, got {use_cudnn!r}")
    return use_cudnn
