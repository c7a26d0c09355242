"""The examples do what the documentation says of them."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

import cgru

EXAMPLES = Path(__file__).parent.parent / "examples"
if not EXAMPLES.exists():
    pytest.skip("the examples are not here", allow_module_level=True)


def test_sunspots_are_forecast_much_better_than_by_persistence():
    results = runpy.run_path(str(EXAMPLES / "sunspots.py"))
    years, numbers, forecast = (results[key] for key in ("years", "numbers", "forecast"))
    target, observed, persistence = years[12:], numbers[12:], numbers[11:-1]
    for first, last in ((1921, 1955), (1956, 1979)):
        span = (target >= first) & (target <= last)
        error = np.square(forecast - observed)[span].mean()
        assert error < 0.5 * np.square(persistence - observed)[span].mean()


def test_digits_are_read_with_at_least_97_percent():
    pytest.importorskip("sklearn")
    results = runpy.run_path(str(EXAMPLES / "digits.py"))
    assert len(results["y_test"]) == 450
    assert results["accuracy"] >= 0.97


@pytest.mark.parametrize(
    "script", sorted((EXAMPLES / "keras").glob("*.py")), ids=lambda path: path.stem
)
def test_scripts_for_keras_run_with_another_import(script):
    source = script.read_text()
    assert "import keras\n" in source
    source = source.replace("import keras\n", "import cgru as keras\n")
    source = source.replace("from keras import", "from cgru import")
    exec(compile(source, script.name, "exec"), {})


def test_the_handler_answers(tmp_path, monkeypatch):
    path = tmp_path / "model.cgru"
    model = cgru.Sequential([cgru.Input((None, 3)), cgru.layers.GRU(4), cgru.layers.Dense(1)])
    model.save(path)
    monkeypatch.setenv("MODEL", str(path))
    monkeypatch.setenv("CGRU_NUM_THREADS", "1")
    handler = runpy.run_path(str(EXAMPLES / "deploy" / "handler.py"))["handler"]
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    answer = handler({"body": json.dumps({"x": x.tolist()})})
    assert answer["statusCode"] == 200
    np.testing.assert_allclose(json.loads(answer["body"])["y"], model.predict(x[np.newaxis])[0])
    for body in ("{", "{}", '{"x": [[1, 2]]}', "3"):
        assert handler({"body": body})["statusCode"] == 400
