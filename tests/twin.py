"""Each kernel once more in plain NumPy, to compare with: short, slow and easy to check."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru_forward(x, h, kernel, recurrent, bias, mask, reverse, drop=None):
    """States and gates of a sequence x [T, B, I] from state h [B, H].

    bias [2, 3H]: reset after the recurrent product; [1, 3H]: before it.  drop [B, H]: factors on
    what the gates read of the states.
    """
    T, after = len(x), len(bias) == 2
    H = h.shape[1]
    W, U = np.split(kernel, 3, axis=1), np.split(recurrent, 3, axis=1)
    b = np.split(bias[0], 3)
    c = np.split(bias[1], 3) if after else [np.zeros(H)] * 3
    steps = {}
    for t in range(T)[:: -1 if reverse else 1]:
        read = h if drop is None else h * drop
        z = sigmoid(x[t] @ W[0] + b[0] + read @ U[0] + c[0])
        r = sigmoid(x[t] @ W[1] + b[1] + read @ U[1] + c[1])
        u = read @ U[2] + c[2] if after else r * read
        n = np.tanh(x[t] @ W[2] + b[2] + (r * u if after else u @ U[2]))
        new = z * h + (1 - z) * n
        if mask is not None:
            new = np.where(mask[t][:, None] != 0, new, h)
        steps[t] = (h, z, r, n, u, new)
        h = new
    return steps, h


def gru_backward(x, steps, kernel, recurrent, bias, mask, reverse, dy, dh, drop=None):
    """Gradients of x, the initial state, kernel, recurrent kernel and bias."""
    T, after = len(x), len(bias) == 2
    U = np.split(recurrent, 3, axis=1)
    dx, dW, dU, db = (np.zeros_like(a) for a in (x, kernel, recurrent, bias))
    for t in range(T)[:: 1 if reverse else -1]:
        h, z, r, n, u, _ = steps[t]
        factor = 1 if drop is None else drop
        read = h * factor
        dh = dh + dy[t]
        keep = np.ones((len(h), 1)) if mask is None else (mask[t][:, None] != 0) * 1.0
        d = dh * keep
        dn = d * (1 - z) * (1 - n**2)
        dz = d * (h - n) * z * (1 - z)
        du = dn * r if after else dn @ U[2].T
        dr = (dn * u if after else du * read) * r * (1 - r)
        dx[t] = np.hstack([dz, dr, dn]) @ kernel.T
        dW += x[t].T @ np.hstack([dz, dr, dn])
        db[0] += np.hstack([dz, dr, dn]).sum(axis=0)
        dU += np.hstack([read.T @ dz, read.T @ dr, read.T @ du if after else u.T @ dn])
        if after:
            db[1] += np.hstack([dz, dr, du]).sum(axis=0)
        dread = dz @ U[0].T + dr @ U[1].T + (du @ U[2].T if after else du * r)
        dh = dh * (1 - keep) + d * z + dread * factor
    return dx, dh, dW, dU, db


def rnn_forward(x, states, kernel, recurrent, bias, mask, reverse, drop=None):
    """Steps and last states of an LSTM from states [h, c] or of a simple RNN from [h]; drop as
    above."""
    steps = {}
    for t in range(len(x))[:: -1 if reverse else 1]:
        read = states[0] if drop is None else states[0] * drop
        a = x[t] @ kernel + read @ recurrent + bias
        if len(states) == 1:
            gates, new = None, [np.tanh(a)]
        else:
            i, f, g, o = np.split(a, 4, axis=1)
            i, f, g, o = gates = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
            c = f * states[1] + i * g
            new = [o * np.tanh(c), c]
        if mask is not None:
            keep = mask[t][:, None] != 0
            new = [np.where(keep, *pair) for pair in zip(new, states, strict=True)]
        steps[t] = (states, gates, new)
        states = new
    return steps, states


def rnn_backward(x, steps, kernel, recurrent, bias, mask, reverse, dy, dstates, drop=None):
    """Gradients of x, kernel, recurrent kernel, bias and the initial states."""
    dx, dW, dU, db = (np.zeros_like(a) for a in (x, kernel, recurrent, bias))
    for t in range(len(x))[:: 1 if reverse else -1]:
        old, gates, new = steps[t]
        keep = np.ones((len(x[t]), 1)) if mask is None else (mask[t][:, None] != 0) * 1.0
        dh = dstates[0] + dy[t]
        if gates is None:
            da = dh * keep * (1 - new[0] ** 2)
            rest = []
        else:
            (i, f, g, o), shown = gates, np.tanh(new[1])
            dc = (dstates[1] + dh * o * (1 - shown**2)) * keep
            di, df, dg = dc * g * i * (1 - i), dc * old[1] * f * (1 - f), dc * i * (1 - g**2)
            da = np.hstack([di, df, dg, dh * keep * shown * o * (1 - o)])
            rest = [dstates[1] * (1 - keep) + dc * f]
        dx[t] = da @ kernel.T
        dW += x[t].T @ da
        factor = 1 if drop is None else drop
        dU += (old[0] * factor).T @ da
        db += da.sum(axis=0)
        dstates = [dh * (1 - keep) + da @ recurrent.T * factor, *rest]
    return dx, dW, dU, db, *dstates


def sgd(theta, grads, learning_rate, momentum=0.0, nesterov=False):
    v = np.zeros_like(theta)
    for g in grads:
        v = momentum * v - learning_rate * g
        theta = theta + (momentum * v - learning_rate * g if nesterov else v)
    return theta


def rmsprop(theta, grads, learning_rate, rho, momentum, epsilon, centered):
    s, a, v = (np.zeros_like(theta) for _ in range(3))
    for g in grads:
        s = rho * s + (1 - rho) * g**2
        a = rho * a + (1 - rho) * g
        v = momentum * v + learning_rate * g / np.sqrt(s - centered * a**2 + epsilon)
        theta = theta - v
    return theta


def adam(theta, grads, learning_rate, beta_1, beta_2, epsilon, amsgrad):
    m, v, most = (np.zeros_like(theta) for _ in range(3))
    for t, g in enumerate(grads, 1):
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        most = np.maximum(most, v) if amsgrad else v
        rate = learning_rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        theta = theta - rate * m / (np.sqrt(most) + epsilon)
    return theta
