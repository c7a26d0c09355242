"""Models as ONNX files: what is in them, what they compute, and what cannot be exported."""

import sys

import numpy as np
import pytest
from onnx_cases import MODELS, SEVERAL, SINGLE, data, predicted, randomized

import cgru
from cgru import layers
from cgru.saving import export_onnx, onnx_graph, onnx_layers

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


def simple(**options):
    gru = layers.GRU(4, name="gru", **options)
    return cgru.Sequential([cgru.Input((None, 3), name="x"), gru, layers.Dense(2, name="y")])


def names_and_shapes(values):
    return {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in values
    }


PUBLIC = [
    name
    for name in layers.__all__
    if isinstance(getattr(layers, name), type) and issubclass(getattr(layers, name), layers.Layer)
]


def test_every_layer_has_its_place():
    bases = {"Layer", "Merge"}
    assert {kind.__name__ for kind in onnx_layers.TABLE} == set(PUBLIC) - bases
    tested = {*SINGLE, *SEVERAL, "Bidirectional", "Embedding", "InputLayer", "TimeDistributed"}
    assert tested == set(PUBLIC) - bases


def test_every_activation_has_its_place():
    assert set(onnx_layers.onnx_activations.TABLE) == {
        activation().name for activation in cgru.activations._NAMES.values()
    }


@pytest.mark.parametrize(
    "name",
    # ONNX's reference implementation takes no notice of recurrent activations.
    [name for name in MODELS if name[:3] not in ("GRU", "LST", "Sim") or "'relu'" not in name],
)
def test_every_layer_as_the_standard_says(name, path):
    model = randomized(MODELS[name]())
    export_onnx(model, path)
    run = reference.ReferenceEvaluator(onnx.load(path))
    for batch, time in ((4, 7), (1, 12)):
        x = data(model, batch, time)
        for y, expected in zip(run.run(None, x), predicted(model, x), strict=True):
            assert y.dtype == expected.dtype
            np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_what_is_in_a_file(path):
    model = simple()
    export_onnx(model, path)
    file = onnx.load(path)
    assert [(item.domain, item.version) for item in file.opset_import] == [("", onnx_graph.OPSET)]
    assert {node.domain for node in file.graph.node} == {""}
    assert names_and_shapes(file.graph.input) == {"x": ["batch", "time", 3]}
    assert names_and_shapes(file.graph.output) == {"y": ["batch", 2]}
    # Nothing is computed that nobody reads: not the states of all steps, here.
    kinds = [node.op_type for node in file.graph.node]
    assert kinds == ["Transpose", "GRU", "Squeeze", "Gemm", "Identity"]
    (gru,) = (node for node in file.graph.node if node.op_type == "GRU")
    assert not gru.output[0]
    assert gru.output[1]


def test_names_of_several_inputs_and_outputs(path):
    a, b = cgru.Input((None, 3), name="a"), cgru.Input((None,), dtype="int32", name="b")
    same = layers.Dense(2, name="same")
    c = layers.Embedding(5, 3)(b)
    export_onnx(cgru.Model([a, b], [same(a), same(c)]), path)
    graph = onnx.load(path).graph
    assert names_and_shapes(graph.input) == {"a": ["batch", "a_time", 3], "b": ["batch", "b_time"]}
    assert [output.name for output in graph.output] == ["same", "same_1"]
    kinds = [item.type.tensor_type.elem_type for item in graph.input]
    assert kinds == [onnx.TensorProto.FLOAT, onnx.TensorProto.INT64]


def test_states_are_inputs_and_outputs(path):
    model = randomized(simple(return_sequences=True))
    export_onnx(model, path, stateful=True)
    file = onnx.load(path)
    wanted = {"x": ["batch", "time", 3], "gru_state_in": ["batch", 4]}
    assert names_and_shapes(file.graph.input) == wanted
    wanted = {"y": ["batch", "y_time", 2], "gru_state_out": ["batch", 4]}
    assert names_and_shapes(file.graph.output) == wanted
    run = reference.ReferenceEvaluator(file)
    x = np.random.default_rng(1).standard_normal((2, 5, 3)).astype("f4")
    state, found = np.zeros((2, 4), "f4"), []
    for step in range(5):
        y, state = run.run(None, {"x": x[:, step : step + 1], "gru_state_in": state})
        found.append(y)
    np.testing.assert_allclose(np.concatenate(found, axis=1), model.predict(x), atol=1e-6)


def test_a_model_of_fixed_length_is_stepped_too(path):
    model = cgru.Sequential([cgru.Input((10, 3)), layers.GRU(4, name="gru"), layers.Dense(1)])
    export_onnx(model, path, stateful=True)
    graph = onnx.load(path).graph
    assert [*names_and_shapes(graph.input).values()] == [["batch", "time", 3], ["batch", 4]]


def test_a_decoder_that_starts_anew_is_not_carried(path):
    parts = [layers.GRU(4, name="past"), layers.RepeatVector(3), layers.GRU(4, name="future")]
    export_onnx(cgru.Sequential([cgru.Input((None, 3), name="x"), *parts]), path, stateful=True)
    assert [*names_and_shapes(onnx.load(path).graph.input)] == ["x", "past_state_in"]


@pytest.mark.parametrize(
    "layer",
    [
        layers.GRU(4, go_backwards=True),
        layers.Bidirectional(layers.GRU(4)),
        layers.Conv1D(4, 3, padding="causal"),
        layers.GlobalAveragePooling1D(),
        layers.Permute((2, 1)),
        layers.ZeroPadding1D(1),
        layers.Softmax(axis=1),
        layers.Concatenate(axis=1),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_that_need_the_whole_sequence_are_not_stepped(layer, path):
    x = cgru.Input((None, 3))
    y = layers.GRU(3, return_sequences=True)(x)
    model = cgru.Model(x, layer([y, x] if layer.takes_several else y))
    export_onnx(model, path)
    path.unlink()
    with pytest.raises(ValueError, match=f"stateful: expected .* got {layer.name}"):
        export_onnx(model, path, stateful=True)
    assert not path.exists()


def test_models_that_cannot_be_stepped(path):
    x = cgru.Input((None, 3))
    y, state = layers.GRU(3, return_state=True)(x)
    decoder = layers.GRU(3, name="decoder")
    for model, message in (
        (cgru.Model(x, decoder(x, initial_state=state)), "initial state.* got decoder"),
        (cgru.Model(x, layers.Add(name="sum")([x, y])), "got sum"),
        (cgru.Sequential([cgru.Input((None, 3)), layers.Dense(2)]), "expected a recurrent layer"),
    ):
        export_onnx(model, path)
        with pytest.raises(ValueError, match=f"stateful: .*{message}"):
            export_onnx(model, path, stateful=True)


class Own(layers.Dense):
    pass


class OwnGRU(layers.GRU):
    pass


def test_what_has_no_operators(path):
    square = cgru.activations.Activation(np.square, lambda dy, x, y: dy * 2 * x, "square")
    sigmoid = cgru.activations.Activation(np.square, lambda dy, x, y: dy * 2 * x, "sigmoid")
    x = cgru.Input((None, 3))
    for layer, message in (
        (Own(2, name="mine"), "the layer mine is a Own, and only cgru's own"),
        (layers.Bidirectional(OwnGRU(2, name="r")), "the layer forward_r is a OwnGRU"),
        (layers.Dense(2, square, name="d"), "the activation 'square' of d is a function"),
        (layers.GRU(2, square, name="g"), "the activation 'square' of g is a function"),
        (layers.GRU(2, recurrent_activation=sigmoid), "the activation 'sigmoid' of gru.* is"),
    ):
        with pytest.raises(ValueError, match=f"model: {message}"):
            export_onnx(cgru.Model(x, layer(x)), path)
    noisy = cgru.Model(x, layers.Dropout(0.5, name="noisy")(x, training=True))
    with pytest.raises(ValueError, match="noisy is called with training=True"):
        export_onnx(noisy, path)
    with pytest.raises(ValueError, match="model: expected a Model, got <Dense"):
        export_onnx(layers.Dense(2), path)
    for unbuilt in (cgru.Sequential([layers.GRU(2)]), cgru.Sequential()):
        with pytest.raises(ValueError, match="has no weights yet"):
            export_onnx(unbuilt, path)
    assert not path.exists()


def test_a_model_without_layers(path):
    x = cgru.Input((None, 3), name="x")
    export_onnx(cgru.Model(x, x), path)
    given = np.ones((2, 5, 3), "f4")
    (y,) = reference.ReferenceEvaluator(onnx.load(path)).run(None, {"x": given})
    np.testing.assert_array_equal(y, given)


def test_too_many_weights(path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match="expected at most 100 bytes of weights"):
        export_onnx(simple(), path)


def test_without_onnx(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'cgru\[onnx\]'"):
        export_onnx(simple(), path)


def test_an_earlier_file_stays_where_writing_fails(path, monkeypatch):
    export_onnx(simple(), path)
    before = path.read_bytes()

    def fail(descriptor):
        raise OSError("no space")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space"):
        export_onnx(simple(activation="relu"), path)
    assert path.read_bytes() == before
    assert [*path.parent.iterdir()] == [path]


def test_a_model_built_by_data_reads_any_length(path):
    data = np.zeros((2, 6, 4), "float32")
    for last, sizes in (([], ["batch", "time", 4]), ([layers.Flatten()], ["batch", 6, 4])):
        returned = bool(last)
        model = cgru.Sequential([layers.GRU(3, return_sequences=returned), *last, layers.Dense(1)])
        model.predict(data)
        export_onnx(model, path)
        (given,) = onnx.load(path).graph.input
        found = [size.dim_param or size.dim_value for size in given.type.tensor_type.shape.dim]
        assert found == sizes


def test_a_normalization_over_features_is_stepped(path):
    model = randomized(
        cgru.Sequential([cgru.Input((None, 4)), layers.BatchNormalization(), layers.GRU(3)])
    )
    export_onnx(model, path, stateful=True)
    run = reference.ReferenceEvaluator(onnx.load(path))
    x, state = np.random.default_rng(1).random((2, 3, 4), "f4"), np.zeros((2, 3), "f4")
    for step in range(3):
        given = dict(zip(run.input_names, (x[:, step : step + 1], state), strict=True))
        y, state = run.run(None, given)
    np.testing.assert_allclose(y, model.predict(x), atol=1e-6)
