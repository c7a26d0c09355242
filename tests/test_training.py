"""Building, fitting, evaluating and predicting."""

import inspect
import itertools
import sys
import threading

import numpy as np
import pytest
from numeric import check_gradient

import cgru
from cgru import callbacks, layers, optimizers


def small_model(outputs=1, activation=None, dtype=None, build=True, **options):
    entries = [cgru.Input((None, 3), dtype=dtype)] if build else []
    return cgru.Sequential(
        [
            *entries,
            layers.GRU(5, dtype=dtype, **options),
            layers.Dense(outputs, activation, dtype=dtype),
        ]
    )


@pytest.fixture
def data(rng):
    x = rng.standard_normal((50, 7, 3)).astype("f4")
    return x, x.mean(axis=(1, 2), keepdims=True)[:, 0]


def test_fit_learns_and_records(data):
    cgru.utils.set_random_seed(1)
    x, y = data
    model = small_model(build=False)
    model.compile("adam", "mse", metrics=["mae", "rmse"])
    history = model.fit(x, y, epochs=60, batch_size=10, validation_data=(x[:10], y[:10]))
    assert history is model.history
    assert history.epoch == list(range(60))
    names = ["loss", "mae", "rmse", "val_loss", "val_mae", "val_rmse"]
    assert list(history.history) == names
    assert history.history["loss"][-1] < history.history["loss"][0] / 5
    loss, mae, rmse = model.evaluate(x, y)
    assert rmse == pytest.approx(loss**0.5, rel=1e-4)
    assert mae == pytest.approx(abs(model.predict(x) - y).mean(), rel=1e-4)
    assert model.evaluate(x, y, return_dict=True) == {"loss": loss, "mae": mae, "rmse": rmse}
    assert model.metrics_names == ["loss", "mae", "rmse"]


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "Adam", optimizers.SGD])
def test_names_classes_and_objects(data, optimizer):
    x, y = data
    model = small_model()
    model.compile(
        optimizer, cgru.losses.MeanSquaredError, metrics=[cgru.metrics.MeanAbsoluteError()]
    )
    assert isinstance(model.fit(x, y), callbacks.History)


def test_one_seed_repeats_training_bit_for_bit(data):
    x, y = data

    def train(seed):
        cgru.utils.set_random_seed(seed)
        model = cgru.Sequential([layers.GRU(6), layers.Dropout(0.3), layers.Dense(1)])
        model.compile("adam", "mse")
        model.fit(x, y, epochs=3, batch_size=8)
        return model.theta

    np.testing.assert_array_equal(train(5), train(5))
    assert not np.array_equal(train(5), train(6))


def test_weights_are_views_into_the_flat_vector(data):
    model = small_model()
    model.compile("sgd", "mse")
    flat = model.flat()
    for weight in model.trainable_weights:
        assert np.shares_memory(weight.value, flat.value)
        assert np.shares_memory(weight.grad, flat.grad)
    expected = np.concatenate([w.ravel() for w in model.get_weights()])
    np.testing.assert_array_equal(model.theta, expected)
    assert model.count_params() == flat.value.size == len(expected)
    model.theta = np.arange(len(expected))
    assert model.layers[0].kernel[0, 1] == 1
    model.set_weights([np.full(w.shape, 2.0) for w in model.weights])
    assert (model.theta == 2).all()


def test_a_layer_in_two_models_stays_with_both(data):
    x, y = data
    shared = layers.GRU(5)
    shared.build((None, None, 3))
    a = cgru.Sequential([shared, layers.Dense(1)])
    b = cgru.Sequential([shared, layers.Dense(1)])
    for model in (a, b, a, b):
        if model.optimizer is None:
            model.compile("adam", "mse")
        before = shared.kernel.numpy()
        model.train_on_batch(x, y)
        assert not np.array_equal(shared.kernel, before)
    np.testing.assert_array_equal(a.get_weights()[0], b.get_weights()[0])


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize(
    ("loss", "outputs", "activation"),
    [
        ("mse", 1, None),
        ("sparse_categorical_crossentropy", 4, "softmax"),
        ("binary_crossentropy", 1, "sigmoid"),
    ],
)
def test_gradient_of_a_model(rng, reset_after, loss, outputs, activation):
    model = cgru.Sequential(
        [
            cgru.Input((6, 3), dtype="float64"),
            layers.GRU(5, return_sequences=True, reset_after=reset_after, dtype="float64"),
            layers.Dense(4, "tanh", dtype="float64"),
            layers.GRU(3, go_backwards=True, reset_after=reset_after, dtype="float64"),
            layers.Dense(outputs, activation, dtype="float64"),
        ]
    )
    model.compile(loss=loss)
    x, y = rng.standard_normal((8, 6, 3)), rng.integers(0, max(2, outputs), 8)
    weight = rng.uniform(0, 2, 8)
    theta = model.theta
    value, grad = model.value_and_grad(theta, x, y, weight)
    assert value == pytest.approx(model.test_on_batch(x, y, weight), rel=1e-12)
    check_gradient(lambda: model.value_and_grad(theta, x, y, weight)[0], theta, grad, rng)


def test_scipy_trains_a_model(rng):
    from scipy.optimize import minimize

    cgru.utils.set_random_seed(2)
    x = rng.standard_normal((40, 6, 3))
    y = x[:, -1, 0] - x[:, -2, 1]
    model = small_model(dtype="float64")
    model.compile(loss="mse")
    start = model.evaluate(x, y)
    result = minimize(
        model.value_and_grad, model.theta, args=(x, y), jac=True, method="L-BFGS-B",
        options={"maxiter": 200},
    )  # fmt: skip
    model.theta = result.x
    assert model.evaluate(x, y, batch_size=40) == pytest.approx(result.fun, rel=1e-9)
    assert result.fun < start / 100


def test_train_on_batch_is_a_step_of_gradient_descent(data):
    x, y = data
    model = small_model()
    model.compile(optimizers.SGD(0.5), "mse")
    theta = model.theta
    value, grad = model.value_and_grad(theta, x, y)
    assert model.train_on_batch(x, y) == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(model.theta, theta - 0.5 * grad, atol=1e-6)


def step_of_sgd(data, **clipping):
    x, y = data
    model = small_model(seed=3)
    model.compile(optimizers.SGD(1.0, **clipping), "mse")
    before = model.theta
    _, grad = model.value_and_grad(before, x, y * 100)
    model.train_on_batch(x, y * 100)
    sizes = [w.size for w in model.weights]
    return before - model.theta, grad, np.cumsum(sizes)[:-1]


def test_clipping(data):
    taken, grad, _ = step_of_sgd(data, clipvalue=0.01)
    np.testing.assert_allclose(taken, np.clip(grad, -0.01, 0.01), atol=1e-5)
    assert abs(grad).max() > 0.01
    taken, grad, _ = step_of_sgd(data, global_clipnorm=0.1)
    np.testing.assert_allclose(taken, grad * 0.1 / np.linalg.norm(grad), atol=1e-5)
    taken, grad, borders = step_of_sgd(data, clipnorm=0.1)
    for got, full in zip(np.split(taken, borders), np.split(grad, borders), strict=True):
        norm = np.linalg.norm(full)
        np.testing.assert_allclose(got, full * min(1, 0.1 / norm), atol=1e-5)
    taken, grad, _ = step_of_sgd(data, clipnorm=1e9)
    np.testing.assert_allclose(taken, grad, rtol=1e-3, atol=1e-5)


def test_iterables_of_batches(data):
    x, y = data
    theta = {}
    for kind in ("arrays", "list", "generator", "endless"):
        cgru.utils.set_random_seed(4)
        model = small_model()
        model.compile("sgd", "mse")
        batches = [(x[i : i + 10], y[i : i + 10]) for i in range(0, 50, 10)]
        if kind == "arrays":
            model.fit(x, y, epochs=2, batch_size=10, shuffle=False)
        elif kind == "list":
            model.fit(batches, epochs=2)
        elif kind == "generator":
            model.fit((batch for batch in batches * 2), epochs=2, steps_per_epoch=5)
        else:
            model.fit(itertools.repeat(batches[0]), epochs=2, steps_per_epoch=5)
        theta[kind] = model.theta
    np.testing.assert_array_equal(theta["list"], theta["arrays"])
    np.testing.assert_array_equal(theta["generator"], theta["arrays"])
    assert not np.array_equal(theta["endless"], theta["arrays"])


def test_a_generator_that_ends_too_early_is_an_error(data):
    x, y = data
    model = small_model()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="gave no batches"):
        model.fit(((x, y) for _ in range(3)), epochs=2)
    assert len(model.history.epoch) == 1
    with pytest.raises(ValueError, match="gave no batches"):
        model.fit([])
    with pytest.raises(ValueError, match=r"expected batches \(x, y\)"):
        model.fit([x, x])


def test_steps_per_epoch_with_arrays(data):
    x, y = data
    model = small_model()
    model.compile("sgd", "mse")
    model.fit(x, y, batch_size=10, epochs=3, steps_per_epoch=2)
    assert model.optimizer.iterations == 6


def test_validation_split_takes_the_last_samples_and_does_not_train_on_them(data):
    x, y = data
    models = []
    for arguments in (
        {"x": x, "y": y, "validation_split": 0.2},
        {"x": x[:40], "y": y[:40], "validation_data": (x[40:], y[40:])},
        {"x": x[:40], "y": y[:40], "validation_data": [(x[40:], y[40:])]},
    ):
        cgru.utils.set_random_seed(4)
        model = small_model()
        model.compile("sgd", "mse")
        model.fit(**arguments, epochs=2)
        models.append(model)
    for other in models[1:]:
        np.testing.assert_array_equal(models[0].theta, other.theta)
        assert models[0].history.history == other.history.history


def test_a_sample_of_weight_two_counts_twice(data):
    x, y = data
    results = []
    for parts in ((x[:3], y[:3], [2, 1, 1]), (x[[0, 0, 1, 2]], y[[0, 0, 1, 2]], None)):
        cgru.utils.set_random_seed(4)
        model = small_model(dtype="float64")
        model.compile("sgd", "mse")
        results.append(model.value_and_grad(model.theta, *parts))
    # The weighted sum is divided by the number of samples, as in Keras.
    np.testing.assert_allclose(results[0][1] * 3, results[1][1] * 4, rtol=1e-10)


def test_weights_of_samples_as_a_column(data):
    x, y = data
    model = small_model()
    model.compile("sgd", "mse", weighted_metrics=["mae"])
    weights = np.arange(50.0)
    expected = model.evaluate(x, y, sample_weight=weights)
    assert model.evaluate(x, y, sample_weight=weights[:, np.newaxis]) == expected
    tagger = cgru.Sequential([cgru.Input((None, 3)), layers.GRU(1, return_sequences=True)])
    tagger.compile("sgd", "mse")
    steps = np.arange(350.0).reshape(50, 7)
    for sequences in ((x, x[..., :1]), ([*x[:, :6], x[0]], [*x[:, :6, :1], x[0, :, :1]])):
        count = len(sequences[0])
        one = np.arange(float(count))
        expected = tagger.evaluate(*sequences, sample_weight=one)
        assert tagger.evaluate(*sequences, sample_weight=one[:, np.newaxis]) == expected
    expected = tagger.evaluate(x, x[..., :1], sample_weight=steps)
    assert tagger.evaluate(x, x[..., :1], sample_weight=steps[..., np.newaxis]) == expected
    with pytest.raises(ValueError, match=r"sample_weight: expected shape \(50,\), got \(50, 2\)"):
        model.evaluate(x, y, sample_weight=np.ones((50, 2)))


def test_class_weight_is_a_sample_weight_by_class(rng):
    x, labels = rng.standard_normal((30, 4, 3)), rng.integers(0, 3, 30)
    factors = np.array([1.0, 3.0, 0.5])
    theta = []
    for loss, y in (
        ("sparse_categorical_crossentropy", labels),
        ("categorical_crossentropy", np.eye(3)[labels]),
    ):
        for weights in ({"class_weight": {1: 3.0, 2: 0.5}}, {"sample_weight": factors[labels]}):
            cgru.utils.set_random_seed(4)
            model = small_model(3, "softmax")
            model.compile("sgd", loss)
            model.fit(x, y, epochs=2, **weights)
            theta.append(model.theta)
    for other in theta[1:]:
        np.testing.assert_allclose(theta[0], other, atol=1e-6)


def test_shuffle_is_a_new_order_each_epoch(data):
    x, y = data
    seen = []

    class Spy(layers.Layer):
        def forward(self, x):
            seen.append(x[:, 0, 0].copy())
            return x, lambda dy: dy

    model = cgru.Sequential([Spy(), layers.GRU(2), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, y, epochs=2, batch_size=50)
    assert not np.array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(np.sort(seen[0]), np.sort(seen[1]))
    model.fit(x, y, batch_size=50, shuffle=False)
    np.testing.assert_array_equal(seen[2], x[:, 0, 0])


def test_callbacks_are_called_in_order(data):
    x, y = data
    calls = []

    class Spy(callbacks.Callback):
        def on_train_begin(self, logs=None):
            calls.append("train")
            assert self.model is model
            assert self.params["epochs"] == 4
            assert self.params["steps"] == 2

        def on_epoch_begin(self, epoch, logs=None):
            calls.append(epoch)

        def on_train_batch_end(self, batch, logs=None):
            calls.append(f"batch {batch}")
            assert logs["loss"] > 0

        def on_epoch_end(self, epoch, logs=None):
            calls.append(f"end {epoch}")
            self.model.stop_training = epoch == 3

        def on_train_end(self, logs=None):
            calls.append("done")

    model = small_model()
    model.compile("sgd", "mse")
    history = model.fit(x, y, batch_size=25, initial_epoch=2, epochs=4, callbacks=[Spy()])
    epoch = ["batch 0", "batch 1"]
    assert calls == ["train", 2, *epoch, "end 2", 3, *epoch, "end 3", "done"]
    assert history.epoch == [2, 3]


def test_ctrl_c_leaves_a_usable_model_and_history(data):
    x, y = data

    class Interrupt(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if len(self.model.history.epoch) == 2 and batch == 1:
                raise KeyboardInterrupt

    model = small_model()
    model.compile("adam", "mse")
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, batch_size=10, epochs=5, callbacks=Interrupt())
    assert len(model.history.history["loss"]) == 2
    assert model.optimizer.iterations == 12
    assert np.isfinite(model.predict(x)).all()
    model.fit(x, y)


def test_steps_divide_the_data_unless_a_batch_size_is_given(data):
    """As Keras has it."""
    x, y = data
    count = len(x)
    model = small_model(1)
    model.compile("sgd", "mse")
    assert model.predict(x, steps=3).shape[0] == count
    assert model.predict(x, steps=2, batch_size=7).shape[0] == 14
    np.testing.assert_allclose(model.evaluate(x, y, steps=3), model.evaluate(x, y), rtol=1e-5)
    sizes = []

    class Sizes(cgru.callbacks.Callback):
        def on_predict_batch_end(self, batch, logs=None):
            sizes.append(len(logs["outputs"]))

    model.predict(x, steps=3, callbacks=Sizes())
    assert sizes == [-(-count // 3)] * 2 + [count - 2 * -(-count // 3)]
    history = model.fit(x, y, epochs=2, steps_per_epoch=4, validation_data=(x, y))
    assert model.optimizer.iterations == 8
    assert history.params["steps"] == 4
    fixed = cgru.Sequential([cgru.Input(x.shape[1:], batch_size=5), layers.GRU(2)])
    assert fixed.predict(x, steps=2).shape[0] == 10


def test_the_kernel_releases_the_gil(rng):
    x = rng.standard_normal((64, 400, 64)).astype("f4")
    model = cgru.Sequential([layers.GRU(256)])
    model.predict_on_batch(x)
    count, done = 0, threading.Event()

    def run():
        model.predict_on_batch(x)
        done.set()

    # Without the release this thread would not run again until the kernel is done.
    thread = threading.Thread(target=run)
    thread.start()
    while not done.is_set():
        count += 1
        done.wait(0.001)
    thread.join()
    assert count > 5


@pytest.mark.parametrize(("verbose", "lines"), [("auto", 0), (0, 0), (1, 2), (2, 2)])
def test_quiet_when_not_a_terminal(data, capfd, verbose, lines):
    model = small_model()
    model.compile("sgd", "mse")
    model.fit(*data, epochs=2, verbose=verbose)
    out, err = capfd.readouterr()
    assert err == ""
    assert out.count("\n") == lines
    assert lines == 0 or out.startswith("Epoch 1/2 - loss=")


def test_progress_on_a_terminal(data, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    model = small_model()
    model.compile("sgd", "mse", metrics=["mae"])
    model.fit(*data, epochs=2, batch_size=10)
    err = capsys.readouterr().err
    assert "Epoch 2/2: 100%" in err
    assert "10/10" in err
    assert "loss=" in err
    assert "mae=" in err


def test_a_progress_bar_in_a_loop_of_ones_own(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for params in ({}, {"verbose": 2, "epochs": 3}, {"verbose": 1, "epochs": 3, "steps": 2}):
        loop = callbacks.CallbackList(add_progbar=True, model=small_model(), **params)
        loop.on_train_begin()
        loop.on_epoch_begin(0)
        loop.on_train_batch_end(0, {"loss": 0.5})
        loop.on_epoch_end(0, {"loss": 0.5})
        loop.on_train_end()
    out, err = capsys.readouterr()
    assert out == "Epoch 1/3 - loss=0.5\n"
    assert "Epoch 1: " in err
    assert "Epoch 1/3: " in err
    assert "1/6" in err


def test_metrics_of_several_values(data, monkeypatch, capsys):
    x = data[0]
    model = small_model(3, "softmax")
    model.compile("sgd", "ce", metrics=[cgru.metrics.F1Score(), cgru.metrics.Precision([0.2, 0.5])])
    classes = np.eye(3)[np.arange(50) % 3]
    history = model.fit(x, classes, epochs=2, verbose=2).history
    assert [value.shape for value in history["f1_score"]] == [(3,), (3,)]
    assert [value.shape for value in history["precision"]] == [(2,), (2,)]
    lines = capsys.readouterr().out.splitlines()
    assert f"f1_score={history['f1_score'][1].mean():.4g}" in lines[1]
    _, score, _ = model.evaluate(x, classes, verbose=2)
    assert f"f1_score: {score.mean():.4g}" in capsys.readouterr().out
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    model.fit(x, classes, verbose=1)
    assert "f1_score=" in capsys.readouterr().err


def test_metrics_have_the_names_of_keras(data):
    x, y = data

    def names(**options):
        model = small_model(1, "sigmoid")
        model.compile("sgd", "mse", **options)
        history = model.fit(x, y > 0, validation_split=0.5).history
        assert model.metrics_names == list(model.evaluate(x, y > 0, return_dict=True))
        assert list(history) == [*model.metrics_names, *(f"val_{n}" for n in model.metrics_names)]
        return model.metrics_names[1:]

    asked = [
        "AUC",
        "Precision",
        "MAE",
        "RootMeanSquaredError",
        "BCE",
        "acc",
        "ACC",
        "mse",
        "f1_score",
    ]
    assert names(metrics=asked) == asked
    mae = ["mae", "mae"]
    numbered = ["mae", "mae_1", "weighted_mae", "weighted_mae_1"]
    assert names(metrics=mae, weighted_metrics=mae) == numbered
    assert names(metrics=["mae"], weighted_metrics=["acc"]) == ["mae", "acc"]
    two = [cgru.metrics.Precision(0.3), cgru.metrics.Precision(0.7)]
    assert names(metrics=two) == ["precision", "precision_1"]
    assert names(metrics=[cgru.metrics.AUC(name="loss")]) == ["loss_1"]


def test_chosen_epochs_are_validated(data):
    model = small_model()
    model.compile("sgd", "mse")
    history = model.fit(*data, epochs=4, validation_data=data, validation_freq=[1, 3])
    assert history.epochs_of["val_loss"] == [0, 2]


def test_float64_models(rng):
    x = rng.standard_normal((10, 4, 3))
    model = small_model(dtype="float64")
    model.compile("adam", "mse")
    model.fit(x, x[:, 0, :1])
    assert model.predict(x).dtype == np.float64
    assert {w.dtype for w in model.weights} == {"float64"}


def test_models_in_models(rng):
    x = rng.standard_normal((20, 4, 3)).astype("f4")
    inner = cgru.Sequential([layers.GRU(4, return_sequences=True), layers.Dense(2)])
    model = cgru.Sequential([inner, layers.GRU(3), layers.Dense(1)])
    model.compile("adam", "mse")
    before = model.predict(x)
    model.fit(x, x[:, 0, :1], epochs=2)
    assert len(model.weights) == 10
    assert not np.allclose(model.predict(x), before)


def test_frozen_layers_stay_as_they_are(data):
    x, y = data
    model = small_model()
    model.layers[0].trainable = False
    model.compile("adam", "mse")
    before = model.get_weights()
    model.fit(x, y)
    after = model.get_weights()
    for i in range(3):
        np.testing.assert_array_equal(before[i], after[i])
    assert not np.array_equal(before[3], after[3])
    assert model.theta.size == 6
    model.layers[0].trainable = True
    with pytest.raises(ValueError, match="compile the model with a new one"):
        model.fit(x, y)


def test_an_optimizer_goes_on_after_compiling_again(data):
    x, y = data
    optimizer = optimizers.Adam()
    model = small_model()
    for _ in range(2):
        model.compile(optimizer, "mse")
        model.fit(x, y)
    assert optimizer.iterations == 4
    other = small_model()
    other.compile(optimizer, "mse")
    with pytest.raises(ValueError, match="used with other weights"):
        other.fit(x, y)
    optimizer.learning_rate = 0.5
    assert optimizer.learning_rate == 0.5


def test_build_and_summary(capsys):
    model = cgru.Sequential(name="m")
    model.add(layers.GRU(4, return_sequences=True))
    model.add(layers.Dense(2))
    model.build((None, 10, 3))
    model.add(layers.GRU(5))
    assert model.input_shape == (None, 10, 3)
    assert model.output_shape == (None, 5)
    model.summary()
    out = capsys.readouterr().out
    assert "(None, 10, 4)" in out
    assert f"Total parameters: {model.count_params():,}" in out
    assert model.count_params() == 108 + 10 + 135


def test_arguments_have_the_order_of_keras():
    parameters = list(inspect.signature(cgru.Sequential.fit).parameters)
    assert parameters[1:] == [
        "x", "y", "batch_size", "epochs", "verbose", "callbacks", "validation_split",
        "validation_data", "shuffle", "class_weight", "sample_weight", "initial_epoch",
        "steps_per_epoch", "validation_steps", "validation_batch_size", "validation_freq",
        "lengths", "tbptt",
    ]  # fmt: skip


def test_steps_take_the_first_of_arrays():
    x = np.random.default_rng(0).standard_normal((20, 2))
    y = x.sum(axis=1)
    model = cgru.Sequential([cgru.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    first = model.evaluate(x[:10], y[:10])
    assert model.evaluate(x, y, batch_size=5, steps=2) == pytest.approx(first)
    np.testing.assert_array_equal(model.predict(x, 5, steps=2), model.predict(x[:10], 5))
    model.compile(cgru.optimizers.SGD(0.0), "mse")
    history = model.fit(x, y, 5, validation_data=[x, y], validation_steps=2).history
    assert history["val_loss"] == [pytest.approx(first)]


def scaled(optimizer="sgd", weight=1.0):
    model = cgru.Sequential([cgru.Input((1,)), layers.Dense(1)])
    model.compile(optimizer, "mse")
    model.set_weights([[[weight]], [0.0]])
    return model


def test_validation_begins_anew_in_each_epoch():
    model = scaled(cgru.optimizers.SGD(0.0))
    batches = [(np.full((2, 1), value), np.zeros(2)) for value in (1.0, 2.0, 3.0)]
    x, y = np.ones((4, 1)), np.ones(4)
    for source, expected in ((batches, [1, 1, 1]), (iter(batches), [1, 4, 9])):
        fitted = model.fit(x, y, epochs=3, validation_data=source, validation_steps=1)
        assert fitted.history["val_loss"] == expected
    with pytest.raises(TypeError, match=r"validation_data: expected \(x, y\) or batches, got {'x'"):
        model.fit(x, y, validation_data={"x": x, "y": y})


def test_all_samples_are_trained_on_where_validation_data_is_given():
    steps = []
    count = cgru.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: steps.append(batch)
    )
    x, y = np.ones((10, 1)), np.ones(10)
    scaled().fit(x, y, 1, validation_split=0.5, validation_data=(x[:2], y[:2]), callbacks=[count])
    assert len(steps) == 10


def test_weights_of_classes_are_for_training():
    x, y = np.ones((10, 1)), np.array([0, 1] * 5)
    model = scaled(cgru.optimizers.SGD(0.0), weight=2.0)
    weights = {0: 10.0, 1: 1.0}
    split = model.fit(x, y, validation_split=0.5, class_weight=weights).history
    given = model.fit(x[:5], y[:5], validation_data=(x[5:], y[5:]), class_weight=weights).history
    assert split == given
    assert split["val_loss"] == [pytest.approx(np.mean((2.0 - y[5:]) ** 2))]


def test_metrics_of_an_output_without_a_loss():
    x = cgru.Input((2,))
    model = cgru.Model(x, [layers.Dense(1, name="a")(x), layers.Dense(2, name="b")(x)])
    model.compile("sgd", ["mse", None], metrics={"b": ["mse"]})
    data, targets = np.ones((4, 2)), [np.ones((4, 1)), np.ones((4, 2))]
    expected = np.mean((model.predict(data)[1] - 1) ** 2)
    assert model.fit(data, targets).history["b_mse"] == [pytest.approx(expected)]
    with pytest.raises(ValueError, match=r"y\['b'\]: expected targets, got None"):
        model.fit(data, {"a": targets[0]})
    with pytest.raises(ValueError, match="metrics: expected an object of its own at each place"):
        model.compile("sgd", "mse", metrics=cgru.metrics.MeanAbsoluteError())


def test_a_regularizer_of_pairs_where_there_are_none():
    penalty = cgru.regularizers.OrthogonalRegularizer(mode="columns")
    model = cgru.Sequential([cgru.Input((2,)), layers.Dense(1, kernel_regularizer=penalty)])
    assert model.losses == [0.0]
