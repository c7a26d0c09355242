"""Small models for ONNX: every layer, with what its options change; and their data."""

import numpy as np

import cgru
from cgru import layers

ANY, STEPS, VECTORS = (None, 3), (6, 3), (5,)

# Of each layer: the shape that it reads, and options.  Layers that read several get twice that.
SINGLE = {
    "Activation": [(ANY, {"activation": name}) for name in cgru.activations._NAMES],
    "ActivityRegularization": [(ANY, {"l2": 0.1})],
    "AlphaDropout": [(ANY, {"rate": 0.5})],
    "AveragePooling1D": [
        (ANY, {"pool_size": 3, "strides": strides, "padding": padding})
        for strides in (1, 2, 4)
        for padding in ("valid", "same")
    ],
    "BatchNormalization": [(ANY, {}), (STEPS, {"axis": 1}), (VECTORS, {"scale": False})],
    "Conv1D": [
        (ANY, {"filters": 4, "kernel_size": 3, "padding": padding} | more)
        for padding in ("valid", "same", "causal")
        for more in (
            {"strides": 2, "use_bias": False},
            {"strides": 4},
            {"dilation_rate": 2, "activation": "gelu"},
        )
    ]
    + [((None, 4), {"filters": 6, "kernel_size": 2, "groups": 2})],
    "Cropping1D": [(ANY, {"cropping": (1, 2)}), (ANY, {"cropping": (1, 0)})],
    "Dense": [
        (ANY, {"units": 2, "activation": "tanh"}),
        (VECTORS, {"units": 2}),
        ((None, 2, 3), {"units": 2, "use_bias": False}),
    ],
    "Dropout": [(ANY, {"rate": 0.5})],
    "ELU": [(ANY, {"alpha": 0.5})],
    "Flatten": [(STEPS, {}), (VECTORS, {})],
    "GRU": [
        (ANY, {"units": 4} | more)
        for more in (
            {},
            {"reset_after": False},
            {"use_bias": False, "return_sequences": True},
            {"use_bias": False, "reset_after": False, "return_state": True},
            {"go_backwards": True, "return_sequences": True, "return_state": True},
            {"activation": "relu"},
            {"activation": "softsign", "return_sequences": True},
            {"recurrent_activation": "hard_sigmoid", "reset_after": False, "go_backwards": True},
            {"dropout": 0.5, "recurrent_dropout": 0.5, "stateful": False},
        )
    ],
    "GaussianDropout": [(ANY, {"rate": 0.5})],
    "GaussianNoise": [(ANY, {"stddev": 0.5})],
    "GlobalAveragePooling1D": [(ANY, {}), (ANY, {"keepdims": True})],
    "GlobalMaxPooling1D": [(ANY, {}), (ANY, {"keepdims": True})],
    "Identity": [(ANY, {})],
    "LSTM": [
        (ANY, {"units": 4} | more)
        for more in (
            {},
            {"use_bias": False, "return_sequences": True},
            {"go_backwards": True, "return_sequences": True, "return_state": True},
            {"activation": "relu"},
            {"recurrent_activation": "hard_sigmoid", "return_state": True},
        )
    ],
    "LayerNormalization": [
        (ANY, {}),
        (STEPS, {"axis": [1, 2]}),
        (STEPS, {"axis": 1}),
        (ANY, {"center": False, "scale": False}),
    ],
    "LeakyReLU": [(ANY, {})],
    "Masking": [(ANY, {}), (ANY, {"mask_value": 1.0})],
    "MaxPooling1D": [
        (ANY, {"pool_size": 3, "strides": strides, "padding": padding})
        for strides in (1, 2, 4)
        for padding in ("valid", "same")
    ],
    "Normalization": [
        (ANY, {}),
        (ANY, {"axis": None, "mean": 0.5, "variance": 2.0, "invert": True}),
        (STEPS, {"axis": (1, 2)}),
    ],
    "PReLU": [(ANY, {"shared_axes": [1]}), (STEPS, {})],
    "Permute": [(ANY, {"dims": (2, 1)})],
    "ReLU": [(ANY, {"max_value": 0.5, "negative_slope": 0.1, "threshold": 0.3}), (ANY, {})],
    "RepeatVector": [(VECTORS, {"n": 3})],
    "Rescaling": [(ANY, {"scale": 2.0, "offset": 1.0})],
    "Reshape": [(STEPS, {"target_shape": (-1, 9)}), (ANY, {"target_shape": (-1, 1)})],
    "SimpleRNN": [
        (ANY, {"units": 4} | more)
        for more in (
            {},
            {"use_bias": False, "go_backwards": True, "return_sequences": True},
            {"activation": "relu"},
            {"activation": "softsign", "return_sequences": True, "return_state": True},
        )
    ],
    "Softmax": [(ANY, {}), (ANY, {"axis": 1}), (ANY, {"axis": (1, 2)})],
    "SpatialDropout1D": [(ANY, {"rate": 0.5})],
    "UnitNormalization": [(ANY, {}), (ANY, {"axis": [1, 2]})],
    "UpSampling1D": [(ANY, {"size": 3})],
    "ZeroPadding1D": [(ANY, {"padding": (1, 2)})],
}
SEVERAL = {
    "Add": [(ANY, {})],
    "Average": [(ANY, {})],
    "Concatenate": [(ANY, {}), (ANY, {"axis": 1})],
    "Dot": [(ANY, {"axes": -1}), (ANY, {"axes": 1, "normalize": True}), (VECTORS, {"axes": 1})],
    "Maximum": [(ANY, {})],
    "Minimum": [(ANY, {})],
    "Multiply": [(ANY, {})],
    "Subtract": [(ANY, {})],
}


def _chain(*parts):
    return lambda: cgru.Sequential([make() for make in parts])


def _input(shape, dtype=None):
    return lambda: cgru.Input(shape, dtype=dtype)


def _single(name, shape, options, masked):
    def build():
        x = cgru.Input(shape)
        y = layers.Masking()(x) if masked else x
        y = getattr(layers, name)(**options)(y)
        return cgru.Model(x, list(y) if isinstance(y, tuple) else y)

    return build


def _several(name, shape, options, masks):
    def build():
        inputs = [cgru.Input(shape, name=item) for item in ("a", "b", "c")[: len(masks)]]
        read = [
            layers.Masking()(x) if masked else x for x, masked in zip(inputs, masks, strict=True)
        ]
        y = getattr(layers, name)(**options)(read)
        outputs = [y]
        if len(shape) == 2 and name != "Dot":
            outputs.append(layers.GRU(2)(y))  # sees the mask
        return cgru.Model(inputs, outputs)

    return build


def _bidirectional(masked, options):
    def build():
        x = cgru.Input(ANY)
        y = layers.Masking()(x) if masked else x
        inner = layers.GRU(2, **{k: v for k, v in options.items() if k != "merge_mode"})
        y = layers.Bidirectional(inner, merge_mode=options.get("merge_mode", "concat"))(y)
        return cgru.Model(x, list(y) if isinstance(y, tuple) else y)

    return build


def _embedding(mask_zero):
    def build():
        return cgru.Sequential(
            [
                cgru.Input((None,), dtype="int64"),
                layers.Embedding(7, 3, mask_zero=mask_zero),
                layers.GRU(4, return_sequences=True),
                layers.GRU(4, zero_output_for_mask=True),
            ]
        )

    return build


def _nested():
    inner = cgru.Sequential([cgru.Input(ANY), layers.Masking(), layers.GRU(3)])
    step = cgru.Sequential([cgru.Input((3,)), layers.Dense(2, activation="relu")])
    x = cgru.Input(ANY)
    return cgru.Model(x, [inner(x), layers.TimeDistributed(step)(x), inner(layers.ReLU()(x))])


def _encoder_decoder():
    a, b = cgru.Input(ANY, name="past"), cgru.Input((None, 2), name="future")
    mask = layers.Masking()(a)
    y, state = layers.GRU(4, return_sequences=True, return_state=True)(mask)
    decoded = layers.GRU(4, return_sequences=True)(layers.Masking()(b), initial_state=state)
    both = layers.Bidirectional(layers.GRU(4))(b, initial_state=[state, state])
    return cgru.Model([a, b], {"decoded": decoded, "both": both, "encoded": y})


def _cells():
    a, b = cgru.Input(ANY, name="past"), cgru.Input(ANY, name="future")
    _, *states = layers.LSTM(4, return_state=True)(layers.Masking()(a))
    decoded = layers.LSTM(4, return_sequences=True)(b, initial_state=states)
    simple = layers.SimpleRNN(4)(layers.Masking()(b), initial_state=states[1])
    both = layers.Bidirectional(layers.LSTM(4, return_state=True))(b, initial_state=states * 2)
    return cgru.Model([a, b], [decoded, simple, *both])


def _explicit_mask():
    x, mask = cgru.Input(ANY, name="x"), cgru.Input((None,), name="mask")
    return cgru.Model([x, mask], layers.GRU(4)(x, mask=mask))


def _fixed():
    return cgru.Sequential(
        [cgru.Input(STEPS), layers.GRU(3, return_sequences=True), layers.Flatten()]
    )


MODELS = {
    "TimeDistributed_dense": _chain(
        _input((None, 4, 3)), lambda: layers.TimeDistributed(layers.Dense(2))
    ),
    "TimeDistributed_gru": _chain(
        _input((None, 4, 3)), lambda: layers.TimeDistributed(layers.GRU(2))
    ),
    "Embedding": _embedding(False),
    "Embedding_masked": _embedding(True),
    "nested": _nested,
    "encoder_decoder": _encoder_decoder,
    "cells": _cells,
    "explicit_mask": _explicit_mask,
    "fixed": _fixed,
}
for _masked in (False, True):
    for _options in (
        {},
        {"merge_mode": "sum", "return_sequences": True},
        {"merge_mode": "mul", "reset_after": False},
        {"merge_mode": "ave", "return_sequences": True, "return_state": True},
        {"merge_mode": None, "return_sequences": True},
    ):
        MODELS[f"Bidirectional_{_options}_{_masked}"] = _bidirectional(_masked, _options)
    for _name, _chosen in SINGLE.items():
        for _shape, _options in _chosen:
            if _masked and (_shape is VECTORS or len(_shape) > 2):
                continue
            MODELS[f"{_name}_{_shape}_{_options}_{_masked}"] = _single(
                _name, _shape, _options, _masked
            )
for _name, _chosen in SEVERAL.items():
    _count = 2 if _name in ("Subtract", "Dot") else 3
    for _shape, _options in _chosen:
        for _masks in ((False,) * _count, (True,) * _count, (True, False, True)[:_count]):
            if any(_masks) and _shape is VECTORS:
                continue
            MODELS[f"{_name}_{_shape}_{_options}_{_masks}"] = _several(
                _name, _shape, _options, _masks
            )


def randomized(model, seed=1):
    """The model with random weights, none of them as it begins."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        low = 0.5 if "variance" in weight.path else -0.8
        weight.assign(rng.uniform(low, 0.8, weight.shape))
    return model


def data(model, batch=4, time=7, seed=2):
    """Inputs by name: a third of the steps is 0, and so is all of one sequence."""
    rng = np.random.default_rng(seed)
    shapes = model.input_shape if model.takes_several else [model.input_shape]
    found = {}
    for name, shape, integers in zip(model.input_names, shapes, model.integers, strict=True):
        shape = (batch, *(time if size is None else size for size in shape[1:]))
        if integers:
            found[name] = rng.integers(0, 7, shape)
            continue
        x = rng.standard_normal(shape).astype(model.dtype)
        if len(shape) > 1:
            x[rng.random(shape[:2]) < 0.3] = 0
            x[1:2] = 0
        found[name] = x
    return found


def predicted(model, x):
    """What the model returns, as a list."""
    y = model.predict_on_batch(x if len(x) > 1 else next(iter(x.values())))
    if isinstance(y, dict):
        return list(y.values())
    return list(y) if isinstance(y, (list, tuple)) else [y]
