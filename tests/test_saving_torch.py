"""Weights of PyTorch, without PyTorch: what it computed is in golden/torch_files."""

import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest
from processes import python
from safetensors.numpy import load_file, save_file

import cgru
from cgru import layers
from cgru.saving import LoadError, MismatchError, from_torch, to_torch

FOLDER = Path(__file__).parent / "golden" / "torch_files"
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
RECURRENT = {"gru": layers.GRU, "lstm": layers.LSTM, "rnn": layers.SimpleRNN}


@pytest.fixture(scope="module")
def cases():
    with np.load(FOLDER / "cases.npz") as file:
        return dict(file)


def agrees(model, cases, name, **options):
    """The file gives the outputs, and a model that was loaded gives the file."""
    path = FOLDER / f"{name}.safetensors"
    assert from_torch(path, model, **options) is model
    wanted = cases[f"{name}/y"]
    got = model.predict(cases[f"{name}/x"])
    np.testing.assert_allclose(got, wanted, rtol=0, atol=TOLERANCE[wanted.dtype.name])

    prefixes = options.get("names") or {"": [layer.name for layer in model.layers if layer.weights]}
    state, stored = to_torch(model, names=prefixes), load_file(path)
    assert state.keys() == stored.keys()
    for key, array in state.items():
        if "gru" in name or "bias_" not in key:
            np.testing.assert_array_equal(array, stored[key])


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_recurrent(cases, kind, both, dtype):
    made = [RECURRENT[kind](5, return_sequences=True, dtype=dtype) for _ in range(2)]
    stack = [layers.Bidirectional(layer) if both else layer for layer in made]
    model = cgru.Sequential([cgru.Input((None, 4), dtype=dtype), *stack])
    agrees(model, cases, f"{kind}_{1 + both}_{dtype[-2:]}")


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_no_bias(cases, dtype):
    gru = layers.GRU(5, return_sequences=True, use_bias=False, dtype=dtype)
    agrees(cgru.Sequential([cgru.Input((6, 4), dtype=dtype), gru]), cases, f"no_bias_{dtype[-2:]}")


@pytest.mark.parametrize("layer", [layers.Dense(5), layers.TimeDistributed(layers.Dense(5))])
def test_linear(cases, layer):
    model = cgru.Sequential([cgru.Input((6, 4)), layer])
    from_torch(FOLDER / "linear.safetensors", model)
    got = model.predict(cases["linear/x"])
    np.testing.assert_allclose(got, cases["linear/y"], rtol=0, atol=1e-6)


NAMES = {
    "head": "head",
    "norm": "norm",
    "table": "table",
    "rnn": ["first", "second"],
}


def classifier(trainable=True):
    return cgru.Sequential(
        [
            layers.Embedding(11, 4, name="table"),
            layers.Bidirectional(layers.GRU(5, return_sequences=True), name="first"),
            layers.Bidirectional(layers.GRU(5), name="second"),
            layers.LayerNormalization(epsilon=1e-5, name="norm"),
            layers.Dropout(0.4),
            layers.Dense(3, name="head"),
        ]
    )


def test_a_module_of_ones_own(cases):
    model = classifier()
    model.build((None, 6))
    agrees(model, cases, "classifier", names=NAMES)


def test_models_inside_models(cases):
    inner = classifier()
    inner.build((None, 6))
    agrees(
        cgru.Sequential([cgru.Input((6,), dtype="int64"), inner]), cases, "classifier", names=NAMES
    )


def chain(count=2, **options):
    return cgru.Sequential(
        [cgru.Input((2,)), *(layers.Dense(2, name=f"d{i}", **options) for i in range(count))]
    )


def state_of(count=2, prefix="d{}", dtype="float32"):
    state = {}
    for i in range(count):
        state[f"{prefix.format(i)}.weight"] = np.array([[1.0, 2.0], [3.0, i]], dtype)
        state[f"{prefix.format(i)}.bias"] = np.array([i, 1.0], dtype)
    return state


def test_names_of_layers_come_before_the_order():
    model, state = chain(), state_of()
    from_torch(dict(reversed(state.items())), model)
    np.testing.assert_array_equal(model.layers[1].bias, [1, 1])
    from_torch({name.replace("d", "e"): a for name, a in reversed(state.items()) if "bias" in name}
               | {name.replace("d", "e"): a for name, a in state.items()}, model)  # fmt: skip
    np.testing.assert_array_equal(model.layers[0].bias, [1, 1])


def test_a_file_is_in_order_by_number_only(tmp_path):
    model = chain(12)
    save_file(state_of(12, "net.{}"), tmp_path / "chain")
    from_torch(tmp_path / "chain", model)
    assert [layer.bias[0] for layer in model.layers] == list(range(12))
    save_file(state_of(2, "x{}"), tmp_path / "other")
    with pytest.raises(LoadError, match=r"no order: of \['x0', 'x1'\] in it to the layers \['d0'"):
        from_torch(tmp_path / "other", chain())
    from_torch(tmp_path / "other", chain(), names={"x1": "d0", "x0": "d1"})


def test_what_is_returned_is_a_copy():
    model = chain()
    before = model.get_weights()
    state = to_torch(model)
    for array in state.values():
        array[...] = 7
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def changed(name, value):
    return lambda state: state | {name: value}


BAD = {
    "missing": (lambda s: {k: v for k, v in s.items() if k != "d1.bias"}, "missing d1.bias"),
    "missing layer": (
        lambda s: {k: v for k, v in s.items() if "d1" not in k},
        "missing d1/kernel, d1/bias",
    ),
    "unexpected": (changed("d0.running", np.ones(3, "float32")), "unexpected d0.running"),
    "unexpected layer": (
        changed("d2.weight", np.ones((2, 2), "float32")),
        "unexpected d2.weight",
    ),
    "huge number": (changed(f"d0.weight_ih_l{9**99}", np.ones(2, "float32")), "unexpected d0.wei"),
    "large number": (changed("d0.weight_ih_l9999", np.ones(2, "float32")), "weight_ih_l9999"),
    "shape": (changed("d1.bias", np.ones(3, "float32")), r"d1.bias: expected \(2,\).*got \(3,\)"),
    "huge": (
        changed("d1.bias", np.broadcast_to(np.float32(1), (1 << 40,))),
        "d1.bias: expected",
    ),
    "double": (changed("d1.bias", np.ones(2)), "d1.bias: expected .*float32, got .*float64"),
    "half": (changed("d1.bias", np.ones(2, "float16")), "d1.bias: expected .*got .*float16"),
    "integers": (changed("d1.bias", np.ones(2, int)), "d1.bias: expected .*got .*int64"),
    "objects": (changed("d1.bias", np.array([{}, 1])), "d1.bias: expected .*got .*object"),
    "text": (changed("d1.bias", np.array(["a", "b"])), "d1.bias: expected .*got .*<U1"),
    "nan": (changed("d1.bias", np.array([1, np.nan], "float32")), r"not finite, in \['d1.bias'\]"),
    "infinite": (changed("d1.bias", np.array([1, np.inf], "float32")), r"not finite.*d1.bias"),
    "no array": (changed("d1.bias", "text"), r"expected arrays.*'d1.bias' \(str\)"),
    "list": (changed("d1.bias", [1.0, 2.0]), r"expected arrays.*'d1.bias' \(list\)"),
    "no name": (changed(3, np.ones(2, "float32")), r"by names, got 3 \(float32\)"),
    "empty": (lambda s: {}, "missing d0/kernel, d0/bias, d1/kernel, d1/bias"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_states_change_nothing(case):
    change, message = BAD[case]
    model = chain()
    before = model.get_weights()
    with pytest.raises(LoadError, match=message):
        from_torch(change(state_of()), model)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_all_problems_are_listed_at_once():
    state = state_of() | {"more.weight": np.ones(1), "d0.bias": np.ones(5, "float32")}
    del state["d1.bias"]
    with pytest.raises(MismatchError, match="source: the state dict does not fit") as info:
        from_torch(state, chain(), names={"d0": "d0", "d1": "d1"})
    assert info.value.missing == ["d1.bias"]
    assert info.value.unexpected == ["more.weight"]
    assert len(info.value.different) == 1


@pytest.mark.parametrize(
    "names", [{"d0": "nowhere"}, {"d0": "d0", "d1": "d0"}, {"d0": 3}, {"d0": [["d0"]]}, ["d0"]]
)
def test_names_that_are_wrong(names):
    with pytest.raises(ValueError, match="names: expected"):
        from_torch(state_of(), chain(), names=names)


def test_a_list_of_names_is_one_recurrent_module():
    model = chain()
    with pytest.raises(ValueError, match=r"names\['x'\]: expected the layers of one recurrent"):
        to_torch(model, names={"x": ["d0", "d1"]})
    both = layers.Bidirectional(layers.GRU(1, return_sequences=True), name="both")
    model = cgru.Sequential([cgru.Input((None, 2)), both, layers.GRU(1, name="one")])
    with pytest.raises(ValueError, match=r"names\['x'\]: expected the layers of one recurrent"):
        from_torch({}, model, names={"x": ["both", "one"]})


def test_two_biases_become_their_sum():
    model = cgru.Sequential([cgru.Input((None, 1)), layers.LSTM(1, name="lstm")])
    state = to_torch(model) | {
        "lstm.bias_ih_l0": np.arange(4, dtype="float32"),
        "lstm.bias_hh_l0": np.full(4, 10, "float32"),
    }
    again = to_torch(from_torch(state, model))
    np.testing.assert_array_equal(model.layers[0].bias, [10, 11, 12, 13])
    np.testing.assert_array_equal(again["lstm.bias_ih_l0"], [10, 11, 12, 13])
    np.testing.assert_array_equal(again["lstm.bias_hh_l0"], [0, 0, 0, 0])


def test_nothing_is_left_out():
    with pytest.raises(LoadError, match=r"names: .* none for \['d1/kernel', 'd1/bias'\]"):
        to_torch(chain(), names={"d0": "d0"})
    twice = cgru.Sequential([chain(), chain()])
    twice.build((None, 2))
    with pytest.raises(LoadError, match=r"names: .* none for \['d0/kernel', 'd0/bias', 'd1/k"):
        to_torch(twice)
    from_torch(state_of(4, "{}"), twice)
    assert [w[0] for w in twice.get_weights()[1::2]] == [0, 1, 2, 3]


def test_names_must_be_complete():
    with pytest.raises(MismatchError) as info:
        from_torch(state_of(), chain(), names={"d0": "d0"})
    assert info.value.missing == ["d1/kernel", "d1/bias"]
    assert info.value.unexpected == ["d1.weight", "d1.bias"]


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (lambda: layers.GRU(2, reset_after=False), "reset_after=False"),
        (lambda: layers.GRU(2, activation="relu"), "activations"),
        (lambda: layers.LSTM(2, recurrent_activation="hard_sigmoid"), "activations"),
        (lambda: layers.SimpleRNN(2, activation="elu"), "activations"),
        (
            lambda: layers.Bidirectional(
                layers.GRU(2), backward_layer=layers.LSTM(2, go_backwards=True)
            ),
            "two kinds",
        ),
        (lambda: layers.Bidirectional(layers.GRU(2), merge_mode="sum"), "side by side"),
        (
            lambda: layers.Bidirectional(
                layers.GRU(2, go_backwards=True), backward_layer=layers.GRU(2)
            ),
            "forwards first",
        ),
        (lambda: layers.LSTM(2, go_backwards=True), "go_backwards=True"),
        (
            lambda: layers.Bidirectional(
                layers.SimpleRNN(2),
                backward_layer=layers.SimpleRNN(2, activation="relu", go_backwards=True),
            ),
            "different activations",
        ),
        (lambda: layers.LayerNormalization(axis=1), "another axis than the last"),
        (lambda: layers.LayerNormalization(axis=[1, 2]), "or several"),
        (lambda: layers.LayerNormalization(scale=False), "beta without gamma"),
        (lambda: layers.BatchNormalization(), "the class BatchNormalization"),
        (lambda: layers.Conv1D(2, 1), "the class Conv1D"),
    ],
)
def test_layers_that_pytorch_does_not_have(layer, why):
    model = cgru.Sequential([cgru.Input((3, 2)), layer()])
    with pytest.raises(LoadError, match=f"model: PyTorch has no counterpart .*{why}"):
        to_torch(model)
    with pytest.raises(LoadError, match=f"model: PyTorch has no counterpart .*{why}"):
        from_torch(state_of(), model)


@pytest.mark.parametrize("model", [3, None, cgru.Sequential([layers.Dense(1)])])
def test_models_that_take_nothing(model):
    with pytest.raises(ValueError, match="model: |has no weights yet"):
        from_torch(state_of(), model)
    with pytest.raises(ValueError, match="model: |has no weights yet"):
        to_torch(model)


def test_sources_that_are_none(tmp_path):
    for source in (3, None, [np.ones(2)], object()):
        with pytest.raises(LoadError, match="source: expected a module, a state dict or"):
            from_torch(source, chain())
    with pytest.raises(FileNotFoundError):
        from_torch(tmp_path / "nowhere.pt", chain())
    with pytest.raises(IsADirectoryError):
        from_torch(tmp_path, chain())


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_is_unpickled(tmp_path, protocol):
    marker = tmp_path / "it ran"

    class Bomb:
        def __reduce__(self):
            return subprocess.check_call, (["touch", str(marker)],)

    for suffix in (".pt", ".pth", ".safetensors"):
        path = tmp_path / f"state{suffix}"
        path.write_bytes(pickle.dumps(Bomb(), protocol))
        with pytest.raises(LoadError, match="is no safetensors file|weights_only=True"):
            from_torch(path, chain())
    assert not marker.exists()


@pytest.mark.parametrize("start", [b"PK\3\4", b"\x80\2", b"\x80\4"])
def test_pickles_are_recognized(tmp_path, start):
    (tmp_path / "state").write_bytes(start + b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." * 9)
    with pytest.raises(LoadError, match="seems to be a pickle.*torch.load.*safetensors.torch.save"):
        from_torch(tmp_path / "state", chain())


def test_damaged_files_change_nothing(tmp_path):
    save_file(state_of(), tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    model = chain()
    before = model.get_weights()
    for cut in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:cut])
        with pytest.raises(LoadError):
            from_torch(tmp_path / "cut", model)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


ENTRY = '"d0.bias":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ('{"__metadata__":{"format":"cgru","x":"' + "[" * 100_000 + '"}}', 0),
        ('{"__metadata__":{"format":"cgru","format_version":"9"}}', 0),
        (f"{{{ENTRY},{ENTRY}}}", 8),
        ('{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}', 0),
        ('{"d0.bias":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}', 4),
        ("[" * 100_000, 0),
    ],
)  # fmt: skip
def test_hostile_headers(tmp_path, header, size):
    text = header.encode()
    (tmp_path / "file").write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))
    with pytest.raises(LoadError):
        from_torch(tmp_path / "file", chain())


def test_pytorch_is_not_imported():
    code = """
import sys
import numpy as np
import cgru
model = cgru.Sequential([cgru.Input((None, 3)), cgru.layers.GRU(4)])
cgru.saving.from_torch(cgru.saving.to_torch(model), model)
print("torch" in sys.modules)
"""
    assert python(code) == "False"
