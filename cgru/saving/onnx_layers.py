"""What each layer is in operators of ONNX.

`TABLE` has a function for each class: it makes the nodes and returns the name of the output, or a
list of names where there are several.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cgru import layers
from cgru.layers.graph import Graph, Step
from cgru.layers.pooling import padding_steps
from cgru.layers.symbolic import Shape, is_several
from cgru.saving import onnx_activations
from cgru.saving.onnx_graph import Builder, Value
from cgru.saving.onnx_recurrent import not_ours, recurrent, reverse


def run(g: Builder, model: Any, inputs: list[Value]) -> list[Value]:
    """The outputs of a model, with masks that layers inside it make."""
    values: list[Any] = [None] * model.count
    for place, value in zip(model.sources, inputs, strict=True):
        values[place] = value
    for step in model.steps:
        found = _run_step(g, step, values)
        for place, value in zip(step.writes, found, strict=True):
            values[place] = value
    return [values[place] for place in model.sinks]


def _run_step(g: Builder, step: Step, values: list[Any]) -> list[Value]:
    layer, count = step.layer, len(step.inputs)
    if step.training and "training" in layer._accepts:
        raise ValueError(f"model: {layer.name} is called with training=True, as no prediction is")
    inputs = [values[place] for place in step.inputs]
    if step.masked:
        mask = values[step.reads[-1]]
        inputs[0] = inputs[0]._replace(mask=Value(g.cast(mask.name, bool), mask.shape))
    states = [values[place].name for place in step.reads[count : count + step.states]]
    return apply(g, layer, inputs if layer.takes_several else inputs[0], states or None)


def apply(g: Builder, layer: Any, x: Any, states: list[str] | None = None) -> list[Value]:
    """The outputs of a layer for a value, or a list of them where it takes several."""
    if isinstance(layer, Graph):
        return run(g, layer, x if layer.takes_several else [x])
    operate: Any = TABLE.get(type(layer))
    if operate is None:
        raise not_ours(layer)
    if g.carries:
        _check_steps(layer, x if layer.takes_several else [x])
    g.scope = layer.name
    shape = layer.compute_output_shape(
        [item.shape for item in x] if layer.takes_several else x.shape
    )
    find_mask: Callable[..., Any] = MASKS.get(type(layer), _passed_mask)
    mask = find_mask(g, layer, x)
    names = operate(g, layer, x) if states is None else operate(g, layer, x, states)
    if not is_several(shape):
        shape, mask, names = [shape], [mask], [names] if isinstance(names, str) else names
    elif not isinstance(mask, (list, tuple)):
        mask = [mask] * len(shape)
    return [Value(*item) for item in zip(names, shape, mask, strict=True)]


def _check_steps(layer: Any, x: list[Value]) -> None:
    """Raise an error for a layer that needs more of a sequence than a step and a state."""
    over_time = [len(item.shape) > 1 and item.shape[1] is None for item in x]
    if any(over_time) and not (layer.predicts_stepwise and all(over_time)):
        raise ValueError(
            f"stateful: expected layers that read a sequence step by step, got {layer.name}, "
            f"a {type(layer).__name__} that needs all of it"
        )


# ---- Masks ----


def _passed_mask(g: Builder, layer: Any, x: Any) -> Any:
    """That of the input, or none."""
    if layer.takes_several:
        return None
    return None if x.mask is None else layer.compute_mask(x, x.mask)


def _both(g: Builder, a: Value | None, b: str, shape: Shape) -> Value:
    return Value(b if a is None else g.And(a.name, b), shape)


def _embedding_mask(g: Builder, layer: Any, x: Value) -> Value | None:
    if not layer.mask_zero:
        return x.mask
    return _both(g, x.mask, g.cast(x.name, bool), x.shape)


def _masking_mask(g: Builder, layer: Any, x: Value) -> Value:
    return _both(g, x.mask, _valid(g, layer, x), x.shape[:-1])


def _valid(g: Builder, layer: Any, x: Value) -> str:
    """Where a feature has another value than the one that masks."""
    other = g.cast(g.Not(g.Equal(x.name, layer.mask_value)), g.dtype)
    return g.Greater(g.ReduceMax(other, [-1], keepdims=0), 0.0)


def _merged_mask(g: Builder, layer: Any, x: list[Value]) -> Value | None:
    masks = [item.mask for item in x]
    if any(mask is None for mask in masks):
        return None
    return functools.reduce(lambda a, b: _either(g, a, b), masks)


def _either(g: Builder, a: Any, b: Any) -> Value:
    return Value(g.Or(a.name, b.name), max(a.shape, b.shape, key=len))


def _concatenated_mask(g: Builder, layer: Any, x: list[Value]) -> Value | None:
    if all(item.mask is None for item in x):
        return None
    filled = [
        item.mask or Value(g.Expand(np.array(True), g.Shape(item.name, end=2)), item.shape[:2])
        for item in x
    ]
    if layer.axis not in (1, 1 - len(x[0].shape)):
        return functools.reduce(lambda a, b: _either(g, a, b), filled)
    names = [item.name for item in filled]
    return Value(g.Concat(*names, axis=1), layer.compute_output_shape([m.shape for m in filled]))


MASKS: dict[type, Callable[..., Any]] = {
    layers.Add: _merged_mask,
    layers.Average: _merged_mask,
    layers.Concatenate: _concatenated_mask,
    layers.Embedding: _embedding_mask,
    layers.Masking: _masking_mask,
    layers.Maximum: _merged_mask,
    layers.Minimum: _merged_mask,
    layers.Multiply: _merged_mask,
    layers.Subtract: _merged_mask,
}


# ---- Each place by itself ----


def _same(g: Builder, layer: Any, x: Value) -> str:
    return x.name


def _dense(g: Builder, layer: Any, x: Value) -> str:
    kernel = layer.kernel.numpy()
    if len(x.shape) == 2:
        y = g.Gemm(x.name, kernel, *([] if layer.bias is None else [layer.bias.numpy()]))
    else:
        y = g.MatMul(x.name, kernel)
        y = y if layer.bias is None else g.Add(y, layer.bias.numpy())
    return onnx_activations.apply(g, layer.activation, y, layer.name)


def _activation(g: Builder, layer: Any, x: Value) -> str:
    return onnx_activations.apply(g, layer.activation, x.name, layer.name)


def _relu(g: Builder, layer: Any, x: Value) -> str:
    low = g.Mul(g.Sub(x.name, layer.threshold), layer.negative_slope)
    y = g.Where(g.Greater(x.name, layer.threshold), x.name, low)
    return y if layer.max_value is None else g.Min(y, layer.max_value)


def _leaky_relu(g: Builder, layer: Any, x: Value) -> str:
    return onnx_activations.leaky(g, x.name, layer.negative_slope)


def _prelu(g: Builder, layer: Any, x: Value) -> str:
    return onnx_activations.leaky(g, x.name, layer.alpha.numpy())


def _elu(g: Builder, layer: Any, x: Value) -> str:
    return onnx_activations.bent(g, x.name, layer.alpha)


def _softmax(g: Builder, layer: Any, x: Value) -> str:
    axes, ndim = list(np.atleast_1d(layer.axis)), len(x.shape)
    kept, logits = None, x.name
    if x.mask is not None and len(x.mask.shape) == ndim:
        kept = x.mask.name
    elif x.mask is not None and any(axis in (1, 1 - ndim) for axis in axes):
        kept = g.Unsqueeze(x.mask.name, list(range(len(x.mask.shape), ndim)))
    if kept is not None:
        logits = g.Where(kept, logits, -1e9)
    exp = g.Exp(g.Sub(logits, g.ReduceMax(logits, axes)))
    y = g.Div(exp, g.ReduceSum(exp, axes))
    return y if kept is None else g.Mul(y, g.cast(kept, g.dtype))


# ---- Indices and padding ----


def _embedding(g: Builder, layer: Any, x: Value) -> str:
    return g.Gather(layer.embeddings.numpy(), g.cast(x.name, np.int64))


def _masking(g: Builder, layer: Any, x: Value) -> str:
    valid = g.cast(_valid(g, layer, x), g.dtype)
    return g.Mul(x.name, g.Unsqueeze(valid, [-1]))


# ---- Scales ----


def _wide(values: np.ndarray, axes: Sequence[int], shape: Shape) -> np.ndarray:
    """Values along some axes as an array that is broadcast along the others."""
    wide: list[Any] = [size if axis in axes else 1 for axis, size in enumerate(shape)]
    return values.reshape(wide)


def _scaled(g: Builder, layer: Any, z: str, shape: Shape) -> str:
    axes = layer._axes(len(shape))
    if layer.gamma is not None:
        z = g.Mul(z, _wide(layer.gamma.numpy(), axes, shape))
    if layer.beta is not None:
        z = g.Add(z, _wide(layer.beta.numpy(), axes, shape))
    return z


def _layer_normalization(g: Builder, layer: Any, x: Value) -> str:
    axes = list(layer._axes(len(x.shape)))
    centered = g.Sub(x.name, g.ReduceMean(x.name, axes))
    variance = g.ReduceMean(g.Mul(centered, centered), axes)
    z = g.Div(centered, g.Sqrt(g.Add(variance, layer.epsilon)))
    return _scaled(g, layer, z, x.shape)


def _batch_normalization(g: Builder, layer: Any, x: Value) -> str:
    axes = layer._axes(len(x.shape))
    deviation = np.sqrt(layer.moving_variance.numpy() + layer.epsilon)
    centered = g.Sub(x.name, _wide(layer.moving_mean.numpy(), axes, x.shape))
    return _scaled(g, layer, g.Div(centered, _wide(deviation, axes, x.shape)), x.shape)


def _unit_normalization(g: Builder, layer: Any, x: Value) -> str:
    return _to_unit(g, x.name, list(np.atleast_1d(layer.axis)))


def _to_unit(g: Builder, x: str, axes: list[int]) -> str:
    square = g.ReduceSum(g.Mul(x, x), axes)
    return g.Div(x, g.Sqrt(g.Max(square, 1e-12)))


def _rescaling(g: Builder, layer: Any, x: Value) -> str:
    return g.Add(g.Mul(x.name, layer.scale), layer.offset)


def _normalization(g: Builder, layer: Any, x: Value) -> str:
    adapted = layer.mean is None
    mean = layer.moving_mean.numpy() if adapted else layer.mean
    variance = layer.moving_variance.numpy() if adapted else layer.variance
    kept = layer._kept(len(x.shape))
    if mean.size == np.prod([x.shape[axis] for axis in kept]):
        mean, variance = _wide(mean, kept, x.shape), _wide(variance, kept, x.shape)
    deviation = np.maximum(np.sqrt(variance), 1e-7)
    if layer.invert:
        return g.Add(g.Mul(x.name, deviation), mean)
    return g.Div(g.Sub(x.name, mean), deviation)


# ---- Places ----


def _flatten(g: Builder, layer: Any, x: Value) -> str:
    return g.Flatten(x.name, axis=1)


def _reshape(g: Builder, layer: Any, x: Value) -> str:
    return g.Reshape(x.name, [0, *layer.target_shape])


def _permute(g: Builder, layer: Any, x: Value) -> str:
    return g.Transpose(x.name, perm=[0, *layer.dims])


def _repeat_vector(g: Builder, layer: Any, x: Value) -> str:
    return g.Expand(g.Unsqueeze(x.name, [1]), [1, layer.n, 1])


def _zero_padding(g: Builder, layer: Any, x: Value) -> str:
    left, right = layer.padding
    return g.Pad(x.name, [0, left, 0, 0, right, 0])


def _cropping(g: Builder, layer: Any, x: Value) -> str:
    left, right = layer.cropping
    return g.Slice(x.name, [left], [-right or np.iinfo(np.int64).max], [1])


def _up_sampling(g: Builder, layer: Any, x: Value) -> str:
    steps_last = g.Unsqueeze(g.Transpose(x.name, perm=[0, 2, 1]), [3])
    repeated = g.Reshape(g.Expand(steps_last, [1, 1, 1, layer.size]), [0, 0, -1])
    return g.Transpose(repeated, perm=[0, 2, 1])


# ---- Windows ----


def _convolution(g: Builder, layer: Any, x: Value) -> str:
    y = g.Conv(
        _padded(g, layer, x.name, layer._reach, 0.0),
        layer.kernel.numpy().transpose(2, 1, 0),
        *([] if layer.bias is None else [layer.bias.numpy()]),
        strides=[layer.strides],
        dilations=[layer.dilation_rate],
        group=layer.groups,
    )
    y = g.Transpose(y, perm=[0, 2, 1])
    return onnx_activations.apply(g, layer.activation, y, layer.name)


def _max_pooling(g: Builder, layer: Any, x: Value) -> str:
    return _pooled(g, layer, "MaxPool", x.name, -np.inf)


def _average_pooling(g: Builder, layer: Any, x: Value) -> str:
    y = _pooled(g, layer, "AveragePool", x.name, 0.0)
    if layer.padding == "valid":
        return y
    ones = g.Expand(1.0, g.Concat([1], g.Shape(x.name, start=1, end=2), [1], axis=0))
    return g.Div(y, _pooled(g, layer, "AveragePool", ones, 0.0))  # padding does not count


def _pooled(g: Builder, layer: Any, operator: str, x: str, fill: float) -> str:
    padded = _padded(g, layer, x, layer.pool_size, fill)
    y = g.node(operator, padded, kernel_shape=[layer.pool_size], strides=[layer.strides])
    return g.Transpose(y, perm=[0, 2, 1])


def _padded(g: Builder, layer: Any, x: str, size: int, fill: float) -> str:
    """The input as [batch, features, time], padded for windows of a size.

    ONNX's own ways to pad for a length that is free are not complete in ONNX Runtime.
    """
    if layer.padding == "same" and layer.strides > 1:
        time = g.Shape(x, start=1, end=2)
        windows = g.Div(g.Add(time, layer.strides - 1), layer.strides)
        reach = g.Add(g.Mul(g.Sub(windows, 1), layer.strides), size)
        total = g.Max(g.Sub(reach, time), [0])
        before = g.Div(total, 2)
        pads = g.Concat([0, 0], before, [0, 0], g.Sub(total, before), axis=0)
    else:
        before, after = padding_steps(1, size, 1, layer.padding)
        pads = [0, 0, before, 0, 0, after]
    steps_last = g.Transpose(x, perm=[0, 2, 1])
    return steps_last if layer.padding == "valid" else g.Pad(steps_last, pads, fill)


def _global_average(g: Builder, layer: Any, x: Value) -> str:
    keepdims = int(layer.keepdims)
    if x.mask is None:
        return g.ReduceMean(x.name, [1], keepdims=keepdims)
    mask = g.Unsqueeze(x.mask.name, [-1])
    count = g.Max(g.ReduceSum(g.cast(mask, g.dtype), [1], keepdims=keepdims), 1.0)
    return g.Div(g.ReduceSum(g.Where(mask, x.name, 0.0), [1], keepdims=keepdims), count)


def _global_maximum(g: Builder, layer: Any, x: Value) -> str:
    return g.ReduceMax(x.name, [1], keepdims=int(layer.keepdims))


# ---- Several inputs ----


def _aligned(g: Builder, x: list[Value]) -> list[str]:
    """Inputs with axes of length 1 after the batch, so that all have as many."""
    ndim = max(len(item.shape) for item in x)
    missing = [list(range(1, 1 + ndim - len(item.shape))) for item in x]
    return [
        g.Unsqueeze(item.name, axes) if axes else item.name
        for item, axes in zip(x, missing, strict=True)
    ]


def _add(g: Builder, layer: Any, x: list[Value]) -> str:
    return functools.reduce(g.Add, _aligned(g, x))


def _subtract(g: Builder, layer: Any, x: list[Value]) -> str:
    return functools.reduce(g.Sub, _aligned(g, x))


def _average(g: Builder, layer: Any, x: list[Value]) -> str:
    return g.Div(_add(g, layer, x), float(len(x)))


def _steps(g: Builder, x: list[Value]) -> list[str | None]:
    """The masks, as they are broadcast against the inputs."""
    return [None if item.mask is None else g.Unsqueeze(item.mask.name, [-1]) for item in x]


def _multiply(g: Builder, layer: Any, x: list[Value]) -> str:
    masks = _steps(g, x)
    factors = [
        name if mask is None else g.Where(mask, name, 1.0)
        for name, mask in zip(_aligned(g, x), masks, strict=True)
    ]
    y = functools.reduce(g.Mul, factors)
    if None in masks:
        return y
    anywhere: Any = functools.reduce(g.Or, masks)
    return g.Mul(y, g.cast(anywhere, g.dtype))


def _extremum(operator: str) -> Callable[..., str]:
    """Where one input is masked, the other."""

    def merge(g: Builder, layer: Any, x: list[Value]) -> str:
        (y, *others), (known, *masks) = _aligned(g, x), _steps(g, x)
        for other, valid in zip(others, masks, strict=True):
            other = other if valid is None else g.Where(valid, other, y)
            best = g.node(operator, y, other)
            y = best if known is None else g.Where(known, best, other)
            known = None if known is None or valid is None else g.Or(known, valid)
        return y

    return merge


def _concatenate(g: Builder, layer: Any, x: list[Value]) -> str:
    return g.Concat(*(item.name for item in x), axis=layer.axis)


def _dot(g: Builder, layer: Any, x: list[Value]) -> str:
    rows, rests = [], []
    for item, axis in zip(x, layer._axes([len(item.shape) for item in x]), strict=True):
        order = [place for place in range(len(item.shape)) if place != axis]
        moved = g.Transpose(item.name, perm=[*order, axis])
        moved = _to_unit(g, moved, [-1]) if layer.normalize else moved
        rests.append(g.Shape(moved, start=1, end=-1))
        flat = g.Concat(g.Shape(moved, end=1), [-1], g.Shape(moved, start=-1), axis=0)
        rows.append(g.Reshape(moved, flat))
    y = g.MatMul(rows[0], g.Transpose(rows[1], perm=[0, 2, 1]))
    if all(len(item.shape) == 2 for item in x):
        return g.Squeeze(y, [1])
    return g.Reshape(y, g.Concat(g.Shape(y, end=1), *rests, axis=0))


# ---- Layers around others ----


def _bidirectional(g: Builder, layer: Any, x: Value, states: list[str] | None = None) -> list[str]:
    half = len(states or ()) // 2
    starts = [None, None] if states is None else [states[:half], states[half:]]
    output, *last = recurrent(g, layer.forward_layer, x, starts[0])
    other, *other_last = recurrent(g, layer.backward_layer, x, starts[1])
    if layer.return_sequences:
        other = reverse(g, other)
    merge = MERGES[layer.merge_mode]
    return [*merge(g, output, other), *last, *other_last]


MERGES: dict[str | None, Callable[[Builder, str, str], list[str]]] = {
    None: lambda g, a, b: [a, b],
    "concat": lambda g, a, b: [g.Concat(a, b, axis=-1)],
    "sum": lambda g, a, b: [g.Add(a, b)],
    "ave": lambda g, a, b: [g.Div(g.Add(a, b), 2.0)],
    "mul": lambda g, a, b: [g.Mul(a, b)],
}


def _time_distributed(g: Builder, layer: Any, x: Value) -> str:
    rows = g.Reshape(x.name, g.Concat([-1], g.Shape(x.name, start=2), axis=0))
    steps = Value(rows, (x.shape[0], *x.shape[2:]))
    carries, g.carries = g.carries, False  # what is inside begins anew at each step
    (y,) = apply(g, layer.layer, steps)
    g.carries, g.scope = carries, layer.name
    shape = g.Concat(g.Shape(x.name, end=2), g.Shape(y.name, start=1), axis=0)
    return g.Reshape(y.name, shape)


TABLE: dict[type, Callable[..., Any]] = {
    layers.Activation: _activation,
    layers.ActivityRegularization: _same,
    layers.Add: _add,
    layers.AlphaDropout: _same,
    layers.Average: _average,
    layers.AveragePooling1D: _average_pooling,
    layers.BatchNormalization: _batch_normalization,
    layers.Bidirectional: _bidirectional,
    layers.Concatenate: _concatenate,
    layers.Conv1D: _convolution,
    layers.Cropping1D: _cropping,
    layers.Dense: _dense,
    layers.Dot: _dot,
    layers.Dropout: _same,
    layers.ELU: _elu,
    layers.Embedding: _embedding,
    layers.Flatten: _flatten,
    layers.GRU: recurrent,
    layers.GaussianDropout: _same,
    layers.GaussianNoise: _same,
    layers.GlobalAveragePooling1D: _global_average,
    layers.GlobalMaxPooling1D: _global_maximum,
    layers.Identity: _same,
    layers.InputLayer: _same,
    layers.LSTM: recurrent,
    layers.LayerNormalization: _layer_normalization,
    layers.LeakyReLU: _leaky_relu,
    layers.Masking: _masking,
    layers.MaxPooling1D: _max_pooling,
    layers.Maximum: _extremum("Max"),
    layers.Minimum: _extremum("Min"),
    layers.Multiply: _multiply,
    layers.Normalization: _normalization,
    layers.PReLU: _prelu,
    layers.Permute: _permute,
    layers.ReLU: _relu,
    layers.RepeatVector: _repeat_vector,
    layers.Rescaling: _rescaling,
    layers.Reshape: _reshape,
    layers.SimpleRNN: recurrent,
    layers.Softmax: _softmax,
    layers.SpatialDropout1D: _same,
    layers.Subtract: _subtract,
    layers.TimeDistributed: _time_distributed,
    layers.UnitNormalization: _unit_normalization,
    layers.UpSampling1D: _up_sampling,
    layers.ZeroPadding1D: _zero_padding,
}
