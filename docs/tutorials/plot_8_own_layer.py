"""
A layer of your own
===================

You have read about a recurrent cell that no library has, and want to try it. In cgru a layer is one
class of NumPy: ``build`` makes its weights, ``forward`` computes, and returns with the output the
function that takes the gradient back. There is nothing else to it: no graph, no tape, no compiler.
What you derive is what runs, and a check finds your mistakes.

Our cell is the minimal gated unit (MGU; `Zhou et al. 2016 <https://arxiv.org/abs/1603.09420>`_). A
GRU has two gates; the MGU makes do with one, f, which both forgets and resets:

.. code-block:: text

    f = sigmoid(x W_f + h U_f + b_f)
    n = tanh(x W_n + (f * h) U_n + b_n)
    h = (1 - f) * h + f * n

The gate f says how much of the old state h the proposal n may look at, and how much of the new
state is that proposal rather than the old state.
"""

import tempfile
import time

import matplotlib.pyplot as plt
import numpy as np

import cgru

plt.style.use("tableau-colorblind10")  # colours that everybody can tell apart
cgru.utils.set_random_seed(1)

# %%
# Forward, and backward
# ---------------------
# ``forward`` is the three equations in a loop over time. What does not depend on the state, ``x W +
# b``, is computed for all steps at once, before the loop, as every fast recurrent layer does it.
# The loop keeps what the way back will need.
#
# The way back is the same loop from the end. ``dh`` is the gradient of the loss with respect to the
# state, and ``step_backward`` takes it from behind a step to before it. A hint that saves paper:
# note what each variable is used for, and add up one term for each use. The state before a step,
# for example, is used three times: in f, in ``f * h``, and in ``(1 - f) * h``.


class MGU(cgru.layers.Layer):
    """The minimal gated unit: its last state, [batch, units]."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        I, H = input_shape[-1], self.units
        self.kernel = self.add_weight((I, 2 * H), "glorot_uniform", name="kernel")
        self.recurrent = self.add_weight((H, 2 * H), "orthogonal", name="recurrent")
        self.bias = self.add_weight((2 * H,), "zeros", name="bias")

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.units)

    def compute_mask(self, x, mask=None):
        return None  # there are no time steps any more

    def forward(self, x, mask=None):
        if mask is not None:
            x = np.where(mask[..., np.newaxis], x, 0)
        W, U = self.kernel.value, self.recurrent.value
        U_f, U_n = np.split(U, 2, axis=1)
        inputs = x @ W + self.bias.value
        h = np.zeros((len(x), self.units), x.dtype)
        steps = []
        for t in range(x.shape[1]):
            to_f, to_n = np.split(inputs[:, t], 2, axis=1)
            f = cgru.activations.sigmoid(to_f + h @ U_f)
            if mask is not None:
                f = f * mask[:, t, np.newaxis]  # 0 leaves the state as it was
            n = np.tanh(to_n + (f * h) @ U_n)
            steps.append((h, f, n))
            h = (1 - f) * h + f * n

        def backward(dh):
            dinputs, dU = np.zeros_like(inputs), np.zeros_like(U)
            for t in reversed(range(x.shape[1])):
                h, f, n = steps[t]
                df, dn, dh = self.step_backward(dh, h, f, n, U_f, U_n)
                dinputs[:, t] = np.concatenate([df, dn], axis=1)
                dU += np.concatenate([h.T @ df, (f * h).T @ dn], axis=1)
            if self.trainable:
                self.kernel.grad += np.tensordot(x, dinputs, axes=([0, 1], [0, 1]))
                self.recurrent.grad += dU
                self.bias.grad += dinputs.sum(axis=(0, 1))
            return dinputs @ W.T

        return h, backward

    def step_backward(self, dh, h, f, n, U_f, U_n):
        """The gradients inside the sigmoid and the tanh, and that of the state before the step."""
        dn = dh * f * (1 - n**2)
        dfh = dn @ U_n.T  # of f * h
        df = (dh * (n - h) + dfh * h) * f * (1 - f)
        return df, dn, dh * (1 - f) + dfh * f + df @ U_f.T


# %%
# ``backward`` *adds* to ``grad``, since a layer may be called more than once, and returns the
# gradient with respect to x. What it needs is in the closure and not on the layer, so that many
# threads can use a layer at once.
#
# Is it right?
# ------------
# A gradient can be checked without knowing how it was derived: move one weight a little, up and
# down, and see how much the output changes. For one weight of U:


def loss(dtype, change=0.0, differentiate=False):
    """The sum of the outputs of a small layer with a weight moved, or its derivative."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 6, 2)).astype(dtype)
    layer = MGU(4, dtype=dtype)
    layer.build(x.shape)
    weights = [rng.uniform(-1, 1, each.shape).astype(dtype) for each in layer.weights]
    weights[1][0, 1] += change  # the order is that of build: kernel, recurrent, bias
    layer.set_weights(weights)
    y, backward = layer.forward(x)
    if not differentiate:
        return float(y.sum(dtype="float64"))
    backward(np.ones_like(y))
    return float(layer.recurrent.grad[0, 1])


exact = loss("float64", differentiate=True)
estimate = (loss("float64", 1e-5) - loss("float64", -1e-5)) / 2e-5
print(f"backward:           {exact:.10f}")
print(f"finite differences: {estimate:.10f}")
assert abs(exact - estimate) < 1e-8

# %%
# How small is "a little"? Too large, and the curve bends in between; too small, and only rounding
# is left. In float32 there is no good choice, so gradients are checked in float64:

changes = np.logspace(-8, 0, 33)
figure, ax = plt.subplots(figsize=(5, 3), layout="constrained")
for dtype, line in (("float32", "C1s--"), ("float64", "C0o-")):
    estimates = [(loss(dtype, c) - loss(dtype, -c)) / (2 * c) for c in changes]
    ax.loglog(changes, abs(np.array(estimates) - exact), line, ms=3, label=dtype)
ax.set(xlabel="change of the weight", ylabel="error of the estimate")
ax.legend()
plt.show()

# %%
# ``check_layer`` does this for all weights and inputs, with masks and without, and checks all else
# that models expect of a layer: shapes, copies, both precisions, that nothing is written to, that
# what is masked has no effect. The layers of cgru pass the same check.

cgru.testing.check_layer(lambda: MGU(4), (None, None, 3))
print("MGU passes")

# %%
# A check is worth something if it fails when it should. Let us forget one of the three uses of h:


class Forgetful(MGU):
    """Takes no gradient back through f * h."""

    def step_backward(self, dh, h, f, n, U_f, U_n):
        df, dn, _ = super().step_backward(dh, h, f, n, U_f, U_n)
        return df, dn, dh * (1 - f) + df @ U_f.T


try:
    cgru.testing.check_layer(lambda: Forgetful(4, name="forgetful"), (None, None, 3))
except AssertionError as error:
    print(error)
else:
    raise AssertionError("the mistake was not found")

# %%
# Beside a GRU
# ------------
# They forecast the yearly sunspot numbers from twelve years, trained on those to 1920, from five
# seeds each. The forgetful one is given its chance, too.

years, numbers = cgru.datasets.sunspots.load_data()
root = np.sqrt(numbers / 100)
x = np.lib.stride_tricks.sliding_window_view(root[:-1], 12)[..., np.newaxis]
y = root[12:]
spans = {"1712-1920": slice(209), "1921-1955": slice(209, 244), "1956-2008": slice(244, None)}

curves, errors = {}, {}
for cell in (MGU, cgru.layers.GRU, Forgetful):
    name = cell.__name__
    curves[name], errors[name] = [], []
    for seed in range(5):
        cgru.utils.set_random_seed(seed)
        model = cgru.Sequential([cgru.Input((None, 1)), cell(12), cgru.layers.Dense(1)])
        model.compile(cgru.optimizers.Adam(0.005), "mse")
        start = time.perf_counter()
        history = model.fit(x[:209], y[:209], epochs=100)
        seconds = time.perf_counter() - start
        curves[name].append(history.history["loss"])
        errors[name].append([model.evaluate(x[part], y[part]) for part in spans.values()])
    milliseconds = 1000 * seconds / 100
    print(f"{name:9} {model.count_params()} weights, {milliseconds:.1f} ms an epoch")
for place, span in enumerate(spans):
    print(f"mean squared error {span}:")
    for name, values in errors.items():
        found = [run[place] for run in values]
        print(f"  {name:9} {min(found):.4f} to {max(found):.4f}")

figure, ax = plt.subplots(figsize=(5, 3), layout="constrained")
for name, line in (("MGU", "C1--"), ("GRU", "C0-"), ("Forgetful", "C3:")):
    ax.semilogy(np.median(curves[name], axis=0), line, label=name)
ax.set(xlabel="epoch", ylabel="mean squared error (median)")
ax.legend()
plt.show()

# %%
# One gate is enough for the sunspots. The GRU is faster because its loop over time is compiled C;
# ours runs a few lines of NumPy for each step, which is fast enough to find out whether an idea is
# worth more.
#
# And the wrong gradient? It learns, only worse: nobody would have found the mistake by looking at
# that curve.
#
# It is a layer like any other
# ----------------------------
# It stands in models beside others, masks and lists of sequences work, and files hold it. To open
# one, say what the name in the file means:

mixed = cgru.Sequential(
    [
        cgru.Input((None, 1)),
        cgru.layers.Bidirectional(cgru.layers.GRU(4, return_sequences=True)),
        MGU(8),
        cgru.layers.Dense(1),
    ]
)
sequences = [root[:5, np.newaxis], root[:40, np.newaxis]]  # of 5 and 40 years
before = mixed.predict(sequences)
with tempfile.TemporaryDirectory() as folder:
    mixed.save(f"{folder}/mixed")
    again = cgru.load_model(f"{folder}/mixed", custom_objects={"MGU": MGU})
assert np.array_equal(again.predict(sequences), before)
print("the same forecasts:", before[:, 0].round(3))

# %%
# More: :doc:`/own_layer`.
