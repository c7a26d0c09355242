"""
How a GRU works, equation by equation
=====================================

A recurrent network reads a sequence step by step and keeps what it has read in a *state* h, a
vector that it rewrites at every step. The gated recurrent unit (GRU; `Cho et al. 2014
<https://arxiv.org/abs/1406.1078>`_) rewrites it with care. Its *update gate* z decides how much of
the old state is kept, its *reset gate* r how much of it the proposal for a new one may look at.
Both are learned.

Read this page, and you know what z and r do, what each of them costs, and what happens when z stays
at 1. Everything is measured on a network that was trained on this page, to forecast sunspots.
"""

import functools
import statistics
import time

import matplotlib.pyplot as plt
import numpy as np

import cgru

plt.style.use("tableau-colorblind10")  # colours that everybody can tell apart
# sphinx_gallery_thumbnail_number = 3

# %%
# The cell in one picture, for one step. Follow the state along the top: it is multiplied by z, and
# what is missing comes from the proposal n, which is called the *candidate*, or the *current memory
# content*.

cgru.plot.cell_diagram("gru")
plt.show()

# %%
# What do z and r do? Two cells by hand
# -------------------------------------
# Before anything is learned: here are two GRUs of a single unit with weights chosen by hand (a unit
# is one number of the state, with a z, an r and a proposal of its own). They read a signal and a
# flag. A gate is a weighted sum of what is read, put through the *sigmoid*, which makes of it a
# number from 0 to 1: 0.5 at 0, nearly 1 from 5 on, nearly 0 below -5.
#
# The first uses **z to hold**. As long as there is no flag, z is near 1, and the state stays what
# it was. A flag brings z to 0, and the proposal, which is tanh of the signal of now (a little less
# than the signal), takes the state's place. A memory with a write button.
#
# The second uses **r to start afresh**. Its z is always 0, so that it rewrites its state at every
# step, and the proposal remembers by looking at the old state: a pulse of the signal flips it up or
# down, and there it stays. A flag brings r to 0: the proposal does not see the old state, and what
# was remembered is gone.


def by_hand(z, r, n):
    """A GRU of one unit; each gate is given as weights of (signal, flag), of h, and a bias."""
    gru = cgru.layers.GRU(1, return_sequences=True)
    gru.build((None, None, 2))
    inputs, of_h, bias = zip(z, r, n, strict=True)
    gru.set_weights([np.transpose(inputs), [of_h], [bias, (0, 0, 0)]])
    return gru


always, never = ((0, 0), 0, 20), ((0, 0), 0, -20)  # sigmoid(20) is 1, sigmoid(-20) is 0
unless_flag = ((0, -40), 0, 20)
holds = by_hand(z=unless_flag, r=always, n=((1, 0), 0, 0))
latches = by_hand(z=never, r=unless_flag, n=((3, 0), 2, 0))

t = np.arange(60)
wave = np.sin(t / 5)
pulses = np.isin(t, [5, 40]) * 1.0 - np.isin(t, [15]) * 1.0
flags = np.isin(t, [10, 30, 50])

figure, axes = plt.subplots(2, 1, figsize=(5, 4.4), sharex=True, layout="constrained")
for ax, cell, signal, title in (
    (axes[0], holds, wave, "z: holds, until a flag says write"),
    (axes[1], latches, pulses, "r: remembers, until a flag says forget"),
):
    state = cell(np.stack([signal, flags], axis=-1)[np.newaxis])[0, :, 0]
    ax.plot(t, signal, color="0.6", label="signal")
    ax.plot(t, state, "C0", drawstyle="steps-mid", lw=2, label="state h")
    ax.plot(t[flags], np.full(flags.sum(), -1.3), "C1^", label="flag")
    ax.set(title=title, ylim=(-1.6, 1.2))
axes[0].legend(loc="upper right", ncols=3, fontsize="small")
axes[1].set_xlabel("step")
plt.show()

# %%
# A GRU has many such units, whose gates are anywhere between 0 and 1, and each gate sees all the
# states. What they are good for, training finds out.
#
# A trained network
# -----------------
# It reads the square roots of the yearly sunspot numbers of twelve years and forecasts that of the
# next. The Sun's activity goes up and down in eleven years or so.

cgru.utils.set_random_seed(1)
years, numbers = cgru.datasets.sunspots.load_data()
root = np.sqrt(numbers / 100)
x = np.lib.stride_tricks.sliding_window_view(root[:-1], 12)[..., np.newaxis]
y = root[12:]
learned, later = slice(209), slice(209, None)  # to 1920, and the years after


def train(layer):
    """A network with this recurrent layer, trained on the years to 1920."""
    model = cgru.Sequential([cgru.Input((None, 1)), layer, cgru.layers.Dense(1, name="head")])
    model.compile(cgru.optimizers.Adam(0.005), "mse")
    model.fit(x[learned], y[learned], epochs=150)
    return model


model = train(cgru.layers.GRU(8, name="gru"))
print(f"mean squared error to 1920: {model.evaluate(x[learned], y[learned]):.4f}")
print(f"mean squared error after:   {model.evaluate(x[later], y[later]):.4f}")

# %%
# Its weights
# -----------
# A GRU of H units that reads I features has for each of z, r and n a matrix W [I, H] for what it
# reads, a matrix U [H, H] for its state, and two biases b and c: two, because the reset gate
# governs c_n and not b_n; for z and r only their sum counts. They lie side by side:

gru = model.get_layer("gru")
H = gru.units
W_z, W_r, W_n = np.split(gru.kernel.value, 3, axis=1)
U_z, U_r, U_n = np.split(gru.recurrent_kernel.value, 3, axis=1)
(b_z, b_r, b_n), (c_z, c_r, c_n) = (np.split(row, 3) for row in gru.bias.value)
for name, parts in {
    "update gate z": (W_z, U_z, b_z, c_z),
    "reset gate r": (W_r, U_r, b_r, c_r),
    "proposal n": (W_n, U_n, b_n, c_n),
}.items():
    size = sum(part.size for part in parts)
    print(f"{name:14} {size} weights, {size / gru.count_params():.0%}")

# %%
# The four equations
# ------------------
# We let the network read all years in one go. ``cgru.inspect.gates`` returns what went on inside,
# at every step; we compute it again in NumPy. ``h`` is the state before each year, ``series`` what
# is read, the x of the picture.
#
# With each equation stand the lines of C that compute it, for a vector of units of one sequence
# (from ``cgru/csrc/gru.h``). The products `x W` and `h U` and the biases have been added up
# before: for z and r in one sum, for n in two, of which ``u`` is the one that the reset gate
# governs.

series = root[:, np.newaxis]  # [year, feature]
found = cgru.inspect.gates(model, series[np.newaxis])["gru"]
h = found.before["state"][0]  # [year, unit]


def sigmoid(a):
    """A soft switch: from 0 (off) to 1 (on)."""
    return 1 / (1 + np.exp(-a))


# %%
# 1. The **update gate**: how much of the old state is kept.
#
# .. literalinclude:: ../../cgru/csrc/gru.h
#    :language: c
#    :start-after: [update gate] */
#    :end-before: /* [reset gate] */
#    :dedent:

z = sigmoid(series @ W_z + b_z + h @ U_z + c_z)

# %%
# 2. The **reset gate**: how much of the old state the proposal may look at.
#
# .. literalinclude:: ../../cgru/csrc/gru.h
#    :language: c
#    :start-after: [reset gate] */
#    :end-before: /* [current memory content] */
#    :dedent:

r = sigmoid(series @ W_r + b_r + h @ U_r + c_r)

# %%
# 3. The **current memory content**, the proposal: what the state would become if nothing were kept.
# It is made of the input, and of the old state as far as the reset gate lets it through.
#
# .. literalinclude:: ../../cgru/csrc/gru.h
#    :language: c
#    :start-after: [current memory content] */
#    :end-before: /* [final memory] */
#    :dedent:

n = np.tanh(series @ W_n + b_n + r * (h @ U_n + c_n))

# %%
# 4. The **final memory**: a mixture of old and new, in the proportion that the update gate gives.
# (In C as n + z (h - n), which is the same but for rounding, with one multiplication less.)
#
# .. literalinclude:: ../../cgru/csrc/gru.h
#    :language: c
#    :start-after: [final memory] */
#    :end-before: /* [end] */
#    :dedent:

new_h = z * h + (1 - z) * n

# %%
# That is all. The four lines of NumPy give what the compiled kernel gave:

for name, mine in (("update", z), ("reset", r), ("candidate", n), ("state", new_h)):
    print(f"{name:9} differs by {abs(mine - found[name][0]).max():.1e}")
    assert np.allclose(mine, found[name][0], atol=1e-5)

# %%
# Two things to know when you compare with other texts. Some have z and 1 - z the other way round.
# And Cho et al. apply the reset gate to the state before the product, ``(r * h) U_n``: that is
# ``GRU(reset_after=False)``; after it, as here and in most libraries, is faster.
#
# What it looks like
# ------------------
# ``cgru.plot.gates`` draws it all; we put five solar cycles above it. A row is a unit, a column a
# year.

shown = slice(180, 236)  # 1880 to 1935
figure, axes = plt.subplots(
    5, 1, figsize=(5, 7.5), sharex=True, layout="constrained", height_ratios=[1.2, 1, 1, 1, 1]
)
axes[0].plot(numbers, color="0.3")
axes[0].set(ylabel="sunspots", xlim=(shown.start - 0.5, shown.stop - 0.5), ylim=(0, 170))
cgru.plot.gates(found, ax=axes[1:])
axes[-1].set_xlabel("years since 1700")
plt.show()

for name, values in (("z", z), ("r", r)):
    means = np.sort(values[shown].mean(axis=0))
    print(f"the units' means of {name}, sorted:")
    print(*(f"{mean:.2f}" for mean in means))

# %%
# The units share the work. Those whose z is always near 0 rewrite themselves every year; those with
# a larger z keep much of what they were. And both gates move with the cycle.
#
# What if a gate were stuck?
# --------------------------
# Does the network need what its gates do? We take the trained network and force one gate to 1 or 0,
# by a large bias in place of what it learned, and leave everything else as it is.

GATES = {"z": 0, "r": 1}


def forced(model, gate, value):
    """The same network with one gate of its GRU held at a value, 0 or 1."""
    other = cgru.models.clone_model(model)
    kernel, recurrent, bias, *rest = model.get_weights()
    columns = slice(GATES[gate] * H, (GATES[gate] + 1) * H)
    kernel[:, columns] = recurrent[:, columns] = bias[:, columns] = 0
    bias[0, columns] = 100 if value else -100
    other.set_weights([kernel, recurrent, bias, *rest])
    other.compile(loss="mse")
    return other


networks = {"as it was trained": model}
networks |= {f"{g} = {value}": forced(model, g, value) for g in GATES for value in (1, 0)}
errors = {name: each.evaluate(x[later], y[later]) for name, each in networks.items()}
print("mean squared error after 1920:")
for name, error in errors.items():
    print(f"{error:.4f}  {name}")
assert min(list(errors)[1:], key=errors.get) == "r = 1"

figure, axes = plt.subplots(3, 1, figsize=(5, 5), sharex=True, sharey=True, layout="constrained")
for ax, name in zip(axes, ("as it was trained", "r = 0", "z = 1"), strict=True):
    ax.plot(years[12:], numbers[12:], color="0.7", lw=4, label="observed")
    ax.plot(years[12:], 100 * networks[name].predict(x)[:, 0] ** 2, "C0", label="forecast")
    ax.set(title=name, ylabel="sunspots", xlim=(1940, 2008), ylim=(-10, 230))
axes[0].legend(ncols=2, loc="upper right", fontsize="small")
axes[-1].set_xlabel("year")
plt.show()

# %%
# - **r = 1**: the proposal always sees all of the old state. Of the four, this hurts least.
# - **z = 0**: nothing is kept as it is; all that is remembered has to go through the proposal.
# - **r = 0**: the proposal sees this year's number alone; what was before reaches the state only
#   through z. The forecast comes late, almost as if it repeated the last year.
# - **z = 1**: the state never changes, and the forecast is the same for every year.
#
# What happens when z stays at 1
# ------------------------------
# Then h = 1 h + 0 n: the state is handed on for ever, to rounding. It begins at 0, so it stays 0,
# and the forecast is the bias of the last layer. The network is deaf:

stuck = networks["z = 1"]
read = cgru.inspect.gates(stuck, series[np.newaxis])["gru"]
print(f"z: {read['update'].min()} to {read['update'].max()}")
print(f"change of h in {len(years)} years: {np.ptp(read['state'])}")
print(f"different forecasts: {len(np.unique(stuck.predict(x)))}")

# %%
# And it cannot learn to hear again. Training changes each weight along its *gradient*: by how much
# the error would change if the weight did. The gradient with respect to the state passes such a
# step unchanged, which is why a z *near* 1 remembers so well. But what is read gets into the state
# by the factor 1 - z, and the sigmoid's own slope is z (1 - z). Both are 0 here, so that no
# gradient reaches the weights of z, r or n:

for each in (model, stuck):
    each.value_and_grad(each.theta, x[learned], y[learned])
flow = cgru.inspect.gradient_flow(stuck, x[learned], y[learned])["gru"]["state"]
print(f"gradient of h, first step / last: {flow[0, 0] / flow[0, -1]:.1f}")
print("size of the gradient  as trained  z = 1")
for one, other in zip(model.trainable_weights, stuck.trainable_weights, strict=True):
    sizes = [np.linalg.norm(weight.grad) for weight in (one, other)]
    print(f"{one.path:20} {sizes[0]:11.4f} {sizes[1]:6.4f}")

# %%
# Only the bias of the last layer still has a gradient (its weights multiply a state of 0); it can
# move the one forecast up and down.
# That is why one begins with gates that are half open, or with z somewhat above that where a task
# needs long memory (by a bias of its own, as in :doc:`plot_2_vanishing_gradient`), but never with z
# at 1.
#
# In between lies what makes gates useful. What is left of a unit's state after k steps is the
# product of its z over these steps, so half of it is gone after log 0.5 / log z steps:

figure, ax = plt.subplots(figsize=(5, 3), layout="constrained")
steps = np.arange(101)
for gate, line in ((0.5, "C1:"), (0.9, "C3-."), (0.99, "C0--"), (1.0, "k-")):
    half = "for ever" if gate == 1 else f"half after {np.log(0.5) / np.log(gate):.0f} steps"
    ax.plot(steps, gate**steps, line, lw=2, label=f"z = {gate}: {half}")
ax.set(xlabel="steps", ylabel="what is left of the state", ylim=(0, 1.75))
ax.legend(ncols=1, loc="upper right", fontsize="small")
plt.show()

lives = np.sort(np.log(0.5) / np.log(z).mean(axis=0))
print("half-lives of the units, in years:")
print(*(f"{life:.1f}" for life in lives))

# %%
# These are the units' own memories. Together they remember longer, because each is told by the
# others, through U: :doc:`plot_2_vanishing_gradient` measures it.
#
# What does each gate cost?
# -------------------------
# A third of everything: z, r and n have the same number of weights, and a step takes as many
# multiplications for each sequence as there are weights in W and U. Timed in NumPy, for a step of 8
# sequences with 64 features and 128 units:

rng = np.random.default_rng(1)
B, I, H = 8, 64, 128
one_x, one_h = rng.random((B, I), "float32"), rng.random((B, H), "float32")
W, U = rng.random((I, H), "float32") / 16, rng.random((H, H), "float32") / 16
a_z, a_r, a_n = (one_x @ W + one_h @ U for _ in range(3))


def microseconds(work, repeats):
    """The time of a call: the median of several."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1e6 * statistics.median(times)


costs = {
    "z: x W + h U": microseconds(lambda: one_x @ W + one_h @ U, 1000),
    "r: x W + h U": microseconds(lambda: one_x @ W + one_h @ U, 1000),
    "n: x W, h U": microseconds(lambda: (one_x @ W, one_h @ U), 1000),
    "sigmoid of z": microseconds(lambda: cgru.activations.sigmoid(a_z), 1000),
    "sigmoid of r": microseconds(lambda: cgru.activations.sigmoid(a_r), 1000),
    "tanh, with r": microseconds(lambda: np.tanh(a_n + a_r * a_z), 1000),
    "mix with z": microseconds(lambda: a_z * one_h + (1 - a_z) * a_n, 1000),
}
print(f"each of z, r, n multiplies {(I + H) * H:,} times for each sequence")
for name, cost in costs.items():
    print(f"{name:13} {cost:6.1f} us, {cost / sum(costs.values()):4.0%}")

figure, ax = plt.subplots(figsize=(5, 2.8), layout="constrained")
names = list(costs)[::-1]
colors = ["C0" if "W" in name else "C1" for name in names]  # products, and the rest
ax.barh(names, [costs[name] for name in names], color=colors)
ax.set(xlabel="microseconds a step, in NumPy")
plt.show()

# %%
# The products are the larger part, and the more so the larger H is: they grow as H², what the gates
# do to the state afterwards as H. (In the kernel that is less: it happens while the sums are still
# in registers.) A cell that makes do with one gate saves a third: :doc:`plot_8_own_layer` tries
# one.
#
# Beside an LSTM and a simple recurrent network
# ---------------------------------------------
# The **simple RNN** is the proposal alone. It has nothing to hold on with.

cgru.plot.cell_diagram("simple_rnn")
plt.show()

# %%
# The **LSTM** (long short-term memory; `Hochreiter and Schmidhuber 1997
# <https://doi.org/10.1162/neco.1997.9.8.1735>`_, its forget gate `Gers et al. 2000
# <https://doi.org/10.1162/089976600300015015>`_) came first, and has three gates where the GRU has
# two. It keeps its memory in a second state, the cell c, with one gate for what is kept (f) and
# another for what is written (i), where the GRU has z and 1 - z: it can keep all and write as well.
# A third gate (o) says how much of c is shown as h. It has no reset gate. Four blocks of weights in
# place of three are a third more weights and multiplications for as many units.

cgru.plot.cell_diagram("lstm")
plt.show()

# %%
# With as many units each, on the same task, and timed on 8 sequences of 50 steps with 64 units, on
# one thread:

sequences = rng.random((8, 50, 64), "float32")
threads = cgru.get_num_threads()
print("cell      weights error          time")
for cell in (cgru.layers.SimpleRNN, cgru.layers.GRU, cgru.layers.LSTM):
    found_errors = []
    for seed in (1, 2, 3):
        cgru.utils.set_random_seed(seed)
        one = train(cell(8))
        found_errors.append(one.evaluate(x[later], y[later]))
    wide = cgru.Sequential([cgru.Input((None, 64)), cell(64)])
    cgru.set_num_threads(1)
    milliseconds = microseconds(functools.partial(wide.predict, sequences), 20) / 1000
    cgru.set_num_threads(threads)
    weights = one.layers[0].count_params()
    span = f"{min(found_errors):.4f}-{max(found_errors):.4f}"
    print(f"{cell.__name__:9} {weights:7} {span:14} {milliseconds:5.2f} ms")

# %%
# On a task that needs a memory of twelve years all three will do. :doc:`plot_2_vanishing_gradient`
# takes them to two hundred steps, where they differ.
#
# The three answers
# -----------------
# **What do z and r do?** z keeps: near 1 a unit holds on to its state, near 0 it takes the
# proposal. r lets the proposal look back: near 0 it is made afresh from what is read.
#
# **What does each cost?** A third of the weights and of the multiplications each, the proposal
# being the third third; a step's other work grows more slowly than that with the number of units.
#
# **What happens when z stays at 1?** The state is kept for ever, nothing that is read has any
# effect, and no gradient reaches the layer's weights, so that training cannot undo it. Near 1, and
# only when it should be, it is what long memory is made of.
