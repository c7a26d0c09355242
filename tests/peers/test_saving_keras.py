"""Files of Keras: models go there and back, with their weights and optimizers.

``CGRU_KERAS_FILES`` is the number of random models each way, 25 by default.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np
import pytest

pytest.importorskip("h5py")
keras = pytest.importorskip("keras")
hypothesis = pytest.importorskip("hypothesis")
peers = pytest.importorskip("peers.test_random_models")

import cgru  # noqa: E402

COUNT = int(os.environ.get("CGRU_KERAS_FILES", "25"))

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def close(got, wanted, tolerance=1e-6):
    scale = max(1.0, float(np.max(np.abs(wanted), initial=0)))
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * scale)


def predictions(model, x):
    if isinstance(model, keras.Model):
        return np.asarray(model(x, training=False))
    return model.predict_on_batch(x)


def model_files(case, folder, name):
    shape, tokens, stack, seed = case
    rng = np.random.default_rng(seed)
    theirs, ours = peers.pair(rng, shape, tokens, stack)
    return theirs, ours, peers.inputs(rng, shape, tokens), f"{folder}/{name}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@peers.settings(COUNT)
@hypothesis.given(case=peers.stacks())
def test_random_models_both_ways(case, folder):
    theirs, ours, x, path = model_files(case, folder, "m")
    wanted = predictions(theirs, x)
    if np.isnan(wanted).any():  # the mean of no steps at all, in Keras
        return
    tolerance = 2e-6
    theirs.save(f"{path}.keras")
    theirs.save_weights(f"{path}.weights.h5")
    close(predictions(cgru.load_model(f"{path}.keras"), x), wanted, tolerance)
    fresh = peers.build(cgru, case[0], case[1], case[2])
    fresh.load_weights(f"{path}.weights.h5")
    for a, b in zip(fresh.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    ours.save(f"{path}_ours.keras")
    ours.save_weights(f"{path}_ours.weights.h5")
    again = keras.saving.load_model(f"{path}_ours.keras")
    close(predictions(again, x), wanted, tolerance)
    blank = peers.build(keras, case[0], case[1], case[2])
    blank.load_weights(f"{path}_ours.weights.h5")
    for a, b in zip(blank.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


OPTIMIZERS = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.5, "centered": True}),
    ("Adam", {"amsgrad": True, "clipnorm": 0.1}),
    ("Adam", {"use_ema": True, "gradient_accumulation_steps": 2}),
    ("AdamW", {"weight_decay": 0.1}),
    ("Nadam", {}),
    ("Adamax", {}),
    ("Adagrad", {}),
    ("Adadelta", {"learning_rate": 1.0}),
    ("Lion", {}),
    ("Adam", {"learning_rate": "schedule"}),
]


def compiled(library, optimizer, recurrent):
    name, options = optimizer
    options = dict({"learning_rate": 0.01}, **options)
    if options["learning_rate"] == "schedule":
        options["learning_rate"] = library.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    layers = library.layers
    source = library.Input((2, 3))
    x = source
    if recurrent:
        x = layers.Bidirectional(layers.GRU(2, reset_after=False))(x)
    x = layers.BatchNormalization()(layers.Flatten()(x))
    frozen = layers.Dense(3, trainable=False)
    model = library.Model(source, layers.Dense(1)(frozen(layers.Dense(4, "tanh")(x))))
    model.compile(
        getattr(library.optimizers, name)(**options),
        library.losses.Huber(),
        metrics=["mae", library.metrics.MeanSquaredError()],
        **({"run_eagerly": True} if library is keras and not recurrent else {}),
    )
    return model


@pytest.mark.parametrize(
    ("optimizer", "recurrent"),
    [*((optimizer, False) for optimizer in OPTIMIZERS), (("Adam", {}), True)],
    ids=str,
)
def test_optimizers_both_ways(optimizer, recurrent, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((8, 2, 3)).astype("f4"), rng.standard_normal((8, 1)).astype("f4")
    for first, load in ((keras, cgru.load_model), (cgru, keras.saving.load_model)):
        model = compiled(first, optimizer, recurrent)
        for _ in range(3):
            model.train_on_batch(x, y)
        model.save(tmp_path / "m.keras")
        again = load(tmp_path / "m.keras")
        if first is cgru:
            again.run_eagerly = not recurrent
        assert int(again.optimizer.iterations) == int(model.optimizer.iterations)
        close(predictions(again, x), predictions(model, x), 2e-6)
        for _ in range(2):
            wanted, got = (m.train_on_batch(x, y, return_dict=True) for m in (model, again))
            assert got.keys() == wanted.keys()
            close(got["loss"], wanted["loss"], 1e-5)
        for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
            close(a, b, 1e-5)
