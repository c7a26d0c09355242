"""What Keras computes for layers that are not recurrent: outputs, gradients, masks, in layers.npz.

Run by hand, where Keras and JAX are: ``KERAS_BACKEND=jax python tests/golden/make_layers.py``.
Keras computes in float64, but some layers return float32 there all the same; inputs and weights
are such as float32 can hold. The tests need the file alone.
"""

from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("layers.npz")
X = (2, 5, 3)
PAIR = [X, X]
WIDE = [X, (2, 3)]

# class -> cases of options, shape of the input or shapes, and what else is to be known:
#   mask      inputs have masks
#   training  the call is one of training
#   ties      inputs are -1, 0 and 1, so that some are equal, and some at the kinks of functions
#   integers  inputs are indices
#   adapt     the layer takes its numbers of data first
CASES = {
    "Activation": [({"activation": "tanh"}, X, ""), ({"activation": "softmax"}, X, "mask")],
    "ActivityRegularization": [({"l1": 0.1, "l2": 0.2}, X, ""), ({"l1": 0.3}, (2, 3), "")],
    "Add": [({}, PAIR, "mask"), ({}, WIDE, ""), ({}, [X] * 3, "mask")],
    "AlphaDropout": [({"rate": 0.3}, X, "mask")],
    "Average": [({}, PAIR, "mask"), ({}, WIDE, ""), ({}, [X] * 3, "")],
    "AveragePooling1D": [
        ({"pool_size": 2}, X, "mask"),
        ({"pool_size": 3, "strides": 2}, X, ""),
        ({"pool_size": 3, "strides": 1, "padding": "same"}, X, ""),
        ({"pool_size": 4, "strides": 3, "padding": "same"}, X, ""),
    ],
    "BatchNormalization": [
        ({}, X, ""),
        ({}, X, "training"),
        ({"momentum": 0.7}, X, "training mask"),
        ({"epsilon": 0.1, "scale": False}, (4, 3), "training"),
        ({"center": False, "axis": 1}, X, "training"),
        ({"axis": 1}, X, ""),
        ({}, X, "mask"),
    ],
    "Concatenate": [
        ({}, [X, (2, 5, 2)], "mask"),
        ({"axis": 1}, [X, (2, 4, 3)], "mask"),
        ({"axis": -2}, [X, (2, 4, 3)], ""),
        ({}, [(2, 3), (2, 1)], ""),
    ],
    "Conv1D": [
        ({"filters": 2, "kernel_size": 3}, X, "mask"),
        ({"filters": 2, "kernel_size": 3, "padding": "same", "activation": "tanh"}, X, ""),
        ({"filters": 2, "kernel_size": 4, "padding": "same"}, X, ""),
        ({"filters": 2, "kernel_size": 3, "padding": "same", "strides": 2}, (2, 8, 3), ""),
        ({"filters": 2, "kernel_size": 3, "padding": "causal"}, X, ""),
        ({"filters": 2, "kernel_size": 3, "padding": "causal", "strides": 2}, X, ""),
        ({"filters": 2, "kernel_size": 2, "padding": "causal", "dilation_rate": 2}, X, ""),
        ({"filters": 2, "kernel_size": 3, "padding": "same", "dilation_rate": 2}, X, ""),
        ({"filters": 2, "kernel_size": 2, "dilation_rate": 3, "use_bias": False}, X, ""),
        ({"filters": 4, "kernel_size": 2, "groups": 2}, (2, 5, 6), ""),
        ({"filters": 6, "kernel_size": 2, "strides": 2, "groups": 3}, X, ""),
    ],
    "Cropping1D": [({}, X, "mask"), ({"cropping": [0, 2]}, X, "")],
    "Dense": [
        ({"units": 2}, (4, 3), ""),
        ({"units": 2, "activation": "relu", "use_bias": False}, X, "mask"),
        ({"units": 2, "activation": "softmax"}, (2, 2, 2, 3), ""),
        ({"units": 2, "activity_regularizer": "l2"}, X, ""),
    ],
    "Dot": [
        ({"axes": 2}, [X, (2, 4, 3)], ""),
        ({"axes": [1, 2]}, [X, (2, 4, 5)], ""),
        ({"axes": [2, 1], "normalize": True}, [X, (2, 3, 4)], ""),
        ({"axes": -1, "normalize": True}, [(2, 3), (2, 3)], ""),
        ({"axes": 1}, [(2, 3), (2, 3, 4)], ""),
        ({"axes": [3, 1]}, [(2, 2, 4, 3), (2, 3, 5)], ""),
    ],
    "Dropout": [({"rate": 0.3}, X, "mask"), ({"rate": 0.0}, X, "training")],
    "ELU": [({}, X, ""), ({"alpha": 0.3}, X, "ties")],
    "Embedding": [
        ({"input_dim": 4, "output_dim": 2}, (2, 5), "integers"),
        ({"input_dim": 4, "output_dim": 2, "mask_zero": True}, (2, 5), "integers"),
        ({"input_dim": 4, "output_dim": 2}, (2, 3, 2), "integers"),
        ({"input_dim": 4, "output_dim": 2}, (3,), "integers"),
    ],
    "Flatten": [({}, X, "mask"), ({}, (2, 3), ""), ({}, (3,), "")],
    "GaussianDropout": [({"rate": 0.3}, X, "mask")],
    "GaussianNoise": [({"stddev": 0.3}, X, "mask")],
    "GlobalAveragePooling1D": [
        ({}, X, ""),
        ({}, X, "mask"),
        ({"keepdims": True}, X, "mask"),
    ],
    "GlobalMaxPooling1D": [({}, X, "mask"), ({"keepdims": True}, X, ""), ({}, X, "ties")],
    "Identity": [({}, X, "mask")],
    "LayerNormalization": [
        ({}, X, "mask"),
        ({"axis": [1, 2], "epsilon": 0.1}, X, ""),
        ({"axis": 1, "scale": False}, X, ""),
        ({"center": False}, (4, 3), ""),
    ],
    "LeakyReLU": [({}, X, ""), ({"negative_slope": 0.5}, X, "ties")],
    "Masking": [({}, X, "ties"), ({"mask_value": -1.0}, (2, 9, 1), "ties")],
    "MaxPooling1D": [
        ({}, X, "mask"),
        ({"pool_size": 3, "strides": 1, "padding": "same"}, X, ""),
        ({"pool_size": 4, "strides": 3, "padding": "same"}, X, ""),
        ({"pool_size": 3}, (2, 9, 3), "ties"),
    ],
    "Maximum": [({}, PAIR, "mask"), ({}, WIDE, ""), ({}, [X] * 3, "mask"), ({}, [X] * 3, "ties")],
    "Minimum": [({}, PAIR, "mask"), ({}, WIDE, ""), ({}, [X] * 3, "mask"), ({}, [X] * 3, "ties")],
    "Multiply": [({}, PAIR, "mask"), ({}, WIDE, ""), ({}, [X] * 3, "mask"), ({}, [X] * 3, "")],
    "Normalization": [
        ({}, X, "adapt"),
        ({"axis": None}, X, "adapt"),
        ({"axis": [1, 2], "invert": True}, X, "adapt"),
        ({"mean": [1.0, 2.0, 3.0], "variance": [1.0, 4.0, 9.0]}, X, "mask"),
    ],
    "PReLU": [
        ({}, X, "mask"),
        ({"shared_axes": [1]}, X, ""),
        ({"shared_axes": [1, 2]}, X, "ties"),
    ],
    "Permute": [({"dims": [2, 1]}, X, "mask"), ({"dims": [3, 1, 2]}, (2, 2, 3, 4), "")],
    "ReLU": [
        ({}, X, "ties"),
        ({"max_value": 0.7, "negative_slope": 0.2, "threshold": 0.3}, X, ""),
        ({"max_value": 0.7}, X, "ties"),
        ({"negative_slope": 0.5, "threshold": 0.5}, X, "ties"),
        ({"max_value": 0.5}, X, ""),
    ],
    "RepeatVector": [({"n": 3}, (2, 3), "")],
    "Rescaling": [({"scale": 2.0, "offset": -1.0}, X, "mask")],
    "Reshape": [({"target_shape": [3, 5]}, X, "mask"), ({"target_shape": [-1, 5, 1]}, X, "")],
    "Softmax": [({}, X, ""), ({"axis": 1}, X, ""), ({"axis": [1, 2]}, X, ""), ({}, X, "whole")],
    "SpatialDropout1D": [({"rate": 0.3}, X, "mask")],
    "Subtract": [({}, PAIR, "mask"), ({}, WIDE, "")],
    "TimeDistributed": [
        ({"layer": ("Dense", {"units": 2, "activation": "tanh"})}, X, "mask"),
        ({"layer": ("Conv1D", {"filters": 2, "kernel_size": 2})}, (2, 3, 4, 2), ""),
    ],
    "UnitNormalization": [({}, X, "mask"), ({"axis": [1, 2]}, X, ""), ({"axis": 1}, X, "")],
    "UpSampling1D": [({"size": 2}, X, "mask")],
    "ZeroPadding1D": [({}, X, "mask"), ({"padding": [0, 2]}, X, "")],
}
NAMES = [f"{kind}_{place}" for kind, cases in CASES.items() for place in range(len(cases))]


def case(name):
    """The class, options, shapes and notes of a case."""
    kind, place = name.split("_")
    options, shape, given = CASES[kind][int(place)]
    return kind, options, shape if isinstance(shape, list) else [shape], given.split()


def make(layers, kind, options, **more):
    """The layer of a case, from `layers` of Keras or of cgru."""
    options = {
        name: getattr(layers, value[0])(**value[1], **more) if name == "layer" else value
        for name, value in options.items()
    }
    return getattr(layers, kind)(**options, **more)


def draw(rng, shape, given):
    """An input."""
    if "integers" in given:
        return rng.integers(0, 4, shape)
    if "ties" in given:
        return rng.integers(-1, 2, shape).astype("f8")
    return rng.standard_normal(shape).astype("f4").astype("f8")


def weights_for(rng, layer):
    """Numbers for the weights of a layer, no zeros and ones."""
    for weight in layer.weights:
        values = rng.standard_normal(weight.shape) * 0.5
        values = abs(values) + 0.5 if "variance" in weight.name else values
        weight.assign(values.astype("f4").astype("f8"))


def main():
    import jax

    jax.config.update("jax_enable_x64", True)  # before Keras is imported
    import keras
    from keras.src.backend import get_keras_mask, set_keras_mask

    keras.config.set_floatx("float64")
    rng = np.random.default_rng(1)
    stored = {}
    for name in NAMES:
        kind, options, shapes, given = case(name)
        layer = make(keras.layers, kind, options)
        several = len(shapes) > 1
        x = [draw(rng, shape, given) for shape in shapes]
        masks = None
        if "mask" in given:
            masks = [rng.random(shape[:2]) < 0.6 for shape in shapes]
        if "whole" in given:
            masks = [rng.random(shape) < 0.6 for shape in shapes]
        parts = {"x": x, "mask": masks or []}
        if "adapt" in given:
            parts["data"] = [draw(rng, (4, *shapes[0][1:]), given)]
            layer.adapt(parts["data"][0])
            parts["adapted"] = [np.asarray(w) for w in (layer.mean, layer.variance)]
        else:
            layer.build(shapes if several else shapes[0])
            weights_for(rng, layer)

        def call(weights, x, layer=layer, masks=masks, given=given):
            x = [jax.numpy.asarray(item) for item in x]
            for item, mask in zip(x, masks or [], strict=False):
                set_keras_mask(item, jax.numpy.asarray(mask))
            variables = list(zip(layer.trainable_variables, weights, strict=True))
            with keras.StatelessScope(state_mapping=variables, collect_losses=True) as scope:
                more = {"training": True} if "training" in given else {}
                y = layer(x if len(x) > 1 else x[0], **more)
                losses = layer.losses
            moved = [scope.get_current_value(v) for v in layer.non_trainable_weights]
            mask = get_keras_mask(y)
            return (y, *losses), (moved, [] if mask is None else [mask])

        weights = [weight.value for weight in layer.trainable_variables]
        parts["weight"] = [np.asarray(weight.value) for weight in layer.weights]
        if "integers" in given:
            y, vjp, (moved, mask) = jax.vjp(lambda w, x=x: call(w, x), weights, has_aux=True)
        else:
            y, vjp, (moved, mask) = jax.vjp(call, weights, x, has_aux=True)
        dy = [rng.standard_normal(part.shape).astype("f4") if part.ndim else 1 for part in y]
        dy = tuple(np.asarray(d, part.dtype) for d, part in zip(dy, y, strict=True))
        parts["dweight"], *dx = vjp(dy)
        parts |= {"y": y, "dy": dy, "dx": dx[0] if dx else []}
        if "training" in given and kind == "BatchNormalization":
            parts["moving"] = moved
        if masks is not None or kind in ("Masking", "Embedding"):
            parts["output_mask"] = mask
        for part, arrays in parts.items():
            for place, array in enumerate(arrays):
                stored[f"{name}/{part}/{place}"] = np.asarray(array)
    np.savez_compressed(PATH, **stored)
    print(PATH, PATH.stat().st_size, "bytes, Keras", keras.__version__)


if __name__ == "__main__":
    main()
