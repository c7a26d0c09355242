"""What no implementation is faster than: the time of the work that cannot be left out.

That is the matrix products of the gates at the rate of one large product; for a single sequence,
whose steps each read all recurrent weights again, that reading; and in training Adam's reads and
writes.  Gates, copies and calls are taken to cost nothing.
"""

import time

import numpy as np

TRAFFIC = 28  # bytes for a float32 weight: gradient read, weight and both averages read and written


GATES = {"GRU": 3, "LSTM": 4, "SimpleRNN": 1}  # columns of the weights for each unit


def forward_flops(cell, shape):
    """Operations in the matrix products of the gates."""
    B, T, I, H = shape
    return 2 * T * B * GATES[cell] * H * (I + H)


def training_flops(cell, shape):
    """Those, as many for the gradients of both kernels, and the gradients of the states."""
    B, T, _, H = shape
    return 2 * forward_flops(cell, shape) + 2 * (T - 1) * B * GATES[cell] * H * H


FLOPS = {"train": training_flops, "predict": forward_flops}


def least(call, seconds=0.01):
    """The shortest time of a call that is repeated for a while."""
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def memory(cell, shape, threads):
    """Seconds to read the recurrent weights once, and for Adam's reads and writes.

    By BLAS, on vectors of that many bytes, less the time of a call: a dot product only reads,
    ``y += a x`` reads twice what it writes.  With several threads each is taken to do its share at
    that rate.
    """
    from scipy.linalg.blas import saxpy, sdot

    _, _, I, H = shape
    gates = GATES[cell]
    weights = gates * H * H
    a = np.ones((2, weights // 2), np.float32)
    parameters = gates * H * (I + H + (2 if cell == "GRU" else 1)) + H + 1
    x, y = np.ones((2, 2 * parameters), np.float32)  # as many bytes as Adam has
    few = np.ones(2, np.float32)
    read = least(lambda: sdot(*a)) - least(lambda: sdot(few, few))
    update = least(lambda: saxpy(x, y, a=0.5)) - least(lambda: saxpy(few, few, a=0.5))
    return {"read": read / threads, "update": update * TRAFFIC / 24 / threads}


def seconds(cell, shape, task, rate, found):
    """The floor of a task, for a rate in operations a second and what `memory` found."""
    B, T, I, H = shape
    flops, passes = FLOPS[task](cell, shape), 1 if task == "predict" else 2
    time = 0.0
    if B == 1:
        # Each pass over the steps reads the recurrent weights, but for the first state, which is 0;
        # one step alone reads those of the inputs.
        flops -= passes * (T - 1) * 2 * GATES[cell] * H * H
        time += passes * (T - 1) * found["read"]
        if T == 1:
            flops, time = 0, found["read"] * I / H
    if task == "train":
        time += found["update"]
    return time + flops / rate
