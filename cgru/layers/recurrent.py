"""The gated recurrent unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import (
    _checks,
    _kernels,
    _random,
    activations,
    constraints,
    initializers,
    regularizers,
)
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
        With the defaults the sequence runs in a compiled kernel; others run step by step in
        NumPy, with the same results and more time.  So does `recurrent_dropout` in training with
        ``reset_after=False`` (and with BLAS, ``CGRU_ISA=blas``).
    use_bias : bool
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer
    kernel_regularizer, recurrent_regularizer, bias_regularizer : str or Regularizer, optional
        Penalties on the weights, added to the loss.
    activity_regularizer : str or Regularizer, optional
        Penalty on the outputs.
    kernel_constraint, recurrent_constraint, bias_constraint : str or Constraint, optional
        Applied to the weights after each step of the optimizer.
    dropout : float
        The part of the inputs that is set to 0 in training, the same features at every step of a
        sequence (Gal and Ghahramani 2016).
    recurrent_dropout : float
        The same for the states that the gates read, one choice for all of them (the tied weights
        of that paper; Keras draws one for each gate).
    seed : int, optional
        Seeds those initializers that are given by name, and dropout.
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
    unroll, use_cudnn, implementation
        Accepted for Keras's sake; they change nothing.
    zero_output_for_mask : bool
        Return 0 instead of the last state for steps that are masked.
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
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        *,
        implementation: int = 2,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
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
        self.reset_after = bool(reset_after)
        if use_cudnn not in ("auto", True, False):
            raise ValueError(f"use_cudnn: expected 'auto', True or False, got {use_cudnn!r}")
        self.use_cudnn = use_cudnn
        self.implementation = implementation
        self.zero_output_for_mask = bool(zero_output_for_mask)
        self._state: np.ndarray | None = None
        self._workspace = _kernels.GRUWorkspace()

    def _initializer(self, argument: str, identifier: Any, place: int) -> Any:
        initializer = initializers.get(identifier, argument)
        if self.seed is not None and isinstance(identifier, str) and hasattr(initializer, "seed"):
            initializer.seed = self.seed + place
        return initializer

    @property
    def stepwise(self) -> bool:  # type: ignore[override]
        """Whether it reads forwards."""
        return not self.go_backwards

    def check_input(self, shape: Shape, argument: str = "x") -> None:
        self.check_axes(argument, shape, len(shape) == 3, "[batch, time, features]")

    def build(self, input_shape: Shape) -> None:
        features = input_shape[-1]
        assert features is not None
        width = 3 * self.units
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
                (2, width) if self.reset_after else (width,),
                self.bias_initializer,
                "bias",
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def compute_output_shape(self, input_shape: Shape) -> Any:
        batch, time = input_shape[:2]
        output = (batch, time, self.units) if self.return_sequences else (batch, self.units)
        return (output, (batch, self.units)) if self.return_state else output

    def compute_mask(self, x: np.ndarray, mask: np.ndarray | None) -> Any:
        output = mask if self.return_sequences else None
        return (output, None) if self.return_state else output

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
            if rows.shape != self._state.shape[:1]:
                raise ValueError(
                    f"reset_mask: {self.name} carries the states of {len(self._state)} rows, got "
                    f"shape {rows.shape}"
                )
            self._state[rows] = 0

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
            self._state = last.copy()
        output = last
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
        result = (output, last) if self.return_state else output
        if not needs_backward:
            return result, sequence_backward
        given = initial_state is not None
        return result, self._backward(
            sequence_backward, last, valid, dropout_backward, needs_input_grad, given
        )

    def _backward(
        self,
        sequence_backward: Backward,
        last: np.ndarray,
        valid: np.ndarray | None,
        dropout_backward: Backward | None,
        needs_input_grad: bool,
        needs_start_grad: bool,
    ) -> Backward:
        """The way back, in a function of its own: a prediction then makes nothing for it."""

        def backward(dy: Any) -> Any:
            doutput, dstate = dy if self.return_state else (dy, None)
            if doutput is not None and self.return_sequences and self.go_backwards:
                doutput = doutput[:, ::-1]
            if doutput is not None and valid is not None:
                doutput = doutput * valid
            dh = None
            if self.return_sequences or doutput is None:
                dh, dlast = doutput, np.zeros_like(last)
            else:
                dlast = doutput.astype(last.dtype)
            if dstate is not None:
                dlast += dstate
            dx, dstart = sequence_backward(dh, dlast, needs_input_grad, needs_start_grad)
            if dx is not None and dropout_backward is not None:
                dx = dropout_backward(dx)
            return (dx, [dstart]) if needs_start_grad else dx

        return backward

    def _start(self, batch: int, initial_state: list[np.ndarray] | None) -> np.ndarray:
        """The state to start from: one that is given or, in a stateful layer, the last one."""
        if initial_state is not None and len(initial_state) != 1:
            raise ValueError(
                f"initial_state: {self.name} expects one array, got {len(initial_state)}"
            )
        start = self._state if initial_state is None else initial_state[0]
        assert start is not None
        if start.shape != (batch, self.units):
            hint = "; a stateful layer keeps one batch size until reset_state()"
            raise ValueError(
                f"initial_state: {self.name} expects shape {(batch, self.units)}, got "
                f"{start.shape}{hint if initial_state is None else ''}"
            )
        return start

    def _dropped(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """Inputs with the same features set to 0 at each step, and the way back."""
        noise = _random.dropout(self._random, (len(x), 1, x.shape[2]), self.dropout, x.dtype)
        return x * noise, lambda dx: dx * noise

    def _recurrent_drop(self, batch: int) -> np.ndarray:
        """Factors on the states that the gates read, [batch, units]."""
        shape = (batch, self.units)
        return _random.dropout(self._random, shape, self.recurrent_dropout, self._dtype)

    def _sequence(self, drop: np.ndarray | None) -> _gru_kernels.Sequence:
        """How a sequence is computed: by the fastest way that has what this layer asks for."""
        if self.activation is not activations.tanh:
            return _gru_steps.sequence
        if self.recurrent_activation is not activations.sigmoid:
            return _gru_steps.sequence
        if self.reset_after and _kernels.packs():
            return _gru_kernels.packed_sequence
        return _gru_kernels.plain_sequence if drop is None else _gru_steps.sequence
