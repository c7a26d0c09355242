"""Finite differences, and what several tests compare with them."""

import numpy as np


def directional(function, array, direction, step=1e-5):
    """The derivative of a scalar function along a direction in array, of fourth order."""
    start = array.copy()
    values = []
    for k in (-2, -1, 1, 2):
        array[...] = start + k * step * direction
        values.append(function())
    array[...] = start
    return (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)


def check_gradient(function, array, gradient, rng, rtol=1e-6, directions=3):
    """Compare a gradient with finite differences of function along random directions.

    Relative to the sizes of gradient and direction, so that a derivative near 0 by chance does
    not ask for more digits than there are.
    """
    for _ in range(directions):
        direction = rng.standard_normal(array.shape)
        direction /= np.linalg.norm(direction)
        expected = directional(function, array, direction)
        got = float(np.sum(gradient * direction))
        scale = max(float(np.linalg.norm(gradient)), 1e-3)
        assert abs(got - expected) <= rtol * scale, (got, expected)
