"""Random models: outputs, gradients and one epoch of training as in Keras.

``CGRU_RANDOM_MODELS`` is their number, 500 by default; so many are compared, and a fifth as many
more are trained, because Keras compiles each.  Hypothesis draws them; a case that fails is shrunk
to a small one and printed with the seed that repeats it (``--hypothesis-seed``; `make peers
SEED=2`).
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np
import pytest

keras = pytest.importorskip("keras")
hypothesis = pytest.importorskip("hypothesis")
jax = pytest.importorskip("jax")

from hypothesis import strategies as st  # noqa: E402
from random_models import build, inputs, settings, stacks  # noqa: E402

import cgru  # noqa: E402

COUNT = int(os.environ.get("CGRU_RANDOM_MODELS", "500"))

# Keras says of each layer that ends a mask that it does; here that is compared.
pytestmark = pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")


def pair(rng, shape, tokens, stack):
    """The model by Keras and by cgru, with the same random weights."""
    theirs, ours = build(keras, shape, tokens, stack), build(cgru, shape, tokens, stack)
    for weight in theirs.weights:
        low = 0.5 if "variance" in weight.path else -0.8
        weight.assign(rng.uniform(low, 0.8, weight.shape))
    ours.set_weights(theirs.get_weights())
    assert ours.output_shape == theirs.output_shape
    return theirs, ours


@settings(COUNT)
@hypothesis.given(stacks())
def test_outputs_and_gradients(case):
    shape, tokens, stack, seed = case
    rng = np.random.default_rng(seed)
    theirs, ours = pair(rng, shape, tokens, stack)
    x = inputs(rng, shape, tokens)
    dy = rng.standard_normal((shape[0], *ours.output_shape[1:])).astype("f4")

    def output(weights, x):
        others = [v.value for v in theirs.non_trainable_variables]
        y, _, losses = theirs.stateless_call(weights, others, x, return_losses=True)
        return y, jax.numpy.float32(sum(losses))

    @jax.jit
    def expected(weights, x, dy):
        if tokens:
            (y, penalty), vjp = jax.vjp(lambda weights: output(weights, x), weights)
        else:
            (y, penalty), vjp = jax.vjp(output, weights, x)
        return y, penalty, vjp((dy, jax.numpy.float32(1)))

    weights = [v.value for v in theirs.trainable_variables]
    y, penalty, gradients = jax.tree.map(np.asarray, expected(weights, x, dy))
    if np.isnan(y).any():  # the mean of no steps at all, in Keras
        assert np.isfinite(ours.predict_on_batch(x)).all()
        return
    scale = max(1.0, float(abs(y).max()))
    np.testing.assert_allclose(ours.predict_on_batch(x), y, rtol=1e-5, atol=1e-5 * scale)

    penalties = []
    _, _, backward = ours.execute(ours._inputs(x), penalties=penalties)
    flat = ours.flat()
    flat.grad[:] = 0
    dx = backward(dy)
    total = ours._penalties(flat, penalties)
    np.testing.assert_allclose(total, penalty, rtol=1e-5, atol=1e-5)
    size = max([1.0, *(float(abs(g).max()) for g in gradients[0])])
    for weight, gradient in zip(ours.trainable_weights, gradients[0], strict=True):
        np.testing.assert_allclose(
            weight.grad, gradient, rtol=1e-5, atol=1e-5 * size, err_msg=weight.path
        )
    if not tokens and dx is not None:
        np.testing.assert_allclose(dx, gradients[1], rtol=1e-5, atol=1e-5 * size)


# A gradient that is 0 but for rounding is not to make a step of full size: hence the epsilon.
OPTIMIZERS = [
    ("SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    ("RMSprop", {"learning_rate": 0.01, "epsilon": 0.01}),
    ("Adam", {"learning_rate": 0.01, "epsilon": 0.01}),
    ("AdamW", {"learning_rate": 0.01, "epsilon": 0.01, "clipnorm": 0.5}),
]


def train(library, model, optimizer, loss, x, y, batch):
    """The losses after each batch of an epoch."""
    name, chosen = optimizer
    model.compile(getattr(library.optimizers, name)(**chosen), loss)
    losses = []
    recorder = library.callbacks.LambdaCallback(
        on_train_batch_end=lambda step, logs: losses.append(logs["loss"])
    )
    model.fit(x, y, batch, epochs=1, shuffle=False, verbose=0, callbacks=[recorder])
    return losses


@settings(max(1, COUNT // 5))
@hypothesis.given(
    stacks(noise=False),
    st.sampled_from(OPTIMIZERS),
    st.sampled_from(["mse", "mae", "huber", "log_cosh"]),
)
def test_training(case, optimizer, loss):
    shape, tokens, stack, seed = case
    rng = np.random.default_rng(seed)
    theirs, ours = pair(rng, shape, tokens, stack)
    batch = shape[0]
    x = inputs(rng, (3 * batch, *shape[1:]), tokens)
    y = rng.standard_normal((3 * batch, *ours.output_shape[1:])).astype("f4")
    got = train(cgru, ours, optimizer, loss, x, y, batch)
    wanted = train(keras, theirs, optimizer, loss, x, y, batch)
    assert len(got) == 3
    if np.isnan(wanted).any():  # the mean of no steps at all, in Keras
        assert np.isfinite(got).all()
        return
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    for weight, expected in zip(ours.weights, theirs.get_weights(), strict=True):
        np.testing.assert_allclose(
            weight.numpy(), expected, rtol=1e-3, atol=1e-4, err_msg=weight.path
        )
