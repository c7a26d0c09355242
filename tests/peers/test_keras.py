"""Outputs, gradients and training agree with Keras 3, on its JAX backend.

To 1e-5, the precision of float32: on JAX, Keras computes tanh and means in float32 whatever their
inputs.  (tests/peers/test_torch.py compares in float64.)
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np
import pytest
from branched import ORDERS

import cgru
from cgru import layers

keras = pytest.importorskip("keras")
jax = pytest.importorskip("jax")
if keras.backend.backend() != "jax":
    pytest.skip("gradients are taken with JAX", allow_module_level=True)

OPTIONS = [
    {},
    {"reset_after": False},
    {"use_bias": False},
    {"go_backwards": True},
    {"return_sequences": True},
    {"return_sequences": True, "go_backwards": True, "reset_after": False},
    {"activation": "relu", "recurrent_activation": "hard_sigmoid"},
]


def agree(got, wanted):
    scale = max(1.0, float(abs(np.asarray(wanted)).max()))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_gru(rng, options, masked):
    batch, time, features, units = 5, 9, 3, 7
    options = {"return_state": True} | options
    ours, theirs = layers.GRU(units, **options), keras.layers.GRU(units, **options)
    ours.build((None, None, features))
    theirs.build((None, None, features))
    weights = [(rng.standard_normal(w.shape) / 2).astype("f4") for w in ours.weights]
    ours.set_weights(weights)
    x = rng.standard_normal((batch, time, features)).astype("f4")
    start = rng.standard_normal((batch, units)).astype("f4")
    mask = rng.integers(0, 2, (batch, time)).astype(bool) if masked else None
    (y, last), backward = ours.forward(x, mask=mask, initial_state=[start])
    dy = rng.standard_normal(y.shape).astype("f4")
    dlast = rng.standard_normal(last.shape).astype("f4")

    def objective(weights, x, start):
        (outputs, state), _ = theirs.stateless_call(
            weights, non_trainable, x, initial_state=start, mask=mask
        )
        return (outputs * dy).sum() + (state * dlast).sum(), (outputs, state)

    non_trainable = [v.value for v in theirs.non_trainable_variables]
    gradient = jax.value_and_grad(objective, argnums=(0, 1, 2), has_aux=True)
    (_, (their_y, their_last)), (dweights, their_dx, their_dstart) = gradient(weights, x, start)
    dx, [dstart] = backward((dy, dlast))
    agree(y, their_y)
    agree(last, their_last)
    agree(dx, their_dx)
    agree(dstart, their_dstart)
    for got, wanted in zip(ours.weights, dweights, strict=True):
        agree(got.grad, wanted)


@pytest.mark.parametrize("name", ["LSTM", "SimpleRNN"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_bias": False},
        {"go_backwards": True, "return_sequences": True},
        {"zero_output_for_mask": True, "return_sequences": True},
        {"activation": "relu"},
    ],
    ids=str,
)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_other_recurrent_layers(rng, name, options, masked, dtype):
    batch, time, features, units = 5, 9, 3, 7
    ours, theirs = (
        getattr(library, name)(units, return_state=True, **options)
        for library in (layers, keras.layers)
    )
    ours = type(ours).from_config(ours.get_config() | {"dtype": dtype})
    ours.build((None, None, features))
    theirs.build((None, None, features))
    weights = [(rng.standard_normal(w.shape) / 2).astype("f4") for w in ours.weights]
    ours.set_weights(weights)
    x = rng.standard_normal((batch, time, features)).astype("f4")
    start = [rng.standard_normal((batch, units)).astype("f4") for _ in range(ours._states)]
    mask = rng.integers(0, 2, (batch, time)).astype(bool) if masked else None
    given = [state.astype(dtype) for state in start]
    y, backward = ours.forward(x.astype(dtype), mask=mask, initial_state=given)
    dy = [rng.standard_normal(part.shape).astype("f4") for part in y]

    def objective(weights, x, start):
        outputs, _ = theirs.stateless_call(
            weights, non_trainable, x, initial_state=start, mask=mask
        )
        return sum((part * d).sum() for part, d in zip(outputs, dy, strict=True)), outputs

    non_trainable = [v.value for v in theirs.non_trainable_variables]
    gradient = jax.value_and_grad(objective, argnums=(0, 1, 2), has_aux=True)
    (_, their_y), (dweights, their_dx, their_dstart) = gradient(weights, x, start)
    dx, dstart = backward(tuple(d.astype(dtype) for d in dy))
    agree(dx, their_dx)
    for got, wanted in zip((*y, *dstart), (*their_y, *their_dstart), strict=True):
        assert got.dtype == dtype
        agree(got, wanted)
    for got, wanted in zip(ours.weights, dweights, strict=True):
        agree(got.grad, wanted)


OPTIMIZERS = [
    ("Adam", {"learning_rate": 0.01}),
    ("Adam", {"learning_rate": 0.01, "amsgrad": True, "global_clipnorm": 0.1}),
    ("RMSprop", {"learning_rate": 0.001}),
    ("RMSprop", {"learning_rate": 0.001, "momentum": 0.5, "centered": True, "clipnorm": 0.1}),
    ("SGD", {"learning_rate": 0.1}),
    ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True, "clipvalue": 0.01}),
]


@pytest.mark.parametrize(("optimizer", "options"), OPTIMIZERS, ids=str)
def test_fifty_steps_follow_keras(rng, optimizer, options):
    cgru.utils.set_random_seed(1)
    x = rng.standard_normal((400, 10, 4)).astype("f4")
    labels = (x[:, -1, 0] > 0).astype(int) + (x[:, 0, 1] > 0)
    models = []
    for library in (cgru, keras):
        model = library.Sequential(
            [
                library.Input((10, 4)),
                library.layers.GRU(8, return_sequences=True),
                library.layers.GRU(6),
                library.layers.Dense(3, activation="softmax"),
            ]
        )
        model.compile(
            getattr(library.optimizers, optimizer)(**options),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        models.append(model)
    ours, theirs = models
    theirs.set_weights(ours.get_weights())
    arguments = {"batch_size": 16, "epochs": 2, "shuffle": False, "verbose": 0}
    history = [model.fit(x, labels, **arguments).history for model in models]
    assert ours.optimizer.iterations == 50
    for got, wanted in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(history[0][name], history[1][name], atol=1e-5)


LOSSES = [
    ("MeanSquaredError", {}, None),
    ("MeanAbsoluteError", {}, None),
    ("BinaryCrossentropy", {}, "probability"),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, "probability"),
    ("CategoricalCrossentropy", {}, "one-hot"),
    ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, "one-hot"),
    ("SparseCategoricalCrossentropy", {}, "label"),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, "label"),
]


@pytest.mark.parametrize(("name", "options", "kind"), LOSSES, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_losses(rng, name, options, kind, weighted):
    p = rng.uniform(0.05, 0.95, (6, 5, 3))
    labels = rng.integers(0, 3, (6, 5))
    y = {"one-hot": np.eye(3)[labels], "label": labels, "probability": (p > 0.4) * 1.0}.get(kind, p)
    p = rng.uniform(0.05, 0.95, (6, 5, 3)).astype("f4")
    weight = rng.uniform(0, 2, (6, 5)).astype("f4") if weighted else None
    ours = getattr(cgru.losses, name)(**options)
    theirs = getattr(keras.losses, name)(**options)
    value, gradient = jax.value_and_grad(lambda p: theirs(y, p, sample_weight=weight))(p)
    got = ours.value_and_grad(ours.prepare(y, p.shape, p.dtype), p, weight)
    agree(got[0], value)
    agree(got[1], gradient)


@pytest.mark.parametrize(
    "name",
    ["elu", "exponential", "hard_sigmoid", "relu", "sigmoid", "silu", "softmax", "softplus",
     "softsign", "tanh"],
)  # fmt: skip
def test_activations(rng, name):
    x = rng.standard_normal((6, 5)).astype("f4") * 3
    agree(cgru.activations.get(name)(x), getattr(keras.activations, name)(x))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("relu", {"negative_slope": 0.1, "max_value": 2.0, "threshold": 0.5}),
        ("relu", {"max_value": 1.0}),
        ("leaky_relu", {"negative_slope": 0.3}),
        ("elu", {"alpha": 0.5}),
        ("celu", {"alpha": 0.5}),
        ("gelu", {"approximate": True}),
        ("glu", {}),
        ("glu", {"axis": 0}),
        ("hard_shrink", {"threshold": 1.0}),
        ("soft_shrink", {"threshold": 1.0}),
        ("squareplus", {"b": 2.0}),
        ("softmax", {"axis": 0}),
        ("log_softmax", {"axis": 0}),
        ("threshold", {"threshold": 0.5, "default_value": -1.0}),
    ],
    ids=str,
)
def test_options_of_activations(rng, name, options):
    x = rng.standard_normal((6, 4)).astype("f4") * 3
    ours, theirs = (getattr(library.activations, name) for library in (cgru, keras))
    agree(ours(x, **options), theirs(x, **options))


def test_orthogonal_initializer_has_the_orientation_of_keras():
    for shape in ((3, 9), (9, 3)):
        ours = cgru.initializers.Orthogonal(seed=1)(shape)
        theirs = np.asarray(keras.initializers.Orthogonal(seed=1)(shape))
        if shape[0] < shape[1]:
            ours, theirs = ours.T, theirs.T
        np.testing.assert_allclose(ours.T @ ours, theirs.T @ theirs, atol=1e-6)


METRICS = [
    ("Precision", {"top_k": 2}),
    ("Precision", {"class_id": 1, "thresholds": [0.3, 0.6]}),
    ("Recall", {"top_k": 1, "class_id": 2}),
    ("Recall", {"top_k": 2, "thresholds": 0.4}),
    ("AUC", {"summation_method": "minoring"}),
    ("AUC", {"summation_method": "majoring", "curve": "PR"}),
    ("AUC", {"thresholds": [0.2, 0.5, 0.9]}),
    ("R2Score", {"class_aggregation": None}),
    ("R2Score", {"class_aggregation": "variance_weighted_average", "num_regressors": 3}),
    ("R2Score", {"num_regressors": 2}),
]


@pytest.mark.parametrize(("name", "options"), METRICS, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_options_of_metrics(rng, name, options, weighted):
    ours, theirs = getattr(cgru.metrics, name)(**options), getattr(keras.metrics, name)(**options)
    again = cgru.metrics.get(type(ours).from_config(ours.get_config()))
    for _ in range(2):
        y, p = rng.integers(0, 2, (20, 4)).astype("f4"), rng.random((20, 4)).astype("f4")
        weight = rng.random(20).astype("f4") if weighted else None
        ours.update_state(y, p, weight)
        again.update_state(y, p, weight)
        theirs.update_state(y, p, None if weight is None else weight[:, None])
    agree(ours.result(), theirs.result())
    agree(again.result(), theirs.result())


@pytest.mark.parametrize("branched", ORDERS, ids=lambda make: make.__name__)
def test_the_order_of_layers_and_weights(branched):
    ours, theirs = branched(cgru), branched(keras)
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]
    assert [w.shape for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    paths = [weight.path.replace("/gru_cell", "") for weight in theirs.weights]
    assert [weight.path for weight in ours.weights] == paths
