"""The gated recurrent unit."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _kernels, activations
from cgru.layers import _packed, _plain, _steps
from cgru.layers.recurrent import Recurrent, Sequence, check_cudnn


class GRU(Recurrent):
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

    _gates = 3

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
        super().__init__(
            units=units,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            implementation=implementation,
            zero_output_for_mask=zero_output_for_mask,
            **kwargs,
        )
        self.recurrent_activation = activations.get(recurrent_activation, "recurrent_activation")
        self.reset_after = bool(reset_after)
        self.use_cudnn = check_cudnn(use_cudnn)

    def _bias_shape(self) -> tuple[int, ...]:
        width = self._gates * self.units
        return (2, width) if self.reset_after else (width,)

    def _sequence(self, drop: np.ndarray | None) -> Sequence:
        """How a sequence is computed: by the fastest way that has what this layer asks for."""
        if self.activation is not activations.tanh:
            return _steps.gru
        if self.recurrent_activation is not activations.sigmoid:
            return _steps.gru
        if self.reset_after and _kernels.packs():
            return _packed.sequence
        return _plain.gru if drop is None else _steps.gru
