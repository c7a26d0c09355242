"""The gated recurrent unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _checks, _kernels, activations, initializers
from cgru.layers import _gru_kernels, _gru_steps
from cgru.layers.base import Backward, Layer, Shape


class GRU(Layer):
    """Gated recurrent unit over sequences [batch, time, features].

    At each step the update gate z decides how much of the state h is kept, the reset gate r how
    much of it the candidate n (the current memory content) sees::

        z = recurrent_activation(x W_z + b_z + h U_z + c_z)
        r = recurrent_activation(x W_r + b_r + h U_r + c_r)
        n = activation(x W_n + b_n + r * (h U_n + c_n))        reset_after=True
        n = activation(x W_n + b_n + (r * h) U_n)              reset_after=False
        h = z * h + (1 - z) * n

    Parameters
    ----------
    units : int
        Size H of the state.
    activation, recurrent_activation : str or Activation
        With the defaults the sequence runs in the compiled kernel; others run step by step in
        NumPy, with the same results and more time.
    use_bias : bool
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer
    seed : int, optional
        Seeds those initializers that are given by name.
    return_sequences : bool
        Return the state after every step, [batch, time, units], instead of the last one,
        [batch, units].
    return_state : bool
        Return the last state as well, as a second output.
    go_backwards : bool
        Read the sequence from its end (and return states in that order).
    stateful : bool
        Start each batch from the states in which the last one of the same size ended, until
        `reset_state`.
    reset_after : bool
        Apply the reset gate after the product with the recurrent kernel (as cuDNN does), or
        before it (Cho et al. 2014).
    **kwargs
        As for `Layer`.

    Attributes
    ----------
    kernel : Variable, shape (features, 3 * units)
        W, its columns in the order z, r, n.
    recurrent_kernel : Variable, shape (units, 3 * units)
        U.
    bias : Variable or None, shape (2, 3 * units), or (3 * units,) if not `reset_after`
        b and c; b.

    References
    ----------
    Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder for Statistical
    Machine Translation", arXiv:1406.1078.

    Examples
    --------
    >>> x = np.zeros((32, 10, 8))
    >>> cgru.layers.GRU(4)(x).shape
    (32, 4)
    >>> y, state = cgru.layers.GRU(4, return_sequences=True, return_state=True)(x)
    >>> y.shape, state.shape
    ((32, 10, 4), (32, 4))
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        *,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        reset_after: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = _checks.integer("units", units, 1)
        self.activation = activations.get(activation)
        self.recurrent_activation = activations.get(recurrent_activation, "recurrent_activation")
        self.use_bias = bool(use_bias)
        self.seed = None if seed is None else _checks.integer("seed", seed, 0)
        self.kernel_initializer = self._initializer("kernel_initializer", kernel_initializer, 0)
        self.recurrent_initializer = self._initializer(
            "recurrent_initializer", recurrent_initializer, 1
        )
        self.bias_initializer = self._initializer("bias_initializer", bias_initializer, 2)
        self.return_sequences = bool(return_sequences)
        self.return_state = bool(return_state)
        self.go_backwards = bool(go_backwards)
        self.stateful = bool(stateful)
        self.reset_after = bool(reset_after)
        self._state: np.ndarray | None = None
        self._workspace = _kernels.GRUWorkspace()

    def _initializer(self, argument: str, identifier: Any, place: int) -> Any:
        initializer = initializers.get(identifier, argument)
        if self.seed is not None and isinstance(identifier, str) and hasattr(initializer, "seed"):
            initializer.seed = self.seed + place
        return initializer

    def check_input(self, shape: Shape, argument: str = "x") -> None:
        self.check_axes(argument, shape, len(shape) == 3, "[batch, time, features]")

    def build(self, input_shape: Shape) -> None:
        features = input_shape[-1]
        assert features is not None
        width = 3 * self.units
        self.kernel = self.add_weight((features, width), self.kernel_initializer, "kernel")
        self.recurrent_kernel = self.add_weight(
            (self.units, width), self.recurrent_initializer, "recurrent_kernel"
        )
        bias_shape = (2, width) if self.reset_after else (width,)
        self.bias = (
            self.add_weight(bias_shape, self.bias_initializer, "bias") if self.use_bias else None
        )

    def compute_output_shape(self, input_shape: Shape) -> Any:
        batch, time = input_shape[:2]
        output = (batch, time, self.units) if self.return_sequences else (batch, self.units)
        return (output, (batch, self.units)) if self.return_state else output

    def compute_mask(self, x: np.ndarray, mask: np.ndarray | None) -> np.ndarray | None:
        return mask if self.return_sequences else None

    def reset_state(self) -> None:
        """Let a stateful layer's next batch start from zeros."""
        self._state = None

    reset_states = reset_state

    def forward(
        self,
        x: np.ndarray,
        mask: np.ndarray | None = None,
        initial_state: np.ndarray | None = None,
        needs_input_grad: bool = True,
        needs_backward: bool = True,
    ) -> tuple[Any, Backward]:
        if x.dtype != self._dtype:
            x = x.astype(self._dtype)
        start = self._state if initial_state is None else initial_state
        if start is not None and start.shape != (len(x), self.units):
            hint = "; a stateful layer keeps one batch size until reset_state()"
            raise ValueError(
                f"initial_state: {self.name} expects shape {(len(x), self.units)}, got "
                f"{start.shape}{hint if initial_state is None else ''}"
            )
        # h[:, t] is the state after the step that read x[:, t], whatever the direction.
        h, last, sequence_backward = self._sequence()(self, x, start, mask, needs_backward)
        if self.stateful:
            self._state = last.copy()
        output = last
        if self.return_sequences:
            assert h is not None
            output = h[:, ::-1] if self.go_backwards else h
        result = (output, last) if self.return_state else output
        if not needs_backward:
            return result, sequence_backward

        def backward(dy: Any) -> Any:
            doutput, dstate = dy if self.return_state else (dy, None)
            dh = None
            if self.return_sequences:
                dh = doutput[:, :: -1 if self.go_backwards else 1]
                dlast = np.zeros_like(last)
            else:
                dlast = doutput.astype(last.dtype)
            if dstate is not None:
                dlast += dstate
            dx, dstart = sequence_backward(dh, dlast, needs_input_grad, initial_state is not None)
            return dx if initial_state is None else (dx, dstart)

        return result, backward

    def _sequence(self) -> _gru_kernels.Sequence:
        """How a sequence is computed: by the fastest way that has what this layer asks for."""
        if self.activation is not activations.tanh:
            return _gru_steps.sequence
        if self.recurrent_activation is not activations.sigmoid:
            return _gru_steps.sequence
        if self.reset_after and _kernels.packs():
            return _gru_kernels.packed_sequence
        return _gru_kernels.plain_sequence
