"""
Training with SciPy's optimisers
================================

Networks are usually trained with Adam or its like, on a small part of the data at a time: the way
to go where there is much data. Where there is little, and the network is small, there is another:
the classical optimisers, which look at all data at once, and choose the length of their steps
themselves, so that there is no learning rate to find. SciPy has them, and asks for two things: the
parameters as *one* vector, and a function that returns the loss and its gradient. A model of cgru
has both.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import check_grad, minimize

import cgru

plt.style.use("tableau-colorblind10")  # colours that everybody can tell apart

# %%
# The yearly sunspot numbers again: the square roots of twelve years, to forecast that of the
# thirteenth; trained on the years to 1920. Line searches compare losses that hardly differ, so we
# compute in float64.

years, numbers = cgru.datasets.sunspots.load_data()
root = np.sqrt(numbers / 100)
x = np.lib.stride_tricks.sliding_window_view(root[:-1], 12)[..., np.newaxis]
y = root[12:]
train, test = slice(0, 209), slice(209, None)


def new_model(seed, rate=0.001):
    """A small GRU, with the same initial weights for the same seed; `rate` is Adam's."""
    cgru.utils.set_random_seed(seed)
    model = cgru.Sequential(
        [
            cgru.Input((None, 1), dtype="float64"),
            cgru.layers.GRU(6, dtype="float64"),
            cgru.layers.Dense(1, dtype="float64"),
        ]
    )
    model.compile(cgru.optimizers.Adam(rate), "mse")
    return model


# %%
# One vector, one function
# ------------------------
# ``model.theta`` is all trainable weights in a row; the weights of the layers are views into it.
# ``model.value_and_grad(theta, x, y)`` is the loss there and its gradient. SciPy can check that the
# two belong together:

model = new_model(1)
print(f"theta: {model.theta.size} numbers")
value, gradient = model.value_and_grad(model.theta, x[train], y[train])
print(f"loss {value:.4f}, gradient of size {np.linalg.norm(gradient):.4f}")

error = check_grad(
    lambda theta: model.value_and_grad(theta, x[train], y[train])[0],
    lambda theta: model.value_and_grad(theta, x[train], y[train])[1],
    model.theta,
)
print(f"finite differences differ by {error:.1e}")
assert error < 1e-5

# %%
# So one call trains a model:

result = minimize(
    model.value_and_grad,
    model.theta,
    args=(x[train], y[train]),
    jac=True,
    method="L-BFGS-B",
    options={"maxiter": 50},
)
model.theta = result.x
print(f"loss {result.fun:.4f} after {result.nfev} evaluations")

# %%
# L-BFGS and Adam
# ---------------
# L-BFGS remembers its last steps and how the gradient changed along them, and makes of that an idea
# of the curvature. We compare it with Adam by how often each has seen all the data. For that, SciPy
# is given a function of ours, which may do as it likes: this one notes the loss, and can add a
# penalty on large weights, with its gradient, of which more below.

PASSES = 300  # over the data, for each way to train


def train_by_lbfgs(seed, penalty=0.0):
    """A model, and its loss at each evaluation, which is a pass over the data."""
    model = new_model(seed)
    losses = []

    def value_and_grad(theta):
        value, gradient = model.value_and_grad(theta, x[train], y[train])
        losses.append(value)
        return value + penalty * theta @ theta, gradient + 2 * penalty * theta

    options = {"maxfun": PASSES}
    result = minimize(value_and_grad, model.theta, jac=True, method="L-BFGS-B", options=options)
    model.theta = result.x
    return model, losses


def train_by_adam(seed, rate):
    """A model, and its loss after each pass over the data."""
    model = new_model(seed, rate)
    losses = []
    note = cgru.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: losses.append(model.evaluate(x[train], y[train]))
    )
    model.fit(x[train], y[train], epochs=PASSES, callbacks=[note])
    return model, losses


ways = {
    "Adam 0.001": lambda seed: train_by_adam(seed, 0.001),
    "Adam 0.02": lambda seed: train_by_adam(seed, 0.02),
    "L-BFGS": train_by_lbfgs,
}
runs = {}
print("least loss from three seeds:")
for name, way in ways.items():
    runs[name] = [way(seed) for seed in (1, 2, 3)]
    ends = ", ".join(f"{min(losses):.4f}" for _, losses in runs[name])
    print(f"{ends}  {name}")

figure, ax = plt.subplots(figsize=(5, 3.6), layout="constrained")
for name, line in zip(ways, ("C3:", "C1--", "C0-"), strict=True):
    for seed, (_, losses) in enumerate(runs[name]):
        passes = np.arange(1, len(losses) + 1)
        label = None if seed else name
        ax.loglog(passes, np.minimum.accumulate(losses), line, lw=1.5, label=label)
ax.set(xlabel="passes over the data", ylabel="least mean squared error so far")
ax.legend()
plt.show()

# %%
# Adam at its usual rate of 0.001 is slow here; at 0.02, which we found by trying, it is as good as
# L-BFGS, or better. L-BFGS was given no rate: it found the lengths of its steps by itself.
#
# Further down is not better
# --------------------------
# A lower loss on the years that it learned from says little about those to come. Whoever minimises
# well learns the noise as well, each seed another one. The remedy is to say what one wants: a
# penalty on large weights is part of the function now, and all three seeds come to the same
# forecast.

models = {
    "without penalty": [model for model, _ in runs["L-BFGS"]],
    "with penalty": [train_by_lbfgs(seed, penalty=3e-4)[0] for seed in (1, 2, 3)],
}
forecasts = {}
for name, three in models.items():
    print(f"{name}, mean squared errors:")
    for span, which in ((train, "to 1920"), (test, "after")):
        errors = ", ".join(f"{model.evaluate(x[span], y[span]):.4f}" for model in three)
        print(f"  {which:7} {errors}")
    forecasts[name] = np.hstack([model.predict(x[test]) for model in three])
    print(f"  the forecasts differ by {forecasts[name].std(axis=1).mean():.4f}")

target = years[12:][test]
options = {"sharex": True, "sharey": True, "layout": "constrained"}
figure, axes = plt.subplots(2, 1, figsize=(5, 4.4), **options)
for ax, (title, three) in zip(axes, forecasts.items(), strict=True):
    ax.plot(target, numbers[12:][test], color="0.7", lw=4, label="observed")
    for seed, line in enumerate(("C0-", "C1--", "k:")):
        ax.plot(target, 100 * three[:, seed] ** 2, line, lw=1.2, label=f"seed {seed + 1}")
    ax.set(title=title, ylabel="sunspots", xlim=(1940, 2008), ylim=(0, 270))
axes[0].legend(ncols=2, loc="upper right")
axes[1].set_xlabel("year")
plt.show()

# %%
# When to use it
# --------------
# When the data fit into one batch, the network is small, and no layer is random in training
# (dropout makes the loss another function at each evaluation, and line searches fail). Then there
# is no learning rate to find. SciPy's own threads, too, do more harm than good to such small
# vectors when the machine has other work: ``OPENBLAS_NUM_THREADS=1`` in the environment sees to
# that.
#
# Other methods of ``scipy.optimize.minimize`` that use a gradient (``"CG"``, ``"BFGS"``,
# ``"SLSQP"`` with constraints), and other libraries of optimisers, are called in the same way.
