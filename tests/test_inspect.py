"""What cgru.inspect finds, against the NumPy twin, finite differences and the definitions."""

import pickle

import numpy as np
import pytest
from twin import gru_forward, rnn_forward

import cgru
from cgru import _random, inspect, layers

CELLS = {
    "gru": lambda **options: layers.GRU(3, **options),
    "cho": lambda **options: layers.GRU(3, reset_after=False, **options),
    "lstm": lambda **options: layers.LSTM(3, **options),
    "simple": lambda **options: layers.SimpleRNN(3, **options),
}
OTHERS = {
    "gru": lambda **o: layers.GRU(3, activation="softsign", recurrent_activation="softmax", **o),
    "cho": lambda **o: layers.GRU(3, activation="elu", reset_after=False, **o),
    "lstm": lambda **o: layers.LSTM(3, activation="relu", recurrent_activation="softplus", **o),
    "simple": lambda **o: layers.SimpleRNN(3, activation="gelu", **o),
}
every_cell = pytest.mark.parametrize("cell", CELLS)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 6, 2))


def shaken(model):
    """All weights random, biases too."""
    rng = np.random.default_rng(1)
    model.set_weights([0.7 * rng.standard_normal(weight.shape) for weight in model.weights])
    return model


def states(cell):
    return [cgru.Input((3,), dtype="float64") for _ in range(2 if cell == "lstm" else 1)]


def from_states(cell, make=CELLS, **options):
    """A float64 model of x and the first states, with the layer's own output."""
    x, start = cgru.Input((None, 2), dtype="float64"), states(cell)
    y = make[cell](dtype="float64", name="cell", **options)(x, initial_state=start)
    return shaken(cgru.Model([x, *start], y))


def start_of(cell, batch=2):
    rng = np.random.default_rng(2)
    return [rng.standard_normal((batch, 3)) for _ in range(2 if cell == "lstm" else 1)]


# ---- Gates ----


def twin_of(layer, x, start, mask):
    """Arrays by name, [batch, time, units], of the twin."""
    kernel, recurrent, bias = (weight.numpy().astype("f8") for weight in layer.weights)
    x = x.swapaxes(0, 1)
    mask = None if mask is None else mask.T
    if isinstance(layer, layers.GRU):
        bias = bias.reshape(-1, 9)
        steps, _ = gru_forward(x, start[0], kernel, recurrent, bias, mask, layer.go_backwards)
        rows = [steps[t] for t in range(len(x))]
        found = {name: [row[i] for row in rows] for i, name in enumerate(("before", *GRU), 0)}
        found["state"] = [row[5] for row in rows]
    else:
        steps, _ = rnn_forward(x, start, kernel, recurrent, bias, mask, layer.go_backwards)
        rows = [steps[t] for t in range(len(x))]
        found = {"before": [row[0][0] for row in rows], "state": [row[2][0] for row in rows]}
        if isinstance(layer, layers.LSTM):
            found["cell"] = [row[2][1] for row in rows]
            found |= {name: [row[1][i] for row in rows] for i, name in enumerate(LSTM)}
    return {name: np.stack(arrays, axis=1) for name, arrays in found.items()}


GRU = ("update", "reset", "candidate")
LSTM = ("input", "forget", "candidate", "output")


@every_cell
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gates_are_those_of_the_twin(cell, reverse, masked, dtype):
    x = X.copy()
    mask = np.array([[1, 1, 0, 1, 1, 0], [0, 1, 1, 1, 1, 1]], bool) if masked else None
    if masked:
        x[~mask] = 0
    model = cgru.Sequential(
        [
            cgru.Input((None, 2), dtype=dtype),
            *([layers.Masking(dtype=dtype)] if masked else []),
            CELLS[cell](dtype=dtype, go_backwards=reverse, name="cell"),
        ]
    )
    shaken(model)
    found = inspect.gates(model, x)["cell"]
    start = [np.zeros((2, 3))] * 2 if cell == "lstm" else [np.zeros((2, 3))]
    expected = twin_of(model.get_layer("cell"), x, start, mask)
    before = expected.pop("before")
    assert found.keys() == expected.keys()
    tolerance = {"rtol": 0, "atol": 1e-6 if dtype == "float32" else 1e-14}
    for name, values in expected.items():
        if masked and name not in ("state", "cell"):
            values[~mask] = np.nan
        assert found[name].dtype == dtype
        np.testing.assert_allclose(found[name], values, err_msg=name, **tolerance)
    np.testing.assert_allclose(found.before["state"], before, **tolerance)
    assert (found.mask is None) if not masked else np.array_equal(found.mask, mask)
    last = found["state"][:, 0 if reverse else -1]
    np.testing.assert_allclose(last, model.predict(x), **tolerance)


@every_cell
@pytest.mark.parametrize("make", [CELLS, OTHERS], ids=["usual", "other activations"])
def test_gates_and_states_fit_together(cell, make):
    model = from_states(cell, make, return_sequences=True)
    start = start_of(cell)
    found = inspect.gates(model, [X, *start])["cell"]
    np.testing.assert_allclose(found["state"], model.predict([X, *start]), atol=1e-14)
    np.testing.assert_array_equal(found.before["state"][:, 0], start[0])
    np.testing.assert_array_equal(found.before["state"][:, 1:], found["state"][:, :-1])
    layer = model.get_layer("cell")
    if cell in ("gru", "cho"):
        z, n = found["update"], found["candidate"]
        expected = z * found.before["state"] + (1 - z) * n
    elif cell == "lstm":
        np.testing.assert_array_equal(found.before["cell"][:, 0], start[1])
        cells = found["forget"] * found.before["cell"] + found["input"] * found["candidate"]
        np.testing.assert_allclose(found["cell"], cells, atol=1e-14)
        expected = found["output"] * layer.activation(cells)
    else:
        kernel, recurrent, bias = layer.get_weights()
        expected = layer.activation(X @ kernel + found.before["state"] @ recurrent + bias)
    np.testing.assert_allclose(found["state"], expected, atol=1e-14)


def test_a_float32_gru_mixes_old_and_new_to_rounding():
    model = cgru.Sequential([cgru.Input((None, 8)), layers.GRU(32, name="gru")])
    found = inspect.gates(model, RNG.standard_normal((4, 50, 8)))["gru"]
    z, n, h = found["update"], found["candidate"], found.before["state"]
    assert abs(found["state"] - (z * h + (1 - z) * n)).max() < 8 * np.finfo("f4").eps


def test_layers_are_named_in_the_order_in_which_they_run():
    x = cgru.Input((None, 2))
    inner = cgru.Sequential([cgru.Input((None, 6)), layers.LSTM(3, name="a")], name="inner")
    shared = layers.GRU(6, name="shared", return_sequences=True)
    both = layers.Bidirectional(layers.GRU(3, return_sequences=True, name="gru"), name="both")
    h = both(x)
    h = shared(shared(h))
    model = cgru.Model(x, layers.Dense(1)(inner(h)))
    model.compile(loss="mse")
    names = ["both/forward_gru", "both/backward_gru", "shared", "shared_call_2", "inner/a"]
    found = inspect.gates(model, X)
    assert list(found) == names
    assert found["shared"]["state"].shape == (2, 6, 6)
    np.testing.assert_allclose(
        np.concatenate([found[name]["state"] for name in names[:2]], axis=2),
        cgru.Model(x, both.output).predict(X),
        atol=1e-6,
    )
    # The backward layer starts at the end: its state before the last step of x is 0.
    assert not found["both/backward_gru"].before["state"][:, -1].any()
    assert list(inspect.gradient_flow(model, X, np.ones(2))) == names
    assert list(inspect.jacobian_spectrum(model, X)) == names
    assert list(inspect.memory_length(model, X)) == names
    assert inspect.saliency(model, X).shape == X.shape


def test_layers_of_one_name_are_told_apart():
    both = layers.Bidirectional(
        layers.GRU(3, name="gru"),
        backward_layer=layers.GRU(2, name="forward_gru", go_backwards=True),
        name="both",
    )
    found = inspect.gates(cgru.Sequential([cgru.Input((None, 2)), both]), X)
    assert [gates["state"].shape[2] for gates in found.values()] == [3, 2]
    assert list(found) == ["both/forward_gru", "both/forward_gru_call_2"]


def test_a_layer_in_a_layer_of_ones_own_is_found():
    class Block(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.parts = [layers.GRU(2, name="part", dtype=self.dtype)]

        def build(self, input_shape):
            self.parts[0].ensure_built(input_shape)

        def compute_output_shape(self, input_shape):
            return self.parts[0].compute_output_shape(input_shape)

        def forward(self, x):
            return self.parts[0].forward(x)

    model = cgru.Sequential([cgru.Input((None, 2)), Block(name="block")])
    found = inspect.gates(model, X)
    np.testing.assert_allclose(found["block/part"]["state"][:, -1], model.predict(X), atol=1e-6)


def test_steps_that_a_time_distributed_layer_folds_are_one_batch():
    model = cgru.Sequential(
        [cgru.Input((4, None, 2)), layers.TimeDistributed(layers.GRU(3, name="g"), name="each")]
    )
    x = RNG.standard_normal((2, 4, 5, 2))
    found = inspect.gates(model, x)["each/g"]["state"]
    np.testing.assert_allclose(found[:, -1].reshape(2, 4, 3), model.predict(x), atol=1e-6)


def test_sequences_of_different_lengths_carry_their_state():
    model = cgru.Sequential([cgru.Input((None, 2)), layers.GRU(3, name="gru")])
    found = inspect.gates(model, [X[0, :3], X[1]])["gru"]
    assert found.mask.sum(axis=1).tolist() == [3, 6]
    for t in range(3, 6):
        np.testing.assert_array_equal(found["state"][0, t], found["state"][0, 2])
    assert np.isnan(found["update"][0, 3:]).all()
    assert np.isfinite(found["update"][0, :3]).all()
    alone = inspect.gates(model, X[:1, :3])["gru"]
    np.testing.assert_array_equal(found["update"][0, :3], alone["update"][0])


def test_an_embedding_masks():
    model = cgru.Sequential(
        [cgru.Input((None,), dtype="int64"), layers.Embedding(9, 4, mask_zero=True), layers.LSTM(3)]
    )
    tokens = np.array([[3, 4, 0, 0], [1, 2, 8, 7]])
    (found,) = inspect.gates(model, tokens).values()
    np.testing.assert_array_equal(found.mask, tokens != 0)
    np.testing.assert_array_equal(found["cell"][0, 3], found["cell"][0, 1])


def test_a_stateful_layer_starts_where_it_is():
    model = cgru.Sequential(
        [cgru.Input((None, 2), batch_size=2), layers.GRU(3, stateful=True, name="gru")]
    )
    whole = inspect.gates(model, X)["gru"]["state"]
    model.predict(X[:, :4])
    for _ in range(2):  # nor does looking move it on
        part = inspect.gates(model, X[:, 4:])["gru"]
        np.testing.assert_allclose(part["state"], whole[:, 4:], atol=1e-7)
    memory = inspect.memory_length(model, X[:, 4:])["gru"]
    assert memory.influence.shape == (2, 2)
    np.testing.assert_allclose(model.predict(X[:, 4:]), whole[:, -1], atol=1e-7)


# ---- Gradients ----


def differences(function, array, step=1e-6):
    """The derivatives of an array-valued function, [..., *array.shape]."""
    found = []
    for place in np.ndindex(array.shape):
        moved = [array.copy(), array.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        found.append((function(moved[0]) - function(moved[1])) / (2 * step))
    return np.stack(found, axis=-1).reshape(*np.shape(found[0]), *array.shape)


@every_cell
@pytest.mark.parametrize("make", [CELLS, OTHERS], ids=["usual", "other activations"])
@pytest.mark.parametrize("sequences", [False, True])
def test_gradient_flow_agrees_with_finite_differences(cell, make, sequences):
    """The loss as a function of the states after step t, from which the rest is read."""
    model = from_states(cell, make, return_sequences=sequences)
    model.compile(loss="mse")
    start = start_of(cell)
    y = np.random.default_rng(3).standard_normal((2, 6, 3) if sequences else (2, 3))
    flow = inspect.gradient_flow(model, [X, *start], y)["cell"]
    found = inspect.gates(model, [X, *start])["cell"]
    names = ["state", "cell"][: len(start)]
    assert list(flow) == names
    for t in (0, 2, 4):
        after = {name: found[name][:, t] for name in names}
        for name in names:

            def loss(values, name=name, t=t, after=after):
                begin = list((after | {name: values}).values())
                rest = model.predict([X[:, t + 1 :], *begin])
                if not sequences:
                    return ((rest - y) ** 2).mean()
                late = ((rest - y[:, t + 1 :]) ** 2).sum()
                return (late + ((begin[0] - y[:, t]) ** 2).sum()) / y.size

            grad = differences(loss, after[name])
            norms = np.linalg.norm(grad, axis=1)
            np.testing.assert_allclose(flow[name][:, t], norms, rtol=1e-6, atol=1e-9)


def first_over_last(cell, keep):
    """How much of the gradient is left 200 steps back; `keep`: the gate that keeps, wide open."""
    cgru.utils.set_random_seed(1)
    model = cgru.Sequential([cgru.Input((None, 4)), cell(32, name="cell"), layers.Dense(1)])
    model.compile(loss="mse")
    layer = model.get_layer("cell")
    if keep is not None:
        kernel, recurrent, bias = layer.get_weights()
        bias.reshape(-1)[keep] = np.log(200)
        layer.set_weights([kernel, recurrent, bias])
    x = np.random.default_rng(1).standard_normal((16, 200, 4))
    flow = inspect.gradient_flow(model, x, x[:, 0, :1])["cell"]
    norms = np.linalg.norm(flow["state"], axis=0)
    return norms[0] / norms[-1]


def test_a_simple_rnn_loses_the_gradient_that_gates_let_through():
    assert first_over_last(layers.SimpleRNN, None) < 1e-15
    assert first_over_last(layers.GRU, slice(32)) > 0.05
    assert first_over_last(layers.LSTM, slice(32, 64)) > 1e-3
    # What counts is that the gate is open, which it is not by itself: half of the state goes.
    assert first_over_last(layers.GRU, None) < 1e-30


@every_cell
def test_gradients_pass_masked_steps(cell):
    model = cgru.Sequential([cgru.Input((None, 2)), CELLS[cell](name="cell"), layers.Dense(1)])
    model.compile(loss="mse")
    flow = inspect.gradient_flow(model, [X[0, :3], X[1]], np.ones(2))["cell"]
    alone = inspect.gradient_flow(model, X[:1, :3], np.ones(1))["cell"]
    for name, norms in flow.items():
        np.testing.assert_allclose(2 * norms[0, :3], alone[name][0], rtol=1e-12)
        np.testing.assert_array_equal(norms[0, 3:], norms[0, 2].repeat(3))


def test_gradient_flow_counts_activity_regularizers_and_sample_weights():
    def flow(weight=None, **options):
        cgru.utils.set_random_seed(1)
        model = cgru.Sequential([cgru.Input((None, 2)), layers.GRU(3, name="gru", **options)])
        model.compile(loss="mse")
        return inspect.gradient_flow(model, X, np.zeros((2, 3)), weight)["gru"]["state"]

    # The mean over 3 units of h^2, and 1/3 of h^2 for each sequence: the same once more.
    regularizer = cgru.regularizers.L2(1 / 3)
    np.testing.assert_allclose(flow(activity_regularizer=regularizer), 2 * flow(), rtol=1e-6)
    np.testing.assert_allclose(flow([3.0, 0.0]), flow() * [[3], [0]], rtol=1e-12)


@every_cell
def test_spectra_are_those_of_the_jacobian(cell):
    model = from_states(cell, return_state=True)
    start = start_of(cell)
    found = inspect.jacobian_spectrum(model, [X, *start], [-1, 0])["cell"]
    assert found.steps.tolist() == [5, 0]
    size = 3 * len(start)
    assert found.singular_values.shape == (2, 2, size)
    for b in range(2):

        def last(values, b=b):
            begin = np.split(values[np.newaxis], len(start), axis=1)
            return np.concatenate(model.predict([X[b : b + 1, :1], *begin])[1:], axis=1)[0]

        jacobian = differences(last, np.concatenate([state[b] for state in start]))
        singular = np.linalg.svd(jacobian, compute_uv=False)
        np.testing.assert_allclose(found.singular_values[b, 1], singular, atol=1e-8)
        radius = abs(np.linalg.eigvals(jacobian)).max()
        np.testing.assert_allclose(found.radius[b, 1], radius, atol=1e-8)


def test_a_masked_step_keeps_the_state_as_it_is():
    model = cgru.Sequential([cgru.Input((None, 2)), layers.Masking(), layers.LSTM(3, name="cell")])
    x = X.copy()
    x[0, 3] = 0
    found = inspect.jacobian_spectrum(model, x, [3])["cell"]
    np.testing.assert_allclose(found.singular_values[0, 0], np.ones(6))
    assert found.singular_values[1, 0].min() < 0.9
    assert len(inspect.jacobian_spectrum(model, x)["cell"].steps) == 6
    assert len(inspect.jacobian_spectrum(model, np.ones((1, 99, 2)))["cell"].steps) == 10


# ---- Memory ----


@every_cell
@pytest.mark.parametrize("make", [CELLS, OTHERS], ids=["usual", "other activations"])
@pytest.mark.parametrize("reverse", [False, True])
def test_memory_is_that_of_the_definition(cell, make, reverse):
    model = from_states(cell, make, go_backwards=reverse)
    start = start_of(cell)
    memory = inspect.memory_length(model, [X, *start], tolerance=0.3)["cell"]
    gates = inspect.gates(model, [X, *start])["cell"]
    for b in range(2):
        begin = [state[b : b + 1] for state in start]
        jacobian = differences(lambda x, s=begin: model.predict([x, *s])[0], X[b : b + 1])[:, 0]
        norms = np.linalg.norm(jacobian, axis=(0, 2))  # of [units, time, features]
        norms = norms if reverse else norms[::-1]
        np.testing.assert_allclose(memory.influence[b], norms, rtol=1e-6, atol=1e-9)
        assert memory.length[b] == np.flatnonzero(norms >= 0.3 * norms.max()).max()
    gate = {"gru": "update", "cho": "update", "lstm": "forget"}.get(cell)
    values = gates[gate] if gate else np.zeros((2, 6, 3))
    values = values if reverse else values[:, ::-1]
    for k in range(6):
        np.testing.assert_allclose(memory.kept[:, k], values[:, :k].prod(axis=1), rtol=1e-12)


@every_cell
def test_memory_counts_from_the_last_step_of_each_sequence(cell):
    model = cgru.Sequential([cgru.Input((None, 2)), CELLS[cell](name="cell")])
    memory = inspect.memory_length(model, [X[0, :3], X[1]])["cell"]
    alone = inspect.memory_length(model, X[:1, :3])["cell"]
    np.testing.assert_allclose(memory.influence[0, :3], alone.influence[0], rtol=1e-12)
    np.testing.assert_allclose(memory.kept[0, :3], alone.kept[0], rtol=1e-12)
    assert np.isnan(memory.influence[0, 3:]).all()
    assert np.isnan(memory.kept[0, 3:]).all()
    assert memory.length[0] == alone.length[0]


@every_cell
def test_memory_ends_where_the_sequence_begins(cell):
    model = cgru.Sequential(
        [cgru.Input((None, 2)), layers.Masking(), CELLS[cell](go_backwards=True, name="cell")]
    )
    x = X.copy()
    x[0, 3:], x[1] = 0, 0  # read first; and nothing at all
    memory = inspect.memory_length(model, x)["cell"]
    alone = inspect.memory_length(model, X[:1, :3])["cell"]
    np.testing.assert_allclose(memory.influence[0, :3], alone.influence[0], rtol=1e-12)
    np.testing.assert_allclose(memory.kept[0, :3], alone.kept[0], rtol=1e-12)
    for values in (memory.influence, memory.kept):
        assert np.isnan(values[0, 3:]).all()
        assert np.isnan(values[1]).all()
    assert memory.length.tolist() == [alone.length[0], 0]


def test_open_update_gates_remember_longer():
    model = cgru.Sequential([cgru.Input((None, 2)), layers.GRU(8, name="gru")])
    x = np.random.default_rng(1).standard_normal((2, 60, 2))
    short = inspect.memory_length(model, x)["gru"].length
    kernel, recurrent, bias = model.get_weights()
    bias[0, :8] = 3
    model.set_weights([kernel, recurrent, bias])
    assert (inspect.memory_length(model, x)["gru"].length > 2 * short).all()


def test_inputs_that_matter_nowhere():
    model = cgru.Sequential([cgru.Input((None, 2)), layers.GRU(3, name="gru")])
    model.set_weights([np.zeros(weight.shape) for weight in model.weights])
    memory = inspect.memory_length(model, X)["gru"]
    assert not memory.influence.any()
    assert memory.length.tolist() == [0, 0]


# ---- Saliency ----


def test_saliency_agrees_with_finite_differences():
    model = cgru.Sequential(
        [
            cgru.Input((None, 2), dtype="float64"),
            layers.Bidirectional(layers.LSTM(3, dtype="float64")),
            layers.Dense(4, "softmax", dtype="float64"),
        ]
    )
    jacobian = differences(lambda x: model.predict(x), X[:1])[0, :, 0]
    for unit in range(4):
        found = inspect.saliency(model, X[:1], unit)
        np.testing.assert_allclose(found[0], abs(jacobian[unit]), atol=1e-9)
    largest = model.predict(X[:1])[0].argmax()
    np.testing.assert_allclose(inspect.saliency(model, X[:1])[0], abs(jacobian[largest]), atol=1e-9)


def test_saliency_of_a_sequence_is_that_of_its_last_step():
    model = cgru.Sequential(
        [cgru.Input((None, 2)), layers.Bidirectional(layers.GRU(3, return_sequences=True))]
    )
    found = inspect.saliency(model, [X[0, :3], X[1]], unit=1)
    alone = inspect.saliency(model, X[:1, :3], unit=1)
    np.testing.assert_allclose(found[0, :3], alone[0], rtol=1e-12)
    assert not found[0, 3:].any()
    assert alone.all()


def test_saliency_of_several_inputs_and_of_words():
    words = cgru.Input((None,), dtype="int64", name="words")
    sound = cgru.Input((None, 2), name="sound")
    embedded = layers.Embedding(9, 4, name="embedding")(words)
    h = layers.Concatenate()([layers.GRU(3)(embedded), layers.GRU(3)(sound)])
    model = cgru.Model([words, sound], layers.Dense(1)(h))
    tokens = np.array([[1, 2, 1], [8, 7, 0]])
    found = inspect.saliency(model, {"words": tokens, "sound": X})
    assert found["words"].shape == (2, 3, 4)
    assert found["sound"].shape == X.shape
    # Word 2 comes once, in the first sequence: what moves its row moves one place of x.
    table = model.get_layer("embedding").embeddings
    old = table.numpy()

    def predicted(row):
        table.assign(np.vstack([old[:2], row, old[3:]]))
        return float(model.predict([tokens, X])[0, 0])

    np.testing.assert_allclose(
        found["words"][0, 1], abs(differences(predicted, old[2].astype("f8"), 1e-2)), atol=1e-3
    )


def test_saliency_of_words_needs_one_embedding():
    words = cgru.Input((None,), dtype="int64", name="words")
    two = [layers.GRU(3)(layers.Embedding(9, 4)(words)) for _ in range(2)]
    deep = cgru.Input((4, 5), dtype="int64", name="words")
    each = layers.TimeDistributed(layers.Embedding(9, 2))(deep)
    flat = layers.TimeDistributed(layers.Flatten())(each)
    for count, model in (
        (2, cgru.Model(words, layers.Concatenate()(two))),
        (0, cgru.Model(deep, layers.GRU(3)(flat))),
    ):
        tokens = np.ones((2, 4, 5) if count == 0 else (2, 4), int)
        with pytest.raises(ValueError, match=f"x: expected 'words' .* one .*; {count} Embeddings"):
            inspect.saliency(model, tokens)


def test_saliency_leaves_masks_out():
    x, mask = cgru.Input((None, 2), name="x"), cgru.Input((None,), name="mask")
    model = cgru.Model([x, mask], layers.GRU(3)(x, mask=mask))
    assert list(inspect.saliency(model, [X, np.ones((2, 6))])) == ["x"]


def test_a_normalization_told_to_train_does_so_in_here():
    x = cgru.Input((None, 2))
    h = layers.BatchNormalization()(x, training=True)
    model = cgru.Model(x, layers.GRU(3, name="gru")(h))
    before = model.get_weights()
    found = inspect.gates(model, 3 * X + 5)["gru"]["state"][:, -1]
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)  # the moving mean and variance, too
    np.testing.assert_allclose(found, model.predict(3 * X + 5), atol=1e-6)


def test_a_shared_layer_has_the_first_of_its_names():
    shared = layers.GRU(3, return_sequences=True, name="gru")
    x, y = cgru.Input((None, 3)), cgru.Input((None, 3))
    inner = cgru.Model(x, shared(x), name="inner")
    assert list(inspect.gates(cgru.Model(y, inner(shared(y))), np.ones((2, 4, 3)))) == [
        "gru",
        "gru_call_2",
    ]


# ---- What stays as it is, and what is refused ----


def noisy_model():
    x = cgru.Input((None, 2), batch_size=2)
    h = layers.GRU(3, stateful=True, dropout=0.2, recurrent_dropout=0.2, return_sequences=True)(
        x, training=True
    )
    h = layers.BatchNormalization()(h, training=True)
    h = layers.Dropout(0.3)(h, training=True)
    model = cgru.Model(x, layers.Dense(1)(layers.LSTM(3, activation="relu")(h)))
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(X, np.ones(2), epochs=2, batch_size=2)
    return model


LOOKS = {
    "gates": inspect.gates,
    "gradient_flow": lambda model, x: inspect.gradient_flow(model, x, np.ones(2)),
    "jacobian_spectrum": inspect.jacobian_spectrum,
    "memory_length": inspect.memory_length,
    "saliency": inspect.saliency,
}
every_look = pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)


@every_look
def test_looking_changes_nothing(look):
    model = noisy_model()
    again = pickle.loads(pickle.dumps(model))
    drawn = _random.get_state()
    flat = model.flat()
    flat.grad[:] = np.arange(len(flat.grad))
    look(model, X)
    assert _random.get_state() == drawn
    assert model.flat() is flat
    np.testing.assert_array_equal(flat.grad, np.arange(len(flat.grad)))
    for mine, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    for mine, other in zip(model.layers[1]._state, again.layers[1]._state, strict=True):
        np.testing.assert_array_equal(mine, other)
    # Dropout draws what it would have drawn, and states and moments go on from where they were.
    for _ in range(3):
        assert model.train_on_batch(X, np.ones(2)) == again.train_on_batch(X, np.ones(2))
    np.testing.assert_array_equal(model.theta, again.theta)


@every_look
def test_frozen_and_nested_models_can_be_looked_into(look):
    inner = cgru.Sequential([cgru.Input((None, 2)), layers.GRU(3, return_sequences=True)])
    inner.trainable = False
    model = cgru.Sequential([cgru.Input((None, 2)), inner, layers.SimpleRNN(1)])
    model.compile("adam", "mse")
    assert len(look(model, X)) == 2
    assert not inner.trainable
    assert model.trainable


@every_look
def test_what_cannot_be_looked_into_is_refused(look):
    with pytest.raises(TypeError, match="model: expected a Model, got <GRU"):
        look(layers.GRU(3), X)
    unbuilt = cgru.Sequential([layers.GRU(3)])
    unbuilt.compile(loss="mse")
    with pytest.raises(ValueError, match="has no weights yet"):
        look(unbuilt, X)
    assert not unbuilt.built
    plain = cgru.Sequential([cgru.Input((6, 2)), layers.Flatten(), layers.Dense(1)])
    plain.compile(loss="mse")
    with pytest.raises(ValueError, match="model: expected one with a recurrent layer"):
        look(plain, X)
    model = cgru.Sequential([cgru.Input((None, 2)), layers.GRU(3), layers.Dense(1)])
    model.compile(loss="mse")
    with pytest.raises(ValueError, match="x: .*expects"):
        look(model, np.ones((2, 6, 5)))
    with pytest.raises(ValueError, match="x: expected finite numbers"):
        look(model, X * np.nan)
    with pytest.raises(TypeError, match="x: expected an array of numbers"):
        look(model, "text")


def test_other_arguments_are_checked():
    model = cgru.Sequential([cgru.Input((None, 2)), layers.GRU(3, name="gru")])
    with pytest.raises(ValueError, match="gradient_flow: call compile"):
        inspect.gradient_flow(model, X, np.ones((2, 3)))
    model.compile(loss="mse")
    with pytest.raises(ValueError, match="y: expected"):
        inspect.gradient_flow(model, X, None)
    with pytest.raises(ValueError, match="y: expected"):
        inspect.gradient_flow(model, X, np.ones((2, 7)))
    for steps in ([6], [-7], [[0], [1]], 6):
        with pytest.raises(ValueError, match="steps: expected a list of steps from -6 to 5, for"):
            inspect.jacobian_spectrum(model, X, steps)
    with pytest.raises(TypeError, match="steps: expected a list of steps, got a mask"):
        inspect.jacobian_spectrum(model, X, [True] * 6)
    for tolerance in (0, -1, 2, "much"):
        with pytest.raises(ValueError, match="tolerance: expected"):
            inspect.memory_length(model, X, tolerance)
    for unit in (3, -1, 0.5):
        with pytest.raises(ValueError, match="unit: expected"):
            inspect.saliency(model, X, unit)
    diverged = cgru.Sequential([cgru.Input((None, 2)), layers.GRU(3, name="gru")])
    diverged.set_weights([weight * np.nan for weight in diverged.get_weights()])
    for look in (inspect.jacobian_spectrum, inspect.memory_length):
        with pytest.raises(ValueError, match="model: expected finite gradients .* of gru, got NaN"):
            look(diverged, X)
    x = cgru.Input((None, 2))
    h = layers.GRU(3)(x)
    two = cgru.Model(x, [layers.Dense(1, name="a")(h), layers.Dense(1, name="b")(h)])
    with pytest.raises(ValueError, match="model: expected one output, got"):
        inspect.saliency(two, X)
