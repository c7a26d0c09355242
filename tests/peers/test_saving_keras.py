"""Files of Keras: models go there and back, with their weights and optimizers.

``CGRU_KERAS_FILES`` is the number of random models each way, 15 by default.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np
import pytest

pytest.importorskip("h5py")
keras = pytest.importorskip("keras")
hypothesis = pytest.importorskip("hypothesis")

from peers import test_random_models as peers  # noqa: E402

import cgru  # noqa: E402

COUNT = int(os.environ.get("CGRU_KERAS_FILES", "15"))

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def close(got, wanted, tolerance=1e-6):
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


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
    theirs.save(f"{path}.keras")
    theirs.save_weights(f"{path}.weights.h5")
    close(predictions(cgru.load_model(f"{path}.keras"), x), wanted)
    fresh = peers.build(cgru, case[0], case[1], case[2])
    fresh.load_weights(f"{path}.weights.h5")
    for a, b in zip(fresh.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    ours.save(f"{path}_ours.keras")
    ours.save_weights(f"{path}_ours.weights.h5")
    again = keras.saving.load_model(f"{path}_ours.keras")
    close(predictions(again, x), wanted)
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
        close(predictions(again, x), predictions(model, x))
        for _ in range(2):
            wanted, got = (m.train_on_batch(x, y, return_dict=True) for m in (model, again))
            assert got.keys() == wanted.keys()
            close(got["loss"], wanted["loss"], 1e-5)
        for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
            close(a, b, 1e-5)


ON_SEQUENCES = {
    "Activation": {"activation": "gelu"},
    "ActivityRegularization": {"l2": 0.1},
    "AlphaDropout": {"rate": 0.1},
    "AveragePooling1D": {"pool_size": 2},
    "BatchNormalization": {"momentum": 0.9},
    "Conv1D": {"filters": 2, "kernel_size": 2, "strides": 2},
    "Cropping1D": {"cropping": (1, 0)},
    "Dense": {"units": 2, "kernel_constraint": "non_neg", "kernel_regularizer": "l2"},
    "Dropout": {"rate": 0.1, "seed": 3},
    "ELU": {"alpha": 0.5},
    "Flatten": {},
    "GRU": {"units": 2, "seed": 1},
    "GaussianDropout": {"rate": 0.1},
    "GaussianNoise": {"stddev": 0.1},
    "GlobalAveragePooling1D": {},
    "GlobalMaxPooling1D": {"keepdims": True},
    "Identity": {},
    "LSTM": {"units": 2, "unit_forget_bias": False},
    "LayerNormalization": {"epsilon": 0.1},
    "LeakyReLU": {"negative_slope": 0.2},
    "Masking": {"mask_value": 1.0},
    "MaxPooling1D": {"pool_size": 2, "padding": "same"},
    "Normalization": {"mean": [0.1, 0.2, 0.3], "variance": [1.0, 2.0, 3.0]},
    "PReLU": {"shared_axes": [1]},
    "Permute": {"dims": (2, 1)},
    "ReLU": {"max_value": 0.5},
    "Rescaling": {"scale": 0.5, "offset": 0.1},
    "Reshape": {"target_shape": (3, -1)},
    "SimpleRNN": {"units": 2, "return_sequences": True},
    "Softmax": {"axis": -1},
    "SpatialDropout1D": {"rate": 0.1},
    "UnitNormalization": {},
    "UpSampling1D": {"size": 2},
    "ZeroPadding1D": {"padding": (1, 2)},
}
MERGING = ("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract")
WRAPPED = ("Bidirectional", "TimeDistributed")
OTHERS = ("Embedding", "InputLayer", "RepeatVector", "Layer")


def every_layer(library):
    """A model with all of them, and one output for each."""
    layers = library.layers
    source, tokens = library.Input((4, 3)), library.Input((4,), dtype="int32")
    found = [getattr(layers, name)(**chosen)(source) for name, chosen in ON_SEQUENCES.items()]
    embedded = layers.Embedding(7, 3, mask_zero=True)(tokens)
    for name in MERGING:
        options = {"axes": 2} if name == "Dot" else {}
        found.append(getattr(layers, name)(**options)([source, embedded]))
    found.append(layers.TimeDistributed(layers.Dense(2))(embedded))
    both = layers.Bidirectional(layers.GRU(2, return_state=True), merge_mode=None)(embedded)
    found += [*both, layers.RepeatVector(2)(both[0])]
    found.append(
        layers.Bidirectional(layers.GRU(2), merge_mode="sum", name="again")(
            source, initial_state=list(both[2:])
        )
    )
    _, *states = layers.LSTM(2, return_state=True)(embedded)
    found += [layers.LSTM(2)(source, initial_state=states)]
    found += layers.Bidirectional(layers.LSTM(2, return_state=True))(
        source, initial_state=states * 2
    )
    found.append(layers.Bidirectional(layers.SimpleRNN(2))(embedded))
    found.append(layers.Normalization(name="adapted")(source))
    return library.Model([source, tokens], found)


def test_every_layer_both_ways(tmp_path):
    classes = {cls.__name__ for cls in vars(cgru.layers).values() if isinstance(cls, type)}
    assert classes - {"Merge"} <= {*ON_SEQUENCES, *MERGING, *WRAPPED, *OTHERS}
    rng = np.random.default_rng(0)
    theirs = every_layer(keras)
    for weight in theirs.weights:
        if weight.dtype == "float32":
            low = 0.5 if "variance" in weight.path else -0.8
            weight.assign(rng.uniform(low, 0.8, weight.shape))
    theirs.get_layer("adapted").finalize_state()  # where it takes what was assigned
    x = [rng.standard_normal((5, 4, 3)).astype("f4"), rng.integers(0, 7, (5, 4))]
    wanted = [np.asarray(y) for y in theirs(x, training=False)]
    theirs.save(tmp_path / "theirs.keras")
    ours = cgru.load_model(tmp_path / "theirs.keras")
    for got, y in zip(ours.predict(x), wanted, strict=True):
        close(got, y)
    ours.save(tmp_path / "ours.keras")
    again = keras.saving.load_model(tmp_path / "ours.keras")
    for got, y in zip(again(x, training=False), wanted, strict=True):
        close(np.asarray(got), y)
    for a, b in zip(again.layers, theirs.layers, strict=True):
        mine, own = a.get_config(), b.get_config()
        for key in own.keys() - {"seed", "dtype", "layer", "backward_layer", "mean", "variance"}:
            if "initializer" not in key and key in mine:
                assert str(mine[key]) == str(own[key]), (a.name, key)


def two_calls(library):
    """A model whose outputs are two calls of a model within it, the first one called last."""
    layers = library.layers
    x = library.Input((None, 4))
    inner = library.Model(x, layers.GRU(4)(x), name="inner")
    a, b = library.Input((None, 4), name="a"), library.Input((None, 4), name="b")
    second, first = inner(b), inner(a)
    return library.Model([a, b], [first, layers.Dense(1)(second), second])


@pytest.mark.parametrize(("one", "other"), [(keras, cgru), (cgru, keras)])
def test_calls_of_a_model_are_outputs(one, other, tmp_path):
    x = np.random.default_rng(1).random((2, 5, 4), "float32")
    model = two_calls(one)
    model.save(tmp_path / "model.keras")
    again = other.models.load_model(tmp_path / "model.keras")
    for got, wanted in zip(again.predict([x, 2 * x]), model.predict([x, 2 * x]), strict=True):
        close(got, wanted)
