"""Files of Keras: those that it made, those made here, and those that somebody spoilt."""

import contextlib
import io
import json
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import cgru
from cgru.saving import LoadError, MismatchError

h5py = pytest.importorskip("h5py")
GOLDEN = Path(__file__).parent / "golden"
ARRAYS = np.load(GOLDEN / "keras_files.npz")
NAMES = ("sequential", "functional")


def arrays(name, kind):
    found = [ARRAYS[key] for key in sorted(ARRAYS.files) if key.startswith(f"{name}_{kind}")]
    return found[0] if len(found) == 1 else found


def predicts(model, name, kind="p"):
    found = model.predict(arrays(name, "x"))
    for got, wanted in zip(
        found if isinstance(found, list) else [found],
        arrays(name, kind) if name == "functional" else [arrays(name, kind)],
        strict=True,
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_files_that_keras_made(name, tmp_path):
    model = cgru.load_model(GOLDEN / f"keras_{name}.keras")
    predicts(model, name)
    fresh = cgru.models.clone_model(model)
    fresh.load_weights(GOLDEN / f"keras_{name}.weights.h5")
    predicts(fresh, name)
    model.save(tmp_path / "m.keras")
    again = cgru.load_model(tmp_path / "m.keras")
    predicts(again, name)
    assert again.optimizer.get_config() == model.optimizer.get_config()
    for key, value in model.optimizer.get_state().items():
        np.testing.assert_allclose(again.optimizer.get_state()[key], value, rtol=1e-6)
    model.save_weights(tmp_path / "m.weights.h5")
    other = cgru.models.clone_model(model)
    other.load_weights(tmp_path / "m.weights.h5")
    predicts(other, name)


def test_training_goes_on_where_keras_ended():
    model = cgru.load_model(GOLDEN / "keras_functional.keras")
    assert model.optimizer.iterations == 2
    model.train_on_batch(arrays("functional", "x"), arrays("functional", "y"))
    predicts(model, "functional", "trained")
    assert not cgru.load_model(GOLDEN / "keras_functional.keras", compile=False).compiled


def test_a_file_is_known_by_what_it_is(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes((GOLDEN / "keras_sequential.keras").read_bytes())
    predicts(cgru.load_model(path), "sequential")
    model = cgru.Sequential([cgru.Input((2,)), cgru.layers.Dense(1)])
    model.save(tmp_path / "own")
    (tmp_path / "own").rename(tmp_path / "own.keras")
    cgru.load_model(tmp_path / "own.keras")


def members(name="sequential"):
    with zipfile.ZipFile(GOLDEN / f"keras_{name}.keras") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path, parts, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in parts:
            archive.writestr(name, content)
    return path


def changed(path, change):
    """A file with a changed configuration."""
    parts = members()
    config = json.loads(parts["config.json"])
    change(config)
    return packed(path, (parts | {"config.json": json.dumps(config)}).items())


def layer(config, name):
    return next(e for e in config["config"]["layers"] if e["class_name"] == name)


def dense(config):
    return layer(config, "Dense")["config"]


def rewritten(path, change):
    """A file with changed weights."""
    parts = members()
    stream = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(stream, "r+") as file:
        change(file)
    return packed(path, (parts | {"model.weights.h5": stream.getvalue()}).items())


def replace(file, value, place="layers/dense/vars/0", **options):
    del file[place]
    if isinstance(value, (h5py.SoftLink, h5py.ExternalLink)):
        file[place] = value
    else:
        file.create_dataset(place, **({"data": value} | options))


def refused(path, match):
    """A LoadError, soon and with little memory."""
    start = time.process_time()
    with pytest.raises(LoadError, match=match) as caught:
        cgru.load_model(path)
    assert time.process_time() - start < 1
    tracemalloc.start()  # which takes much time itself
    try:
        with pytest.raises(LoadError):
            cgru.load_model(path)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    return caught.value


LAMBDA = {"module": "builtins", "class_name": "__lambda__", "config": {"value": "4wEA"}}
CHANGES = {
    "Lambda": lambda c: layer(c, "Dense").update(class_name="Lambda"),
    "__lambda__": lambda c: dense(c).update(activation=LAMBDA),
    "os.system": lambda c: layer(c, "Dense").update(module="os", class_name="system"),
    "subprocess": lambda c: c.update(module="subprocess", class_name="Popen"),
    "Custom>Mine": lambda c: layer(c, "Dense").update(
        module=None, class_name="Mine", registered_name="Custom>Mine"
    ),
    "Conv2D": lambda c: layer(c, "Dense").update(class_name="Conv2D"),
    "function": lambda c: dense(c).update(
        activation={"module": "os", "class_name": "function", "config": "system"}
    ),
    "mixed_float16": lambda c: dense(c)["dtype"]["config"].update(name="mixed_float16"),
    "lora_rank": lambda c: dense(c).update(lora_rank=4),
    "novelty": lambda c: dense(c).update(novelty=1),
    "Ftrl": lambda c: c["compile_config"]["optimizer"].update(class_name="Ftrl"),
    "more than there may be": lambda c: dense(c).update(units=10**9),
    "Sequential, code or nothing": lambda c: c.pop("config"),
    "asks for num_thresholds": lambda c: c["compile_config"].update(
        metrics=[
            {"module": "keras.metrics", "class_name": "AUC", "config": {"num_thresholds": 10**9}}
        ]
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_a_configuration_names_is_not_loaded(what, tmp_path):
    refused(changed(tmp_path / "m.keras", CHANGES[what]), what.split(">")[-1])


TREES = {
    "extra": lambda f: f.create_dataset("layers/dense/vars/7", data=np.zeros(3, "f4")),
    "missing": lambda f: f.__delitem__("layers/dense/vars/0"),
    r"expected \(4, 2\) float32, got \(2, 4\)": lambda f: replace(f, np.zeros((2, 4), "f4")),
    "got .* float64": lambda f: replace(f, np.zeros((4, 2))),
    "not finite": lambda f: replace(f, np.full((4, 2), np.nan, "f4")),
    "is a link": lambda f: replace(f, h5py.SoftLink("/layers/dense/vars/1")),
    "a link, which": lambda f: replace(f, h5py.ExternalLink("/etc/hostname", "/x")),
    "larger than": lambda f: replace(f, None, data=None, shape=(10**7, 10**4), dtype="f4"),
    "compressed": lambda f: replace(f, np.zeros((4, 2), "f4"), compression="gzip"),
    "no array of numbers": lambda f: replace(f, "text"),
    "groups inside": lambda f: f.__setitem__("layers/dense/again", f["layers"]),
}


@pytest.mark.parametrize("what", TREES)
def test_weights_that_are_not_those_of_the_model(what, tmp_path):
    path = rewritten(tmp_path / "m.keras", TREES[what])
    error = refused(path, {"extra": "unexpected layers/dense/vars/7"}.get(what, what))
    assert isinstance(error, MismatchError) == (what in list(TREES)[:4])


def test_zips_with_tricks(tmp_path):
    path, parts = tmp_path / "m.keras", members()
    huge = parts | {"config.json": b"[" * (5 << 20)}
    refused(packed(path, huge.items(), compression=zipfile.ZIP_DEFLATED), "unpacks to more")
    zeros = parts | {"model.weights.h5": bytes(20 << 20)}
    refused(packed(path, zeros.items(), compression=zipfile.ZIP_DEFLATED), "unpacks to more")
    refused(packed(path, (parts | {"config.json": b"[" * 100_000}).items()), "describes no model")
    with pytest.warns(UserWarning, match="Duplicate"):
        packed(path, [*parts.items(), ("config.json", b"{}")])
    refused(path, "expected one config.json")
    refused(packed(path, [(f"../{name}", part) for name, part in parts.items()]), "expected one")
    refused(packed(path, [("config.json", parts["config.json"])]), "expected one")
    assert list(tmp_path.iterdir()) == [path]


def many_layers(config):
    """Of which each takes time to make."""
    layers = config["config"]["layers"]
    entry = layer(config, "GRU")
    layers += [entry | {"config": entry["config"] | {"name": f"gru_{i}"}} for i in range(990)]


def models_in_models(config):
    layers = config["config"]["layers"]
    for _ in range(300):
        layers[1:] = [{"module": "keras", "class_name": "Sequential",
                       "config": {"layers": layers[1:]}}]  # fmt: skip


def in_disorder(config):
    """Each layer reads the next one."""
    tensor = {"class_name": "__keras_tensor__", "config": {}}
    entries = [layer(config, "InputLayer") | {"name": "0"}]
    for i in range(1, 800):
        read = tensor | {"config": {"keras_history": [str(i - 1), 0, 0]}}
        node = {"args": [read], "kwargs": {}}
        entry = {"module": "keras.layers", "class_name": "ReLU", "config": {"name": str(i)}}
        entries.insert(0, entry | {"name": str(i), "inbound_nodes": [node]})
    ends = {"input_layers": ["0", 0, 0], "output_layers": ["799", 0, 0]}
    functional = {"module": "keras", "class_name": "Functional"}
    config.update(functional | {"config": ends | {"layers": entries}})


LONG = {
    "more layers": many_layers,
    "inside each other": models_in_models,
    "too great a disorder": in_disorder,
    "more layers, or other parts": lambda c: c["compile_config"].update(
        metrics=[{"module": "keras.metrics", "class_name": "Mean", "config": {}}] * 12_000
    ),
}


@pytest.mark.parametrize("what", LONG)
def test_what_would_take_long(what, tmp_path):
    refused(changed(tmp_path / "m.keras", LONG[what]), what)


def test_many_arrays(tmp_path):
    def fill(file):
        for i in range(6000):
            file.create_group(f"layers/{i}")

    refused(rewritten(tmp_path / "m.keras", fill), "too many arrays")


def test_many_calls_that_are_told_a_mask(tmp_path):
    words, state = cgru.Input((None,), dtype="int32"), cgru.Input((2,))
    embedded = cgru.layers.Embedding(3, 2, mask_zero=True)(words)
    y = cgru.layers.GRU(2, return_sequences=True, name="gru")(embedded, initial_state=state)
    path = tmp_path / "m.keras"
    cgru.Model([words, state], y).save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    nodes = next(e for e in config["config"]["layers"] if e["name"] == "gru")["inbound_nodes"]
    for i in range(3000):
        nodes.append(json.loads(json.dumps(nodes[0])))
        nodes[-1]["args"][0]["config"]["keras_history"] = ["gru", i, 0]
    refused(packed(path, (parts | {"config.json": json.dumps(config)}).items()), "or too many")


@pytest.mark.parametrize("suffix", ["keras", "weights.h5"])
def test_spoilt_bytes(suffix, tmp_path):
    """Files that end too soon, and files of which some bytes are others."""
    content = (GOLDEN / f"keras_sequential.{suffix}").read_bytes()
    model = cgru.load_model(GOLDEN / "keras_sequential.keras")
    before = model.get_weights()
    path = tmp_path / f"m.{suffix}"
    load = cgru.load_model if suffix == "keras" else model.load_weights
    rng = np.random.default_rng(0)
    for end in range(0, len(content), len(content) // 60):
        path.write_bytes(content[:end])
        with pytest.raises(LoadError):
            load(path)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    for _ in range(60):
        spoilt = bytearray(content)
        for place in rng.integers(0, len(content), 20):
            spoilt[place] ^= 1 << rng.integers(8)
        path.write_bytes(spoilt)
        with contextlib.suppress(LoadError):  # what has no checksum may be loaded
            load(path)


def test_saving_what_keras_has_not(tmp_path):
    class Mine(cgru.layers.Layer):
        def forward(self, x):
            return x, lambda dy: dy

    path = tmp_path / "m.keras"
    path.write_bytes(b"before")
    model = cgru.Sequential([cgru.Input((2,)), Mine()])
    with pytest.raises(TypeError, match="Keras has no Mine"):
        model.save(path)
    for silent in (
        cgru.layers.SimpleRNN(2, activity_regularizer="l2"),
        cgru.layers.SpatialDropout1D(0.1, activity_regularizer="l2"),
    ):
        with pytest.raises(TypeError, match="of Keras heeds no activity_regularizer"):
            cgru.Sequential([cgru.Input((None, 2)), silent]).save(path)
    assert path.read_bytes() == b"before"
    with pytest.raises(FileExistsError):
        cgru.Sequential([cgru.Input((2,)), cgru.layers.Dense(1)]).save(path, overwrite=False)


def test_custom_objects(tmp_path):
    class Mine(cgru.layers.Layer):
        def forward(self, x):
            return 0 * x, lambda dy: 0 * dy

    def rename(config):
        layer(config, "Dropout").update(
            module=None, class_name="Mine", registered_name="Custom>Mine", config={"name": "mine"}
        )

    path = changed(tmp_path / "m.keras", rename)
    model = cgru.load_model(path, custom_objects={"Mine": Mine})
    assert isinstance(model.get_layer("mine"), Mine)


def test_without_h5py(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'cgru\[keras\]'"):
        cgru.load_model(GOLDEN / "keras_sequential.keras")
    model = cgru.Sequential([cgru.Input((2,)), cgru.layers.Dense(1)])
    with pytest.raises(ImportError, match="cgru\\[keras\\]"):
        model.save(tmp_path / "m.keras")
    assert not list(tmp_path.iterdir())


def test_an_order_that_is_not_known_is_refused(tmp_path):
    words = cgru.Input((None,), dtype="int32")
    inner = cgru.Model(words, cgru.layers.Embedding(5, 3, mask_zero=True)(words), name="inner")
    x = cgru.Input((None,), dtype="int32")
    model = cgru.Model(x, cgru.layers.Add()([cgru.layers.GRU(2)(inner(x)) for _ in range(2)]))
    for path, save in (("m.keras", model.save), ("m.weights.h5", model.save_weights)):
        with pytest.raises(ValueError, match="inner"):
            save(tmp_path / path)
    assert not list(tmp_path.iterdir())


def test_more_arrays_than_can_be_loaded_are_not_saved(tmp_path):
    def deep(count):
        dense = [cgru.layers.Dense(1, kernel_initializer="zeros") for _ in range(count)]
        return cgru.Sequential([cgru.Input((1,)), *dense])

    path = tmp_path / "m.weights.h5"  # four groups and arrays a layer, and those above them
    deep(1249).save_weights(path)
    deep(1249).load_weights(path)
    kept = path.read_bytes()
    with pytest.raises(ValueError, match="at most 5000 groups and arrays"):
        deep(1250).save_weights(path)
    assert path.read_bytes() == kept


def test_optimizers_of_keras_on_pytorch(tmp_path):
    def move(config):
        optimizer = config["compile_config"]["optimizer"]
        place = f"torch_{optimizer['class_name'].lower()}"
        optimizer["module"] = f"keras.src.backend.torch.optimizers.{place}"

    found = cgru.load_model(changed(tmp_path / "m.keras", move)).optimizer
    wanted = cgru.load_model(GOLDEN / "keras_sequential.keras").optimizer
    assert (type(found), found.get_config()) == (type(wanted), wanted.get_config())


def test_seeds_that_every_backend_of_keras_takes(tmp_path):
    layer = cgru.layers.Dropout(0.1, seed=2**63 - 1)
    cgru.Sequential([cgru.Input((3,)), layer]).save(tmp_path / "m.keras")
    again = cgru.load_model(tmp_path / "m.keras")
    assert 0 <= again.layers[0].seed < 2**31
