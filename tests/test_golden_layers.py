"""Layers give what Keras gives: values that Keras computed, in golden/layers.npz."""

import sys
from pathlib import Path

import numpy as np
import pytest

from cgru import layers
from cgru.layers.base import CONTEXT

sys.path.insert(0, str(Path(__file__).parent / "golden"))
from make_layers import CASES, NAMES, PATH, case, make

GOLDEN = np.load(PATH)
# Keras takes their means in float32, and returns float64 only because weights, or x, are such.
SINGLE = {"BatchNormalization", "GlobalAveragePooling1D", "LayerNormalization"}


def stored(name, part):
    return [GOLDEN[key] for key in GOLDEN.files if key.startswith(f"{name}/{part}/")]


def test_every_layer_has_values():
    missing = set(layers.__all__) - CASES.keys()
    recurrent = {"GRU", "LSTM", "SimpleRNN", "Bidirectional"}  # in recurrent.npz
    functions = {name for name in layers.__all__ if name.islower()}
    assert missing == recurrent | functions | {"Input", "InputLayer", "Layer", "Merge"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_golden(name, dtype):
    kind, options, shapes, given = case(name)
    double = kind not in SINGLE and all(y.dtype == "float64" for y in stored(name, "y"))
    tolerance = 1e-10 if double and dtype == "float64" else 1e-5

    def close(what, found, expected):
        assert len(found) == len(expected), what
        for place, (one, other) in enumerate(zip(found, expected, strict=True)):
            where = f"{what} {place}"
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance, err_msg=where)

    layer = make(layers, kind, options, dtype=dtype)
    several = len(shapes) > 1
    x = stored(name, "x")
    if "integers" not in given:
        x = [item.astype(dtype) for item in x]
    masks = stored(name, "mask") or None
    if "adapt" in given:
        layer.adapt(stored(name, "data")[0])
        expected = [array.reshape(-1) for array in stored(name, "adapted")]
        close("number", [weight.numpy().reshape(-1) for weight in layer.weights], expected)
    else:
        layer.ensure_built(shapes if several else shapes[0])
        layer.set_weights(stored(name, "weight"))
    penalties = []
    context = dict.fromkeys(CONTEXT) | {"needs_input_grad": True, "needs_backward": True}
    context |= {"training": "training" in given, "penalties": penalties}
    context["mask"] = masks if several or masks is None else masks[0]
    y, backward = layer.run(x if several else x[0], context)
    close("output", [y, *penalties], stored(name, "y"))
    dx = backward(stored(name, "dy")[0].astype(dtype))
    close("gradient of x", dx if several else [dx] * (dx is not None), stored(name, "dx"))
    trained = [weight.grad for weight in layer.trainable_weights]
    close("gradient of a weight", trained, stored(name, "dweight"))
    if stored(name, "moving"):
        moved = [weight.numpy() for weight in layer.non_trainable_weights]
        close("moving average", moved, stored(name, "moving"))
    if masks is not None or layer.makes_mask:
        mask = layer.compute_mask(x if several else x[0], context["mask"])
        close("mask", [] if mask is None else [mask], stored(name, "output_mask"))
