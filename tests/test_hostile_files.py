"""Files of any content are refused with a LoadError: soon, and without much memory."""

import json
import os
import random
import stat
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from processes import python
from safetensors.numpy import load_file, save_file
from test_saving import make, metadata, trained

import cgru
from cgru import layers
from cgru.saving import LoadError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a file."""
    path = tmp_path_factory.mktemp("whole") / "model"
    model = cgru.Sequential([cgru.Input((2,)), layers.Dense(1, name="dense")], name="model")
    model.compile("sgd", "mse")
    model.save(path)
    return path.read_bytes()


def refuse(path, match=None, load=cgru.load_model):
    start = time.perf_counter()
    with pytest.raises(LoadError, match=match):
        load(path)
    assert time.perf_counter() - start < 1


# ---- Bytes ----


def test_truncated_at_every_byte(path, whole):
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        refuse(path, "no safetensors file, or damaged")


def test_bits_that_are_flipped(path, whole):
    flips, accepted = random.Random(0), 0
    for _ in range(1000):
        place = flips.randrange(len(whole))
        damaged = bytearray(whole)
        damaged[place] ^= 1 << flips.randrange(8)
        path.write_bytes(damaged)
        try:
            model = cgru.load_model(path)
        except LoadError:
            continue
        accepted += 1  # another name, or other numbers
        assert all(np.isfinite(array).all() for array in model.get_weights())
    assert 0 < accepted < 500


def header(tensors, data=b"", notes=None):
    text = tensors if isinstance(tensors, bytes) else json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(shape, stop, dtype="F32", start=0):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


@pytest.mark.parametrize(
    "data",
    [
        (2**63).to_bytes(8, "little") + b"{}",
        header(b"[" * 100_000),
        header(b'{"a":' * 100_000),
        header(b"1" * 100_000),
        header(b"null"),
        header(b'{"__metadata__": 3}'),
        header(b'{"__metadata__": {"format": 3}}'),
        header({"a": entry([2**40], 4)}, bytes(4)),
        header({"a": entry([2**63, 2**63], 4)}, bytes(4)),
        header({"a": entry([-1], 4)}, bytes(4)),
        header({"a": entry([1], 2**40)}, bytes(4)),
        header({"a": entry([1], 4, start=-4)}, bytes(4)),
        header({"a": entry([1], 4, "F7")}, bytes(4)),
        header({"a": entry([1], 4), "b": entry([1], 4)}, bytes(4)),
        header(b'{"a": %b, "a": %b}' % ((json.dumps(entry([1], 4)).encode(),) * 2), bytes(4)),
    ],
    ids=range(15),
)
def test_headers(path, data):
    path.write_bytes(data)
    refuse(path, "no safetensors file, or damaged")


def test_other_kinds_of_numbers(path):
    for dtype in ("F16", "BF16", "F64", "I64", "U8", "BOOL", "F8_E4M3"):
        size = {"F16": 2, "BF16": 2, "F64": 8, "I64": 8}.get(dtype, 1)
        path.write_bytes(header({"dense/bias": entry([1], size, dtype)}, bytes(size)))
        refuse(path, load=make(optimizer=None).load_weights)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes that have names")
def test_what_is_no_file(path):
    os.mkfifo(path)
    refuse(path, "expected a file")
    refuse("/dev/zero", "expected a file")


# ---- Arrays ----


def edited(path, arrays=(), **notes):
    """A file with other arrays (None removes one) and other notes, given as values or as text."""
    trained().save(path)
    found, contents = metadata(path), load_file(path) | dict(arrays)
    for key, note in notes.items():
        found[key] = note if isinstance(note, str) else json.dumps(note)
    save_file({k: v for k, v in contents.items() if v is not None}, path, found)


def test_missing_and_wrong_arrays(path):
    for arrays, match in [
        ({"dense/bias": None}, "lacks the arrays \\['dense/bias'\\]"),
        ({"optimizer/m": None}, "lacks the arrays"),
        ({"dense/bias": np.zeros(2, "f4")}, "dense/bias: expected \\(1,\\) float32, got \\(2,\\)"),
        ({"dense/bias": np.zeros(1)}, "got \\(1,\\) float64"),
        ({"dense/bias": np.full(1, np.nan, "f4")}, "dense/bias is not finite"),
        ({"optimizer/v": np.full(46, np.inf, "f4")}, "optimizer/v"),
        ({"optimizer/iterations": np.array(-5)}, "iterations"),
        ({"optimizer/iterations": np.array([5])}, "iterations"),
    ]:
        edited(path, arrays)
        refuse(path, match)


# ---- Notes ----


def nested(depth, layer="Sequential"):
    """The configuration of layers within layers, as text: json.dumps has a limit."""
    inner = '{"module": "cgru.layers", "class_name": "GRU", "config": {"units": 1}}'
    begin, end = ('{"layers": [', "]}}") if layer == "Sequential" else ('{"layer": ', "}}")
    module = "models" if layer == "Sequential" else "layers"
    begin = f'{{"module": "cgru.{module}", "class_name": "{layer}", "config": {begin}'
    return begin * depth + inner + end * depth


@pytest.mark.parametrize("layer", ["Sequential", "Bidirectional", "TimeDistributed"])
@pytest.mark.parametrize("depth", [30, 100, 300, 10_000])
def test_deep_nesting(path, depth, layer):
    edited(path, model=nested(depth, layer))
    refuse(path)


def config_of(path):
    edited(path)
    return json.loads(metadata(path)["model"])


ODD = [None, True, -1, 10**12, 10**30, 0.5, float("nan"), float("inf"), "", "x", [], {}, [[]],
       {"class_name": [], "config": "x"}, {"class_name": "GRU", "config": {}}]  # fmt: skip


def places(value):
    """All that can be replaced in a JSON value."""
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


def functional():
    x = cgru.Input((None, 2))
    y, state = layers.GRU(2, return_state=True, return_sequences=True)(x)
    z, *states = layers.LSTM(2, return_sequences=True, return_state=True)(
        y, initial_state=[state, state]
    )
    z = layers.LSTM(2, return_sequences=True)(z, initial_state=states)
    return cgru.Model(x, layers.Bidirectional(layers.SimpleRNN(2))(z))


@pytest.mark.parametrize("note", ["model", "compile", "weights", "optimizer", "training"])
def test_anything_anywhere_in_the_notes(path, note):
    model = functional()
    model.compile("adam", "mse", metrics=[cgru.metrics.AUC(5), cgru.metrics.MeanIoU(2)])
    checkpoint = cgru.callbacks.ModelCheckpoint(path)
    model.fit(np.zeros((2, 3, 2)), np.zeros((2, 4)), callbacks=[checkpoint])
    found, arrays = metadata(path), load_file(path)
    text, refused = found[note], 0
    for place in range(len(list(places(json.loads(text))))):
        for odd in random.Random(place).sample(ODD, 4):
            value = json.loads(text)
            holder, key = list(places(value))[place]
            holder[key] = odd
            save_file(arrays, path, found | {note: json.dumps(value)})
            start = time.perf_counter()
            try:
                cgru.load_model(path)
            except LoadError:
                refused += 1
            assert time.perf_counter() - start < 1
    for odd in ODD:
        save_file(arrays, path, found | {note: json.dumps(odd)})
        try:
            cgru.load_model(path)
        except LoadError:
            refused += 1
    assert refused > 5


def wide(count):
    """The configuration of a model with many layers."""
    model = cgru.Sequential([cgru.Input((2,)), layers.ReLU()])
    config = model.serialized()
    entry = config["config"]["layers"].pop()
    config["config"]["layers"] += [
        entry | {"config": entry["config"] | {"name": str(i)}} for i in range(count)
    ]
    return json.dumps(config)


def test_many_layers(path):
    edited(path, model=wide(5000))
    refuse(path, "more layers, or other parts, than can be loaded")
    edited(path, model=wide(40_000))
    refuse(path, "at most 4194304 characters")


def test_a_file_that_holds_many_layers(path):
    """What was saved can be loaded: more arrays make room for more layers."""
    model = cgru.Sequential([cgru.Input((2,)), *(layers.Dense(2) for _ in range(1200))])
    model.save(path)
    np.testing.assert_array_equal(cgru.load_model(path).theta, model.theta)


def test_calls_in_a_circle(path):
    functional().save(path)
    found, arrays = metadata(path), load_file(path)
    config = json.loads(found["model"])
    config["config"]["calls"][0]["reads"] = config["config"]["calls"][-1]["writes"]
    save_file(arrays, path, found | {"model": json.dumps(config)})
    refuse(path, "KeyError")


@pytest.mark.parametrize(
    ("layer", "options"),
    [
        ("GRU", {"units": 10**12}),
        ("GRU", {"units": 20_000}),
        ("Dense", {"units": 10**8}),
        ("Dense", {"units": 10**400}),
        ("Embedding", {"input_dim": 10**9, "output_dim": 1}),
        ("Conv1D", {"filters": 10**9, "kernel_size": 1}),
    ],
)
def test_layers_that_are_far_larger_than_the_file(path, layer, options):
    config = config_of(path)
    config["config"]["layers"][1] = {"module": "cgru.layers", "class_name": layer,
                                     "config": options}  # fmt: skip
    sys.set_int_max_str_digits(0)
    edited(path, model=config)
    sys.set_int_max_str_digits(4300)
    tracemalloc.start()
    refuse(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


@pytest.mark.parametrize(
    "metric",
    [
        ("AUC", {"num_thresholds": 10**10}),
        ("PrecisionAtRecall", {"recall": 0.5, "num_thresholds": 10**10}),
        ("MeanIoU", {"num_classes": 10**6}),
        ("MeanIoU", {"num_classes": 10**12}),
        ("OneHotMeanIoU", {"num_classes": 10**12}),
    ],
    ids=str,
)
def test_metrics_that_are_far_larger_than_the_file(path, metric):
    name, options = metric
    edited(path)
    compiled = json.loads(metadata(path)["compile"])
    compiled["metrics"] = [{"module": "cgru.metrics", "class_name": name, "config": options}]
    edited(path, compile=compiled)
    refuse(path, "far more than there may be")


def test_json_that_is_none(path):
    for text in ("{", "[" * 100_000, '{"a": 1, "a": 2}', "1" * 5000, "\x00", '"\ud800'):
        try:
            edited(path, model=text)
        except UnicodeEncodeError:
            continue
        refuse(path, "no safetensors file, or damaged")


@pytest.mark.parametrize(
    "text",
    [wide(5000), wide(40_000), "[" * 10_000_000, json.dumps([{}] * 10_000),
     nested(31),
     cgru.Sequential([cgru.Input((None, 2)), layers.GRU(1)]).to_json().replace(
         '"units": 1', '"units": 30000'),
     "", "{", "[]", "3", "NaN", "[" * 100_000, nested(1000), nested(10_000), nested(3, "GRU"),
     '{"class_name": [], "config": {}}', '{"class_name": "Sequential", "config": "x"}',
     '{"module": "cgru.models", "class_name": "Sequential", "config": []}',
     '{"module": "cgru.models", "class_name": "Model", "config": {}}',
     '{"module": "cgru.models", "class_name": "Sequential", "config": {"layers": [1]}}',
     '{"module": "cgru.models", "class_name": "Sequential", "config": {"layers": [], "name": []}}',
     '{"module": "os", "class_name": "system", "config": {"command": "true"}}'],
    ids=range(22),
)  # fmt: skip
def test_hostile_json(text):
    start = time.process_time()
    with pytest.raises(LoadError, match="json_string"):
        cgru.models.model_from_json(text)
    assert time.process_time() - start < 1


# ---- A damaged backup ----


def test_states_of_a_training_that_do_not_fit(path):
    """An LSTM has two; others are left out with a warning, or refused."""
    entry = cgru.Input(batch_shape=(2, 3, 1))
    model = cgru.Sequential([entry, layers.LSTM(2, stateful=True, name="lstm"), layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((2, 3, 1)), np.ones((2, 1))
    model.fit(x, y, 2, callbacks=[cgru.callbacks.ModelCheckpoint(path)])
    found, arrays = metadata(path), load_file(path)
    names = [name for name in arrays if "/state/" in name]
    assert len(names) == 2
    for kept, change in (
        (names, {}),
        (names[:1], {}),
        (names, {names[0]: np.zeros((3, 2), "f4")}),
        (names, {names[1]: np.zeros((2, 2))}),
        (names, {names[1]: np.full((2, 2), np.nan, "f4")}),
        (["lstm/kernel"] * 2, {}),
    ):
        training = json.loads(found["training"])
        (layer,) = (entry for entry in training["layers"] if entry["states"])
        layer["states"] = kept
        save_file(arrays | change, path, found | {"training": json.dumps(training)})
        again = cgru.load_model(path)
        if (kept, change) == (names, {}):
            again.fit(x, y, 2, epochs=2, initial_epoch=1)
            continue
        with pytest.warns(UserWarning, match="goes on with other random numbers"):
            again.fit(x, y, 2, epochs=2, initial_epoch=1)
        assert all(np.isfinite(weight).all() for weight in again.get_weights())


@pytest.mark.parametrize("note", [5, {}, {"place": [0], "layers": []}, {"place": "x"}])
def test_backups(tmp_path, note):
    model, backup = make(), cgru.callbacks.BackupAndRestore(tmp_path / "b")
    x, y = np.zeros((4, 3, 2)), np.zeros(4)
    model.fit(x, y, callbacks=[cgru.callbacks.BackupAndRestore(tmp_path / "b", 1, False, False)])
    latest = tmp_path / "b" / "latest.safetensors"
    found = metadata(latest) | {"training": json.dumps(note)}
    save_file(load_file(latest), latest, found)
    with pytest.raises(LoadError):
        model.fit(x, y, callbacks=[backup])


# ---- Writing ----


@pytest.mark.parametrize("name", ["模型 é.safetensors", "a b%s{}", "x" * 200])
def test_names(tmp_path, name):
    for path in (tmp_path / name, str(tmp_path / name), os.fsencode(tmp_path / name)):
        model = trained()
        model.save(path)
        np.testing.assert_array_equal(cgru.load_model(path).theta, model.theta)
        os.unlink(path)


def test_permissions_of_what_is_replaced_are_kept(path):
    path.touch(mode=0o600)
    os.chmod(path, 0o640)
    make().save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    cgru.load_model(path)


READ_ONLY = """
import os, sys, safetensors.numpy, cgru
model = cgru.Sequential([cgru.Input((2,)), cgru.layers.Dense(1)])
if os.geteuid() == 0:
    os.seteuid(65534)  # root may write anywhere
for path in sys.argv[1:]:
    try:
        model.save(path)
    except OSError as error:
        print(type(error).__name__, end=" ")
"""


def test_a_folder_that_is_read_only():
    with tempfile.TemporaryDirectory() as folder:
        old, new = Path(folder, "old"), Path(folder, "new")
        make().save(old)
        before = old.read_bytes()
        os.chmod(folder, 0o555)
        assert python(READ_ONLY, old, new) == "PermissionError PermissionError"
        assert os.listdir(folder) == ["old"]
        assert old.read_bytes() == before
        os.chmod(folder, 0o755)


FULL = """
import os, resource, signal, sys, cgru
path = sys.argv[1]
model = cgru.Sequential([cgru.Input((100,)), cgru.layers.Dense(1000)])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    model.save(path)
except OSError as error:
    print(type(error).__name__)
"""


def test_a_disk_that_is_full(path):
    make().save(path)
    before = path.read_bytes()
    assert python(FULL, path) == "OSError"
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_links_to_nothing_and_in_circles(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    make().save(link)
    assert link.is_symlink()
    cgru.load_model(tmp_path / "target")
    link.unlink()
    link.symlink_to(link)
    with pytest.raises((OSError, LoadError)):
        cgru.load_model(link)
