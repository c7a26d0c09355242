"""Losses and metrics: values by hand, gradients by finite differences."""

import numpy as np
import pytest
from numeric import check_gradient

import cgru
from cgru import losses, metrics


def cases(rng):
    """Each loss with targets and predictions in its domain."""
    real = rng.standard_normal((5, 4, 3))
    probability = rng.uniform(0.05, 0.95, (5, 4, 3))
    one_hot = np.eye(3)[rng.integers(0, 3, (5, 4))]
    labels = rng.integers(0, 3, (5, 4))
    yes_no = rng.integers(0, 2, (5, 4, 3)).astype(float)
    return [
        (losses.MeanSquaredError(), rng.standard_normal((5, 4, 3)), real),
        (losses.MeanAbsoluteError(), rng.standard_normal((5, 4, 3)), real),
        (losses.BinaryCrossentropy(), yes_no, probability),
        (losses.BinaryCrossentropy(from_logits=True), yes_no, real),
        (losses.BinaryCrossentropy(True, label_smoothing=0.2), yes_no, real),
        (losses.CategoricalCrossentropy(), one_hot, probability),
        (losses.CategoricalCrossentropy(label_smoothing=0.1), one_hot, probability),
        (losses.CategoricalCrossentropy(from_logits=True), one_hot, real),
        (losses.SparseCategoricalCrossentropy(), labels, probability),
        (losses.SparseCategoricalCrossentropy(from_logits=True), labels, real),
    ]


@pytest.mark.parametrize("index", range(10))
@pytest.mark.parametrize("weighted", [None, "samples", "steps"])
def test_loss_gradients(rng, index, weighted):
    loss, y_true, y_pred = cases(rng)[index]
    shapes = {None: None, "samples": 5, "steps": (5, 4)}
    weight = None if weighted is None else rng.uniform(0, 2, shapes[weighted])
    targets = loss.prepare(y_true, y_pred.shape, y_pred.dtype)
    value, grad = loss.value_and_grad(targets, y_pred, weight)
    assert value == pytest.approx(loss(y_true, y_pred, weight), rel=1e-12)
    check_gradient(lambda: loss.value_and_grad(targets, y_pred, weight)[0], y_pred, grad, rng)


def test_loss_values():
    log = np.log
    p = [[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]
    assert losses.SparseCategoricalCrossentropy()([2, 0], p) == pytest.approx(-log(0.3) / 2)
    one_hot = [[0, 0, 1], [1, 0, 0]]
    assert losses.CategoricalCrossentropy()(one_hot, p) == pytest.approx(-log(0.3) / 2)
    assert losses.BinaryCrossentropy()([[1], [0]], [[0.8], [0.4]]) == pytest.approx(
        -(log(0.8) + log(0.6)) / 2
    )
    assert losses.MeanSquaredError()([1, 2], [[3], [2]]) == 2
    assert losses.MeanAbsoluteError()([[1, 2]], [[3, 3]]) == 1.5
    # As in Keras the weighted sum is divided by the number of samples, not by the sum of weights.
    assert losses.MeanSquaredError()([1, 2], [[3], [3]], sample_weight=[1, 0]) == 2


def test_logits_and_probabilities_agree(rng):
    x = rng.standard_normal((6, 3))
    p, labels = cgru.activations.softmax(x), rng.integers(0, 3, 6)
    from_logits = losses.SparseCategoricalCrossentropy(from_logits=True)(labels, x)
    assert losses.SparseCategoricalCrossentropy()(labels, p) == pytest.approx(from_logits)


def test_extreme_predictions_stay_finite():
    x = np.array([[1e4, -1e4]])
    for loss in (losses.CategoricalCrossentropy(True), losses.BinaryCrossentropy(True)):
        value, grad = loss.value_and_grad(np.array([[0.0, 1.0]]), x)
        assert np.isfinite(value)
        assert np.isfinite(grad).all()
    p = np.array([[1.0, 0.0]], np.float32)
    for loss in (losses.CategoricalCrossentropy(), losses.BinaryCrossentropy()):
        value, grad = loss.value_and_grad(np.array([[0, 1]], np.float32), p)
        assert np.isfinite(value)
        assert np.isfinite(grad).all()


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("mse", np.zeros((5, 2)), r"expected shape \(5, 3\).*got \(5, 2\)"),
        ("sparse_categorical_crossentropy", [0, 1, 2, 3, 0], "from 0 to 2.*got 3"),
        ("sparse_categorical_crossentropy", [0, 1, -1, 2, 0], "from 0 to 2.*got -1"),
        ("sparse_categorical_crossentropy", [0, 1, 0.5, 2, 0], "from 0 to 2.*got 0.5"),
        ("sparse_categorical_crossentropy", [0, 1, np.nan, 2, 0], "from 0 to 2.*got nan"),
        ("sparse_categorical_crossentropy", np.eye(5)[:, :3], "use categorical_crossentropy"),
        ("categorical_crossentropy", [0, 1, 2, 1, 0], "use sparse_categorical_crossentropy"),
        ("categorical_crossentropy", np.full((5, 3), 2.0), "between 0 and 1"),
        ("binary_crossentropy", np.full((5, 3), -1.0), "between 0 and 1"),
    ],
)
def test_targets_are_checked(loss, y, message):
    with pytest.raises(ValueError, match=f"y: .*{message}"):
        losses.get(loss).prepare(y, (5, 3), np.dtype("f4"))


def test_metrics_by_hand():
    p = np.array([[0.2, 0.8], [0.6, 0.4], [0.1, 0.9]])
    for metric, y, expected in [
        (metrics.SparseCategoricalAccuracy(), [1, 1, 1], 2 / 3),
        (metrics.SparseCategoricalAccuracy(), [[1], [1], [1]], 2 / 3),
        (metrics.CategoricalAccuracy(), [[0, 1], [0, 1], [0, 1]], 2 / 3),
        (metrics.BinaryAccuracy(), [[0, 1], [0, 1], [0, 1]], 2 / 3),
        (metrics.BinaryAccuracy(threshold=0.85), [[0, 1], [0, 0], [0, 1]], 5 / 6),
        (metrics.MeanAbsoluteError(), np.zeros((3, 2)), 0.5),
        (metrics.MeanSquaredError(), np.zeros((3, 2)), (p**2).mean()),
        (metrics.RootMeanSquaredError(), np.zeros((3, 2)), (p**2).mean() ** 0.5),
    ]:
        assert metric.result() == 0
        metric.update_state(y, p)
        assert metric.result() == pytest.approx(expected), metric.name
        metric.reset_state()
        for row, target in zip(p, np.asarray(y), strict=True):
            metric.update_state(target[None], row[None])
        assert metric.result() == pytest.approx(expected), "batch by batch"


def test_metrics_with_weights():
    metric = metrics.MeanAbsoluteError()
    metric.update_state([[0.0], [0.0]], [[1.0], [5.0]], sample_weight=[3, 1])
    assert metric.result() == 2


@pytest.mark.parametrize(
    ("y", "p", "expected"),
    [
        ([1, 0, 1], [[0.9], [0.2], [0.4]], 2 / 3),
        ([1, 0, 1], [[0.1, 0.9], [0.8, 0.2], [0.6, 0.4]], 2 / 3),
        ([[0, 1], [1, 0], [0, 1]], [[0.1, 0.9], [0.8, 0.2], [0.6, 0.4]], 2 / 3),
    ],
)
def test_the_name_accuracy_fits_the_targets(y, p, expected):
    metric = metrics.get("accuracy")
    metric.update_state(y, p)
    assert metric.result() == pytest.approx(expected)


def test_metrics_check_shapes():
    with pytest.raises(ValueError, match=r"expected shape \(2, 3\)"):
        metrics.CategoricalAccuracy().update_state([1, 2], np.zeros((2, 3)))
