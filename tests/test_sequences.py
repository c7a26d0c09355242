"""Sequences of different lengths, and long ones in chunks."""

import tracemalloc

import numpy as np
import pytest

import cgru
from cgru import layers

KINDS = [layers.GRU, layers.LSTM, layers.SimpleRNN]
every_kind = pytest.mark.parametrize("kind", KINDS)
LENGTHS = [5, 1, 7, 3, 7, 2, 4]


@pytest.fixture
def float64():
    cgru.config.set_floatx("float64")
    yield
    cgru.config.set_floatx("float32")


def recurrent(steps=False, kind=layers.GRU, **options):
    model = cgru.Sequential(
        [
            cgru.Input((None, 3)),
            kind(5, return_sequences=True, **options),
            layers.Dense(4, "tanh"),
            kind(3, return_sequences=steps, **options),
            layers.Dense(2),
        ]
    )
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def sequences(rng, lengths=LENGTHS, features=3):
    return [rng.standard_normal((length, features)) for length in lengths]


def padded(items, fill):
    array = np.full((len(items), max(map(len, items)), items[0].shape[-1]), float(fill))
    for row, item in zip(array, items, strict=True):
        row[: len(item)] = item
    return array


@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"reset_after": False}, {"activation": "relu"}, {"kind": layers.LSTM},
     {"kind": layers.LSTM, "activation": "relu"}, {"kind": layers.SimpleRNN},
     {"kind": layers.SimpleRNN, "activation": "relu"}, {"zero_output_for_mask": True}],
    ids=str,
)  # fmt: skip
def test_each_sequence_is_predicted_as_if_alone(rng, steps, options):
    model, x = recurrent(steps, **options), sequences(rng)
    alone = [model.predict(item[np.newaxis])[0] for item in x]
    found = model.predict(x, batch_size=3)
    assert len(found) == len(x)
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_array_equal(one, other)
    for fill in (0, np.nan, np.inf, 1e30):
        again = model.predict(padded(x, fill), lengths=LENGTHS)
        for one, other in zip(again, alone, strict=True):
            np.testing.assert_array_equal(one, other)


@every_kind
@pytest.mark.parametrize("fill", [0, np.nan])
def test_gradients_are_the_sum_of_those_alone(rng, float64, fill, kind):
    """A batch of sequences: the mean loss over all of them, and its gradient."""
    model, x = recurrent(kind=kind), sequences(rng)
    y = rng.standard_normal((len(x), 2))
    alone = [
        model.value_and_grad(model.theta, item[np.newaxis], y[i : i + 1])
        for i, item in enumerate(x)
    ]
    before = model.theta
    model.compile(cgru.optimizers.SGD(1.0), "mse")
    model.fit(padded(x, fill), y, lengths=LENGTHS, batch_size=len(x))
    np.testing.assert_allclose(
        before - model.theta, np.mean([grad for _, grad in alone], axis=0), rtol=1e-8, atol=1e-12
    )
    assert model.history.history["loss"][0] == pytest.approx(np.mean([value for value, _ in alone]))


@every_kind
def test_gradients_of_an_output_for_each_step(rng, float64, kind):
    """Each step counts the same, whatever the length of its sequence."""
    model, x = recurrent(True, kind), sequences(rng)
    y = [rng.standard_normal((len(item), 2)) for item in x]
    alone = [
        model.value_and_grad(model.theta, item[np.newaxis], target[np.newaxis])
        for item, target in zip(x, y, strict=True)
    ]
    weights = np.array(LENGTHS) / sum(LENGTHS)
    before = model.theta
    model.compile(cgru.optimizers.SGD(1.0), "mse")
    model.fit(x, y, batch_size=len(x))
    expected = np.sum([w * grad for w, (_, grad) in zip(weights, alone, strict=True)], axis=0)
    np.testing.assert_allclose(before - model.theta, expected, rtol=1e-8, atol=1e-12)


def test_evaluation_of_sequences(rng):
    model, x = recurrent(steps=True), sequences(rng)
    y = [rng.standard_normal((len(item), 2)) for item in x]
    loss, mae = model.evaluate(x, y, batch_size=len(x))
    differences = np.concatenate(model.predict(x)) - np.concatenate(y)
    assert loss == pytest.approx(np.mean(differences**2), rel=1e-5)
    assert mae == pytest.approx(np.mean(abs(differences)), rel=1e-5)
    array = model.evaluate(padded(x, np.nan), padded(y, np.nan), lengths=LENGTHS, batch_size=7)
    np.testing.assert_allclose(array, [loss, mae], rtol=1e-6)


@every_kind
def test_a_sequence_of_length_zero_gives_the_initial_state(rng, kind):
    model = cgru.Sequential([cgru.Input((None, 3)), kind(4)])
    found = model.predict(sequences(rng, [2, 0, 3]))
    np.testing.assert_array_equal(found[1], np.zeros(4))
    assert (found[[0, 2]] != 0).all()
    np.testing.assert_array_equal(
        model.predict(np.ones((2, 3, 3)), lengths=[0, 0]), np.zeros((2, 4))
    )
    model.compile("sgd", "mse")
    model.fit(sequences(rng, [2, 0, 3]), np.zeros((3, 4)))


def test_batches_hold_sequences_of_similar_length(rng):
    lengths = rng.integers(1, 200, 640)
    x = cgru.data.Sequences(np.zeros((lengths.sum(), 1)), lengths)
    batches = cgru.data.ArrayBatches(cgru.data.Batch(x, np.arange(640)), 32, shuffle=True)
    seen, area = [], 0
    for batch in batches:
        seen.append(batch.y)
        area += batch.x.size
        assert (batch.mask.sum(axis=1) == lengths[batch.y]).all()
    assert sorted(np.concatenate(seen)) == list(range(640))
    assert not np.array_equal(np.concatenate(seen), np.concatenate([b.y for b in batches]))
    assert area < 1.2 * lengths.sum()


def test_tokens_of_different_lengths(rng):
    model = cgru.Sequential([layers.Embedding(20, 4), layers.GRU(3), layers.Dense(1)])
    model.compile("adam", "mse")
    x = [rng.integers(0, 20, length) for length in LENGTHS]
    model.fit(x, rng.standard_normal(len(x)))
    alone = [model.predict(item[np.newaxis])[0] for item in x]
    np.testing.assert_array_equal(model.predict(x), alone)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": np.ones((3, 4, 3)), "lengths": [1, 2]}, r"lengths: expected one for each of 3"),
        ({"x": np.ones((3, 4, 3)), "lengths": [1, 2, 5]}, r"lengths: expected from 0 to .* 1 to 5"),
        ({"x": np.ones((3, 4, 3)), "lengths": [1, 2, -1]}, r"lengths: expected from 0 to"),
        ({"x": np.ones((3, 4, 3)), "lengths": [1, 2, 2.5]}, r"lengths: expected integers, got 2.5"),
        ({"x": [np.ones((3, 3)), np.ones((2, 2))]}, r"x\[1\]: expected shape \('time', 3\)"),
        ({"x": [np.ones((3, 3)), np.full((2, 3), np.nan)]}, r"x\[1\]: expected finite .* \(0, 0\)"),
        (
            {"x": [np.ones((3, 3)), np.ones((2, 3))], "lengths": [3, 2]},
            r"lengths: expected with an array of padded",
        ),
        ({"x": iter([np.ones((2, 3, 3))]), "lengths": [3, 2]}, r"lengths: expected with an array"),
        ({"x": np.ones(3), "lengths": [1, 1, 1]}, r"x: expected \[samples, time, ...\]"),
        ({"x": [np.ones((3, 3)), [["a"] * 3] * 2]}, r"x\[1\]: expected an array of numbers"),
    ],
)
def test_bad_sequences(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        recurrent().predict(**arguments)


def test_targets_that_do_not_fit_sequences(rng):
    model, x = recurrent(steps=True), sequences(rng, [2, 3])
    with pytest.raises(ValueError, match=r"y\[1\]: expected 3 steps, as in x, got 2"):
        model.fit(x, [np.zeros((2, 2)), np.zeros((2, 2))])
    with pytest.raises(ValueError, match="same number of samples"):
        model.fit(x, [np.zeros((2, 2))])


# ---- Long sequences in chunks ----


@pytest.mark.parametrize("steps", [False, True])
def test_chunks_as_long_as_the_sequences_give_the_full_gradient(rng, steps, float64):
    x, y = rng.standard_normal((6, 9, 3)), rng.standard_normal((6, 9, 2) if steps else (6, 2))
    for length in (9, 20):
        models = [recurrent(steps), recurrent(steps)]
        models[1].set_weights(models[0].get_weights())
        for model, tbptt in zip(models, (None, length), strict=True):
            model.fit(x, y, epochs=2, shuffle=False, tbptt=tbptt)
        np.testing.assert_array_equal(models[0].theta, models[1].theta)
        assert models[0].history.history == models[1].history.history


def last_states(layer, x, states):
    """Those in which a layer ends."""
    layer.return_state = True
    _, *states = layer(x, initial_state=states)
    layer.return_state = False
    return states


@every_kind
@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("length", [1, 3, 4])
def test_chunks_give_the_gradient_with_states_held_fixed(rng, steps, length, float64, kind):
    """Against the definition: the states that a chunk starts from count as constants."""
    model = recurrent(steps, kind)
    x, y = rng.standard_normal((6, 9, 3)), rng.standard_normal((6, 9, 2) if steps else (6, 2))
    first, dense, second, head = model.layers
    count = 2 if kind is layers.LSTM else 1
    states = [[np.zeros((6, units))] * count for units in (5, 3)]
    _, full = model.value_and_grad(model.theta, x, y)
    gradient = np.zeros_like(model.theta)
    total = 0.0
    bounds = [(t, min(t + length, 9)) for t in range(0, 9, length)]
    if not steps:
        last = 9 - length
        bounds = [(t, min(t + length, last)) for t in range(0, last, length)] + [(last, 9)]
    for start, end in bounds:
        source = cgru.Input((None, 3))
        starts = [[cgru.Input((units,)) for _ in range(count)] for units in (5, 3)]
        h = first(source, initial_state=starts[0])
        out = head(second(dense(h), initial_state=starts[1]))
        part = cgru.Model([source, *starts[0], *starts[1]], out)
        part.compile("sgd", "mse")
        given = [*states[0], *states[1]]
        target = y[:, start:end] if steps else y
        value, grad = part.value_and_grad(part.theta, [x[:, start:end], *given], target)
        share = (end - start) / 9 if steps else float(end == 9)
        gradient += share * grad
        total += share * value
        carried = first(x[:, start:end], initial_state=states[0])
        states = [
            last_states(first, x[:, start:end], states[0]),
            last_states(second, dense(carried), states[1]),
        ]
    model.flat()  # takes the weights back from the models above
    before = model.theta
    model.compile(cgru.optimizers.SGD(1.0), "mse")
    model.fit(x, y, tbptt=length, batch_size=6)
    np.testing.assert_allclose(before - model.theta, gradient, rtol=1e-8, atol=1e-12)
    assert model.history.history["loss"][0] == pytest.approx(total)
    assert np.abs(gradient - full).max() > 1e-4


@every_kind
def test_chunks_of_sequences_of_different_lengths(rng, kind):
    model, x = recurrent(True, kind), sequences(rng, [9, 2, 7, 5])
    y = [rng.standard_normal((len(item), 2)) for item in x]
    whole = model.evaluate(x, y, batch_size=4)
    model.compile(cgru.optimizers.SGD(0.0), "mse", metrics=["mae"])
    model.fit(x, y, tbptt=3, batch_size=4)
    found = [values[0] for values in model.history.history.values()]
    np.testing.assert_allclose(found, whole, rtol=1e-5)
    assert not model.stateful
    assert model.layers[0]._state is None


def test_chunks_keep_memory_flat(rng):
    model = cgru.Sequential([cgru.Input((None, 1)), layers.GRU(32), layers.Dense(1)])
    model.compile("sgd", "mse")
    peaks = []
    for time in (2000, 8000):
        x, y = rng.standard_normal((8, time, 1)).astype("f4"), np.zeros((8, 1), "f4")
        model.fit(x, y, tbptt=100)
        tracemalloc.start()
        model.fit(x, y, tbptt=100)
        peaks.append(tracemalloc.get_traced_memory()[1] - x.nbytes)
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000


def test_chunks_are_refused_where_states_cannot_be_carried():
    for layer in (layers.Bidirectional(layers.GRU(2)), layers.LSTM(2, go_backwards=True)):
        model = cgru.Sequential([cgru.Input((None, 3)), layer])
        model.compile("sgd", "mse")
        with pytest.raises(ValueError, match="tbptt: expected layers that read a sequence step"):
            model.fit(np.zeros((2, 5, 3)), np.zeros(model.compute_output_shape((2, 5, 3))), tbptt=2)


def test_chunks_are_refused_where_calls_share_a_state_or_are_given_one():
    x = cgru.Input((None, 4))
    twice = layers.GRU(4, return_sequences=True)
    part = cgru.Sequential([cgru.Input((None, 4)), layers.GRU(4, return_sequences=True)])
    y, state = layers.GRU(4, return_sequences=True, return_state=True)(x)
    outputs = {
        "called once": [twice(twice(x)), part(part(x))],
        "initial_state": [layers.GRU(4, return_sequences=True)(y, initial_state=state)],
    }
    for message, sequences_out in outputs.items():
        for out in sequences_out:
            model = cgru.Model(x, layers.Dense(1)(out))
            model.compile("sgd", "mse")
            with pytest.raises(ValueError, match=f"tbptt: expected .*{message}"):
                model.fit(np.zeros((2, 6, 4)), np.zeros((2, 6, 1)), tbptt=2)


@pytest.mark.parametrize("inner", [layers.GRU(3), layers.Flatten()])
def test_what_reads_each_step_alone_carries_nothing_between_chunks(rng, inner):
    x, y = rng.standard_normal((2, 6, 4, 2)), rng.standard_normal((2, 6, 1))
    model = cgru.Sequential(
        [cgru.Input((None, 4, 2)), layers.TimeDistributed(inner), layers.Dense(1)]
    )
    start, found = model.theta, []
    for tbptt in (None, 2):
        model.theta = start
        model.compile(cgru.optimizers.SGD(0.1), "mse")
        model.fit(x, y, epochs=2, shuffle=False, tbptt=tbptt)
        found.append(model.theta)
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)


# ---- Streams of sessions ----


@every_kind
def test_rows_are_reset_one_by_one(rng, kind):
    model = cgru.Sequential([kind(4, stateful=True)])
    x = rng.standard_normal((3, 2, 5, 2)).astype("f4")  # 3 parts of 2 rows
    fresh = cgru.Sequential([cgru.Input((None, 2)), kind(4)])
    model.predict_on_batch(x[0])
    model.reset_states()
    fresh.set_weights(model.get_weights())
    model.predict_on_batch(x[0])
    second = model.predict_on_batch(x[1], reset_mask=[False, True])
    expected = [np.concatenate([x[0, 0], x[1, 0]]), x[1, 1]]
    for found, sequence in zip(second, expected, strict=True):
        np.testing.assert_allclose(found, fresh.predict(sequence[np.newaxis])[0], rtol=1e-5)
    with pytest.raises(ValueError, match="carries the states of 2 rows"):
        model.predict_on_batch(x[:, 0], reset_mask=[True, False, False])
    with pytest.raises(ValueError, match="reset_mask: expected bool"):
        model.predict_on_batch(x[2], reset_mask=[1, 0])
    with pytest.raises(ValueError, match="no stateful layer"):
        fresh.predict_on_batch(x[2], reset_mask=[True, False])


# ---- Layers that mix time steps, other kinds of data ----

MIXING = {
    "go_backwards": lambda: [layers.GRU(4, return_sequences=True, go_backwards=True)],
    "same": lambda: [layers.GRU(4, return_sequences=True), layers.Conv1D(3, 3, padding="same")],
    "causal": lambda: [layers.Conv1D(3, 3, padding="causal")],
    "valid": lambda: [layers.Conv1D(3, 2), layers.GRU(3, return_sequences=True)],
    "pooling": lambda: [layers.Conv1D(3, 2, padding="same"), layers.MaxPooling1D(2)],
    "nested": lambda: [cgru.Sequential([cgru.Input((None, 3)), layers.Conv1D(3, 2)])],
    "maximum": lambda: [
        layers.Bidirectional(layers.GRU(3, return_sequences=True)),
        layers.GlobalMaxPooling1D(keepdims=True),
    ],
}


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", MIXING)
def test_layers_that_mix_steps_read_sequences_as_if_alone(rng, name, last):
    """Sequences of one length come together, and are not padded."""
    mixing = MIXING[name]()
    model = cgru.Sequential([cgru.Input((None, 3)), *mixing, *([layers.GRU(2)] if last else [])])
    model.compile("sgd", "mse")
    x = sequences(rng, [5, 2, 7, 3, 7, 2, 4, 7])
    found = model.predict(x, batch_size=2)
    assert len(found) == len(x)
    for one, item in zip(found, x, strict=True):
        np.testing.assert_array_equal(one, model.predict(item[np.newaxis])[0])
    if last:
        before = model.theta
        model.fit(x, np.ones((8, 2)), batch_size=2)
        assert model.history.params["steps"] == 6
        assert (model.theta != before).any()
    with pytest.raises(ValueError, match=r"x: .* depends on padding.* lengths from 2 to 7"):
        model.predict_on_batch(x)
    with pytest.raises(ValueError, match=r"x: .* depends on padding"):
        model.predict(iter([x]))
    same = model.predict_on_batch([x[2], x[4]])
    np.testing.assert_allclose(same[1], model.predict(x[4][np.newaxis])[0], rtol=1e-6)


def test_a_sequence_that_is_too_short_for_a_layer(rng):
    model = cgru.Sequential([cgru.Input((None, 3)), layers.Conv1D(2, 3), layers.GRU(2)])
    model.compile("sgd", "mse")
    before = model.theta
    with pytest.raises(ValueError, match=r"x: conv.* expects at least 3 time steps"):
        model.fit(sequences(rng, [5, 2]), np.ones((2, 2)))
    np.testing.assert_array_equal(model.theta, before)


def test_targets_for_each_step_need_as_many_steps(rng):
    model = cgru.Sequential([cgru.Input((None, 3)), layers.Conv1D(1, 2)])
    model.compile("sgd", "mse")
    x = sequences(rng)
    with pytest.raises(ValueError, match=r"y: targets for each step .* got 6 steps for 7"):
        model.fit(x, [item[:, :1] for item in x])


@pytest.mark.parametrize("steps", [False, True])
def test_batches_of_lists(rng, steps):
    """An iterable may give lists of sequences, of one length or several."""
    model, x = recurrent(steps), sequences(rng, [5, 1, 0, 3, 3, 3])
    y = [rng.standard_normal((len(item), 2)) for item in x] if steps else np.ones((6, 2))
    batches = [(x[i : i + 3], y[i : i + 3]) for i in (0, 3)]
    model.fit(batches, epochs=2, validation_data=batches)
    model.fit(iter(batches * 3), epochs=2, steps_per_epoch=2)
    loss = model.evaluate(batches, return_dict=True)["loss"]
    parts = [model.evaluate(*batch, return_dict=True)["loss"] for batch in batches]
    assert loss == pytest.approx(np.mean(parts))
    found = model.predict(iter([x[:3], x[3:]]))
    assert len(found) == 6
    for one, other in zip(found, model.predict(x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_several_outputs(rng):
    x, a = sequences(rng, [4, 0, 7, 2]), cgru.Input((None, 3))
    h = layers.GRU(4, return_sequences=True)(a)
    outputs = [layers.Dense(1, name="steps")(h), layers.Dense(7, name="last")(layers.GRU(2)(h))]
    model = cgru.Model(a, outputs)
    model.compile("adam", "mse", metrics=[["mae"], ["mae"]])
    y = [[item[:, :1] for item in x], rng.standard_normal((4, 7))]
    model.fit(x, y, epochs=2, validation_split=0.5)
    model.evaluate(x, {"steps": y[0], "last": y[1]})
    steps, last = model.predict(x)
    assert [len(item) for item in steps] == [4, 0, 7, 2]
    assert last.shape == (4, 7)
    for place in (0, 2, 3):
        one, other = model.predict(x[place][np.newaxis])
        np.testing.assert_allclose(steps[place], one[0], rtol=1e-6)
        np.testing.assert_allclose(last[place], other[0], rtol=1e-6)
    with pytest.raises(ValueError, match=r"y\['steps'\]: expected a list of arrays"):
        model.fit(x, [np.ones((4, 1)), y[1]])


def test_an_output_as_wide_as_the_first_batch_is_long(rng):
    model = cgru.Sequential([cgru.Input((None, 3)), layers.GRU(4)])
    assert model.predict(sequences(rng, [4, 3]), batch_size=2).shape == (2, 4)


def test_a_slope_without_end_at_masked_steps_is_not_met():
    """Zero times infinity would be no number."""
    model = cgru.Sequential(
        [
            cgru.Input((None, 1), dtype="float64"),
            layers.SimpleRNN(2, activation="exponential", dtype="float64"),
            layers.Dense(1, dtype="float64"),
        ]
    )
    model.compile("sgd", "mse")
    kernel, recurrent, *rest = model.get_weights()
    model.set_weights([np.ones_like(kernel), np.ones_like(recurrent), *rest])
    model.train_on_batch([np.full((3, 1), -9.0), np.array([[6.5]])], np.zeros((2, 1)))
    assert np.isfinite(model.theta).all()


def test_only_empty_sequences():
    model = cgru.Sequential([cgru.Input((None, 3)), layers.GRU(4)])
    np.testing.assert_array_equal(model.predict([np.zeros((0, 3))] * 2), np.zeros((2, 4)))
    np.testing.assert_array_equal(model.predict([[], []]), np.zeros((2, 4)))


def test_rows_of_a_stateful_model_keep_their_places(rng):
    """Batches are not put in another order: each row carries the state of its own."""
    model = cgru.Sequential([cgru.Input((None, 3)), layers.GRU(4, stateful=True)])
    first, second = sequences(rng, [2, 5]), sequences(rng, [6, 1])
    model.predict(first, batch_size=2)
    found = model.predict(second, batch_size=2)
    for row in range(2):
        model.reset_states()
        whole = np.concatenate([first[row], second[row]])[np.newaxis]
        np.testing.assert_allclose(found[row], model.predict(whole)[0], rtol=1e-6)


def test_arrays_of_arrays(rng):
    model, x = recurrent(), sequences(rng)
    array = np.empty(len(x), object)
    array[:] = x
    np.testing.assert_array_equal(model.predict(array), model.predict(x))


def test_a_list_for_one_of_several_inputs(rng):
    a, b = cgru.Input((None, 3), name="a"), cgru.Input((2,), name="b")
    model = cgru.Model([a, b], layers.Concatenate()([layers.GRU(4)(a), b]))
    with pytest.raises(ValueError, match=r"x\['a'\]: expected an array, got a list of sequences"):
        model.predict([sequences(rng), np.ones((len(LENGTHS), 2))])


def test_reset_masks_have_the_size_of_the_batch():
    model = cgru.Sequential([cgru.Input((None, 3)), layers.GRU(4, stateful=True)])
    with pytest.raises(ValueError, match=r"reset_mask: expected shape \(2,\), got \(3,\)"):
        model.predict_on_batch(np.ones((2, 4, 3)), reset_mask=np.ones(3, bool))
    model.predict_on_batch(np.ones((2, 4, 3)))
    (before,) = [state.copy() for state in model.layers[0]._state]
    with pytest.raises(ValueError, match=r"reset_mask: expected shape \(3,\), got \(2,\)"):
        model.predict_on_batch(np.ones((3, 4, 3)), reset_mask=np.ones(2, bool))
    np.testing.assert_array_equal(model.layers[0]._state[0], before)


@pytest.mark.parametrize("data", ["plain", "lists", "masking"])
@pytest.mark.parametrize("weights", [None, "sample", "step"])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
def test_chunks_count_by_what_their_loss_is_divided_by(rng, float64, reduction, weights, data):
    """Without a state to carry, chunks give the loss and gradient of the whole."""
    x, y = rng.standard_normal((5, 7, 3)), rng.standard_normal((5, 7, 2))
    weight = {None: None, "sample": rng.random(5), "step": rng.random((5, 7))}[weights]
    lengths, first = [7, 3, 5, 1, 7], []
    if data == "lists":
        x, y = ([row[:n] for row, n in zip(part, lengths, strict=True)] for part in (x, y))
        if weights == "step":
            weight = [row[:n] for row, n in zip(weight, lengths, strict=True)]
    elif data == "masking":
        first = [layers.Masking()]
        for row, n in zip(x, lengths, strict=True):
            row[n:] = 0
    penalty = None if first else "l2"
    model = cgru.Sequential(
        [cgru.Input((None, 3)), *first, layers.Dense(2, activity_regularizer=penalty)]
    )
    start, found = model.theta, []
    for tbptt in (None, 3):
        model.theta = start
        loss = cgru.losses.MeanSquaredError(reduction=reduction)
        model.compile(cgru.optimizers.SGD(0.1), loss, metrics=["mae"])
        history = model.fit(x, y, sample_weight=weight, tbptt=tbptt, shuffle=False).history
        found.append([*model.theta, *history["loss"], *history["mae"]])
    np.testing.assert_allclose(*found, rtol=1e-10, atol=1e-12)


def test_penalties_on_chunks_with_masks_of_layers():
    model = cgru.Sequential(
        [cgru.Input((None, 3)), layers.Masking(), layers.Dense(2, activity_regularizer="l2")]
    )
    model.compile("sgd", "mse")
    before = model.theta
    for tbptt in (2, 100):  # also where the batches to come are no longer than a chunk
        with pytest.raises(ValueError, match="tbptt: expected no activity_regularizer"):
            model.fit(np.ones((2, 6, 3)), np.ones((2, 6, 2)), tbptt=tbptt)
    np.testing.assert_array_equal(model.theta, before)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([], "sample_weight: expected at least one value"),
        (3, r"sample_weight: expected shape \(2,\), got \(1,\)"),
        ([np.ones(3)] * 3, "sample_weight: expected one for each of 2 sequences, got 3"),
        ([1.0], r"sample_weight: expected shape \(2,\), got \(1,\)"),
        ([np.ones(3), np.ones(3)], r"sample_weight\[1\]: expected 2 steps, as in x, got 3"),
        ([np.ones(3), -np.ones(2)], "sample_weight: expected weights >= 0, got -1"),
    ],
)
def test_bad_weights_of_sequences(weight, message):
    model, x = recurrent(steps=True), [np.ones((3, 3)), np.ones((2, 3))]
    with pytest.raises(ValueError, match=message):
        model.fit(x, [item[:, :2] for item in x], sample_weight=weight)


def test_nothing_to_train_on():
    model = recurrent(steps=True)
    with pytest.raises(ValueError, match="x: expected at least one step in 2 sequences, got none"):
        model.fit([np.zeros((0, 3))] * 2, [[], []])


def test_indices_out_of_range_change_nothing():
    model = cgru.Sequential([layers.Embedding(10, 4), layers.GRU(3), layers.Dense(1)])
    model.compile("adam", "mse")
    for x, message in (
        ([[1, 2], [3, 10]], "x: embedding.* expects indices from 0 to 9, got 10"),
        ([[1, 2], [3, 4, -1]], r"x\[1\]: embedding.* expects indices from 0 to 9, got -1"),
        ([[1, 2], [3, 4, 1.5]], r"x\[1\]: expected integers, got 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(x, [1.0, 1.0], batch_size=1)
    assert not model.built


@pytest.mark.parametrize("lengths", [[7, 3, 2, 7], [3, 3, 2, 1]])
def test_sequences_for_a_fixed_number_of_steps(rng, lengths):
    """They may all be shorter; longer ones are refused."""
    model = cgru.Sequential(
        [cgru.Input((7, 3)), layers.GRU(4, return_sequences=True), layers.Dense(2)]
    )
    model.compile("sgd", "mse")
    x = sequences(rng, lengths)
    found = model.predict(x, batch_size=2)
    array = np.zeros((4, 7, 3))
    for row, item in zip(array, x, strict=True):
        row[: len(item)] = item
    again = model.predict(array, lengths=lengths)
    assert [len(item) for item in found] == lengths
    for one, other in zip(found, again, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    y = [item[:, :2] for item in x]
    weights = [np.ones(n) for n in lengths]
    model.fit(x, y, batch_size=3, sample_weight=weights, validation_split=0.5)
    with pytest.raises(ValueError, match=r"x: .* expects shape \(None, 7, 3\), got \(2, 9, 3\)"):
        model.predict(sequences(rng, [9, 2]))


@pytest.mark.parametrize("length", [6, 3, 2])
def test_chunks_do_not_count_ignored_labels(length):
    x, y = np.random.default_rng(0).normal(size=(4, 6, 2)), np.arange(24).reshape(4, 6) % 3
    y[:, 2:], y[0, 5] = -1, 1

    def trained(chunk):
        cgru.utils.set_random_seed(1)
        model = cgru.Sequential([cgru.Input((None, 2)), layers.Dense(3, "softmax")])
        loss = cgru.losses.SparseCategoricalCrossentropy(ignore_class=-1)
        model.compile(cgru.optimizers.SGD(1.0), loss)
        return model.fit(x, y, tbptt=chunk).history["loss"], model.theta

    (loss, theta), (expected, expected_theta) = trained(length), trained(None)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(theta, expected_theta, rtol=1e-5, atol=1e-7)


def test_labels_of_sequences_of_different_lengths(rng):
    model = cgru.Sequential(
        [cgru.Input((None, 2)), layers.GRU(3, return_sequences=True), layers.Dense(3)]
    )
    model.compile(cgru.optimizers.SGD(0.0), cgru.losses.CTC())
    x, y = sequences(rng, (6, 4), 2), np.array([[1, 2, 1], [2, 0, 0]])
    alone = np.mean(
        [model.evaluate(a[np.newaxis], b[np.newaxis]) for a, b in zip(x, y, strict=True)]
    )
    assert model.evaluate(x, y) == pytest.approx(alone, rel=1e-6)
    assert model.evaluate(padded(x, np.nan), y, lengths=[6, 4]) == pytest.approx(alone, rel=1e-6)
    assert model.fit(x, y).history["loss"] == [pytest.approx(alone, rel=1e-6)]
    for arguments, message in (
        ({"x": [x[0][:2], x[1]]}, "y: expected labels that fit into 2 steps, got some that need 3"),
        ({"tbptt": 2}, "tbptt: expected a loss of single steps, got ctc"),
        ({"class_weight": {1: 2.0}}, "class_weight: expected a loss with a class for each target"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(**{"x": x, "y": y} | arguments)
    with pytest.raises(ValueError, match=r"sample_weight: expected shape \(2,\), got \(2, 6\)"):
        model.fit(padded(x, 0), y, sample_weight=np.ones((2, 6)))
