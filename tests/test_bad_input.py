"""Bad input gives an error before anything is changed; odd input works."""

import itertools

import numpy as np
import pytest

import cgru
from cgru import layers, losses, metrics, optimizers

X = np.random.default_rng(1).standard_normal((20, 6, 3)).astype("f4")
Y = X[:, 0, :1].copy()


def compiled(outputs=1, loss="mse", build=True, **options):
    entries = [cgru.Input((None, 3))] if build else []
    model = cgru.Sequential([*entries, layers.GRU(4), layers.Dense(outputs, "softmax")])
    if outputs == 1:
        model = cgru.Sequential([*entries, layers.GRU(4), layers.Dense(1)])
    model.compile("adam", loss, **options)
    return model


def with_value(array, value):
    changed = array.copy()
    changed.flat[5] = value
    return changed


BAD = [
    (X[0], Y, ValueError, r"x, y: expected the same number of samples, got \(6,\) and \(20,\)"),
    (X[:, :, 0], Y, ValueError, r"x: .* expects shape \(None, None, 3\), got \(20, 6\)"),
    (X[:, :, :2], Y, ValueError, r"x: .* expects shape \(None, None, 3\), got \(20, 6, 2\)"),
    (X, Y[:7], ValueError, r"x, y: expected the same number of samples, got \(20,\) and \(7,\)"),
    ([*X[:2], X[2, :4]], [X[0], X[1, :4]], ValueError, r"x, y: .* got \(3,\) and \(2,\)"),
    (X[:0], Y[:0], ValueError, r"x: expected at least one value, got shape \(0, 6, 3\)"),
    (X, Y[:0], ValueError, r"y: expected at least one value, got shape \(0, 1\)"),
    (X[:, :0], Y, ValueError, r"x: expected at least one value, got shape \(20, 0, 3\)"),
    (with_value(X, np.nan), Y, ValueError, r"x: expected finite .* nan at index \(0, 1, 2\)"),
    (with_value(X, np.inf), Y, ValueError, r"x: expected finite .* inf at index \(0, 1, 2\)"),
    (with_value(X.astype("f8"), 1e300), Y, ValueError, r"x: expected finite .*range of float32"),
    (X, with_value(Y, np.nan), ValueError, r"y: expected finite .* nan at index \(5, 0\)"),
    (X, with_value(Y, -np.inf), ValueError, r"y: expected finite .* -inf at index \(5, 0\)"),
    (X.astype(object), Y, TypeError, r"x: expected an array of numbers, got dtype object"),
    (X.astype(str), Y, TypeError, r"x: expected an array of numbers, got dtype <U"),
    (X, Y.astype(str), TypeError, r"y: expected an array of numbers, got dtype <U"),
    (X.astype(complex), Y, TypeError, r"x: expected an array of numbers, got dtype complex128"),
    ([[[1.0], [2.0, 3.0]], [[1.0]]], [1, 2], ValueError, r"x\[0\]: expected an array or nested"),
    (X, None, ValueError, r"y: expected targets, got None"),
    (X, np.zeros((20, 2)), ValueError, r"y: expected shape \(20, 1\).*got \(20, 2\)"),
    (np.ma.masked_less(X, 0), Y, TypeError, r"x: expected a plain array, got a masked array"),
]


@pytest.mark.parametrize(("x", "y", "error", "message"), BAD, ids=lambda v: str(v)[:40])
def test_bad_data_changes_nothing(x, y, error, message):
    model = compiled()
    model.train_on_batch(X, Y)
    theta, iterations = model.theta, model.optimizer.iterations
    for method in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(error, match=message):
            method(x, y)
    with pytest.raises(error, match=message):
        model.fit(X, Y, validation_data=(x, y))
    with pytest.raises(error, match=message):
        model.value_and_grad(theta + 1, x, y)
    np.testing.assert_array_equal(model.theta, theta)
    assert model.optimizer.iterations == iterations
    assert model.history is None


@pytest.mark.parametrize(
    "case", [c for c in BAD if c[3].startswith("x: ")], ids=lambda v: v[3][:40]
)
def test_bad_data_for_predict(case):
    x, _, error, message = case
    for method in (compiled().predict, compiled().predict_on_batch):
        with pytest.raises(error, match=message):
            method(x)


# Two features are as good as three to a model that has seen none.
BAD_FOR_ANY_MODEL = [case for case in BAD if r"got \(20, 6, 2\)" not in case[3]]


@pytest.mark.parametrize("case", BAD_FOR_ANY_MODEL, ids=lambda v: v[3][:40])
def test_bad_data_does_not_build_a_model(case):
    x, y, error, _ = case
    model = compiled(build=False)
    with pytest.raises(error):
        model.fit(x, y)
    assert not model.built
    model.fit(X, Y)


def test_labels_out_of_range():
    model = compiled(3, "sparse_categorical_crossentropy")
    theta = model.theta
    for bad in (3, -1):
        labels = np.zeros(20, int)
        labels[7] = bad
        with pytest.raises(ValueError, match=rf"y: expected integer labels from 0 to 2.*got {bad}"):
            model.fit(X, labels)
    np.testing.assert_array_equal(model.theta, theta)


def test_a_metric_that_does_not_fit_changes_nothing():
    model = compiled(3, "sparse_categorical_crossentropy", metrics=["categorical_accuracy"])
    theta = model.theta
    with pytest.raises(ValueError, match=r"y_true: expected shape \(20, 3\)"):
        model.fit(X, np.zeros(20, int))
    np.testing.assert_array_equal(model.theta, theta)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.GRU(4, activation="tahn"), "activation: .*'tahn'; did you mean 'tanh'"),
        (lambda: layers.GRU(4, recurrent_activation="sigmod"), "recurrent_activation: .*'sigmoid'"),
        (lambda: layers.GRU(4, kernel_initializer="glorot"), "kernel_init.*'glorot_"),
        (lambda: layers.GRU(4, recurrent_initializer="ortogonal"), "recurrent_.*'orthogonal'"),
        (lambda: layers.Dense(4, bias_initializer="zero"), "bias_initializer: .*'zeros'"),
        (lambda: compiled(loss="mean_square_error"), "loss: .*'mean_squared_error'"),
        (lambda: compiled(metrics=["acuracy"]), "metrics: .*'accuracy'"),
        (lambda: optimizers.get("adm"), "optimizer: unknown name 'adm'; did you mean 'adam'"),
        (lambda: optimizers.get("???"), r"optimizer: unknown name '\?\?\?'; Known names: ada"),
    ],
)
def test_unknown_names_come_with_the_nearest_known_ones(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.GRU(0), "units: expected an integer >= 1, got 0"),
        (lambda: layers.GRU(-3), "units: expected an integer >= 1, got -3"),
        (lambda: layers.GRU(2.5), "units: expected an integer >= 1, got 2.5"),
        (lambda: layers.GRU(True), "units: expected an integer >= 1, got True"),
        (lambda: layers.Dense("4"), "units: expected an integer >= 1, got '4'"),
        (lambda: layers.GRU(4, dtype="float16"), "dtype: expected 'float32' or 'float64'"),
        (lambda: layers.GRU(4, seed=-1), "seed: expected an integer >= 0"),
        (lambda: layers.Dropout(1.0), "rate: expected a number >= 0 and < 1, got 1.0"),
        (lambda: layers.Dropout(-0.1), "rate: expected a number >= 0"),
        (lambda: layers.Dropout(0.5, noise_shape=(1, 2))(X), "noise_shape: expected to broad"),
        (lambda: optimizers.Adam(-1), "learning_rate: expected a number >= 0, got -1"),
        (lambda: optimizers.Adam(float("nan")), "learning_rate: expected a number"),
        (lambda: optimizers.Adam(beta_1=1), "beta_1: expected a number >= 0 and < 1"),
        (lambda: optimizers.SGD(clipnorm=1, clipvalue=1), "clipping: expected at most one"),
        (lambda: optimizers.SGD(clipnorm=0), "clipnorm: expected a number > 0"),
        (lambda: cgru.Input(3), r"shape: expected a tuple such as \(None, 3\), got 3"),
        (lambda: cgru.Input((0, 3)), r"shape\[0\]: expected an integer >= 1, got 0"),
        (lambda: cgru.utils.set_random_seed(-1), "seed: expected an integer >= 0"),
        (lambda: cgru.utils.set_random_seed(2**32), r"seed: expected an integer below 2\*\*32"),
        (lambda: cgru.utils.split_dataset([], 0.5), r"dataset: expected an array, .* got \[\]"),
        (lambda: cgru.utils.split_dataset(3, 0.5), "dataset: expected an array, .* got 3"),
        (lambda: cgru.set_num_threads(0), "threads: expected an integer >= 1, got 0"),
        (lambda: compiled().fit(X, Y, epochs=0), "epochs: expected an integer >= 1, got 0"),
        (lambda: compiled().fit(X, Y, batch_size=0), "batch_size: expected an integer >= 1"),
        (lambda: compiled().fit(X, Y, validation_split=1), "validation_split: expected a number"),
        (lambda: compiled().fit(X, Y, validation_split=0.99), "leaves none to train on"),
        (lambda: compiled().fit(X, Y, validation_data=(X,)), "validation_data: expected"),
        (lambda: compiled().fit(X, Y, verbose="yes"), "verbose: expected"),
        (lambda: compiled().fit(X, Y, sample_weight=[1]), r"sample_weight: expected shape \(20,\)"),
        (lambda: compiled().fit(X, Y, sample_weight=[-1] * 20), "sample_weight: .*>= 0, got -1"),
        (lambda: compiled().fit(X, Y, class_weight={7: 2}), "class_weight: .*0 to 1, got 7"),
        (lambda: compiled().fit([(X, Y)], sample_weight=[1]), "sample_weight: expected with arr"),
        (lambda: compiled().fit(X, Y, validation_batch_size=0), "validation_batch_size: expected"),
        (lambda: compiled().fit(X, Y, validation_steps=0), "validation_steps: expected an integer"),
        (lambda: compiled().fit([(X, Y)], steps_per_epoch=0), "steps_per_epoch: expected an int"),
        (lambda: compiled().fit(itertools.repeat((X, Y))), "never ends; .* with steps_per_epoch"),
        (
            lambda: compiled().fit(X, Y, validation_data=itertools.repeat((X, Y))),
            r"validation_data: an iterator \(repeat\) .* with validation_steps",
        ),
        (
            lambda: compiled().fit(X, Y, validation_data=((X, Y) for _ in iter(int, 1))),
            r"validation_data: an iterator \(generator\) .* with validation_steps",
        ),
        (lambda: compiled().fit("data"), r"x: without targets y, expected batches .*, got str"),
        (lambda: compiled().fit([X, Y]), r"x: without targets y, expected batches .*, got ndarray"),
        (lambda: compiled().fit([(X, Y, Y, Y)]), "got tuple of 4 entries"),
        (lambda: compiled().fit(lambda: [(X, Y)]), "y: expected targets.*call it"),
        (lambda: compiled().fit(X, Y, tbptt=0), "tbptt: expected an integer >= 1, got 0"),
        (lambda: compiled().fit(X, 3), r"x, y: expected the same number of samples"),
        (lambda: compiled().evaluate(X, Y, steps=0), "steps: expected an integer >= 1, got 0"),
        (lambda: compiled().evaluate(X, Y, batch_size=0), "batch_size: expected an integer >= 1"),
        (lambda: compiled().evaluate(X, Y, verbose="no"), "verbose: expected"),
        (lambda: compiled().evaluate([(X, Y)], sample_weight=[1]), "sample_weight, lengths: exp"),
        (lambda: compiled().evaluate(itertools.cycle([(X, Y)])), "x: cycle never ends"),
        (lambda: compiled().predict(X, steps=-1), "steps: expected an integer >= 1, got -1"),
        (lambda: compiled().predict(X, verbose="no"), "verbose: expected"),
        (lambda: compiled().predict(itertools.repeat(X)), "x: repeat never ends; .* with steps"),
        (lambda: optimizers.Adam("0.1"), "learning_rate: expected a number >= 0, got '0.1'"),
        (lambda: compiled(metrics=["mean"]), "metrics: unknown name 'mean'"),
        (lambda: compiled(metrics=["Sum"]), "metrics: unknown name 'Sum'"),
        (lambda: compiled().fit(X, Y, validation_freq=[0]), "validation_freq: expected an int"),
        (lambda: compiled().fit([(X, Y), None, (X, Y)]), r"expected batches .*, got NoneType"),
        (lambda: cgru.Sequential([3]), "layer: expected a Layer or an Input, got 3"),
        (lambda: layers.Dense(1, no_such=2), r"Dense: unknown arguments \['no_such'\]"),
        (lambda: compiled().summary(layer_range=("a", "b")), "layer_range: expected names of two"),
        (lambda: cgru.Sequential([layers.Dense(1)]).summary(), "call build()"),
        (lambda: cgru.Sequential([layers.Dense(1)]).theta, "has no weights yet"),
        (lambda: cgru.Sequential().predict(X), "has no layers"),
        (lambda: setattr(compiled(), "theta", np.ones(3)), r"theta: expected shape \(113,\)"),
        (lambda: cgru.Sequential([layers.Dense(1, name="a"), layers.GRU(2, name="a")]), "named"),
        (lambda: cgru.Sequential([layers.Dense(1), cgru.Input((3,))]), "must be the first"),
        (lambda: cgru.Sequential([layers.Dense(1), layers.Dense(1, dtype="float64")]), "one dtype"),
        (
            lambda: cgru.Sequential([layers.GRU(4, name="a"), layers.GRU(4, name="b")]).predict(X),
            r"output of a: b expects \[batch, time, features\], got shape \(20, 4\)",
        ),
        (
            lambda: cgru.Sequential([layers.GRU(4, return_state=True), layers.Dense(1)]).predict(X),
            "expected a layer with one output",
        ),
        (lambda: losses.MeanSquaredError()([1, 2], [[np.nan], [1]]), "y_pred: expected finite"),
        (lambda: metrics.BinaryAccuracy(threshold=None), "threshold: expected a number"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: compiled(loss=3), "loss: expected a name or a Loss object, got 3"),
        (lambda: layers.Dense(2, activation=np.tanh), "a function of your own needs its deriv"),
        (lambda: compiled().fit(X, Y, callbacks=[3]), "callbacks: expected Callback objects"),
        (lambda: compiled().fit(X, Y, class_weight=[1, 2]), "class_weight: expected a dict"),
        (lambda: compiled().fit(X, Y, validation_data=3), "validation_data: expected"),
        (lambda: cgru.callbacks.ModelCheckpoint(3), "filepath: expected a path, got 3"),
        (lambda: cgru.callbacks.EarlyStopping(3), "monitor: expected the name of a loss or metric"),
        (lambda: cgru.callbacks.LearningRateScheduler(0.1), "schedule: expected a function"),
        (lambda: compiled().fit(X, Y, callbacks=[cgru.callbacks.History]), "callbacks: expected"),
        (lambda: compiled(loss=lambda t, p: p), "loss: .* a function of your own needs its grad"),
        (lambda: np.sin(cgru.Input((3,))), "which has no values yet"),
    ],
)
def test_bad_types(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_fit_before_compile():
    model = cgru.Sequential([layers.GRU(4), layers.Dense(1)])
    for method in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match=r"call compile\(\) first"):
            method(X, Y)
    assert not model.built
    model.compile("adam")
    with pytest.raises(ValueError, match=r"compile\(\) was given no loss"):
        model.fit(X, Y)


def test_predict_with_another_feature_count():
    model = compiled(build=False)
    model.fit(X, Y)
    for method in (model.predict, model.predict_on_batch):
        with pytest.raises(ValueError, match=r"x: gru.* built for 3 features, got .*\(20, 6, 2\)"):
            method(X[:, :, :2])
    assert model.predict(X[:, :4]).shape == (20, 1), "another length is fine"


def layouts(x):
    """The same numbers in other dtypes and memory layouts."""
    readonly = x.copy()
    readonly.flags.writeable = False
    wide = np.repeat(x, 2, axis=-1)
    return {
        "float64": x.astype("f8"),
        "int64": x.astype("i8"),
        "int8": x.astype("i1"),
        "uint8": abs(x).astype("u1"),
        "bool": x.astype(bool),
        "float16": x.astype("f2"),
        "big-endian": x.astype(">f4"),
        "Fortran order": np.asfortranarray(x),
        "non-contiguous": wide[..., ::2],
        "reversed": x[::-1].copy()[::-1],
        "read-only": readonly,
        "lists": x.tolist(),
        "time-major": x.swapaxes(0, 1).copy().swapaxes(0, 1),
    }


@pytest.mark.parametrize("name", layouts(X))
def test_other_dtypes_and_layouts_just_work(name):
    x = layouts(np.round(X * 3))[name]
    plain = np.array(x, dtype="f4", order="C")
    before = np.array(x, copy=True)
    theta = []
    for data in (plain, x):
        cgru.utils.set_random_seed(1)
        model = compiled()
        model.fit(data, Y, epochs=2, batch_size=7)
        model.train_on_batch(data, Y)
        theta.append(model.theta)
    np.testing.assert_array_equal(*theta)
    np.testing.assert_array_equal(model.predict(x), model.predict(plain))
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("name", layouts(Y))
def test_other_dtypes_and_layouts_of_targets(name):
    y = layouts(np.round(Y * 3))[name] if name != "time-major" else Y[:, 0]
    model = compiled()
    expected = model.evaluate(X, np.array(y, dtype="f4", order="C"))
    assert model.evaluate(X, y) == expected
