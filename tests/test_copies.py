"""Copies by pickle, deepcopy and joblib train on to the same weights, in memory of their own."""

import copy
import io
import pickle

import numpy as np
import pytest
from processes import python

import cgru
from cgru import layers

X = np.random.default_rng(0).standard_normal((8, 5, 2)).astype("f4")
Y = X.sum(axis=(1, 2))


def by_joblib(thing):
    joblib = pytest.importorskip("joblib")
    stream = io.BytesIO()
    joblib.dump(thing, stream)
    stream.seek(0)
    return joblib.load(stream)


WAYS = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "joblib": by_joblib,
}
every_way = pytest.mark.parametrize("copied", WAYS.values(), ids=WAYS)


def sequential(built=True):
    return cgru.Sequential(
        [
            *([cgru.Input((None, 2))] if built else []),
            layers.Bidirectional(layers.GRU(3, dropout=0.2, recurrent_dropout=0.2)),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(1, "tanh", kernel_regularizer="l2", kernel_constraint="max_norm"),
        ]
    )


def functional():
    x = cgru.Input((None, 2))
    gru = layers.GRU(3, activity_regularizer="l2")  # shared
    both = layers.Add()([gru(x), gru(layers.GaussianNoise(0.1)(x))])
    return cgru.Model(x, layers.Dense(1)(sequential_head()(both)))


def sequential_head():
    return cgru.Sequential([cgru.Input((3,)), layers.Dense(4), layers.AlphaDropout(0.1)])


def stateful():
    return cgru.Sequential(
        [cgru.Input(batch_shape=(4, 5, 2)), layers.GRU(3, stateful=True), layers.Dense(1)]
    )


def cells():
    entry = cgru.Input(batch_shape=(4, 5, 2))
    lstm = layers.LSTM(3, stateful=True, return_sequences=True, dropout=0.2, recurrent_dropout=0.2)
    both = layers.Bidirectional(layers.SimpleRNN(2, dropout=0.1))
    return cgru.Sequential([entry, lstm, both, layers.Dense(1)])


MODELS = {
    "unbuilt": lambda: sequential(built=False),
    "sequential": sequential,
    "functional": functional,
    "stateful": stateful,
    "cells": cells,
}
OPTIMIZERS = [
    lambda: cgru.optimizers.Adam(cgru.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)),
    lambda: cgru.optimizers.SGD(0.1, momentum=0.9, use_ema=True, gradient_accumulation_steps=2),
]


def compiled(make, optimizer=OPTIMIZERS[0]):
    model = make()
    model.compile(optimizer(), "mse", metrics=["mae"])
    return model


def train(model):
    """Train, with the same draws from the source of randomness each time."""
    cgru.utils.set_random_seed(3)
    return model.fit(X, Y, 4, epochs=2).history


def assert_goes_on_alike(model, other):
    found, expected = train(other), train(model)
    assert found == expected
    for a, b in zip(other.weights, model.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=a.path)
        assert not np.shares_memory(a._value, b._value)
    flat = other.flat()
    assert other.optimizer._flat is flat
    assert all(np.shares_memory(v._value, flat.value) for v in other.trainable_weights)
    assert all(np.shares_memory(v.grad, flat.grad) for v in other.trainable_weights)
    for key, array in other.optimizer.get_state().items():
        np.testing.assert_array_equal(array, model.optimizer.get_state()[key])


@every_way
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_model_that_was_trained(make, optimizer, copied):
    model = compiled(make, optimizer)
    train(model)
    other = copied(model)
    np.testing.assert_array_equal(other.predict(X, 4), model.predict(X, 4))
    assert other.optimizer.iterations == model.optimizer.iterations
    assert_goes_on_alike(model, other)
    assert_goes_on_alike(other, copied(other))  # a copy of a copy


@every_way
@pytest.mark.parametrize("make", [sequential, functional, stateful])
def test_a_model_that_was_not_trained(make, copied):
    model = compiled(make)
    assert_goes_on_alike(model, copied(model))


@every_way
def test_a_model_without_weights(copied):
    model = compiled(MODELS["unbuilt"])
    other = copied(model)
    for each in (model, other):
        each.build((None, 5, 2))
    other.set_weights(model.get_weights())
    assert_goes_on_alike(model, other)
    assert not copied(sequential(built=False)).built


@every_way
def test_training_the_copy_leaves_the_model_alone(copied):
    model = compiled(sequential)
    train(model)
    before, state = model.get_weights(), model.optimizer.get_state()
    train(copied(model))
    for found, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    for key, array in model.optimizer.get_state().items():
        np.testing.assert_array_equal(array, state[key])


@every_way
def test_a_copy_between_gradient_and_step(copied):
    model = compiled(sequential)
    train(model)
    model.value_and_grad(model.theta, X, Y)
    other = copied(model)
    np.testing.assert_array_equal(other.flat().grad, model.flat().grad)
    np.testing.assert_array_equal(other.theta, model.theta)


@every_way
def test_a_layer_an_optimizer_and_what_they_are_made_of(copied):
    model = compiled(sequential)
    history = model.fit(X, Y, 4)
    layer = copied(model.layers[-1])
    np.testing.assert_array_equal(layer.kernel, model.layers[-1].kernel)
    layer.kernel.assign(np.zeros(layer.kernel.shape))
    assert np.any(model.layers[-1].kernel)
    optimizer = copied(model.optimizer)
    for key, array in model.optimizer.get_state().items():
        np.testing.assert_array_equal(optimizer.get_state()[key], array)
        assert not any(np.shares_memory(array, other) for other in model.optimizer.state.values())
    assert copied(history).history == history.history
    for thing in [
        cgru.losses.Huber(0.5),
        cgru.metrics.AUC(10),
        cgru.optimizers.schedules.CosineDecay(0.1, 5),
        cgru.initializers.GlorotUniform(3),
        cgru.regularizers.L1L2(0.1, 0.2),
        cgru.constraints.MaxNorm(3),
    ]:
        assert copied(thing).get_config() == thing.get_config()
    model.compile("adam", "mse")  # without a schedule, which a callback could not change
    for callback in [
        cgru.callbacks.EarlyStopping("loss", patience=3),
        cgru.callbacks.ModelCheckpoint("{epoch}"),
        cgru.callbacks.BackupAndRestore("folder"),
        cgru.callbacks.ReduceLROnPlateau("loss"),
    ]:
        model.fit(X, Y, 4, callbacks=[] if hasattr(callback, "save_freq") else [callback])
        assert type(copied(callback)) is type(callback)


@every_way
def test_two_models_that_share_layers_still_do(copied):
    x = cgru.Input((None, 2))
    features = layers.GRU(3)(x)
    first, second = (cgru.Model(x, layers.Dense(1)(features)) for _ in range(2))
    for model in (first, second):
        model.compile("adam", "mse")
        train(model)
    a, b = copied((first, second))
    assert a.layers[1] is b.layers[1]
    for model, other in ((first, a), (second, b), (first, a)):
        assert_goes_on_alike(model, other)


def test_in_another_process(tmp_path):
    model = compiled(stateful)
    train(model)
    path = tmp_path / "model.pickle"
    path.write_bytes(pickle.dumps(model))
    code = """
import pickle, sys
import test_copies
with open(sys.argv[1], "rb") as stream:
    model = pickle.load(stream)
test_copies.train(model)
with open(sys.argv[1], "wb") as stream:
    pickle.dump(model, stream)
"""
    python(code, path)
    train(model)
    for found, expected in zip(
        pickle.loads(path.read_bytes()).get_weights(), model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_what_joblib_maps_into_memory_can_be_trained(tmp_path):
    joblib = pytest.importorskip("joblib")
    model = compiled(sequential)
    train(model)
    joblib.dump(model, tmp_path / "model")
    assert_goes_on_alike(model, joblib.load(tmp_path / "model", mmap_mode="r"))


@pytest.mark.parametrize("copied", [*WAYS.values(), copy.copy], ids=[*WAYS, "copy"])
@pytest.mark.parametrize("compiled", [True, False])
def test_a_stream_goes_on_from_the_same_states(copied, compiled):
    head = [] if compiled else [layers.Dense(3, activation="relu")]
    model = cgru.Sequential([cgru.Input((None, 2)), layers.LSTM(4, return_sequences=True), *head])
    stream = model.stream(8)
    stream.run(X[:, :3])
    other = copied(stream)
    expected = model.predict(X)[:, 3]
    np.testing.assert_allclose(other.step(X[:, 3]), expected, rtol=1e-6)
    np.testing.assert_allclose(stream.step(X[:, 3]), expected, rtol=1e-6)
