"""Metrics give the values of Keras, over several batches, weighted or not."""

import sys
from pathlib import Path

import numpy as np
import pytest

from cgru import losses, metrics

sys.path.insert(0, str(Path(__file__).parent / "golden"))
from make_metrics import CASES, FLOAT32, PATH

GOLDEN = np.load(PATH)


@pytest.mark.parametrize(("dtype", "accuracy"), [("f4", 1e-5), ("f8", 1e-10)])
@pytest.mark.parametrize("kind", ["plain", "weighted"])
@pytest.mark.parametrize("name", CASES)
def test_golden(name, kind, dtype, accuracy):
    if f"{name}/0/{kind}" not in GOLDEN.files:
        assert kind == "weighted"  # Keras has no weights for it
        return
    cls, options, *_ = CASES[name]
    metric = getattr(metrics, cls)(**options)
    if name.startswith(FLOAT32):
        accuracy = 1e-6
    for _ in range(2):
        metric.reset_state()
        for batch in range(2):
            y_true, y_pred, weight = (
                GOLDEN[f"{name}/{batch}/{part}"] for part in ("true", "pred", "w")
            )
            if y_pred.dtype.kind == "f":
                y_pred = y_pred.astype(dtype)
            metric.update_state(y_true, y_pred, weight if kind == "weighted" else None)
            expected = GOLDEN[f"{name}/{batch}/{kind}"]
            np.testing.assert_allclose(metric.result(), expected, rtol=accuracy, atol=accuracy)
    copy = type(metric).from_config(metric.get_config())
    assert copy.get_config() == metric.get_config()


def test_functions_and_losses_as_metrics():
    def largest(y_true, y_pred):
        return abs(y_pred - y_true).max(axis=-1)

    metric = metrics.get(largest)
    assert metric.name == "largest"
    assert metric([[0.0, 0.0]], [[1.0, 3.0]]) == 3.0
    metric = metrics.get(losses.Huber(delta=2.0))
    assert metric.name == "huber_loss"
    assert metric(np.zeros((1, 1)), np.ones((1, 1))) == 0.5


def test_what_does_not_count_may_be_anything():
    for name in ("mse", "mae", "auc", "precision"):
        metric = metrics.get(name)
        with np.errstate(invalid="ignore"):
            metric.update_state([[1.0], [0.0], [1.0]], [[0.9], [0.2], [np.nan]], [1.0, 1.0, 0.0])
        assert np.isfinite(metric.result())


def test_functions_of_metrics():
    for name in set(metrics.__all__) & set(vars(metrics.functions)) - {"Metric"}:
        assert metrics.get(getattr(metrics, name)).name == name
    np.testing.assert_array_equal(metrics.binary_accuracy([[1.0], [0.0]], [[0.9], [0.6]]), [1, 0])
    assert metrics.mean_squared_error is losses.mean_squared_error
    metric = metrics.get(metrics.mean_squared_error)
    assert metric.name == "mean_squared_error"
    assert metric([[0.0]], [[2.0]]) == 4.0


def test_weights_of_overlaps():
    metric = metrics.IoU(2, [0])
    metric.update_state([0, 0, 1, 1], [0, 1, 0, 1], [0.3, 0.3, 0.3, 0.1])
    assert metric.result() == pytest.approx(1 / 3, rel=1e-6)
    with pytest.raises(ValueError, match="target_class_ids: expected classes from 0 to 1"):
        metrics.IoU(2, [2])


def test_a_figure_at_another():
    metric = metrics.SensitivityAtSpecificity(0.5, class_id=1)
    y_true = np.array([[0, 0], [1, 0], [0, 0], [0, 1], [0, 1]])
    y_pred = np.array([[0, 0.0], [0, 0.3], [0, 0.8], [0, 0.3], [0, 0.8]])
    assert metric(y_true, y_pred) == 0.5
    with pytest.raises(ValueError, match="recall: expected a number >= 0 and <= 1, got 2"):
        metrics.PrecisionAtRecall(2)


def test_a_row_of_zeros_chooses_no_class():
    metric = metrics.F1Score("micro")
    metric.update_state(np.eye(3), np.zeros((3, 3)))
    assert metric.result() == 0
