"""Losses: the values of Keras, gradients by finite differences, masks, quantiles."""

import sys
from pathlib import Path

import numpy as np
import pytest
from numeric import check_gradient

from cgru import losses

sys.path.insert(0, str(Path(__file__).parent / "golden"))
from make_losses import CASES, GIVEN, GRADIENTS, PATH, REDUCTIONS, WHOLE
from make_losses import draw as draw_kind

GOLDEN = np.load(PATH)


def draw(kind, rng):
    return draw_kind(kind.removeprefix("flat "), rng)


@pytest.mark.parametrize(("dtype", "accuracy"), [("f4", 1e-5), ("f8", 1e-10)])
@pytest.mark.parametrize("name", CASES)
def test_golden(name, dtype, accuracy):
    cls, options, kind, _ = CASES[name]
    y_true, y_pred = GOLDEN[f"{name}/y_true"], GOLDEN[f"{name}/y_pred"].astype(dtype)
    flat = kind.startswith("flat")
    weight, mask = (GOLDEN[part][:, 0] if flat else GOLDEN[part] for part in ("weight", "mask"))
    grads = dict(zip(GRADIENTS, GOLDEN[f"{name}/grads"], strict=True))
    for row, reduction in enumerate(REDUCTIONS):
        loss = getattr(losses, cls)(reduction=reduction, **options)
        prepared = loss.prepare(y_true, y_pred.shape, y_pred.dtype)
        for column, given in enumerate(GIVEN):
            value, grad = loss.value_and_grad(
                prepared,
                y_pred,
                weight.astype(dtype) if given in ("weight", "both") else None,
                mask if given in ("mask", "both") else None,
            )
            expected = GOLDEN[f"{name}/values"][row, column]
            np.testing.assert_allclose(value, expected, rtol=accuracy, atol=accuracy)
            assert grad.dtype == y_pred.dtype
            if (reduction, given) in grads:
                expected = grads[reduction, given]
                scale = abs(expected).max()
                np.testing.assert_allclose(grad, expected, rtol=accuracy, atol=accuracy * scale)
            if not given:
                assert loss(y_true, y_pred) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_gradients(rng, name):
    cls, options, kind_true, kind_pred = CASES[name]
    loss = getattr(losses, cls)(**options)
    y_pred = draw(kind_pred, rng)
    y_true = loss.prepare(draw(kind_true, rng), y_pred.shape, y_pred.dtype)
    weight, mask = rng.random(y_pred.shape[:2]), rng.random(y_pred.shape[:2]) < 0.7
    for arguments in ((), (weight,), (weight, mask)):
        _, grad = loss.value_and_grad(y_true, y_pred, *arguments)
        check_gradient(
            lambda a=arguments: loss.value_and_grad(y_true, y_pred, *a)[0], y_pred, grad, rng
        )


@pytest.mark.parametrize("name", CASES)
def test_what_is_masked_may_be_anything(rng, name):
    cls, options, kind_true, kind_pred = CASES[name]
    loss = getattr(losses, cls)(**options)
    y_pred = draw(kind_pred, rng)
    y_true = loss.prepare(draw(kind_true, rng), y_pred.shape, y_pred.dtype)
    mask = rng.random(y_pred.shape[:2]) < 0.7
    value, grad = loss.value_and_grad(y_true, y_pred, None, mask)
    y_pred[~mask] = np.nan
    with np.errstate(invalid="ignore"):
        again, grad_again = loss.value_and_grad(y_true, y_pred, None, mask)
    assert again == value
    np.testing.assert_array_equal(grad_again, grad)
    assert not grad[~mask].any()


def test_ignored_labels(rng):
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    y_pred, labels = rng.standard_normal((4, 3, 5)), rng.integers(0, 5, (4, 3))
    labels[1:3] = -1
    y_true = loss.prepare(labels, y_pred.shape, y_pred.dtype)
    value, grad = loss.value_and_grad(y_true, y_pred)
    plain = losses.SparseCategoricalCrossentropy(from_logits=True)
    assert value == pytest.approx(plain(labels[[0, 3]], y_pred[[0, 3]]), rel=1e-6)
    assert not grad[1:3].any()


def test_quantiles_minimise_their_loss(rng):
    y = rng.standard_normal((2001, 1))
    loss = losses.Quantile([0.1, 0.5])
    best = np.quantile(y, [0.1, 0.5])
    least = loss(y, np.broadcast_to(best, (2001, 2)))
    for change in ([0.05, 0], [-0.05, 0], [0, 0.05], [0, -0.05]):
        assert loss(y, np.broadcast_to(best + change, (2001, 2))) > least
    p = rng.standard_normal((6, 2))
    t = loss.prepare(y[:6, 0], p.shape, p.dtype)
    _, grad = loss.value_and_grad(t, p)
    check_gradient(lambda: loss.value_and_grad(t, p)[0], p, grad, rng)
    with pytest.raises(ValueError, match="quantiles: expected a prediction for each"):
        loss(y, np.zeros((2001, 3)))


def test_reductions_are_checked():
    with pytest.raises(ValueError, match="reduction: expected one of"):
        losses.MeanSquaredError(reduction="max")
    values = losses.MeanSquaredError(reduction=None)([[0.0], [0.0]], [[1.0], [2.0]])
    np.testing.assert_array_equal(values, [1, 4])


@pytest.mark.parametrize("name", CASES)
def test_configurations(name):
    cls, options, *_ = CASES[name]
    loss = getattr(losses, cls)(reduction="sum", **options)
    copy = type(loss).from_config(loss.get_config())
    assert copy.get_config() == loss.get_config()
    assert copy.get_config()["reduction"] == "sum"


def test_functions_give_the_values_of_losses():
    """`keras.losses` has them, too, and `compile` takes them."""
    for name in set(losses.__all__) & set(vars(losses.functions)):
        function = getattr(losses, name)
        assert type(losses.get(function)) is type(losses.get(name)), name
        assert function.__name__ == name
    np.testing.assert_array_equal(
        losses.mean_squared_error([[0.0, 2.0], [1.0, 1.0]], [[0.0, 0.0], [1.0, 1.0]]), [2, 0]
    )
    found = losses.huber([[0.0]], [[3.0]], 2.0)
    np.testing.assert_array_equal(found, [4])
    with pytest.raises(TypeError, match="a function of your own needs its gradient"):
        losses.get(lambda y_true, y_pred: y_true)


@pytest.mark.parametrize(("dtype", "accuracy"), [("f4", 1e-5), ("f8", 1e-10)])
@pytest.mark.parametrize("name", WHOLE)
def test_golden_of_whole_sequences_and_batches(name, dtype, accuracy):
    cls, options = WHOLE[name]
    y_pred = GOLDEN[f"{name}/y_pred"].astype(dtype)
    for reduction in REDUCTIONS:
        loss = getattr(losses, cls)(reduction=reduction, **options)
        y_true = loss.prepare(GOLDEN[f"{name}/y_true"], y_pred.shape, y_pred.dtype)
        for given, weight in (("plain", None), ("weighted", GOLDEN[f"{name}/weight"])):
            weight = None if weight is None else weight.astype(dtype)
            value, grad = loss.value_and_grad(y_true, y_pred, weight)
            key = f"{name}/{reduction}/{given}"
            assert grad.dtype == y_pred.dtype
            np.testing.assert_allclose(value, GOLDEN[f"{key}/value"], rtol=accuracy)
            scale = abs(GOLDEN[f"{key}/grad"]).max()
            np.testing.assert_allclose(
                grad, GOLDEN[f"{key}/grad"], rtol=accuracy, atol=accuracy * scale
            )
    copy = type(loss).from_config(loss.get_config())
    assert copy.get_config() == loss.get_config()
    assert type(losses.get(loss.name)) is type(loss)


def test_alignments_of_masked_sequences(rng):
    """Each is worth what it is without the steps that are masked, whatever is there."""
    loss, y_pred = losses.CTC("sum"), rng.standard_normal((3, 6, 4))
    labels = loss.prepare([[1, 1], [2, 3], [0, 0]], y_pred.shape, y_pred.dtype)
    mask = np.arange(6) < np.array([[4], [6], [3]])
    y_pred[~mask] = np.nan
    value, grad = loss.value_and_grad(labels, y_pred, None, mask)
    alone = [
        loss.value_and_grad(labels[i : i + 1], y_pred[i : i + 1, :n])
        for i, n in enumerate((4, 6, 3))
    ]
    assert value == pytest.approx(sum(one for one, _ in alone))
    for row, (_, expected) in zip(grad, alone, strict=True):
        np.testing.assert_allclose(row[: expected.shape[1]], expected[0], rtol=1e-10, atol=1e-12)
        assert not row[expected.shape[1] :].any()


def test_labels_that_cannot_be_aligned():
    loss, y_pred = losses.CTC(), np.zeros((1, 3, 4))
    for labels, message in (
        ([[1, 1, 2]], "y_true: expected labels that fit into 3 steps, got some that need 4"),
        ([[1, 0, 2]], "y_true: expected 0 only after the last label"),
        ([[4, 0, 0]], "y_true: expected labels from 1 to 3, .* got from 0 to 4"),
        ([1, 0, 0], r"y_true: expected labels \[batch, labels\]"),
    ):
        with pytest.raises(ValueError, match=message):
            loss(labels, y_pred)
    with pytest.raises(ValueError, match="y_true: expected a label for each vector"):
        losses.Circle()([0], np.zeros((2, 3)))


def test_a_crossentropy_that_fits_the_targets(rng):
    p = rng.uniform(0.1, 0.9, (6, 4, 3))
    labels = rng.integers(0, 3, (6, 4))
    for name in ("crossentropy", "ce"):
        loss = losses.get(name)
        for y_true, y_pred, kind in (
            (labels > 1, p[..., :1], "binary_crossentropy"),
            (labels, p, "sparse_categorical_crossentropy"),
            (labels[..., np.newaxis], p, "sparse_categorical_crossentropy"),
            (np.eye(3)[labels], p, "categorical_crossentropy"),
        ):
            given = loss.prepare(y_true, y_pred.shape, y_pred.dtype)
            value, grad = loss.value_and_grad(given, y_pred)
            assert value == loss(y_true, y_pred) == losses.get(kind)(y_true, y_pred)
            expected = losses.get(kind)
            prepared = expected.prepare(y_true, y_pred.shape, y_pred.dtype)
            np.testing.assert_array_equal(grad, expected.value_and_grad(prepared, y_pred)[1])


def test_a_model_is_trained_on_alignments(rng):
    import cgru

    cgru.utils.set_random_seed(1)
    model = cgru.Sequential(
        [cgru.Input((None, 3)), cgru.layers.GRU(8, return_sequences=True), cgru.layers.Dense(4)]
    )
    model.compile(cgru.optimizers.Adam(0.02), losses.CTC())
    x, y = rng.standard_normal((8, 9, 3)), rng.integers(1, 4, (8, 2))
    history = model.fit(x, y, epochs=30).history["loss"]
    assert history[-1] < 0.7 * history[0]


@pytest.mark.parametrize("weight", [None, np.array([0.5, 2.0])])
def test_arrays_that_a_loss_returns_as_its_gradient_stay_as_they_are(weight):
    class Product(losses.Loss):
        def forward(self, y_true, y_pred):
            return (y_true * y_pred).sum(axis=-1), y_true

    class Half(losses.Loss):
        def forward(self, y_true, y_pred):
            return 0.5 * (y_pred * y_pred).sum(axis=-1), y_pred

    class View(losses.Loss):
        def forward(self, y_true, y_pred):
            return (y_true * y_pred).sum(axis=-1), y_true[:]

    class Constant(losses.Loss):
        def forward(self, y_true, y_pred):
            return (ones * y_pred).sum(axis=-1), ones

    y_true, y_pred = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, 6.0], [7.0, 8.0]])
    arrays, ones = [y_true.copy(), y_pred.copy()], np.ones((2, 2))
    ones.flags.writeable = False
    cases = [(Product(), y_true), (Half(), y_pred), (View(), y_true), (Constant(), ones.copy())]
    for loss, expected in cases:
        _, grad = loss.value_and_grad(*arrays, weight)
        factor = 1 if weight is None else weight[:, np.newaxis]
        np.testing.assert_array_equal(grad, expected * factor / 2)
        np.testing.assert_array_equal(arrays, [y_true, y_pred])
