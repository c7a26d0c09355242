"""Layers: shapes, options, states, and gradients by finite differences."""

import pickle

import numpy as np
import pytest
from numeric import check_gradient

import cgru
from cgru import activations, layers
from cgru.layers.base import CONTEXT

ACTIVATIONS = [
    "linear", "sigmoid", "tanh", "softmax", "relu", "elu", "softplus", "softsign", "silu",
    "hard_sigmoid", "exponential",
]  # fmt: skip


def run(layer, x, **context):
    """Output and backward function of a layer, as a model calls it."""
    defaults = dict.fromkeys(CONTEXT) | {
        "training": False,
        "needs_input_grad": True,
        "needs_backward": True,
    }
    layer.ensure_built(x.shape)
    return layer.run(x, defaults | context)


def check_layer(layer, x, rng, **context):
    """Compare all gradients of a layer with finite differences."""
    y, backward = run(layer, x, **context)
    outputs = y if isinstance(y, tuple) else (y,)
    dy = tuple(rng.standard_normal(part.shape) for part in outputs)

    def loss():
        y, _ = run(layer, x, **context)
        return sum(
            float((part * d).sum())
            for part, d in zip(y if isinstance(y, tuple) else (y,), dy, strict=True)
        )

    for weight in layer.weights:
        weight.grad[...] = 0
    gradients = backward(dy if isinstance(y, tuple) else dy[0])
    if context.get("initial_state") is not None:
        check_gradient(loss, context["initial_state"][0], gradients[1][0], rng)
        gradients = gradients[0]
    check_gradient(loss, x, gradients, rng)
    for weight in layer.weights:
        check_gradient(loss, weight._value, weight.grad, rng)


def own(name):
    """A built-in activation that the kernel does not recognise as such."""
    known = activations.get(name)
    return activations.Activation(known.function, known.gradient, "own")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_gradients(rng, name):
    check_layer(layers.Activation(name, dtype="float64"), rng.standard_normal((4, 5)) * 2, rng)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_dense_gradients(rng, name):
    layer = layers.Dense(3, activation=name, dtype="float64", bias_initializer="random_normal")
    check_layer(layer, rng.standard_normal((4, 6, 5)), rng)


def test_dense_reads_time_major_views(rng):
    x = rng.standard_normal((6, 4, 5)).swapaxes(0, 1)
    layer = layers.Dense(3, activation="tanh", dtype="float64")
    np.testing.assert_allclose(layer(x), np.tanh(x @ layer.kernel), rtol=1e-12)
    check_layer(layer, x, rng)


OPTIONS = [
    {},
    {"use_bias": False},
    {"reset_after": False},
    {"reset_after": False, "use_bias": False},
    {"return_sequences": True},
    {"return_sequences": True, "return_state": True, "go_backwards": True},
    {"return_state": True, "go_backwards": True, "reset_after": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("initial", [False, True])
def test_gru_gradients(rng, options, masked, initial):
    x = rng.standard_normal((4, 6, 3))
    mask = rng.integers(0, 2, (4, 6)).astype(bool) if masked else None
    state = rng.standard_normal((4, 5)) if initial else None
    layer = layers.GRU(5, dtype="float64", bias_initializer="random_normal", **options)
    check_layer(layer, x, rng, mask=mask, initial_state=[state] if initial else None)


KINDS = [(layers.GRU, options) for options in OPTIONS] + [
    (kind, options)
    for kind in (layers.LSTM, layers.SimpleRNN)
    for options in OPTIONS
    if "reset_after" not in options
]


@pytest.mark.parametrize(("kind", "options"), KINDS, ids=str)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dropped", [False, True])
def test_recurrent_layers_in_numpy_equal_the_kernels(rng, kind, options, masked, dropped):
    x = rng.standard_normal((4, 6, 3))
    count = 2 if kind is layers.LSTM else 1
    drop = 2.0 * rng.integers(0, 2, (4, 5))
    options = options | {"recurrent_dropout": 0.5 * dropped}
    context = {
        "training": True,
        "mask": rng.integers(0, 2, (4, 6)).astype(bool) if masked else None,
        "initial_state": [rng.standard_normal((4, 5)) for _ in range(count)],
    }
    functions = [own("tanh")] if kind is layers.SimpleRNN else [own("tanh"), own("sigmoid")]
    fast = kind(5, dtype="float64", bias_initializer="random_normal", **options)
    slow = kind(5, *functions, dtype="float64", **options)
    fast._recurrent_drop = slow._recurrent_drop = lambda batch: drop
    fast_y, fast_backward = run(fast, x, **context)
    slow.ensure_built(x.shape)
    slow.set_weights(fast.get_weights())
    slow_y, slow_backward = run(slow, x, **context)
    dy = rng.standard_normal((4, 6, 5)) if fast.return_sequences else rng.standard_normal((4, 5))
    if fast.return_state:
        dy = (dy, *(rng.standard_normal((4, 5)) for _ in range(count)))
    else:
        fast_y, slow_y = (fast_y,), (slow_y,)
    (fast_dx, fast_dstart), (slow_dx, slow_dstart) = fast_backward(dy), slow_backward(dy)
    gradients = [(fast_dx, slow_dx), *zip(fast_dstart, slow_dstart, strict=True)]
    weights = zip([w.grad for w in fast.weights], [w.grad for w in slow.weights], strict=True)
    for got, wanted in [*zip(fast_y, slow_y, strict=True), *gradients, *weights]:
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["relu", "softmax", "hard_sigmoid", "softsign"])
@pytest.mark.parametrize("reset_after", [True, False])
def test_gru_with_other_activations(rng, name, reset_after):
    layer = layers.GRU(5, "softsign", name, reset_after=reset_after, dtype="float64")
    check_layer(layer, rng.standard_normal((4, 6, 3)), rng)


def test_gru_shapes():
    x = np.zeros((2, 5, 3), np.float32)
    assert layers.GRU(4)(x).shape == (2, 4)
    assert layers.GRU(4, return_sequences=True)(x).shape == (2, 5, 4)
    y, state = layers.GRU(4, return_sequences=True, return_state=True)(x)
    assert (y.shape, state.shape) == ((2, 5, 4), (2, 4))
    layer = layers.GRU(4, return_sequences=True, return_state=True)
    assert layer.compute_output_shape((None, 5, 3)) == ((None, 5, 4), (None, 4))


def test_go_backwards_is_the_reversed_sequence(rng):
    x = rng.standard_normal((2, 5, 3)).astype("f4")
    forward = layers.GRU(4, return_sequences=True, seed=1)
    backward = layers.GRU(4, return_sequences=True, seed=1, go_backwards=True)
    np.testing.assert_allclose(backward(x), forward(x[:, ::-1]), atol=1e-6)


def test_last_state_is_the_last_output(rng):
    x = rng.standard_normal((2, 5, 3)).astype("f4")
    for backwards in (False, True):
        options = {"seed": 1, "go_backwards": backwards}
        sequence, state = layers.GRU(4, return_sequences=True, return_state=True, **options)(x)
        np.testing.assert_array_equal(sequence[:, -1], state)
        np.testing.assert_array_equal(layers.GRU(4, **options)(x), state)


def test_masked_steps_repeat_the_state(rng):
    x = rng.standard_normal((1, 6, 3)).astype("f4")
    mask = np.array([[True, True, False, False, True, False]])
    layer = layers.GRU(4, return_sequences=True)
    y = layer(x, mask=mask)
    np.testing.assert_array_equal(y[:, 1], y[:, 3])
    np.testing.assert_allclose(y[:, [0, 1, 4]], layer(x[:, [0, 1, 4]]), atol=1e-6)


def test_stateful_goes_on_where_the_last_batch_ended(rng):
    x = rng.standard_normal((2, 6, 3)).astype("f4")
    whole = layers.GRU(4, seed=1)
    parts = layers.GRU(4, seed=1, stateful=True)
    parts(x[:, :2])
    np.testing.assert_allclose(parts(x[:, 2:]), whole(x), atol=1e-6)
    with pytest.raises(ValueError, match=r"expects shape \(1, 4\).*reset_state"):
        parts(x[:1])
    parts.reset_state()
    np.testing.assert_allclose(parts(x), whole(x), atol=1e-6)


def test_stateful_model(rng):
    x = rng.standard_normal((4, 6, 3)).astype("f4")
    model = cgru.Sequential([layers.GRU(4, stateful=True)])
    first, second = model.predict(x), model.predict(x)
    assert not np.array_equal(first, second)
    model.reset_states()
    np.testing.assert_array_equal(model.predict(x), first)
    with pytest.raises(ValueError, match="batch_size: a stateful model needs batches of one size"):
        model.predict(x, batch_size=3)


@pytest.mark.parametrize("kind", [layers.GRU, layers.LSTM, layers.SimpleRNN])
def test_backward_twice_is_an_error(rng, kind):
    y, backward = run(kind(4), rng.standard_normal((2, 5, 3)).astype("f4"))
    backward(np.ones_like(y))
    with pytest.raises(RuntimeError, match="once for each forward pass"):
        backward(np.ones_like(y))


def test_initial_state_is_checked():
    x = np.zeros((2, 5, 3))
    with pytest.raises(ValueError, match=r"expects shape \(2, 4\), got \(2, 3\)"):
        layers.GRU(4)(x, initial_state=np.zeros((2, 3)))
    state = cgru.Input((3,))
    for layer, given in ((layers.GRU(4), [state]), (layers.Bidirectional(layers.GRU(4)), [state])):
        with pytest.raises(ValueError, match=r"expects shape \(batch, 4\), got \(None, 3\)"):
            layer(cgru.Input((5, 3)), initial_state=given)
    with pytest.raises(ValueError, match="initial_state: lstm.* expects 2 arrays, got 1"):
        layers.LSTM(3)(cgru.Input((5, 3)), initial_state=[state])
    with pytest.raises(TypeError, match="dense.* has no state"):
        layers.Dense(4)(x, initial_state=np.zeros((2, 3)))


def test_mask_is_checked():
    with pytest.raises(ValueError, match=r"mask: expected shape \(2, 5\), got \(2, 4\)"):
        layers.GRU(4)(np.zeros((2, 5, 3)), mask=np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"mask: expected shape \(2, 5\), got \(2,\)"):
        layers.GRU(4)(np.zeros((2, 5, 3)), mask=np.ones(2))


def test_states_are_not_the_output_itself(rng):
    output, state = layers.GRU(4, return_state=True)(rng.standard_normal((2, 5, 3)))
    output[:] = 0
    assert state.any()


def test_dropout():
    x = np.ones((200, 300), np.float32)
    layer = layers.Dropout(0.25, seed=3)
    np.testing.assert_array_equal(layer(x), x)
    y, backward = run(layer, x, training=True)
    assert abs((y == 0).mean() - 0.25) < 0.01
    np.testing.assert_allclose(y[y > 0], 4 / 3, rtol=1e-6)
    np.testing.assert_array_equal(backward(x), y)
    assert not np.array_equal(layer(x, training=True), y), "each call draws anew"
    again = layers.Dropout(0.25, seed=3)
    np.testing.assert_array_equal(again(x, training=True), y)
    columns = layers.Dropout(0.5, noise_shape=(1, None), seed=1)(x, training=True)
    np.testing.assert_array_equal(columns, np.broadcast_to(columns[:1], x.shape))


def test_seed_of_a_gru_repeats_its_weights():
    x = np.zeros((1, 2, 3))
    a, b, c = (layers.GRU(4, seed=seed) for seed in (7, 7, 8))
    for layer in (a, b, c):
        layer(x)
    np.testing.assert_array_equal(a.kernel, b.kernel)
    assert not np.array_equal(a.kernel, c.kernel)


def test_initial_weights_have_the_shapes_and_statistics_of_keras():
    layer = layers.GRU(64, dtype="float64")
    layer.build((None, None, 32))
    assert [w.shape for w in layer.weights] == [(32, 192), (64, 192), (2, 192)]
    assert [w.name for w in layer.weights] == ["kernel", "recurrent_kernel", "bias"]
    limit = np.sqrt(6 / (32 + 192))
    assert 0.95 * limit < abs(layer.kernel.numpy()).max() <= limit
    recurrent = layer.recurrent_kernel.numpy()
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(64), atol=1e-12)
    assert not layer.bias.numpy().any()


@pytest.mark.parametrize(
    ("name", "deviation"),
    [
        ("glorot_uniform", (2 / 500) ** 0.5),
        ("glorot_normal", (2 / 500) ** 0.5),
        ("he_uniform", (2 / 200) ** 0.5),
        ("he_normal", (2 / 200) ** 0.5),
        ("lecun_uniform", (1 / 200) ** 0.5),
        ("lecun_normal", (1 / 200) ** 0.5),
        ("random_normal", 0.05),
        ("random_uniform", 0.05 / 3**0.5),
        ("zeros", 0),
        ("ones", 0),
    ],
)
def test_initializers(name, deviation):
    values = cgru.initializers.get(name)((200, 300), "float64")
    assert values.std() == pytest.approx(deviation, rel=0.02)
    assert values.mean() == pytest.approx(float(name == "ones"), abs=0.002)


def test_initializer_objects_repeat_and_strings_do_not():
    initializer = cgru.initializers.GlorotUniform()
    np.testing.assert_array_equal(initializer((3, 4)), initializer((3, 4)))
    a, b = (cgru.initializers.get("glorot_uniform") for _ in range(2))
    assert not np.array_equal(a((3, 4)), b((3, 4)))


class Scale(layers.Layer):
    """The example of a user's layer in the documentation."""

    def build(self, input_shape):
        self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")

    def forward(self, x):
        factor = self.factor.value

        def backward(dy):
            self.factor.grad += (dy * x).reshape(-1, x.shape[-1]).sum(axis=0)
            return dy * factor

        return x * factor, backward


def test_a_layer_of_ones_own(rng):
    check_layer(Scale(dtype="float64"), rng.standard_normal((4, 6, 3)), rng)
    x = rng.standard_normal((20, 5, 3)).astype("f4")
    model = cgru.Sequential([Scale(), layers.GRU(4), Scale(), layers.Dense(1)])
    model.compile("adam", "mse")
    losses = model.fit(x, x.sum(axis=(1, 2)), epochs=20).history["loss"]
    assert losses[-1] < losses[0]
    assert not np.array_equal(model.layers[0].factor, np.ones(3))


def test_a_layer_that_contains_layers(rng):
    class Residual(layers.Layer):
        def __init__(self, inner, **kwargs):
            super().__init__(**kwargs)
            self.inner = inner

        def build(self, input_shape):
            self.inner.build(input_shape)

        def forward(self, x):
            y, inner_backward = self.inner.run(x, {})
            return x + y, lambda dy: dy + inner_backward(dy)

    layer = Residual(Scale(dtype="float64"), dtype="float64")
    check_layer(layer, rng.standard_normal((4, 3)), rng)
    assert [w.path for w in layer.weights] == [f"{layer.inner.name}/factor"]


def test_variables():
    v = cgru.Variable(np.arange(6.0).reshape(2, 3), name="v")
    assert (v.shape, v.ndim, v.size, v.dtype, len(v)) == ((2, 3), 2, 6, "float64", 2)
    np.testing.assert_array_equal(v + 1, np.arange(1.0, 7).reshape(2, 3))
    np.testing.assert_array_equal(2 * v, v * 2)
    np.testing.assert_array_equal(np.ones((1, 2)) @ v, [[3, 5, 7]])
    np.testing.assert_array_equal(np.concatenate([v, v]).shape, (4, 3))
    np.testing.assert_array_equal(v[1], [3, 4, 5])
    assert float(np.sum(v)) == 15
    before = v.numpy()
    v.assign(np.zeros((2, 3)))
    assert before.any(), "numpy() is a copy"
    assert not v.numpy().any()
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(v)[0] = 1
    with pytest.raises(ValueError, match=r"v: expected shape \(2, 3\), got \(3, 2\)"):
        v.assign(np.zeros((3, 2)))


def test_set_weights_sets_all_or_none(rng):
    layer = layers.Dense(3)
    layer.build((None, 2))
    before = layer.get_weights()
    with pytest.raises(ValueError, match=r"bias: expected shape \(3,\), got \(4,\)"):
        layer.set_weights([np.ones((2, 3)), np.ones(4)])
    with pytest.raises(ValueError, match="has 2 weights, got 1"):
        layer.set_weights([np.ones((2, 3))])
    for got, wanted in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("strides", [2, 3])
def test_a_causal_convolution_with_strides_leaves_steps_out(rng, strides):
    x = rng.standard_normal((2, 7, 3))
    every = layers.Conv1D(4, 3, padding="causal", dtype="float64")
    some = layers.Conv1D(4, 3, padding="causal", strides=strides, dtype="float64")
    y = every(x)
    some.build(x.shape)
    some.set_weights(every.get_weights())
    np.testing.assert_allclose(some(x), y[:, ::strides], rtol=1e-12, atol=1e-12)


def test_names_of_layers():
    names = [layer().name for layer in (layers.UpSampling1D, layers.PReLU, layers.Flatten)]
    assert [name.rstrip("0123456789").rstrip("_") for name in names[1:]] == ["p_re_lu", "flatten"]
    assert names[0].startswith("up_sampling1d")


def test_batch_normalization_of_each_step_leaves_out_padding(rng):
    x = rng.standard_normal((4, 6, 3))
    mask = np.arange(6) < [[6], [2], [1], [4]]
    found = []
    for padding in (0, 100):
        x[~mask] = padding
        layer = layers.TimeDistributed(layers.BatchNormalization())
        found.append((layer(x, mask=mask, training=True)[mask], layer.get_weights()))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    for a, b in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(found[0][0].mean(axis=0), 0, atol=1e-6)


def test_noise_shapes_and_shared_axes_are_checked():
    for kind in (layers.Dropout, layers.AlphaDropout):
        with pytest.raises(ValueError, match=r"noise_shape: expected to broadcast to \(2, 5, 3\)"):
            kind(0.5, noise_shape=(2, 3))(np.ones((2, 5, 3)))
    for axis in (0, -1, 9):
        with pytest.raises(ValueError, match="shared_axes: expected axes from 1 to 2, got"):
            layers.PReLU(shared_axes=[axis])(np.ones((2, 5, 3)))


def test_arguments_in_other_forms():
    assert cgru.Input((5,), dtype=np.int32).dtype == np.int32
    assert cgru.Input((5,), dtype=np.float64).dtype == np.float64
    mask = layers.Embedding(5, 2, mask_zero=True).compute_mask(np.array([[1, 0]]))
    np.testing.assert_array_equal(mask, [[True, False]])
    for axis in (-1, 2, [-1], (-1,), (2,)):
        assert layers.LayerNormalization(axis).stepwise
    for axis in (None, -1, (-1,), [2]):
        assert layers.Normalization(axis).stepwise
    assert not layers.LayerNormalization((1, 2)).stepwise


def test_initializers_from_arrays_and_functions():
    table = np.arange(6.0).reshape(3, 2)
    for given in (table, cgru.initializers.Constant(table), cgru.initializers.Constant([0, 1])):
        layer = layers.Embedding(3, 2, embeddings_initializer=given)
        layer.build((None, None))
        expected = getattr(given, "value", table)
        np.testing.assert_array_equal(layer.embeddings, np.broadcast_to(expected, (3, 2)))
        again = layers.Embedding.from_config(layer.get_config())
        again.build((None, None))
        np.testing.assert_array_equal(again.embeddings, layer.embeddings)
    with pytest.raises(ValueError, match=r"value: expected numbers for a weight of shape \(4, 2\)"):
        layers.Embedding(4, 2, embeddings_initializer=table).build((None, None))

    dense = layers.Dense(
        2,
        kernel_initializer=lambda shape, dtype=None: np.full(shape, 3, dtype),
        kernel_constraint=lambda w: np.minimum(w, 2),
    )
    np.testing.assert_array_equal(dense(np.ones((1, 4))), [[12, 12]])
    assert dense.kernel.dtype == "float32"
    model = cgru.Sequential([cgru.Input((4,)), dense])
    model.compile("sgd", "mse")
    model.fit(np.zeros((2, 4)), np.zeros((2, 2)))
    np.testing.assert_array_equal(dense.kernel, np.full((4, 2), 2))
    with pytest.raises(TypeError, match="config: <function .* has no configuration"):
        model.to_json()
    with pytest.raises(ValueError, match=r"initializer: expected shape \(4, 2\) of .* got \(1,\)"):
        layers.Dense(2, kernel_initializer=lambda shape, dtype: [1]).build((None, 4))


def test_a_layer_as_an_activation(rng):
    x = rng.standard_normal((4, 3))
    dense = layers.Dense(5, activation=layers.LeakyReLU(0.1), dtype="float64")
    dense.build(x.shape)
    y, backward = dense.forward(x)
    np.testing.assert_allclose(y, layers.LeakyReLU(0.1, dtype="float64")(x @ dense.kernel))
    dy = rng.standard_normal(y.shape)
    check_gradient(lambda: float((dense.forward(x)[0] * dy).sum()), x, backward(dy), rng)
    again = layers.Dense.from_config(dense.get_config())
    again(x)
    again.set_weights(dense.get_weights())
    np.testing.assert_array_equal(again(x), y)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(dense))(x), y)
    layers.GRU(3, activation=layers.ELU())(np.ones((2, 4, 3)))
    for layer in (layers.Dropout(0.5), layers.PReLU(), layers.Flatten(), layers.Softmax(axis=1)):
        with pytest.raises(ValueError, match="activation: expected a layer that does the same"):
            layers.Dense(5, activation=layer)
    with pytest.raises(ValueError, match="activation: expected a layer without weights that"):
        layers.Dense(5, activation=layers.LayerNormalization())(np.ones((2, 3)))
