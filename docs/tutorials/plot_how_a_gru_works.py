"""
How a GRU works
===============

A recurrent network reads a sequence step by step and keeps what it has read in a *state* h, a
vector that it rewrites at every step. The gated recurrent unit (`Cho et al. 2014
<https://arxiv.org/abs/1406.1078>`_) rewrites it with care: one gate decides how much of the old
state is kept, another how much of it the proposal for the new one may look at. Both are learned.

Here are its four equations on a network that forecasts the yearly sunspot numbers, each beside the
line of code that computes it, and a figure of what it does.
"""

import matplotlib.pyplot as plt
import numpy as np

import cgru

# %%
# A trained network
# -----------------
# It reads the square roots of twelve years and forecasts that of the next.

cgru.utils.set_random_seed(1)
years, numbers = cgru.datasets.sunspots.load_data()
root = np.sqrt(numbers / 100)
windows = np.lib.stride_tricks.sliding_window_view(root[:-1], 12)[..., np.newaxis]
gru = cgru.layers.GRU(8)
model = cgru.Sequential([gru, cgru.layers.Dense(1)])
model.compile(cgru.optimizers.Adam(0.005), "mse")
model.fit(windows[:209], root[12:221], epochs=150)
print(f"mean squared error to 1920: {model.evaluate(windows[:209], root[12:221]):.4f}")

# %%
# A GRU with H units that reads I features has three matrices W [I, H] for what it reads and three
# matrices U [H, H] for its state, with biases b and c: one of each for the update gate z, the reset
# gate r and the new content n. They lie side by side:

W_z, W_r, W_n = np.split(gru.kernel.numpy(), 3, axis=1)
U_z, U_r, U_n = np.split(gru.recurrent_kernel.numpy(), 3, axis=1)
(b_z, b_r, b_n), (c_z, c_r, c_n) = (np.split(row, 3) for row in gru.bias.numpy())


def sigmoid(a):
    """A soft switch: from 0 (off) to 1 (on)."""
    return 1 / (1 + np.exp(-a))


# %%
# The equations below compute one step, from the state `h` and the input `x` to the new state. The
# lines in C, from ``cgru/csrc/body.h``, do the same for unit ``j`` of one sequence; there `x W` and
# `h U` have been computed before, as products of whole matrices.
#
# 1. The update gate
# ------------------
# How much of the old state is kept::
#
#     z = sigmoid(x W_z + b_z + h U_z + c_z)
#
# .. literalinclude:: ../../cgru/csrc/body.h
#    :language: c
#    :start-after: [update gate] */
#    :end-before: /* [reset gate] */
#    :dedent:


def update_gate(x, h):
    return sigmoid(x @ W_z + b_z + h @ U_z + c_z)


# %%
# 2. The reset gate
# -----------------
# How much of the old state the new content may look at::
#
#     r = sigmoid(x W_r + b_r + h U_r + c_r)
#
# .. literalinclude:: ../../cgru/csrc/body.h
#    :language: c
#    :start-after: [reset gate] */
#    :end-before: /* [current memory content] */
#    :dedent:


def reset_gate(x, h):
    return sigmoid(x @ W_r + b_r + h @ U_r + c_r)


# %%
# 3. The current memory content
# -----------------------------
# What the state would become if nothing were kept: the input, and the old state as far as the reset
# gate lets it through. With r = 0 the unit starts afresh from what it reads::
#
#     n = tanh(x W_n + b_n + r * (h U_n + c_n))
#
# .. literalinclude:: ../../cgru/csrc/body.h
#    :language: c
#    :start-after: [current memory content] */
#    :end-before: /* [final memory] */
#    :dedent:
#
# (Cho et al. apply the reset gate to h before the product, ``(r * h) U_n``: that is
# ``GRU(reset_after=False)``.)


def current_memory_content(x, h, r):
    return np.tanh(x @ W_n + b_n + r * (h @ U_n + c_n))


# %%
# 4. The final memory
# -------------------
# A mixture of old and new, in the proportion that the update gate gives::
#
#     h = z * h + (1 - z) * n
#
# .. literalinclude:: ../../cgru/csrc/body.h
#    :language: c
#    :start-after: [final memory] */
#    :end-before: /* [end] */
#    :dedent:


def final_memory(z, h, n):
    return z * h + (1 - z) * n


# %%
# All together
# ------------
# We let the network read the whole series, keep every value, and check that the equations give
# what the compiled kernel gives:

h = np.zeros(8)
record = {"update gate z": [], "reset gate r": [], "content n": [], "state h": []}
for x in root[:, np.newaxis]:
    z, r = update_gate(x, h), reset_gate(x, h)
    n = current_memory_content(x, h, r)
    h = final_memory(z, h, n)
    for values, value in zip(record.values(), (z, r, n, h), strict=True):
        values.append(value)
record = {name: np.array(values) for name, values in record.items()}

reader = cgru.layers.GRU(8, return_sequences=True)
reader.build((None, None, 1))
reader.set_weights(gru.get_weights())
states = reader(root[np.newaxis, :, np.newaxis])[0]
print(f"largest difference from the kernel: {abs(states - record['state h']).max():.1e}")
assert np.allclose(states, record["state h"], atol=1e-5)

# %%
# Five solar cycles. The gates open and close with the cycle: where z is dark the unit holds on to
# its state, where it is light it takes in what is new.

shown = (years >= 1880) & (years <= 1935)
figure, axes = plt.subplots(5, 1, figsize=(8, 8), sharex=True, layout="constrained")
axes[0].plot(years[shown], numbers[shown], color="0.3")
axes[0].set(ylabel="sunspots")
for ax, (name, values) in zip(axes[1:], record.items(), strict=True):
    gate = name.split()[1] == "gate"
    image = ax.imshow(
        values[shown].T,
        aspect="auto",
        cmap="Blues" if gate else "PuOr",
        vmin=0 if gate else -1,
        vmax=1,
        extent=(years[shown][0] - 0.5, years[shown][-1] + 0.5, 7.5, -0.5),
        interpolation="none",
    )
    ax.set(ylabel=f"unit\n({name})")
    figure.colorbar(image, ax=ax, pad=0.01)
axes[-1].set(xlabel="year")
plt.show()

# %%
# Why the gates matter
# --------------------
# With z near 1, h is handed on unchanged, and so is the gradient of the loss on its way back: it is
# multiplied by z instead of by a matrix and a derivative at every step. That is what cures the
# vanishing gradient of a plain recurrent network. How long a unit remembers can be read off z:
# after k steps the product of its gates is left of a state.

half_life = np.log(0.5) / np.log(record["update gate z"][shown].mean(axis=0))
order = np.argsort(half_life)
figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
ax.bar(np.arange(8), half_life[order])
ax.set_xticks(np.arange(8), order)
ax.set(xlabel="unit", ylabel="years", title="Half of a unit's state is replaced after")
plt.show()
