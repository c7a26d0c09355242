"""Types of the compiled kernels; their docstrings are in _kernels.pyx."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgru.variables import Variable

Float = NDArray[np.floating[Any]]
Bytes = NDArray[np.uint8]
Mask = Bytes | NDArray[np.bool_]

def isa_levels() -> list[str]: ...
def isa() -> str: ...
def packs() -> int: ...
def set_isa(name: str) -> None: ...
def get_num_threads() -> int: ...
def set_num_threads(threads: int) -> None: ...
def set_launch_cost(cycles: float) -> float: ...
def matmul(a: Float, b: Float, c: Float) -> None: ...
def dense_forward(x: Float, kernel: Float, bias: Float | None) -> Float: ...
def dense_backward(
    x: Float,
    kernel: Float,
    dy: Float,
    needs_input_grad: bool,
    dkernel: Float | None,
    dbias: Float | None,
) -> Float | None: ...
def gru_forward(
    x: Float,
    kernel: Float,
    recurrent_kernel: Float,
    bias: Float,
    mask: Bytes | None,
    reverse: bool,
    h: Float,
    gates: Float,
    work: Float,
) -> None: ...
def gru_backward(
    x: Float,
    kernel: Float,
    recurrent_kernel: Float,
    mask: Bytes | None,
    reverse: bool,
    h: Float,
    gates: Float,
    dy: Float | None,
    dh: Float,
    dx: Float | None,
    dkernel: Float | None,
    drecurrent_kernel: Float | None,
    dbias: Float,
    work: Float,
) -> None: ...
def rnn_forward(
    x: Float,
    kernel: Float,
    recurrent_kernel: Float,
    bias: Float,
    mask: Bytes | None,
    reverse: bool,
    h: Float,
    c: Float | None,
    gates: Float,
) -> None: ...
def rnn_backward(
    x: Float,
    kernel: Float,
    recurrent_kernel: Float,
    mask: Bytes | None,
    reverse: bool,
    h: Float,
    c: Float | None,
    gates: Float,
    dy: Float | None,
    dh: Float,
    dc: Float | None,
    dx: Float | None,
    dkernel: Float | None,
    drecurrent_kernel: Float | None,
    dbias: Float | None,
) -> None: ...
def packed_sizes(
    gate_count: int, T: int, B: int, I: int, H: int, double: bool, keep: bool
) -> tuple[int, int, int]: ...
def packed_pack(
    kernel: Float,
    recurrent_kernel: Float,
    bias: Float | None,
    packed: Float,
    recurrent: bool = True,
) -> None: ...
def packed_forward(
    gate_count: int,
    x: Float,
    packed: Float,
    mask: Mask | None,
    reverse: bool,
    from_zero: bool,
    keep: bool,
    h: Float,
    c: Float | None,
    drop: Float | None,
    read: Float | None,
    gates: Float,
) -> None: ...
def packed_backward(
    x: Float,
    kernel: Float,
    recurrent_kernel: Float,
    mask: Mask | None,
    reverse: bool,
    from_zero: bool,
    h: Float,
    c: Float | None,
    drop: Float | None,
    read: Float | None,
    gates: Float,
    dy: Float | None,
    dh: Float,
    dc: Float | None,
    start_grad: bool,
    dx: Float | None,
    dkernel: Float | None,
    drecurrent_kernel: Float | None,
    dbias: Float | None,
    work: Float,
) -> None: ...

class StreamProgram:
    @property
    def states(self) -> list[list[Float]]: ...
    def __init__(self, layers: list[tuple[list[Variable], str | None]], batch: int) -> None: ...
    def step(self, x: object) -> Float | None: ...
    def run(self, x: Float) -> Float: ...
    def acquire(self, blocking: bool = False) -> bool: ...
    def release(self) -> None: ...

class Workspace:
    def __init__(self, gate_count: int) -> None: ...
    def forward(
        self,
        x: Float,
        start: Sequence[Float] | None,
        mask: Mask | None,
        drop: Float | None,
        weights: list[Variable],
        reverse: bool,
        all_states: bool,
        keep: bool,
    ) -> tuple[Float, Float, Float | None, Float | None, Float | None, Float | None]: ...
    def backward(
        self,
        x: Float,
        from_zero: bool,
        mask: Mask | None,
        drop: Float | None,
        weights: list[Variable],
        reverse: bool,
        h: Float,
        c: Float | None,
        read: Float | None,
        gates: Float,
        dy: Float | None,
        dh: Float,
        dc: Float | None,
        needs_input_grad: bool,
        needs_start_grad: bool,
        frozen: bool,
    ) -> Float | None: ...

def sgd(
    theta: Float,
    grad: Float,
    velocity: Float | None,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
) -> None: ...
def rmsprop(
    theta: Float,
    grad: Float,
    square: Float,
    mean: Float | None,
    velocity: Float | None,
    learning_rate: float,
    rho: float,
    momentum: float,
    epsilon: float,
) -> None: ...
def adam(
    theta: Float,
    grad: Float,
    m: Float,
    v: Float,
    v_max: Float | None,
    step_size: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None: ...
def nadam(
    theta: Float,
    grad: Float,
    m: Float,
    v: Float,
    step_size: float,
    ahead: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None: ...
def adamax(
    theta: Float,
    grad: Float,
    m: Float,
    u: Float,
    step_size: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None: ...
def adagrad(
    theta: Float, grad: Float, square: Float, learning_rate: float, epsilon: float
) -> None: ...
def adadelta(
    theta: Float,
    grad: Float,
    square: Float,
    step_square: Float,
    learning_rate: float,
    rho: float,
    epsilon: float,
) -> None: ...
def lion(
    theta: Float, grad: Float, m: Float, learning_rate: float, beta_1: float, beta_2: float
) -> None: ...
def blend(y: Float, x: Float, keep: float, take: float) -> None: ...
def clear(x: Float) -> None: ...
def squared_error(y_true: Float, y_pred: Float) -> tuple[Float, Float]: ...
def mean_loss(values: Float, grad: Float, weight: Float | None) -> float: ...
def norm(x: Float) -> float: ...
def is_ready(value: object, dtype: np.dtype[Any]) -> bool: ...
def all_finite(x: Float) -> bool: ...
def sigmoid(x: Float, y: Float) -> None: ...
def tanh(x: Float, y: Float) -> None: ...
