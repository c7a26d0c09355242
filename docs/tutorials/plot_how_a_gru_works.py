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
# Then it reads the whole series in one go, and we keep its state after every year.

reader = cgru.layers.GRU(8, return_sequences=True)
reader.build((None, None, 1))
reader.set_weights(gru.get_weights())
x = root[:, np.newaxis]  # [year, feature]
states = reader(x[np.newaxis])[0]  # [year, unit]
h = np.vstack([np.zeros(8), states[:-1]])  # the state before each year
shown = (years >= 1880) & (years <= 1935)


def draw(values, title, lowest):
    """Eight units over five solar cycles."""
    figure, axes = plt.subplots(2, 1, figsize=(8, 3.2), sharex=True, layout="constrained")
    axes[0].plot(years[shown], numbers[shown], color="0.3")
    axes[0].set(ylabel="sunspots", title=title)
    span = (years[shown][0] - 0.5, years[shown][-1] + 0.5, 7.5, -0.5)
    image = axes[1].imshow(
        values[shown].T,
        aspect="auto",
        cmap="PuOr" if lowest else "Blues",
        vmin=lowest,
        vmax=1,
        extent=span,
        interpolation="none",
    )
    axes[1].set(ylabel="unit", xlabel="year")
    figure.colorbar(image, ax=axes[1], pad=0.01)
    plt.show()


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
# Each equation below stands three times: as in the paper, as the line of C that computes it for a
# vector of units of one sequence (from ``cgru/csrc/gru.h``; the products `x W` and `h U` and
# the biases have been added up before: for z and r in one sum, for n in two, of which ``u`` is the
# one that the reset gate governs), and in NumPy, for all years at once.
#
# 1. The update gate
# ------------------
# How much of the old state is kept::
#
#     z = sigmoid(x W_z + b_z + h U_z + c_z)
#
# .. literalinclude:: ../../cgru/csrc/gru.h
#    :language: c
#    :start-after: [update gate] */
#    :end-before: /* [reset gate] */
#    :dedent:

z = sigmoid(x @ W_z + b_z + h @ U_z + c_z)
draw(z, "Update gate z: where it is dark, a unit holds on to its state", 0)

# %%
# 2. The reset gate
# -----------------
# How much of the old state the new content may look at::
#
#     r = sigmoid(x W_r + b_r + h U_r + c_r)
#
# .. literalinclude:: ../../cgru/csrc/gru.h
#    :language: c
#    :start-after: [reset gate] */
#    :end-before: /* [current memory content] */
#    :dedent:

r = sigmoid(x @ W_r + b_r + h @ U_r + c_r)
draw(r, "Reset gate r: where it is light, the new content ignores the state", 0)

# %%
# 3. The current memory content
# -----------------------------
# What the state would become if nothing were kept: the input, and the old state as far as the reset
# gate lets it through. With r = 0 a unit starts afresh from what it reads::
#
#     n = tanh(x W_n + b_n + r * (h U_n + c_n))
#
# .. literalinclude:: ../../cgru/csrc/gru.h
#    :language: c
#    :start-after: [current memory content] */
#    :end-before: /* [final memory] */
#    :dedent:
#
# (Cho et al. apply the reset gate to h before the product, ``(r * h) U_n``: that is
# ``GRU(reset_after=False)``.)

n = np.tanh(x @ W_n + b_n + r * (h @ U_n + c_n))
draw(n, "Current memory content n: what each unit proposes", -1)

# %%
# 4. The final memory
# -------------------
# A mixture of old and new, in the proportion that the update gate gives::
#
#     h = z * h + (1 - z) * n
#
# .. literalinclude:: ../../cgru/csrc/gru.h
#    :language: c
#    :start-after: [final memory] */
#    :end-before: /* [end] */
#    :dedent:

new_h = z * h + (1 - z) * n
draw(new_h, "Final memory h: what each unit hands on", -1)

# %%
# The four lines of NumPy give what the compiled kernel gave:

print(f"largest difference from the kernel: {abs(new_h - states).max():.1e}")
assert np.allclose(new_h, states, atol=1e-5)

# %%
# Why the gates matter
# --------------------
# Where z is near 1, h is handed on unchanged, and so is the gradient of the loss on its way back:
# along this path it is multiplied by z at every step, not by a matrix and a derivative. That is
# what cures the vanishing gradient of a plain recurrent network. How long a unit remembers by
# itself can be read off z: after k years, the product of its gates is what is left of its state.

half_life = np.log(0.5) / np.log(z[shown]).mean(axis=0)
order = np.argsort(half_life)
figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
ax.bar(np.arange(8), half_life[order])
ax.set_xticks(np.arange(8), order)
ax.set(xlabel="unit", ylabel="years", title="Half of a unit's state is replaced after")
plt.show()
