"""The long short-term memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _kernels, activations
from cgru.layers import _packed, _plain, _steps
from cgru.layers.base import Shape
from cgru.layers.recurrent import Recurrent, Sequence, check_cudnn


class LSTM(Recurrent):
    """Long short-term memory over sequences [batch, time, features].

    At each step the forget gate f decides how much of the cell c is kept, the input gate i how much
    of the candidate g is added, and the output gate o how much of the cell the state h shows::

        i = recurrent_activation(x W_i + h U_i + b_i)
        f = recurrent_activation(x W_f + h U_f + b_f)
        g = activation(x W_g + h U_g + b_g)
        o = recurrent_activation(x W_o + h U_o + b_o)
        c = f * c + i * g
        h = o * activation(c)

    Its states are h and c, in this order: two for `initial_state`, and two that `return_state`
    returns after the output.

    Parameters
    ----------
    units : int
        Size H of both states.
    activation, recurrent_activation : str or Activation
        With the defaults the sequence runs in a compiled kernel; others run step by step in
        NumPy, with the same results and more time.
    use_bias : bool
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer
    unit_forget_bias : bool
        Start the bias of the forget gate with ones, whatever `bias_initializer` is.
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
        The same for the state h that the gates read, one choice for all of them and for the whole
        sequence (Keras draws one for each gate).
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
    unroll, use_cudnn, implementation
        Accepted for Keras's sake; they change nothing.
    zero_output_for_mask : bool
        Return 0 instead of the last state for steps that are masked.
    **kwargs
        As for `Layer`.

    Attributes
    ----------
    kernel : Variable, shape (features, 4 * units)
        W, its columns in the order i, f, g, o.
    recurrent_kernel : Variable, shape (units, 4 * units)
        U.
    bias : Variable or None, shape (4 * units,)

    References
    ----------
    Hochreiter and Schmidhuber 1997, "Long short-term memory"; Gers et al. 2000, "Learning to
    forget: continual prediction with LSTM".

    Examples
    --------
    >>> x = np.zeros((32, 10, 8))
    >>> y, h, c = cgru.layers.LSTM(4, return_sequences=True, return_state=True)(x)
    >>> y.shape, h.shape, c.shape
    ((32, 10, 4), (32, 4), (32, 4))
    """

    _gates, _states = 4, 2

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
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
        self.unit_forget_bias = bool(unit_forget_bias)
        self.use_cudnn = check_cudnn(use_cudnn)

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        if self.bias is not None and self.unit_forget_bias:
            self.bias._value[self.units : 2 * self.units] = 1

    def _sequence(self, drop: np.ndarray | None) -> Sequence:
        if self.activation is not activations.tanh:
            return _steps.lstm
        if self.recurrent_activation is not activations.sigmoid:
            return _steps.lstm
        if _kernels.packs():
            return _packed.sequence
        return _plain.rnn if drop is None else _steps.lstm
