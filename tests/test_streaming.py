"""Live streams give what predict gives for the sequences so far."""

import itertools
import threading
import tracemalloc

import numpy as np
import pytest

import cgru
from cgru import _kernels
from cgru.layers import (
    GRU,
    LSTM,
    BatchNormalization,
    Bidirectional,
    Concatenate,
    Conv1D,
    Dense,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    Masking,
    Reshape,
    SimpleRNN,
)

LEVELS = [level for level in _kernels.isa_levels() if level != "blas"]


@pytest.fixture
def level():
    before = _kernels.isa()
    yield _kernels.set_isa
    _kernels.set_isa(before)


def data(batch, time, features, dtype="float32"):
    return np.random.default_rng(0).normal(size=(batch, time, features)).astype(dtype)


def scrambled(model):
    """The model with weights that are nowhere 0."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        values = rng.normal(0, 0.4, weight.shape)
        weight.assign(abs(values) if weight.name == "moving_variance" else values)
    return model


def stack(*layers, features=5, dtype="float32"):
    with_dtype = cgru.Input((None, features), dtype=dtype)
    return scrambled(cgru.Sequential([with_dtype, *layers]))


CHAINS = {
    "last": lambda d: [GRU(7, dtype=d), Dense(2, dtype=d)],
    "steps": lambda d: [GRU(7, return_sequences=True, dtype=d), Dense(2, "sigmoid", dtype=d)],
    "wide": lambda d: [GRU(64, dtype=d), Dense(1, dtype=d)],
    "stack": lambda d: [
        Dense(6, "tanh", dtype=d),
        GRU(17, return_sequences=True, dtype=d),
        GRU(9, use_bias=False, dtype=d),
        Dense(3, "relu", dtype=d),
        Dense(2, "softmax", dtype=d),
    ],
    "lstm": lambda d: [
        LSTM(17, return_sequences=True, dtype=d),
        LSTM(9, use_bias=False, dtype=d),
        Dense(2, "tanh", dtype=d),
    ],
    "simple": lambda d: [
        SimpleRNN(33, return_sequences=True, dtype=d),
        GRU(5, return_sequences=True, dtype=d),
        SimpleRNN(17, use_bias=False, return_sequences=True, dtype=d),
        LSTM(3, dtype=d),
    ],
    "other": lambda d: [GRU(7, "relu", "hard_sigmoid", dtype=d), Dense(2, dtype=d)],
    "before": lambda d: [GRU(7, reset_after=False, dtype=d), Dense(2, dtype=d)],
    "masks": lambda d: [Masking(dtype=d), GRU(7, return_sequences=True, dtype=d), GRU(3, dtype=d)],
    "zeros": lambda d: [
        Masking(dtype=d),
        GRU(7, return_sequences=True, zero_output_for_mask=True, dtype=d),
    ],
    "LSTM": lambda d: [LSTM(7, dtype=d), Dense(2, dtype=d)],
    "SimpleRNN": lambda d: [SimpleRNN(7, dtype=d), Dense(2, "sigmoid", dtype=d)],
    "cells": lambda d: [
        Masking(dtype=d),
        SimpleRNN(17, return_sequences=True, dtype=d),
        LSTM(64, return_sequences=True, zero_output_for_mask=True, dtype=d),
        LSTM(5, "relu", "hard_sigmoid", return_sequences=True, use_bias=False, dtype=d),
        SimpleRNN(3, "softsign", dtype=d),
    ],
    "norm": lambda d: [BatchNormalization(dtype=d), GRU(7, activity_regularizer="l2", dtype=d)],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("chain", CHAINS)
def test_equals_predict(level, chain, name, dtype):
    level(name)
    model = stack(*CHAINS[chain](dtype), dtype=dtype)
    for batch in (1, 3, 33):
        x = data(batch, 9, 5, dtype)
        x[:, 3:5] = 0
        x[0, 0] = 0
        stream = model.stream(batch)
        steps = [stream.step(x[:, t]) for t in range(9)]
        for t, y in enumerate(steps):
            expected = model.predict_on_batch(x[:, : t + 1])
            assert np.array_equal(y, expected if expected.ndim == 2 else expected[:, -1])
            assert y.dtype == expected.dtype
        for chunks in ([9], [1, 8], [4, 1, 4]):
            stream.reset()
            ends = np.cumsum([0, *chunks])
            parts = [stream.run(x[:, a:b]) for a, b in itertools.pairwise(ends)]
            assert np.array_equal(np.concatenate(parts, axis=1), np.stack(steps, axis=1))


def test_blas_differs_by_rounding_only(level):
    level("blas")
    model, x = stack(GRU(7, return_sequences=True), Dense(2)), data(3, 9, 5)
    np.testing.assert_allclose(model.stream(3).run(x), model.predict(x), rtol=1e-4, atol=1e-5)


def test_embedding():
    x = np.array([[1, 2, 0, 3], [0, 3, 2, 2]])
    model = cgru.Sequential([Embedding(4, 3, mask_zero=True), GRU(5), Dense(1)])
    model.build((None, None))
    scrambled(model)
    stream = model.stream(2)
    for t in range(4):
        assert np.array_equal(stream.step(x[:, t]), model.predict(x[:, : t + 1]))
    assert stream.run(x).shape == (2, 4, 1)


def test_graph():
    a, b = cgru.Input((None, 3), name="a"), cgru.Input((None, 2), name="b")
    shared = GRU(4, return_sequences=True, name="shared")
    both = Concatenate()([shared(a), shared(Dense(3)(b))])
    model = scrambled(cgru.Model([a, b], {"last": GRU(5)(both), "steps": Dense(1)(both)}))
    x = [data(2, 6, 3), data(2, 6, 2)]
    stream, expected = model.stream(2), model.predict(x)
    run = stream.run(x)
    assert np.array_equal(run["steps"], expected["steps"])
    assert np.array_equal(run["last"][:, -1], expected["last"])
    assert {"shared", "shared_call_2"} < stream.state.keys()
    stream.reset()
    y = stream.step({"a": x[0][:, 0], "b": x[1][:, 0]})
    assert np.array_equal(y["steps"], expected["steps"][:, 0])


def test_a_model_in_a_model():
    inner = cgru.Sequential([cgru.Input((None, 5)), GRU(4, return_sequences=True)])
    model, x = stack(inner, GRU(3)), data(2, 6, 5)
    assert np.array_equal(model.stream(2).run(x)[:, -1], model.predict(x))


@pytest.mark.parametrize("cell", [GRU, LSTM, SimpleRNN])
@pytest.mark.parametrize("head", [[Dense(1)], [Dense(1, "relu")]])
def test_state(head, cell):
    model, x = stack(cell(4, name="cell"), *head), data(3, 8, 5)
    stream, other = model.stream(3), model.stream(3)
    stream.run(x[:, :4])
    saved = stream.state
    assert [array.shape for array in saved["cell"]] == [(3, 4)] * (2 if cell is LSTM else 1)
    rest = stream.run(x[:, 4:])
    for before, after in zip(saved["cell"], stream.state["cell"], strict=True):
        assert not np.array_equal(before, after)
    other.state = saved
    assert np.array_equal(other.run(x[:, 4:]), rest)
    stream.state = saved
    stream.reset(np.array([False, True, False]))
    mixed = stream.run(x[:, 4:])
    assert np.array_equal(mixed[[0, 2]], rest[[0, 2]])
    assert np.array_equal(mixed[1:2, -1], model.predict(x[1:2, 4:]))


@pytest.mark.parametrize("head", [[Dense(1)], [Dense(1, "relu")]])
def test_bad_input_changes_nothing(head):
    model, x = stack(GRU(4, name="gru"), *head), data(2, 8, 5)
    stream = model.stream(2)
    stream.run(x)
    before = stream.state["gru"][0]
    bad = [x, x[:1, 0], x[:, 0, :4], np.full((2, 5), np.nan), [["a"] * 5] * 2, 3.0, None]
    for item in bad:
        with pytest.raises((ValueError, TypeError)):
            stream.step(item)
    for state in (None, {}, {"gru": []}, {"gru": [np.zeros((2, 3))]}, {"gru": [before, before]}):
        with pytest.raises(ValueError, match="state"):
            stream.state = state
    for rows in ([True], [1, 0], "both"):
        with pytest.raises(ValueError, match="rows"):
            stream.reset(rows)
    assert np.array_equal(stream.state["gru"][0], before)
    y = stream.step(x[:, 0].tolist())
    stream.state = {"gru": [before]}
    assert np.array_equal(y, stream.step(x[:, 0]))
    with pytest.raises(ValueError, match="batch_size"):
        model.stream(0)


@pytest.mark.parametrize(
    "layers",
    [
        [GRU(3, go_backwards=True)],
        [Bidirectional(GRU(3))],
        [Conv1D(3, 2), GRU(3)],
        [GRU(3, return_sequences=True), GlobalAveragePooling1D()],
        [GRU(3), Flatten()],
        [GRU(4), Reshape((2, 2))],
    ],
)
def test_layers_that_need_more_are_refused(layers):
    with pytest.raises(ValueError, match="step by step"):
        cgru.Sequential([cgru.Input((None, 5)), *layers]).stream()


def test_models_that_cannot_stream():
    with pytest.raises(ValueError, match="build"):
        cgru.Sequential([GRU(3)]).stream()
    with pytest.raises(ValueError, match="time"):
        cgru.Sequential([cgru.Input((3,)), Dense(3)]).stream()
    x = cgru.Input((None, 3))
    y, state = GRU(4, return_sequences=True, return_state=True)(x)
    with pytest.raises(ValueError, match="initial_state"):
        cgru.Model(x, GRU(4)(y, initial_state=state)).stream()


@pytest.mark.parametrize("head", [[Dense(1)], [Dense(1, "relu"), Dense(1)]])
def test_training_goes_on(head):
    model, x = stack(GRU(4), *head), data(8, 6, 5)
    stream = model.stream()
    stream.step(x[:1, 0])
    model.compile("adam", "mse")
    model.fit(x, x[:, 0, :1], epochs=2)
    stream.reset()
    assert np.array_equal(stream.run(x[:1])[:, -1], model.predict(x[:1]))
    model.set_weights([w + 1 for w in model.get_weights()])
    stream.reset()
    assert np.array_equal(stream.run(x[:1])[:, -1], model.predict(x[:1]))


def test_streams_in_threads():
    model, x = stack(GRU(16), Dense(1)), data(4, 300, 5)
    expected, found = model.predict(x), [None] * 4

    def work(row):
        stream = model.stream()
        for t in range(300):
            found[row] = stream.step(x[row : row + 1, t])

    threads = [threading.Thread(target=work, args=(row,)) for row in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(np.concatenate(found), expected)


@pytest.mark.parametrize("head", [[Dense(1)], [Dense(1, "relu")]])
def test_one_stream_in_two_threads(head):
    stream, x = stack(GRU(4), *head).stream(), data(1, 3, 5)
    assert stream._lock.acquire(blocking=False)
    for work in (lambda: stream.run(x), lambda: stream.step(x[:, 0]), stream.reset):
        with pytest.raises(RuntimeError, match="another thread"):
            work()
    stream._lock.release()
    stream.run(x)


@pytest.mark.parametrize("head", [[Dense(1)], [Dense(1, "relu")]])
def test_steps_keep_no_memory(head):
    stream, x = stack(GRU(8), *head).stream(), data(1, 1, 5)[:, 0]
    for _ in range(100):
        stream.step(x)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(5000):
        stream.step(x)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 4096


def test_a_layer_of_each_step_carries_nothing():
    layers = [cgru.Input((None, 4, 3)), cgru.layers.TimeDistributed(GRU(5)), GRU(2)]
    model = scrambled(cgru.Sequential(layers))
    x = np.random.default_rng(2).normal(size=(2, 6, 4, 3)).astype("float32")
    assert np.array_equal(model.stream(2).run(x)[:, -1], model.predict(x))


def test_a_layer_used_twice_and_a_fixed_length():
    inputs, dense = cgru.Input((6, 5)), Dense(5, "tanh")
    model = scrambled(cgru.Model(inputs, GRU(3)(dense(dense(inputs)))))
    x = data(2, 6, 5)
    assert np.array_equal(model.stream(2).run(x)[:, -1], model.predict(x))


@pytest.mark.parametrize("cell", [GRU, LSTM, SimpleRNN])
@pytest.mark.parametrize("head", [[Dense(1)], [Dense(1, "relu")]])
def test_the_model_keeps_its_own_states(head, cell):
    model, x = stack(cell(4, stateful=True), *head), data(2, 6, 5)
    first = model.predict_on_batch(x)
    carried = model.layers[0]._state.copy()
    assert np.array_equal(model.stream(2).run(x)[:, -1], first)
    assert np.array_equal(model.layers[0]._state, carried)


def test_levels_may_change_between_steps(level):
    model, x = stack(GRU(20), Dense(1)), data(2, 6, 5)
    stream = model.stream(2)
    for name in LEVELS:
        level(name)
        stream.reset()
        assert np.array_equal(stream.run(x)[:, -1], model.predict(x))


def test_a_chunk_is_read_as_its_steps_where_the_last_state_meets_each_step():
    x = cgru.Input((None, 3))
    model = cgru.Model(x, cgru.layers.Add()([GRU(3)(x), x]))
    data = np.random.default_rng(0).standard_normal((1, 4, 3)).astype("float32")
    stream = model.stream()
    steps = np.stack([stream.step(data[:, t]) for t in range(4)], axis=1)
    stream.reset()
    np.testing.assert_array_equal(stream.run(data), steps)
    outer_x = cgru.Input((None, 3))
    stream = cgru.Model(outer_x, model(outer_x)).stream()
    np.testing.assert_array_equal(stream.run(data), steps)


def test_packets_that_are_not_aligned():
    x = data(2, 4, 5)
    for model in (stack(GRU(7), Dense(2)), stack(GRU(7, "relu"), Dense(2))):
        stream, packet = model.stream(2), b"!" + x[:, 0].tobytes()
        crooked = np.frombuffer(packet, "<f4", offset=1).reshape(2, 5)
        assert not crooked.flags.aligned
        np.testing.assert_array_equal(stream.step(crooked), model.predict(x[:, :1]))
        whole = np.frombuffer(b"!" + x.tobytes(), "<f4", offset=1).reshape(x.shape)
        np.testing.assert_array_equal(model.predict(whole), model.predict(x))


def test_a_layer_may_have_a_state_of_its_own(tmp_path):
    class Counting(cgru.layers.Layer):
        stepwise = True

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self._state, self.stateful = np.zeros(3), False

        def forward(self, x):
            return x, lambda dy: dy

    model, x = stack(Counting(), GRU(4), Dense(1)), data(2, 4, 5)
    stream = model.stream(2)
    assert list(stream.state) == [model.layers[1].name]
    np.testing.assert_array_equal(stream.run(x)[:, -1], model.predict(x))
    model.compile("sgd", "mse")
    model.fit(x, np.ones((2, 1)), callbacks=cgru.callbacks.BackupAndRestore(tmp_path / "b"))
    model.fit(x, np.ones((2, 1)), callbacks=cgru.callbacks.ModelCheckpoint(tmp_path / "c"))
    cgru.load_model(tmp_path / "c", custom_objects={"Counting": Counting})
    model.fit(x, np.ones((2, 1)), tbptt=2)
    np.testing.assert_array_equal(model.layers[0]._state, 0)
