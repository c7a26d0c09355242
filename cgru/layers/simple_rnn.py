"""The simple recurrent network."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _kernels, activations
from cgru.layers import _packed, _plain, _steps
from cgru.layers.recurrent import Recurrent, Sequence


class SimpleRNN(Recurrent):
    """Fully connected recurrent network over sequences [batch, time, features].

    At each step::

        h = activation(x W + h U + b)

    Parameters
    ----------
    units : int
        Size H of the state.
    activation : str or Activation
        With the default the sequence runs in a compiled kernel; others run step by step in NumPy,
        with the same results and more time.
    use_bias : bool
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer
    kernel_regularizer, recurrent_regularizer, bias_regularizer : str or Regularizer, optional
        Penalties on the weights, added to the loss.
    activity_regularizer : str or Regularizer, optional
        Penalty on the outputs (which Keras takes, and leaves out).
    kernel_constraint, recurrent_constraint, bias_constraint : str or Constraint, optional
        Applied to the weights after each step of the optimizer.
    dropout : float
        The part of the inputs that is set to 0 in training, the same features at every step of a
        sequence (Gal and Ghahramani 2016).
    recurrent_dropout : float
        The same for the state h that is read, one choice for the whole sequence.
    seed : int, optional
        Seeds those initializers that are given by name, and dropout.
    return_sequences : bool
        Return the state after every step, [batch, time, units], instead of the last one,
        [batch, units].
    return_state : bool
        Return the last states as well, after the output.
    go_backwards : bool
        Read the sequence from its end (and return states in that order).
    stateful : bool
        Start each batch from the states in which the last one of the same size ended, until
        `reset_state`.
    unroll, implementation
        Accepted for Keras's sake; they change nothing.
    zero_output_for_mask : bool
        Return 0 instead of the last state for steps that are masked.
    **kwargs
        As for `Layer`.

    Attributes
    ----------
    kernel : Variable, shape (features, units)
        W.
    recurrent_kernel : Variable, shape (units, units)
        U.
    bias : Variable or None, shape (units,)

    References
    ----------
    Elman 1990, "Finding structure in time".

    Examples
    --------
    >>> x = np.zeros((32, 10, 8))
    >>> y, state = cgru.layers.SimpleRNN(4, return_sequences=True, return_state=True)(x)
    >>> y.shape, state.shape
    ((32, 10, 4), (32, 4))
    """

    _gates = 1

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
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
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
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

    def _sequence(self, drop: np.ndarray | None) -> Sequence:
        if self.activation is not activations.tanh:
            return _steps.simple
        if _kernels.packs():
            return _packed.sequence
        return _plain.rnn if drop is None else _steps.simple
