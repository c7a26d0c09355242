"""Activations, constraints and regularizers: the values of Keras, and gradients."""

import copy
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from numeric import check_gradient

from cgru import activations, constraints, initializers, regularizers

sys.path.insert(0, str(Path(__file__).parent / "golden"))
from make_activations import CONSTRAINTS, NAMES, PATH, REGULARIZERS

GOLDEN = np.load(PATH)


DTYPES = pytest.mark.parametrize(("dtype", "accuracy"), [("f4", 1e-5), ("f8", 1e-10)])


@DTYPES
@pytest.mark.parametrize("name", NAMES)
def test_activations(rng, name, dtype, accuracy):
    activation = activations.get(name)
    x, dy = GOLDEN["x"].astype(dtype), GOLDEN["dy"].astype(dtype)
    with np.errstate(over="ignore"):
        y, backward = activation.forward(x)
        dx = backward(dy)
    assert y.dtype == dx.dtype == np.dtype(dtype)
    np.testing.assert_allclose(y, GOLDEN[f"{name}/y"], rtol=accuracy, atol=accuracy)
    np.testing.assert_allclose(dx, GOLDEN[f"{name}/dx"], rtol=accuracy, atol=accuracy)
    x = rng.standard_normal((4, 5)) * 2
    dy = rng.standard_normal(x.shape)
    y, backward = activation.forward(x)
    assert y.dtype == np.float64
    check_gradient(lambda: float((activation(x) * dy).sum()), x, backward(dy), rng)
    assert activation.serialized() == activation.name


def test_sparsemax_is_the_nearest_point_of_the_simplex(rng):
    """Not against Keras, whose values do not always sum up to 1."""
    x = rng.standard_normal((50, 6))
    y, backward = activations.sparsemax.forward(x)
    assert (y >= 0).all()
    np.testing.assert_allclose(y.sum(axis=-1), 1)
    for other in rng.dirichlet(np.ones(6), 200):
        assert (np.square(x - y).sum(axis=-1) <= np.square(x - other).sum(axis=-1)).all()
    dy = rng.standard_normal(x.shape)
    check_gradient(lambda: float((activations.sparsemax(x) * dy).sum()), x, backward(dy), rng)


@DTYPES
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints(name, dtype, accuracy):
    cls, options = CONSTRAINTS[name]
    constraint = getattr(constraints, cls)(**options)
    w = constraint(GOLDEN["x"].astype(dtype))
    assert w.dtype == np.dtype(dtype)
    np.testing.assert_allclose(w, GOLDEN[f"{name}/w"], rtol=accuracy, atol=accuracy)
    assert type(constraint).from_config(constraint.get_config()).get_config() == (
        constraint.get_config()
    )


@DTYPES
@pytest.mark.parametrize("name", REGULARIZERS)
def test_regularizers(rng, name, dtype, accuracy):
    cls, options = REGULARIZERS[name]
    regularizer = getattr(regularizers, cls)(**options)
    value, grad = regularizer.forward(GOLDEN["x"][2:].astype(dtype))  # without 0
    assert grad.dtype == np.dtype(dtype)
    assert value == pytest.approx(float(GOLDEN[f"{name}/value"]), rel=accuracy)
    np.testing.assert_allclose(grad, GOLDEN[f"{name}/grad"], rtol=accuracy, atol=accuracy)
    x = rng.standard_normal((4, 5))
    _, grad = regularizer.forward(x)
    check_gradient(lambda: regularizer.forward(x)[0], x, grad, rng)
    assert regularizer.get_config().keys() == {"L1": {"l1"}, "L2": {"l2"}}.get(
        cls, regularizer.get_config().keys()
    )


def test_names():
    assert regularizers.get("l1").get_config() == {"l1": 0.01}
    assert regularizers.get("l1l2").get_config() == {"l1": 0.0, "l2": 0.0}
    assert isinstance(constraints.get("max_norm"), constraints.MaxNorm)
    assert regularizers.get(None) is constraints.get(None) is None
    with pytest.raises(ValueError, match="kernel_constraint: unknown name 'norm'"):
        constraints.get("norm", "kernel_constraint")
    with pytest.raises(ValueError, match="l2: expected a number >= 0"):
        regularizers.L2(-1)


def test_sparsemax_over_another_axis(rng):
    """The values of Keras do not add up to 1 there."""
    x = rng.standard_normal((6, 4))
    y = activations.sparsemax(x, axis=0)
    np.testing.assert_allclose(y.sum(axis=0), 1)
    np.testing.assert_array_equal(y.T, activations.sparsemax(x.T))


def test_a_copy_of_a_built_in_activation_is_the_same_one():
    for name in activations._NAMES:
        activation = activations.get(name)
        assert copy.deepcopy(activation) is activation
        assert pickle.loads(pickle.dumps(activation)) is activation
    own = activations.Activation(np.square, np.multiply, "tanh")
    assert copy.deepcopy(own) is not own
    assert pickle.loads(pickle.dumps(own)).function is np.square


def test_initializers_of_keras_by_other_names(rng):
    values = initializers.get("truncated_normal").__class__(1.0, 0.5, seed=1)((4000,), "float64")
    assert abs(values - 1).max() <= 1
    assert values.mean() == pytest.approx(1, abs=0.03)
    assert values.std() == pytest.approx(0.5 * 0.8796, rel=0.03)
    eye = initializers.get("identity")((2, 3), "float64")
    np.testing.assert_array_equal(eye, np.eye(2, 3))
    assert initializers.Identity.from_config({"gain": 2.0}).get_config() == {"gain": 2.0}
    with pytest.raises(ValueError, match=r"shape: identity expects 2 dimensions, got \(3,\)"):
        initializers.Identity()((3,))
    assert initializers.he_normal is initializers.HeNormal
    assert constraints.max_norm is constraints.MaxNorm
    assert regularizers.l2(0.1).get_config() == {"l2": 0.1}


@pytest.mark.parametrize("name", NAMES)
def test_activations_of_integers(name):
    x = np.arange(-3, 5).reshape(2, 4)
    activation = activations.get(name)
    np.testing.assert_array_equal(activation(x), activation(x.astype("f8")))


def test_other_functions_of_integers():
    np.testing.assert_array_equal(activations.threshold([1, 2], 1.5, 0.5), [0.5, 2])
    np.testing.assert_allclose(activations.glu([3, 0]), [1.5])
