"""
Why gates cure the vanishing gradient, measured on three cells
==============================================================

To learn that the first word of a text matters for the last, the gradient of the loss has to travel
back from the last step to the first. Each step multiplies it by a matrix, and many factors that are
a little below 1 make next to nothing. This is the vanishing gradient, which kept recurrent networks
from learning long memories until gates were found (Hochreiter 1991; `Bengio et al. 1994
<https://doi.org/10.1109/72.279181>`_).

Here it is measured: on a simple RNN, an LSTM and a GRU, over 200 steps, before and after training.
One of the results may surprise you: gates do not cure anything by being there. They have to open.

(What the gates are is the subject of :doc:`plot_1_how_a_gru_works`.)
"""

import matplotlib.pyplot as plt
import numpy as np

import cgru

plt.style.use("tableau-colorblind10")  # colours that everybody can tell apart
CELLS = {
    "SimpleRNN": cgru.layers.SimpleRNN,
    "LSTM": cgru.layers.LSTM,
    "GRU": cgru.layers.GRU,
}

for factor in (0.9, 0.99, 1.0, 1.1):
    print(f"199 times {factor:4}: {factor**199:.0e}")

# %%
# A task that needs memory
# ------------------------
# The adding problem (`Hochreiter and Schmidhuber 1997
# <https://doi.org/10.1162/neco.1997.9.8.1735>`_): at each step there is a random number, and two of
# the numbers are marked, one in each half. At the end the network has to say their sum.


def adding(count, steps, seed):
    """Sequences of (number, mark), [count, steps, 2], and the sums of the marked."""
    rng = np.random.default_rng(seed)
    numbers, marks = rng.random((count, steps)), np.zeros((count, steps))
    rows, half = np.arange(count), steps // 2
    marks[rows, rng.integers(0, half, count)] = 1
    marks[rows, rng.integers(half, steps, count)] = 1
    return np.stack([numbers, marks], axis=-1), (numbers * marks).sum(axis=1)


x, y = adding(32, 200, seed=1)
print("one sequence:", x.shape[1:], "its answer:", y[0].round(2))


def new_model(cell):
    """A network of 32 units with the usual initial weights."""
    cgru.utils.set_random_seed(2)
    model = cgru.Sequential([cgru.Input((None, 2)), cell(32, name="cell"), cgru.layers.Dense(1)])
    model.compile(cgru.optimizers.Adam(0.005, global_clipnorm=1.0), "mse")
    return model


models = {name: new_model(cell) for name, cell in CELLS.items()}

# %%
# How much of the gradient arrives
# --------------------------------
# ``cgru.inspect.gradient_flow`` returns the size of the loss's gradient with respect to the state
# after every step. The loss looks at the last state only, so that everything further left has come
# back through time. Of the LSTM the state is h and the cell c together. The table says which
# part of the gradient arrives at the first step, and by which factor a step that is:


def show_flow(models):
    """Draw the gradient over time for each model; print and return how much of it arrives."""
    flows, shares = {}, {}
    print("            arrives  a step")
    for name, model in models.items():
        flow = cgru.inspect.gradient_flow(model, x, y)["cell"]
        memory = np.hypot(flow["state"], flow.get("cell", 0))
        norms = np.linalg.norm(memory, axis=0)
        shares[name] = share = norms[0] / norms[-1]
        print(f"{name:11} {share:.0e}   {share ** (1 / 199):.3f}")
        flows[name] = {"state": memory}
    _, ax = plt.subplots(figsize=(5, 3.4), layout="constrained")
    cgru.plot.gradient_flow(flows, ax=ax)
    ax.set_title("The gradient that reaches each step")
    plt.show()
    return shares


shares = show_flow(models)
assert shares["GRU"] == min(shares.values())
assert max(shares.values()) < 1e-3

# %%
# All three vanish, and the GRU fastest! The reason stands in its equations. With the weights of the
# beginning its update gate is about 0.5, so that each step keeps half of the state, and not much
# more of the gradient:

fresh = cgru.inspect.gates(models["GRU"], x)["cell"]["update"]
print(f"z of the new GRU: {fresh.min():.2f} to {fresh.max():.2f}")

# %%
# The simple RNN begins with an orthogonal matrix U, which keeps the length of every vector; only
# the slope of tanh shrinks it. The LSTM begins with a forget gate somewhat open, because experience
# has taught its users to give it a bias of 1.
#
# What one step does
# ------------------
# The matrix that multiplies the gradient is the Jacobian of a step: how the new state depends on
# the old one. Its singular values say how much it stretches or shrinks, in each direction of the
# state: 32 of them, and 64 for the LSTM, whose state is h and c together. For the GRU it is, along
# the way past the proposal, nothing but z on the diagonal. Let us open the gate: a bias that makes
# z about 0.99.


def open_gates(model, bias):
    """Give the update gates of a GRU this bias."""
    kernel, recurrent, biases, *rest = model.get_weights()
    biases[0, :32] = bias
    model.set_weights([kernel, recurrent, biases, *rest])
    return model


models["GRU, open"] = open_gates(new_model(cgru.layers.GRU), np.log(0.99 / 0.01))

print("singular values, the least and the largest:")
figure, ax = plt.subplots(figsize=(5, 3.2), layout="constrained")
for (name, model), line in zip(models.items(), ("C3:", "C1-.", "C0--", "C0-"), strict=True):
    spectrum = cgru.inspect.jacobian_spectrum(model, x, [-1])["cell"]
    values = spectrum.singular_values[:, 0].mean(axis=0)
    print(f"{name:11} {values[-1]:.3f} to {values[0]:.3f}")
    ax.plot(np.linspace(0, 1, len(values)), values, line, lw=2, label=name)
ax.axhline(1, color="0.5", lw=1)
ax.set(xlabel="direction, from the most stretched to the least", ylim=(0, None))
ax.set_ylabel("singular value of a step")
ax.legend(fontsize="small")
plt.show()

# %%
# A step of the open GRU hardly changes the length of anything, in any direction. And 199 of them:

show_flow(models)

# %%
# The matrix U of the GRU is the same as before, and so is everything else. That is the cure: along
# the path through z the gradient meets no matrix and no tanh, only a number that the network itself
# can bring near 1, and away from it where it wants to forget. A simple RNN has no such number.
#
# The price of z = 0.99 for all units is that all are slow. A better start spreads them, from units
# that forget at once to those that hold for as long as the task takes (chrono initialization,
# `Tallec and Ollivier 2018 <https://arxiv.org/abs/1804.11188>`_). We use it next.
#
# What follows for learning
# -------------------------
# We train on 50 steps. A network that answers 1 whatever it reads, the mean, has the grey error.

STEPS = 50
train_x, train_y = adding(2000, STEPS, seed=2)
test_x, test_y = adding(500, STEPS, seed=3)
chrono = np.log(np.random.default_rng(1).uniform(1, STEPS - 1, 32))

models = {name: new_model(cell) for name, cell in CELLS.items()}
models["GRU, chrono"] = open_gates(new_model(cgru.layers.GRU), chrono)
lengths = {}
for name, model in models.items():
    lengths[name] = [cgru.inspect.memory_length(model, x[:8])["cell"].length]

last = {}
print("after epoch 10     20     30")
figure, ax = plt.subplots(figsize=(5, 3.4), layout="constrained")
for (name, model), line in zip(models.items(), ("C3:", "C1-.", "C0--", "C0-"), strict=True):
    history = model.fit(
        train_x, train_y, epochs=30, batch_size=50, validation_data=(test_x, test_y)
    )
    errors = history.history["val_loss"]
    last[name] = errors[-1]
    ax.semilogy(np.arange(1, 31), errors, line, lw=2, label=name)
    shown = " ".join(f"{errors[epoch - 1]:.4f}" for epoch in (10, 20, 30))
    print(f"{name:11} {shown}")
constant = np.mean((test_y - 1) ** 2)
print(f"always 1    {constant:.4f}")
assert max(last["GRU"], last["LSTM"]) < constant / 5 < last["SimpleRNN"]
ax.axhline(constant, color="0.6", lw=4, zorder=0, label="always 1")
ax.set(xlabel="epoch", ylabel="mean squared error, new sequences")
ax.legend(fontsize="small")
plt.show()

# %%
# The gated cells learn it. The simple RNN is no better than the constant: nothing tells it of the
# first mark. (That depends on the seed: with another one it may come further. Over 400 and 600
# steps simple RNNs with three seeds do not: :doc:`/papers`.) But the GRU's gradient vanished as
# well, at first; how could it learn? Now and then both marks are not far from the end. From these
# sequences it learns that it pays to open gates, and open gates let it see further back. Over 50
# steps it is as soon there as the one whose gates were opened for it.
#
# The same measurement, after training
# ------------------------------------
# On 200 steps again, four times as long as what they were trained on:

show_flow(models)
z = cgru.inspect.gates(models["GRU"], x)["cell"]["update"]
print(f"z above 0.95: {(fresh > 0.95).mean():.0%} before, {(z > 0.95).mean():.0%} after")

# %%
# Training has opened the gates; the simple RNN has none to open. How far
# back does an input matter to the last state? ``cgru.inspect.memory_length`` counts the steps until
# its influence has fallen to a hundredth:

print("steps       before  after training")
for name, model in models.items():
    lengths[name].append(cgru.inspect.memory_length(model, x[:8])["cell"].length)
    before, after = (int(np.median(each)) for each in lengths[name])
    print(f"{name:11} {before:6} {after:6}")

figure, ax = plt.subplots(figsize=(5, 3.6), layout="constrained")
cgru.plot.memory(cgru.inspect.memory_length(models["GRU"], x[:8]), ax=ax)
ax.set_title("The trained GRU")
plt.show()

# %%
# In short
# --------
# - The gradient is multiplied at each step. What is a little below 1 vanishes over 200 of them.
# - A gate that is open passes it on unchanged. One that is half open halves it: gates cure the
#   vanishing gradient where, and when, they are near 1.
# - Training opens them, as long as something shows that it pays. Where nothing in the last steps
#   does, open them from the start.
# - What grows instead of vanishing is another matter, and easily dealt with: ``global_clipnorm`` of
#   the optimizers, as it was used here (`Pascanu et al. 2013 <https://arxiv.org/abs/1211.5063>`_).
