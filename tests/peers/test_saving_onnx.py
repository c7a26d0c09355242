"""Exported models in ONNX Runtime: every layer, random models, and states that are carried."""

import sys

import numpy as np
import pytest
from onnx_cases import MODELS, data, predicted, randomized

import cgru
from cgru import layers

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
hypothesis = pytest.importorskip("hypothesis")
pytest.importorskip("keras")

from peers import test_random_models as random_models  # noqa: E402


def session(model, path, stateful=False):
    cgru.saving.export_onnx(model, path, stateful)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def compare(session, model, x):
    wanted = predicted(model, x)
    for name, y, expected in zip(model.output_names, session.run(None, x), wanted, strict=True):
        assert y.dtype == expected.dtype
        scale = max(1.0, float(abs(expected).max(initial=0)))
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5 * scale, err_msg=name)


@pytest.mark.parametrize("name", MODELS)
def test_layers(name, tmp_path):
    model = randomized(MODELS[name]())
    run = session(model, tmp_path / "m.onnx")
    compare(run, model, data(model))
    compare(run, model, data(model, batch=1, time=12))


@random_models.settings(200)
@hypothesis.given(random_models.stacks(noise=True))
def test_random_models(tmp_path_factory, case):
    shape, tokens, stack, seed = case
    model = random_models.build(cgru, shape, tokens, stack)
    randomized(model, seed)
    x = random_models.inputs(np.random.default_rng(seed), shape, tokens)
    run = session(model, tmp_path_factory.getbasetemp() / "m.onnx")
    compare(run, model, {model.input_names[0]: x})


@random_models.settings(50)
@hypothesis.given(random_models.stacks(noise=True))
def test_random_models_step_by_step(tmp_path_factory, case):
    shape, tokens, stack, seed = case
    model = randomized(random_models.build(cgru, shape, tokens, stack), seed)
    try:
        run = session(model, tmp_path_factory.getbasetemp() / "m.onnx", stateful=True)
    except ValueError as error:
        if not str(error).startswith("stateful: "):
            raise
        hypothesis.reject()
    x = random_models.inputs(np.random.default_rng(seed), shape, tokens)
    name, *carried = run.get_inputs()
    states = {item.name: np.zeros((len(x), item.shape[1]), "f4") for item in carried}
    found = []
    for step in range(x.shape[1]):
        y, *new = run.run(None, {name.name: x[:, step : step + 1]} | states)
        states = dict(zip(states, new, strict=True))
        found.append(y)
    wanted = model.predict_on_batch(x)
    one_by_one = found[0].ndim == 3 and found[0].shape[1] == 1
    over_time = one_by_one and wanted.shape[1] == x.shape[1]
    y = np.concatenate(found, axis=1) if over_time else found[-1]
    scale = max(1.0, float(abs(wanted).max()))
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5 * scale)


def stacked(dtype="float32"):
    x = cgru.Input((None, 3), dtype=dtype)
    make = {"dtype": dtype}
    y = layers.GRU(4, return_sequences=True, name="first", **make)(layers.Masking(**make)(x))
    y = layers.TimeDistributed(layers.Dense(3, activation="selu", **make))(y)
    y = layers.Add(**make)([x, y])
    same = layers.GRU(3, return_sequences=True, reset_after=False, name="second", **make)
    y = layers.LayerNormalization(**make)(same(same(y)))
    y = layers.LSTM(4, return_sequences=True, name="third", **make)(y)
    y = layers.SimpleRNN(4, return_sequences=True, name="fourth", **make)(y)
    return randomized(cgru.Model(x, layers.Dense(2, name="y", **make)(y)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("chunks", [[1] * 9, [2, 1, 6]])
def test_states_are_carried(dtype, chunks, tmp_path):
    model = stacked(dtype)
    run = session(model, tmp_path / "m.onnx", stateful=True)
    carried = run.get_inputs()[1:]
    assert [item.name for item in carried] == [
        "first_state_in",
        "second_state_in",
        "second_state_in_1",
        "third_state_in",
        "third_cell_in",
        "fourth_state_in",
    ]
    (x,) = data(model, time=9).values()
    states = {item.name: np.zeros((len(x), item.shape[1]), dtype) for item in carried}
    found = []
    for part in np.split(x, np.cumsum(chunks)[:-1], axis=1):
        y, *new = run.run(None, {model.input_names[0]: part} | states)
        states = dict(zip(states, new, strict=True))
        found.append(y)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(
        np.concatenate(found, axis=1), model.predict(x), rtol=tolerance, atol=tolerance
    )


def test_float64(tmp_path):
    x = cgru.Input((None, 3), dtype="float64")
    make = {"dtype": "float64"}
    y = layers.Bidirectional(layers.GRU(4, return_sequences=True, **make))(x)
    y = layers.LSTM(4, return_sequences=True, **make)(y)
    y = layers.SimpleRNN(4, return_sequences=True, **make)(y)
    y = layers.GRU(4, activation="softplus", reset_after=False, **make)(y)
    model = randomized(cgru.Model(x, layers.Dense(2, activation="selu", **make)(y)))
    (given,) = data(model).values()
    run = session(model, tmp_path / "m.onnx")
    (y,) = run.run(None, {run.get_inputs()[0].name: given})
    np.testing.assert_allclose(y, model.predict(given), rtol=1e-12)


@pytest.mark.parametrize(
    "name",
    ["GRU", "LSTM", "SimpleRNN", "cells", "Bidirectional", "Conv1D", "nested", "Embedding_masked"],
)
def test_openvino(name, tmp_path, monkeypatch):
    # Its import reports itself over the network otherwise.
    monkeypatch.setitem(sys.modules, "openvino_telemetry", None)
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    for case in [case for case in MODELS if case.startswith(name)][::2]:
        model = randomized(MODELS[case]())
        cgru.saving.export_onnx(model, tmp_path / "m.onnx")
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        run = core.compile_model(core.read_model(tmp_path / "m.onnx"), "CPU", options)
        x = data(model)
        found = run(list(x.values()))
        for place, expected in enumerate(predicted(model, x)):
            np.testing.assert_allclose(found[place], expected, rtol=1e-5, atol=1e-5, err_msg=case)
