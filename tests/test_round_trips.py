"""All there is goes through cgru's own file and comes back the same, bit for bit.

``CGRU_RANDOM_MODELS`` is the number of random models, 40 by default.
"""

import json
import os
import tempfile

import numpy as np
import pytest
from test_layer_checks import CASES

import cgru
from cgru import _configs, layers, losses, metrics, optimizers
from cgru.optimizers import schedules


def through(model, path):
    """The model, from a file; with all that the file promises compared."""
    model.save(path)
    again = cgru.load_model(path)
    assert json.dumps(again.get_config()) == json.dumps(model.get_config())
    for found, expected in zip(again.weights, model.weights, strict=True):
        assert found.path == expected.path
        assert found.trainable == expected.trainable
        assert found.numpy().tobytes() == expected.numpy().tobytes()
        assert found.dtype == expected.dtype
    return again


def same(found, expected):
    if isinstance(expected, (list, tuple, dict)):
        values = expected.values() if isinstance(expected, dict) else expected
        others = found.values() if isinstance(found, dict) else found
        return all(same(a, b) for a, b in zip(others, values, strict=True))
    return found.dtype == expected.dtype and found.tobytes() == expected.tobytes()


# ---- Layers ----


def model_of(name, options, shape, dtype):
    """A model of one layer, and what it reads."""
    rng = np.random.default_rng(0)
    given = {k: _configs.deserialize(_configs.serialize(v)) for k, v in options.items()}
    layer = getattr(layers, name)(**given, dtype=dtype)
    integers = layer.reads_integers
    entry_dtype = "int64" if integers else dtype
    shapes = [[size or 5 for size in s[1:]] for s in (shape if layer.takes_several else [shape])]
    sources = [cgru.Input(batch_shape=(4, *s), dtype=entry_dtype) for s in shapes]
    x = [rng.uniform(0, 2, (4, *s)) for s in shapes]
    if integers:
        x = [np.floor(array).astype(int) for array in x]
    if not layer.takes_several:
        (sources,), (x,) = sources, x
    y = layer(sources)
    model = cgru.Model(sources, list(y) if isinstance(y, tuple) else y)
    for weight in model.weights:
        weight.assign(rng.uniform(0.1, 1, weight.shape))
    return model, x


def has_layers(options):
    return any(isinstance(value, layers.Layer) for value in options.values())


@pytest.mark.parametrize(
    ("name", "place", "dtype"),
    [
        (name, place, dtype)
        for name, cases in CASES.items()
        for place, (options, _) in enumerate(cases)
        for dtype in ("float32", "float64")
        if dtype == "float32" or not has_layers(options)  # whose dtype is float32
    ],
)
def test_layers(tmp_path, name, place, dtype):
    model, x = model_of(name, *CASES[name][place], dtype)
    again = through(model, tmp_path / "model")
    assert same(again.predict(x, 4), model.predict(x, 4))


# ---- What a model is compiled with ----


def public(module, base, without=()):
    return sorted(
        name
        for name in module.__all__
        if isinstance(getattr(module, name), type)
        and issubclass(getattr(module, name), base)
        and name not in without
    )


def make(activation=None):
    return cgru.Sequential([cgru.Input((3,)), layers.Dense(2, activation)])


X = np.random.default_rng(1).uniform(0.1, 0.9, (6, 3))
Y = np.eye(2)[[0, 1, 1, 0, 1, 0]]


def trains_on_alike(model, path, y=Y):
    model.fit(X, y, 2, shuffle=False)
    again = through(model, path)
    for each in (model, again):
        each.fit(X, y, 2, epochs=2, shuffle=False)
    assert again.theta.tobytes() == model.theta.tobytes()
    assert again.evaluate(X, y, return_dict=True) == model.evaluate(X, y, return_dict=True)


OPTIONS = [{}, {"clipnorm": 0.5, "use_ema": True}, {"weight_decay": 0.1, "global_clipnorm": 1.0},
           {"gradient_accumulation_steps": 2, "ema_momentum": 0.5}]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
@pytest.mark.parametrize("name", public(optimizers, optimizers.Optimizer, ["Optimizer"]))
def test_optimizers(tmp_path, name, options):
    model = make()
    model.compile(getattr(optimizers, name)(0.01, **options), "mse")
    trains_on_alike(model, tmp_path / "model")


SCHEDULES = {
    "CosineDecay": dict(initial_learning_rate=0.1, decay_steps=5, warmup_target=0.2,
                        warmup_steps=2),
    "CosineDecayRestarts": dict(initial_learning_rate=0.1, first_decay_steps=3),
    "ExponentialDecay": dict(initial_learning_rate=0.1, decay_steps=3, decay_rate=0.5),
    "InverseTimeDecay": dict(initial_learning_rate=0.1, decay_steps=3, decay_rate=0.5),
    "PiecewiseConstantDecay": dict(boundaries=[2, 4], values=[0.1, 0.05, 0.01]),
    "PolynomialDecay": dict(initial_learning_rate=0.1, decay_steps=5, power=2.0),
}  # fmt: skip


def test_no_schedule_is_left_out():
    found = {
        name
        for name, value in vars(schedules).items()
        if isinstance(value, type) and issubclass(value, schedules.LearningRateSchedule)
    }
    assert found == SCHEDULES.keys() | {"LearningRateSchedule"}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(tmp_path, name):
    model = make()
    schedule = getattr(schedules, name)(**SCHEDULES[name])
    model.compile(optimizers.SGD(schedule, momentum=0.9), "mse")
    trains_on_alike(model, tmp_path / "model")


# Arguments that have to be given, and others than those of most.
ARGUMENTS = {
    "AUC": {"num_thresholds": 7, "curve": "PR"},
    "BinaryIoU": {"threshold": 0.4},
    "FBetaScore": {"beta": 0.5},
    "Huber": {"delta": 0.3},
    "IoU": {"num_classes": 2, "target_class_ids": [1]},
    "MeanIoU": {"num_classes": 2},
    "OneHotIoU": {"num_classes": 2, "target_class_ids": [1]},
    "OneHotMeanIoU": {"num_classes": 2},
    "PrecisionAtRecall": {"recall": 0.5},
    "Quantile": {"quantiles": [0.25, 0.75]},
    "RecallAtPrecision": {"precision": 0.5},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
    "TopKCategoricalAccuracy": {"k": 1},
    "SparseTopKCategoricalAccuracy": {"k": 1},
    "Tversky": {"alpha": 0.3, "beta": 0.7},
}
# Whose targets are not as the predictions are.
LABELS = {
    "CategoricalGeneralizedCrossEntropy",
    "Circle",
    "Quantile",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
}


def targets(name):
    return Y.argmax(axis=1) if name in LABELS else Y


@pytest.mark.parametrize("name", public(losses, losses.Loss, ["Loss", "CTC"]))
def test_losses(tmp_path, name):
    model = make("softmax")
    model.compile("sgd", getattr(losses, name)(**ARGUMENTS.get(name, {})))
    trains_on_alike(model, tmp_path / "model", targets(name))


def test_ctc(tmp_path):
    model = cgru.Sequential([cgru.Input((4, 3)), layers.GRU(3, return_sequences=True)])
    model.compile("sgd", losses.CTC())
    again = through(model, tmp_path / "model")
    x, y = np.random.default_rng(0).standard_normal((2, 4, 3)), np.array([[1, 2], [2, 1]])
    assert again.evaluate(x, y) == model.evaluate(x, y)


SPECIAL = ["Metric", "Mean", "Sum", "MeanMetricWrapper"]  # not for compile(), or a function in it


@pytest.mark.parametrize("name", public(metrics, metrics.Metric, SPECIAL))
def test_metrics(tmp_path, name):
    model = make("softmax")
    metric = getattr(metrics, name)(**ARGUMENTS.get(name, {}))
    loss = "sparse_categorical_crossentropy" if name in LABELS else "mse"
    model.compile("sgd", loss, metrics=[metric])
    again = through(model, tmp_path / "model")
    x, y = X, targets(name)
    if name in ("IoU", "MeanIoU"):
        y = model.predict(X) > 0.5
    assert repr(again.evaluate(x, y, return_dict=True)) == repr(
        model.evaluate(x, y, return_dict=True)
    )


# ---- Random models ----


def test_random_models():
    """Training goes on after some steps of any optimizer as if it had not been interrupted."""
    random_models = pytest.importorskip("random_models")
    hypothesis = pytest.importorskip("hypothesis")
    pick = hypothesis.strategies.sampled_from

    @random_models.settings(int(os.environ.get("CGRU_RANDOM_MODELS", "40")))
    @hypothesis.given(
        random_models.stacks(),
        pick(public(optimizers, optimizers.Optimizer, ["Optimizer"])),
        pick(OPTIONS),
    )
    def check(case, optimizer, options):
        shape, tokens, stack, seed = case
        rng = np.random.default_rng(seed)
        model = random_models.build(cgru, shape, tokens, stack)
        for weight in model.weights:
            weight.assign(rng.uniform(0.1, 0.8, weight.shape))
        model.compile(getattr(optimizers, optimizer)(0.01, **options), "mse")
        x = random_models.inputs(rng, shape, tokens)
        y = rng.standard_normal((shape[0], *model.output_shape[1:]))
        with tempfile.TemporaryDirectory() as folder:
            predicted = []
            watch = cgru.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: predicted.append(model.predict(x))
            )
            checkpoint = cgru.callbacks.ModelCheckpoint(f"{folder}/{{epoch}}")
            model.fit(x, y, 2, epochs=5, callbacks=[checkpoint, watch])
            again = cgru.load_model(f"{folder}/3")
            assert same(again.predict(x), predicted[2])
            again.fit(x, y, 2, epochs=5, initial_epoch=3)
            assert same(again.get_weights(), model.get_weights())
            assert same(again.optimizer.get_state(), model.optimizer.get_state())

    check()
