"""Metrics give the values of Keras, over several batches, weighted or not."""

import sys
from pathlib import Path

import numpy as np
import pytest

import cgru
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


def test_one_threshold_is_a_number_and_several_are_an_array():
    y_true, y_pred = [1, 0, 1], [[0.9], [0.2], [0.4]]
    assert metrics.Recall(thresholds=[0.5])(y_true, y_pred) == 0.5
    assert isinstance(metrics.TruePositives(thresholds=[0.5])(y_true, y_pred), float)
    several = np.linspace(0.1, 0.9, 9)
    found = metrics.Recall(thresholds=several)(y_true, y_pred)
    np.testing.assert_array_equal(found, metrics.Recall(thresholds=list(several))(y_true, y_pred))
    assert found.shape == (9,)


def test_means_of_values():
    assert metrics.Mean()([1.0, 3.0]) == 2.0
    assert metrics.Sum()([1.0, 3.0], sample_weight=[2.0, 1.0]) == 5.0


class Total(metrics.Metric):
    """A metric as it is written for Keras."""

    def __init__(self, name="total", **kwargs):
        super().__init__(name=name, **kwargs)
        self.sum = self.add_weight(name="sum", initializer="zeros")
        self.largest = self.add_variable(shape=(2,), initializer="ones", name="largest")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.sum.assign_add(np.sum(y_pred))
        self.sum.assign_sub(np.sum(y_true))
        self.largest.assign(np.maximum(self.largest, [y_pred.max(), y_true.max()]))

    def result(self):
        return self.sum


class Restarted(Total):
    """Which says itself how it starts anew."""

    def reset_state(self):
        self.sum.assign(0.0)
        self.largest.assign([1, 1])


@pytest.mark.parametrize("kind", [Total, Restarted])
def test_a_metric_that_is_written_for_keras(kind):
    metric = kind(dtype="float32")
    assert [(v.path, v.dtype) for v in metric.variables] == [
        ("total/sum", "float32"),
        ("total/largest", "float32"),
    ]
    metric(np.ones(2), np.array([3.0, 1.0]))
    assert float(metric.result()) == 2.0
    np.testing.assert_array_equal(metric.largest, [3, 1])
    metric.reset_state()
    assert float(metric.result()) == 0.0

    model = cgru.Sequential([cgru.Input((1,)), cgru.layers.Dense(1, kernel_initializer="ones")])
    model.compile(cgru.optimizers.SGD(0.0), "mse", metrics=[metric])
    x = np.arange(4.0)[:, np.newaxis]
    history = model.fit(x, 0 * x, batch_size=2, epochs=2, shuffle=False).history
    assert history["total"] == [6.0, 6.0]
    state = model.tracker.get_state()
    model.reset_metrics()
    model.tracker.set_state(state | {"count": np.array(1)})
    assert model.get_metrics_result()["total"] == 6.0


def test_a_row_of_zeros_chooses_no_class():
    metric = metrics.F1Score("micro")
    metric.update_state(np.eye(3), np.zeros((3, 3)))
    assert metric.result() == 0
