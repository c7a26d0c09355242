"""One file for a model: what is in it, what comes back, and what is refused."""

import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import safetensors
from branched import skip
from processes import python
from safetensors.numpy import load_file, save_file

import cgru
from cgru import layers, saving
from cgru.saving import file


class Gain(layers.Layer):
    """A layer of one's own."""

    def __init__(self, start=1.0, **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def build(self, input_shape):
        self.gain = self.add_weight((input_shape[-1],), "ones", "gain")

    def forward(self, x):
        gain = self.gain.value

        def backward(dy):
            self.gain.grad += (dy * x).reshape(-1, x.shape[-1]).sum(axis=0)
            return dy * gain

        return x * gain * self.start, backward


def make(units=3, optimizer="adam", dtype=None, extra=()):
    model = cgru.Sequential(
        [
            cgru.Input((None, 2), dtype=dtype),
            layers.GRU(units, name="gru", dtype=dtype),
            *extra,
            layers.Dense(1, name="dense", dtype=dtype),
        ],
        name="model",
    )
    if optimizer:
        model.compile(optimizer, "mse", metrics=["mae"])
    return model


X = np.random.default_rng(0).standard_normal((12, 5, 2))
Y = X.sum(axis=(1, 2))


def trained(**options):
    model = make(**options)
    model.fit(X, Y, epochs=2)
    return model


def metadata(path):
    with safetensors.safe_open(path, framework="numpy") as handle:
        return handle.metadata()


def tampered(path, arrays=None, **notes):
    """Change a file's arrays and notes (None removes one)."""
    found, contents = metadata(path), load_file(path)
    contents |= arrays or {}
    contents = {name: array for name, array in contents.items() if array is not None}
    found |= {key: json.dumps(note) for key, note in notes.items()}
    save_file(contents, path, {key: text for key, text in found.items() if text != "null"})


def assert_same_weights(model, other):
    for found, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


# ---- What comes back ----


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_a_loaded_model_goes_on_as_the_saved_one(path, optimizer, dtype):
    model = trained(optimizer=optimizer, dtype=dtype)
    saving.save_model(model, path)
    again = saving.load_model(path)
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert_same_weights(again, model)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.evaluate(X, Y) == model.evaluate(X, Y)
    for each in (model, again):
        each.fit(X, Y, epochs=2, shuffle=False)
    assert_same_weights(again, model)
    assert again.optimizer.iterations == model.optimizer.iterations == 4


def test_without_compiling(path):
    saving.save_model(trained(), path)
    assert not saving.load_model(path, compile=False).compiled
    saving.save_model(make(optimizer=None), path)
    assert not saving.load_model(path).compiled


def test_options_of_the_optimizer_come_back(path):
    optimizer = cgru.optimizers.SGD(0.5, momentum=0.25, clipnorm=3.0)
    model = make(optimizer=optimizer)
    saving.save_model(model, path)
    again = saving.load_model(path).optimizer
    assert again.get_config() == optimizer.get_config()
    model.fit(X, Y)
    optimizer.learning_rate = 0.125
    saving.save_model(model, path)
    assert saving.load_model(path).optimizer.learning_rate == 0.125


def test_frozen_layers(path):
    model = trained()
    model.layers[-1].trainable = False  # the optimizer's state no longer fits
    saving.save_model(model, path)
    again = saving.load_model(path)
    assert_same_weights(again, model)
    assert [layer.trainable for layer in again.layers[-2:]] == [True, False]
    again.fit(X, Y)


def test_layers_of_ones_own(path):
    model = make(extra=[Gain(start=2.0, name="mine")])
    model.fit(X, Y)
    saving.save_model(model, path)
    with pytest.raises(ValueError, match=r"Gain is not a class of cgru.*custom_objects=\{'Gain'"):
        saving.load_model(path)
    again = saving.load_model(path, custom_objects={"Gain": Gain})
    assert again.get_layer("mine").start == 2.0
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_every_finite_number_comes_back(path):
    model = make()
    bias = model.layers[-1].bias
    for value in (-0.0, np.float32(1e-45), np.finfo(np.float32).max):
        bias.assign([value])
        saving.save_weights(model, path)
        bias.assign([1.0])
        saving.load_weights(model, path)
        assert bias.value.tobytes() == np.array([value], np.float32).tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_by_name(path, value):
    model = trained()
    saving.save_model(model, path)
    before = model.get_weights()
    for name in ("dense/bias", "optimizer/m"):
        saving.save_model(model, path)
        tampered(path, {name: np.full_like(load_file(path)[name], value)})
        for load in (saving.load_model, model.load_weights):
            with pytest.raises(saving.LoadError, match=f"{name} is not finite"):
                load(path)
    for found, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


# ---- What is in the file ----


def test_other_programs_can_read_it(path):
    model = trained()
    saving.save_model(model, path)
    arrays = load_file(path)
    assert sorted(arrays) == sorted(
        [weight.path for weight in model.weights]
        + [f"optimizer/{name}" for name in model.optimizer.get_state()]
    )
    for weight in model.weights:
        np.testing.assert_array_equal(arrays[weight.path], weight.value)
    notes = metadata(path)
    assert notes["format"] == "cgru"
    assert json.loads(notes["format_version"]) == 1
    assert json.loads(notes["model"])["class_name"] == "Sequential"
    assert json.loads(notes["compile"])["loss"] == "mse"
    assert json.loads(notes["weights"]) == [weight.path for weight in model.weights]


def test_equal_paths_are_told_apart():
    contents = file.Contents()
    array = np.zeros(1)
    names = [contents.add(name, array) for name in ("a/b", "a/b", "a/b_1", "a/b")]
    assert names == ["a/b", "a/b_1", "a/b_1_1", "a/b_2"]


def test_weights_that_another_program_wrote(path):
    model = make()
    arrays = {weight.path: np.full(weight.shape, 0.5, np.float32) for weight in model.weights}
    save_file(arrays, path)
    saving.load_weights(model, path)
    assert all((array == 0.5).all() for array in model.get_weights())
    with pytest.raises(ValueError, match="holds no model; for weights, use load_weights"):
        saving.load_model(path)


# ---- Weights alone ----


def test_weights_go_to_layers_of_the_same_names_or_else_places(path):
    def unnamed():
        return cgru.Sequential([cgru.Input((None, 2)), layers.GRU(2), layers.Dense(2)])

    first, second = unnamed(), unnamed()
    assert first.layers[-1].name != second.layers[-1].name
    saving.save_weights(first, path)
    saving.load_weights(second, path)
    assert_same_weights(second, first)

    def named(*names):
        return cgru.Sequential([cgru.Input((2,)), *(layers.Dense(2, name=name) for name in names)])

    first, second, third = named("a", "b"), named("b", "a"), named("a", "c")
    saving.save_weights(first, path)
    saving.load_weights(second, path)
    np.testing.assert_array_equal(second.layers[-1].kernel, first.layers[-2].kernel)
    saving.load_weights(third, path)
    assert_same_weights(third, first)
    fourth = named("c", "a")
    with pytest.raises(saving.MismatchError, match="missing c/kernel.*unexpected b/kernel"):
        saving.load_weights(fourth, path)  # a is there, and is not the first one


def test_a_layer_in_several_others_is_not_saved(tmp_path):
    shared = layers.GRU(2, return_sequences=True, name="shared")
    x, y = cgru.Input((None, 2)), cgru.Input((None, 2))
    inner = cgru.Model(x, shared(x), name="inner")
    model = cgru.Model(y, [inner(y), shared(y)], name="outer")
    saves = [
        lambda: model.save(tmp_path / "model.safetensors"),
        lambda: model.save(tmp_path / "model.keras"),
        model.to_json,
        lambda: cgru.models.clone_model(model),
    ]
    for save in saves:
        with pytest.raises(ValueError, match="model: shared is in (inner|outer) and in"):
            save()
    assert not list(tmp_path.iterdir())


def test_the_optimizer_goes_along_with_weights(path):
    model, other = trained(), make()
    saving.save_weights(model, path)
    saving.load_weights(other, path)
    for each in (model, other):
        each.fit(X, Y, shuffle=False)
    assert_same_weights(other, model)

    saving.save_weights(model, path)
    sgd, bare = make(optimizer="sgd"), make(optimizer=None)
    with pytest.warns(UserWarning, match="the optimizer starts anew: unexpected optimizer/m"):
        saving.load_weights(sgd, path)
    assert sgd.optimizer.iterations == 0
    saving.load_weights(bare, path)
    for each in (sgd, bare):
        assert_same_weights(each, model)


def test_skipping_what_does_not_fit(path):
    model, other = trained(), make(extra=[layers.Dense(4, name="new")])
    saving.save_weights(model, path)
    before = other.get_layer("dense").get_weights()
    with (
        pytest.warns(UserWarning, match="the optimizer starts anew"),
        pytest.warns(
            UserWarning,
            match="missing new/kernel, new/bias; of another shape or dtype: dense/kernel: ",
        ),
    ):
        saving.load_weights(other, path, skip_mismatch=True)
    np.testing.assert_array_equal(other.get_layer("gru").kernel, model.get_layer("gru").kernel)
    np.testing.assert_array_equal(other.get_layer("dense").kernel, before[0])
    np.testing.assert_array_equal(other.get_layer("dense").bias, model.get_layer("dense").bias)


def test_weights_that_do_not_decay_come_back(path):
    def decaying():
        return cgru.optimizers.AdamW(0.1, weight_decay=0.5)

    model = make(optimizer=decaying())
    model.optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.fit(X, Y)
    saving.save_model(model, path)
    loaded, other = saving.load_model(path), make(optimizer=decaying())
    saving.load_weights(other, path)
    for each in (model, loaded, other):
        each.fit(X, Y, epochs=2, shuffle=False)
    assert_same_weights(loaded, model)
    assert_same_weights(other, model)
    notes = file.read(path).notes
    assert notes["no_weight_decay"] == ["gru/bias", "dense/bias"]
    saving.save_weights(loaded, path)
    assert file.read(path).notes["no_weight_decay"] == ["gru/bias", "dense/bias"]

    # Of layers with other numbers, and what is not so.
    numbered = [
        cgru.Sequential([cgru.Input((2,)), layers.Dense(1), layers.Dense(1)]) for _ in range(2)
    ]
    for each in numbered:
        each.compile(decaying(), "mse")
    last = numbered[0].layers[1].bias
    numbered[0].optimizer.exclude_from_weight_decay([last])
    saving.save_weights(numbered[0], path)
    saving.load_weights(numbered[1], path)
    exempt = numbered[1].optimizer.exempt_from_weight_decay(numbered[1].weights)
    assert [v.path for v in exempt] == [numbered[1].layers[1].bias.path] != [last.path]
    tampered(path, no_weight_decay=["nothing"])
    with pytest.raises(saving.LoadError, match="filepath"):
        saving.load_weights(numbered[1], path)


# ---- What is refused ----


def test_all_that_does_not_fit_is_listed_and_nothing_is_changed(path):
    model = make(optimizer=None)
    saving.save_weights(model, path)
    tampered(
        path,
        {
            "gru/kernel": np.zeros((2, 6), np.float32),
            "gru/bias": np.zeros((2, 9)),
            "dense/kernel": None,
            "dense/gain": np.ones(1, np.float32),
        },
        weights=["gru/kernel", "gru/recurrent_kernel", "gru/bias", "dense/gain", "dense/bias"],
    )
    before = model.get_weights()
    with pytest.raises(saving.MismatchError) as caught:
        saving.load_weights(model, path)
    error = caught.value
    assert error.missing == ["dense/kernel"]
    assert error.unexpected == ["dense/gain"]
    assert error.different == [
        "gru/kernel: expected (2, 9) float32, got (2, 6) float32",
        "gru/bias: expected (2, 9) float32, got (2, 9) float64",
    ]
    for text in [*error.missing, *error.unexpected, *error.different]:
        assert text in str(error)
    for found, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_an_optimizer_that_does_not_fit_is_refused_with_the_model(path):
    saving.save_model(trained(), path)
    tampered(path, {"optimizer/m": np.zeros(3, np.float32)})
    with pytest.raises(saving.MismatchError, match=r"optimizer/m: expected \(.*got \(3,\)"):
        saving.load_model(path)
    saving.save_model(trained(), path)
    tampered(path, {"optimizer/iterations": np.array(-1)})
    with pytest.raises(ValueError, match="iterations"):
        saving.load_model(path)


def test_files_that_are_none_of_ours(path, tmp_path):
    model = trained()
    saving.save_model(model, path)
    whole = path.read_bytes()
    for damaged in (b"", b"nonsense", whole[:20], whole[:-1], whole + b"x", b"\xff" * 100):
        path.write_bytes(damaged)
        for load in (saving.load_model, lambda path: saving.load_weights(model, path)):
            with pytest.raises(ValueError, match="no safetensors file, or damaged"):
                load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ValueError, match="no (safetensors file|model of Keras)"):
        saving.load_model(path)
    with pytest.raises(FileNotFoundError):
        saving.load_model(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        saving.load_model(tmp_path)


def test_notes_that_do_not_hold(path):
    model = trained()

    def load(match, **notes):
        saving.save_model(model, path)
        tampered(path, **notes)
        with pytest.raises(ValueError, match=match):
            saving.load_model(path)

    load("format version 2.*a newer one is needed", format_version=2)
    load("format version None", format_version=None)
    load("lacks the arrays \\['other'\\]", weights=["other"])
    load("is not a class of cgru", model={"module": "os", "class_name": "system", "config": {}})
    load("is not a class", model={"module": "cgru.config", "class_name": "np", "config": {}})
    load("expected the configuration of a model", model={"a": 1})
    dense = {"module": "cgru.losses", "class_name": "MeanSquaredError", "config": {}}
    load("expected the configuration of a model", model=dense)


def test_nothing_is_unpickled(path, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="no safetensors file"):
        saving.load_model(path)
    assert not (tmp_path / "evil").exists()


def test_models_that_cannot_be_saved(path):
    with pytest.raises(ValueError, match="has no weights yet"):
        saving.save_model(cgru.Sequential([layers.GRU(2)]), path)
    with pytest.raises(ValueError, match="has no weights yet"):
        saving.save_weights(cgru.Sequential([layers.GRU(2)]), path)
    saving.save_weights(make(), path)
    with pytest.raises(ValueError, match="has no weights yet"):
        saving.load_weights(cgru.Sequential([layers.GRU(2)]), path)
    model = make(extra=[Gain(start=print)])
    with pytest.raises(TypeError, match="has no configuration"):
        saving.save_model(model, path)


# ---- Writing ----


def test_a_file_is_replaced_whole_or_not_at_all(path, monkeypatch):
    model = make()
    saving.save_weights(model, path)
    before = path.read_bytes()
    real = os.replace
    for name in ("fsync", "replace"):

        def fail(*args):
            raise OSError("disk full")

        monkeypatch.setattr(os, name, fail)
        with pytest.raises(OSError, match="disk full"):
            saving.save_weights(trained(), path)
        monkeypatch.undo()
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == [path.name]

    seen = []

    def replace(source, target):
        seen.append(os.path.dirname(source) == os.path.dirname(target))
        assert load_file(source).keys() == load_file(path).keys(), "whole by now"
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    saving.save_weights(model, path)
    assert seen == [True]


def test_what_is_there_is_kept_where_asked(path, tmp_path):
    saving.save_weights(make(), path)
    for save in (saving.save_weights, saving.save_model):
        with pytest.raises(FileExistsError, match="overwrite is False"):
            save(make(), path, overwrite=False)
        save(make(), path)
        save(make(), tmp_path / save.__name__, overwrite=False)
        with pytest.raises(IsADirectoryError):
            save(make(), tmp_path)
        with pytest.raises(FileNotFoundError):
            save(make(), tmp_path / "none" / "model")


def test_only_files_are_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    link = tmp_path / "link"
    link.symlink_to(pipe)
    for where in (pipe, link):
        for save in (saving.save_weights, saving.save_model):
            with pytest.raises(OSError, match="filepath: expected a file, got .*pipe"):
                save(make(), where)
    assert pipe.is_fifo()


def test_errors_go_from_process_to_process(path):
    saving.save_weights(make(), path)
    with pytest.raises(saving.MismatchError) as raised:
        saving.load_weights(make(4, optimizer=None), path)
    copied = pickle.loads(pickle.dumps(raised.value))
    assert type(copied) is saving.MismatchError
    assert str(copied) == str(raised.value)
    assert copied.different == raised.value.different


def test_links_and_permissions(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    saving.save_weights(make(), link)
    assert link.is_symlink()
    saving.load_weights(make(), path)
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_saving_is_imported_when_it_is_used():
    code = "import sys, cgru; cgru.saving; assert not any('safetensors' in m for m in sys.modules)"
    python(code)


def test_registered_classes_are_found(tmp_path):
    class Mine(layers.Layer):
        def forward(self, x):
            return 2 * x, lambda dy: 2 * dy

    model = cgru.Sequential([cgru.Input((3,)), Mine()])
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="Mine is not a class of cgru; .* or register it"):
        cgru.saving.load_model(tmp_path / "model")
    known = dict(cgru.saving.get_custom_objects())
    with cgru.saving.custom_object_scope({"Mine": Mine}):
        cgru.saving.load_model(tmp_path / "model")
    assert cgru.saving.get_custom_objects() == known
    try:
        assert cgru.utils.register_keras_serializable("mine")(Mine) is Mine
        found = cgru.saving.load_model(tmp_path / "model")
        np.testing.assert_array_equal(found.predict(np.ones((1, 3))), np.full((1, 3), 2))
    finally:
        cgru.saving.get_custom_objects().pop("Mine", None)
    with pytest.raises(TypeError, match="register_keras_serializable: expected a layer"):
        cgru.saving.register_keras_serializable()(int)


def test_weights_that_come_from_the_file_are_not_drawn(path, monkeypatch):
    """An orthogonal matrix of 2000 units takes seconds."""
    model = trained()
    model.save(path)
    monkeypatch.setattr(cgru.initializers.Orthogonal, "__call__", None)
    np.testing.assert_array_equal(cgru.load_model(path).theta, model.theta)
    with pytest.raises(saving.LoadError, match="json_string"):  # there they must be
        cgru.models.model_from_json(model.to_json())


def nested(depth):
    """A model in a model, and so on: so many objects inside each other."""
    model = cgru.Sequential([cgru.Input((2,)), layers.Dense(2, kernel_initializer="ones")])
    for _ in range(depth - 3):  # the dense layer and its initializer are two
        model = cgru.Sequential([cgru.Input((2,)), model])
    return model


@pytest.mark.parametrize("suffix", ["safetensors", "keras"])
def test_what_would_be_too_deep_to_load_is_not_saved(suffix, tmp_path):
    if suffix == "keras":
        pytest.importorskip("h5py")
    path, deepest = tmp_path / f"m.{suffix}", nested(30)
    deepest.save(path)
    x = np.ones((1, 2), "float32")
    np.testing.assert_array_equal(cgru.load_model(path).predict(x), deepest.predict(x))
    kept = path.read_bytes()
    with pytest.raises(ValueError, match="at most 30 deep"):
        nested(31).save(path)
    assert path.read_bytes() == kept
    assert os.listdir(tmp_path) == [path.name]


def test_what_would_be_too_long_to_load_is_not_saved(tmp_path):
    path = tmp_path / "m.safetensors"
    model = cgru.Sequential([cgru.Input((2,)), layers.Dense(2, name="d" * 2**22)])
    with pytest.raises(ValueError, match="characters of JSON"):
        model.save(path)
    assert not os.listdir(tmp_path)


def in_order_of_calls(model):
    """A model whose layers are in the order that they had before 0.5.0."""
    steps = dict.fromkeys(step.layer for step in model.steps)
    model.layers = [*(layer for layer in model.layers if layer not in steps), *steps]
    return model


def test_files_with_layers_in_the_order_of_calls(tmp_path):
    model = in_order_of_calls(skip(cgru))
    model.compile("adam", "mse")
    x, y = np.random.default_rng(0).standard_normal((2, 8, 4))
    model.fit(x, y, epochs=3)
    model.save(tmp_path / "model")
    again = cgru.load_model(tmp_path / "model")
    assert [w.path for w in again.weights] != [w.path for w in model.weights]
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    for one in (model, again):
        one.fit(x, y, epochs=2, shuffle=False)
    np.testing.assert_allclose(again.predict(x), model.predict(x), rtol=1e-5)

    def unnamed():
        x, dense = cgru.Input((4,)), layers.Dense
        side, h = dense(4)(x), dense(4)(dense(4)(x))
        return cgru.Model(x, layers.Add()([side, h]))

    model, again = in_order_of_calls(unnamed()), unnamed()
    model.save_weights(tmp_path / "weights")
    again.load_weights(tmp_path / "weights")
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
