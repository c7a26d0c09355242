"""Metrics give the values of Keras, over several batches, weighted or not."""

import sys
from pathlib import Path

import numpy as np
import pytest

from cgru import losses, metrics

sys.path.insert(0, str(Path(__file__).parent / "golden"))
from make_metrics import CASES, PATH

GOLDEN = np.load(PATH)


@pytest.mark.parametrize("kind", ["plain", "weighted"])
@pytest.mark.parametrize("name", CASES)
def test_golden(name, kind):
    if f"{name}/0/{kind}" not in GOLDEN.files:
        assert kind == "weighted"  # Keras has no weights for it
        return
    cls, options, *_ = CASES[name]
    metric = getattr(metrics, cls)(**options)
    for _ in range(2):
        metric.reset_state()
        for batch in range(2):
            y_true, y_pred, weight = (
                GOLDEN[f"{name}/{batch}/{part}"] for part in ("true", "pred", "w")
            )
            metric.update_state(y_true, y_pred, weight if kind == "weighted" else None)
            expected = GOLDEN[f"{name}/{batch}/{kind}"]
            np.testing.assert_allclose(metric.result(), expected, rtol=1e-5, atol=1e-6)
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
