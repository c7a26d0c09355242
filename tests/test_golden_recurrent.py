"""Recurrent layers give what Keras gives: values that Keras computed, in golden/recurrent.npz."""

import sys
from pathlib import Path

import numpy as np
import pytest

from cgru import layers
from cgru.layers.base import CONTEXT

sys.path.insert(0, str(Path(__file__).parent / "golden"))
from make_recurrent import CASES, PATH, make

GOLDEN = np.load(PATH)


def stored(name, part):
    return [GOLDEN[key] for key in GOLDEN.files if key.startswith(f"{name}/{part}/")]


def close(found, expected, what):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=what)


@pytest.mark.parametrize("name", CASES)
def test_golden(name):
    kind, options, given = CASES[name]
    layer = make(layers, kind, options)
    (x,) = stored(name, "x")
    layer.build(x.shape)
    layer.set_weights(stored(name, "weight"))
    context = dict.fromkeys(CONTEXT) | {"training": False, "needs_input_grad": True}
    context |= {"needs_backward": True, "penalties": []}
    if "mask" in given:
        context["mask"] = stored(name, "mask")[0]
    if "state" in given:
        context["initial_state"] = stored(name, "state")
    y, backward = layer.run(x, context)
    y = [*(y if isinstance(y, tuple) else (y,)), *context["penalties"]]
    for place, (found, expected) in enumerate(zip(y, stored(name, "y"), strict=True)):
        close(found, expected, f"output {place}")
    dy = [d for d in stored(name, "dy") if d.ndim]
    dx = backward(tuple(dy) if len(dy) > 1 else dy[0])
    if "state" in given:
        dx, dstates = dx
        for found, expected in zip(dstates, stored(name, "dstate"), strict=True):
            close(found, expected, "gradient of the state")
    close(dx, stored(name, "dx")[0], "gradient of x")
    for weight, expected in zip(layer.weights, stored(name, "dweight"), strict=True):
        close(weight.grad, expected, f"gradient of {weight.path}")
