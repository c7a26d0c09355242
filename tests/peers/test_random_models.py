"""Random models: outputs, gradients and one epoch of training as in Keras.

``CGRU_RANDOM_MODELS`` is their number, 500 by default.  Hypothesis draws them; a case that fails is
shrunk to a small one and printed with the seed that repeats it (``--hypothesis-seed``).
"""

import os

import numpy as np
import pytest

keras = pytest.importorskip("keras")
hypothesis = pytest.importorskip("hypothesis")
jax = pytest.importorskip("jax")

from hypothesis import strategies as st  # noqa: E402

import cgru  # noqa: E402

COUNT = int(os.environ.get("CGRU_RANDOM_MODELS", "500"))
SETTINGS = hypothesis.settings(
    max_examples=COUNT,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)

units = st.integers(1, 4)
booleans = st.booleans()
activations = st.sampled_from(["linear", "tanh", "sigmoid", "relu", "softplus", "gelu", "selu"])
regularizers = st.sampled_from([None, None, "l1", "l2", "l1l2"])
# Outputs are often 0, where JAX says that the slope of abs is 1; here it is 0, as in TensorFlow and
# PyTorch.  So no l1 on outputs.
activity_regularizers = st.sampled_from([None, None, "l2"])


def options(**strategies):
    return st.fixed_dictionaries(strategies)


GRU = options(
    units=units,
    activation=st.sampled_from(["tanh", "tanh", "relu", "softsign"]),
    recurrent_activation=st.sampled_from(["sigmoid", "sigmoid", "hard_sigmoid"]),
    use_bias=booleans,
    reset_after=booleans,
    go_backwards=booleans,
    return_sequences=booleans,
    zero_output_for_mask=booleans,
    kernel_regularizer=regularizers,
    recurrent_regularizer=regularizers,
    bias_regularizer=regularizers,
    activity_regularizer=activity_regularizers,
)
# Keras on JAX keeps the penalty of the last call of a layer only while it trains, and none of one
# that is inside TimeDistributed; here all count.
SHARED = GRU.map(lambda chosen: chosen | {"activity_regularizer": None})
DENSE = options(
    units=units,
    activation=activations,
    use_bias=booleans,
    kernel_regularizer=regularizers,
    bias_regularizer=regularizers,
    activity_regularizer=activity_regularizers,
)

# What may follow [batch, time, features], with its options; and what may follow [batch, features].
ON_SEQUENCES = {
    "GRU": GRU,
    "Bidirectional": options(
        layer=GRU, merge_mode=st.sampled_from(["concat", "sum", "ave", "mul"])
    ),
    "Dense": DENSE,
    "TimeDistributed": options(
        layer=DENSE.map(lambda chosen: chosen | {"activity_regularizer": None})
    ),
    "Masking": options(mask_value=st.sampled_from([0.0, 1.0])),
    "LayerNormalization": options(
        center=booleans, scale=booleans, epsilon=st.sampled_from([0.1, 0.5])
    ),
    "BatchNormalization": options(center=booleans, scale=booleans),
    "Dropout": options(rate=st.sampled_from([0.0, 0.5])),
    "SpatialDropout1D": options(rate=st.sampled_from([0.0, 0.5])),
    "GaussianNoise": options(stddev=st.sampled_from([0.0, 0.5])),
    "Activation": options(activation=activations),
    "LeakyReLU": options(negative_slope=st.sampled_from([0.1, 0.3])),
    "Conv1D": options(
        filters=units,
        kernel_size=st.integers(1, 2),
        padding=st.sampled_from(["same", "causal"]),
        dilation_rate=st.integers(1, 2),
        activation=activations,
        use_bias=booleans,
    ),
    "MaxPooling1D": options(pool_size=st.integers(1, 2), padding=st.just("same")),
    "AveragePooling1D": options(pool_size=st.integers(1, 2), padding=st.just("same")),
    "ZeroPadding1D": options(padding=st.integers(0, 2)),
    "GlobalAveragePooling1D": options(keepdims=booleans),
    "GlobalMaxPooling1D": options(keepdims=booleans),
    "Permute": options(dims=st.just((2, 1))),
    "Flatten": options(),
    "Rescaling": options(scale=st.just(0.5), offset=st.just(0.1)),
    "Residual": options(layer=DENSE, merge=st.sampled_from(["Add", "Average", "Maximum"])),
    "Branches": options(layer=GRU, merge=st.just("Concatenate")),
    "Shared": options(layer=SHARED, merge=st.sampled_from(["Add", "Subtract", "Multiply"])),
}
ON_VECTORS = {
    "Dense": DENSE,
    "RepeatVector": options(n=st.integers(1, 4)),
    "LayerNormalization": ON_SEQUENCES["LayerNormalization"],
    "BatchNormalization": ON_SEQUENCES["BatchNormalization"],
    "Dropout": ON_SEQUENCES["Dropout"],
    "Activation": ON_SEQUENCES["Activation"],
    "UnitNormalization": options(),
    "Residual": ON_SEQUENCES["Residual"],
}


@st.composite
def stacks(draw):
    """An input and a list of (layer, options)."""
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(units))
    tokens = draw(booleans)
    stack = (
        [("Embedding", {"output_dim": draw(units), "mask_zero": draw(booleans)})] if tokens else []
    )
    is_sequence = True
    # A second mask replaces the first in Keras; here steps stay masked, as padding must.
    may_mask = not any(chosen["mask_zero"] for _, chosen in stack)
    for _ in range(draw(st.integers(1, 5))):
        table = ON_SEQUENCES if is_sequence else ON_VECTORS
        name = draw(st.sampled_from([name for name in table if may_mask or name != "Masking"]))
        may_mask = may_mask and name != "Masking"
        chosen = draw(table[name])
        stack.append((name, chosen))
        inner = chosen.get("layer", chosen)
        if name in ("GRU", "Bidirectional", "Branches", "Shared"):
            is_sequence = inner["return_sequences"]
        elif name.startswith("Global"):
            is_sequence = chosen["keepdims"]
        elif name in ("Flatten", "RepeatVector"):
            is_sequence = name == "RepeatVector"
    return shape, tokens, stack, draw(st.integers(0, 2**32 - 1))


def build(library, shape, tokens, stack):
    """The model of a stack, by Keras or by cgru."""
    layers = library.layers
    source = library.Input(shape[1:2] if tokens else shape[1:], dtype="int32" if tokens else None)
    x = source
    for name, chosen in stack:
        chosen = dict(chosen)
        if name == "Embedding":
            x = layers.Embedding(7, **chosen)(x)
        elif name == "Bidirectional":
            chosen["layer"] = layers.GRU(**(chosen["layer"] | {"go_backwards": False}))
            x = layers.Bidirectional(**chosen)(x)
        elif name == "TimeDistributed":
            x = layers.TimeDistributed(layers.Dense(**chosen["layer"]))(x)
        elif name == "Residual":
            width = x.shape[-1]
            h = layers.Dense(**(chosen["layer"] | {"units": width}))(x)
            x = getattr(layers, chosen["merge"])()([x, h])
        elif name == "Branches":
            pair = [layers.GRU(**chosen["layer"])(x), layers.GRU(**chosen["layer"])(x)]
            x = layers.Concatenate()(pair)
        elif name == "Shared":
            gru = layers.GRU(**chosen["layer"])
            x = getattr(layers, chosen["merge"])()([gru(x), gru(layers.Activation("tanh")(x))])
        else:
            x = getattr(layers, name)(**chosen)(x)
    return library.Model(source, x)


@SETTINGS
@hypothesis.given(stacks())
def test_random_models(case):
    shape, tokens, stack, seed = case
    rng = np.random.default_rng(seed)
    theirs, ours = build(keras, shape, tokens, stack), build(cgru, shape, tokens, stack)
    for weight in theirs.weights:
        low = 0.5 if "variance" in weight.path else -0.8
        weight.assign(rng.uniform(low, 0.8, weight.shape))
    ours.set_weights(theirs.get_weights())
    assert ours.output_shape == theirs.output_shape
    x = rng.integers(0, 7, shape[:2]) if tokens else rng.standard_normal(shape).astype("f4")
    if not tokens:
        x[rng.random(shape[:2]) < 0.3] = 0

    weights = [v.value for v in theirs.trainable_variables]
    others = [v.value for v in theirs.non_trainable_variables]

    def output(weights, inputs):
        y, _, losses = theirs.stateless_call(weights, others, inputs, return_losses=True)
        return y, sum(losses)

    inputs = jax.numpy.asarray(x)
    if tokens:
        (y, penalty), vjp = jax.vjp(lambda weights: output(weights, inputs), weights)
    else:
        (y, penalty), vjp = jax.vjp(output, weights, inputs)
    if np.isnan(y).any():  # the mean of no steps at all, in Keras
        assert np.isfinite(ours.predict_on_batch(x)).all()
        return
    scale = max(1.0, float(abs(y).max()))
    np.testing.assert_allclose(ours.predict_on_batch(x), y, rtol=1e-5, atol=1e-5 * scale)

    dy = rng.standard_normal(y.shape).astype("f4")
    gradients = vjp((dy, np.float32(1) if weights or stack else 0.0))
    penalties = []
    _, _, backward = ours.execute(ours._inputs(x), penalties=penalties)
    flat = ours.flat()
    flat.grad[:] = 0
    dx = backward(dy)
    total = ours._penalties(flat, penalties)
    np.testing.assert_allclose(total, penalty, rtol=1e-4, atol=1e-5)
    size = max([1.0, *(float(abs(g).max()) for g in gradients[0])])
    for weight, expected in zip(ours.trainable_weights, gradients[0], strict=True):
        np.testing.assert_allclose(
            weight.grad, expected, rtol=1e-4, atol=1e-5 * size, err_msg=weight.path
        )
    if not tokens and dx is not None:
        np.testing.assert_allclose(dx, gradients[1], rtol=1e-4, atol=1e-5 * size)
