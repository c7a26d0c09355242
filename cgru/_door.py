"""What `fit`, `evaluate` and `predict` are given, checked and made into batches."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cgru import _checks, _kernels, losses
from cgru.data import Batch, Sequences
from cgru.layers.embedding import Embedding

if TYPE_CHECKING:
    from cgru.objective import Objective
    from cgru.prediction import Predictor


def inputs(model: Predictor, x: Any, lengths: Any = None) -> Any:
    """Check and convert inputs: an array, `Sequences`, or a list of arrays for several inputs."""
    plain = lengths is None and not model.takes_several and not model.integers[0]
    if plain and _kernels.is_ready(x, model._dtype):
        return x  # a small model's time goes into such things
    found = _inputs(model, x, lengths)
    if isinstance(found, Sequences):
        time = model.input_shape[1:2]
        found.time = time[0] if time and time[0] is not None else 1
    return found


def _inputs(model: Predictor, x: Any, lengths: Any = None) -> Any:
    if isinstance(x, np.ndarray) and x.dtype == object and x.ndim == 1:
        x = list(x)  # sequences of different lengths, as NumPy puts them into an array
    if model.takes_several:
        if lengths is not None:
            raise ValueError(f"lengths: {model.name} has several inputs; mask them with layers")
        return _several(model, x)
    if isinstance(x, dict):
        x = by_name(model, x)[0]
    if lengths is not None:
        if isinstance(x, (list, tuple)) and _lengths(x) is not None:
            raise ValueError(
                "lengths: expected with an array of padded sequences, got a list of sequences of "
                "different lengths, which says so itself"
            )
        cut = _cut(_checks.numbers("x", x), lengths)
        values = cut.values if len(cut.values) else cut.values.astype(model._dtype)
        return Sequences(_array(model, "x", values) if len(values) else values, cut.lengths)
    if isinstance(x, (list, tuple)):
        if len(x) == 1 and isinstance(x[0], np.ndarray) and x[0].ndim == len(model.input_shape):
            x = x[0]  # Keras takes a list of one input, too
        elif (sizes := _lengths(x)) is not None:
            return _sequences(model, "x", x, sizes)
    return _array(model, "x", x)


def _array(model: Predictor, argument: str, x: Any, place: int = 0) -> np.ndarray:
    """An input as it is read: indices stay integers, and are within the range of their readers."""
    if model.integers[place]:
        indices = _checks.integers(argument, x)
        for step in model.steps:
            if place in step.reads and isinstance(step.layer, Embedding):
                step.layer.check_indices(indices, argument)
        return indices
    return _checks.floats(argument, x, model._dtype)


def _several(model: Predictor, x: Any) -> list[np.ndarray]:
    names = model.input_names
    if isinstance(x, dict):
        x = by_name(model, x)
    if not isinstance(x, (list, tuple)) or len(x) != len(names):
        came = f"{len(x)} entries" if isinstance(x, (list, tuple)) else type(x).__name__
        raise ValueError(f"x: expected a list of {len(names)} arrays, for {names}, got {came}")
    for name, item in zip(names, x, strict=True):
        if isinstance(item, (list, tuple)) and _lengths(item) is not None:
            raise ValueError(
                f"x[{name!r}]: expected an array, got a list of sequences of different lengths, "
                "which only a model with one input takes; pad them, with a Masking layer behind "
                "the input"
            )
    arrays = [
        _array(model, f"x[{name!r}]", item, place)
        for place, (name, item) in enumerate(zip(names, x, strict=True))
    ]
    counts = {name: len(array) for name, array in zip(names, arrays, strict=True)}
    if len(set(counts.values())) > 1:
        raise ValueError(f"x: expected the same number of samples in all inputs, got {counts}")
    return arrays


def by_name(model: Predictor, x: Mapping[str, Any]) -> list[Any]:
    for names in (model.input_names, model._input_keys or model.input_names):
        if set(x) == set(names):
            return [x[name] for name in names]
    raise ValueError(f"x: expected the inputs {model.input_names} as keys, got {list(x)}")


# ---- Sequences of different lengths ----


def _lengths(x: Any) -> np.ndarray | None:
    """The lengths of a list of sequences, if they differ, or are all 0."""
    try:
        sizes = np.array([len(item) for item in x], np.intp)
    except TypeError:
        return None
    if len(sizes) == 0:
        return None
    return sizes if sizes.min() != sizes.max() or sizes.max() == 0 else None


def _sequences(
    model: Predictor, argument: str, items: Any, lengths: np.ndarray, targets: bool = False
) -> Sequences:
    """A list of arrays [time, ...] that differ in time only."""
    check = _checks.numbers if targets else functools.partial(_array, model)
    arrays = {
        place: check(f"{argument}[{place}]", item) for place, item in enumerate(items) if len(item)
    }
    if not arrays:
        tail = tuple(size or 0 for size in model.input_shape[2:])
        return Sequences(np.zeros((0, *tail), model._dtype), lengths)
    first = next(iter(arrays.values()))
    for place, array in arrays.items():
        if array.shape[1:] != first.shape[1:]:
            raise ValueError(
                f"{argument}[{place}]: expected shape {('time', *first.shape[1:])}, as that of the "
                f"first sequence, got {array.shape}"
            )
    return Sequences(np.concatenate(list(arrays.values())), lengths)


def _cut(x: np.ndarray, lengths: Any) -> Sequences:
    """The sequences in a padded array; what is in the padding is not looked at."""
    sizes = _checks.integers("lengths", lengths)
    if x.ndim < 2:
        raise ValueError(f"x: expected [samples, time, ...] to have lengths, got shape {x.shape}")
    if sizes.shape != x.shape[:1]:
        raise ValueError(
            f"lengths: expected one for each of {len(x)} sequences, got shape {sizes.shape}"
        )
    if sizes.min() < 0 or sizes.max() > x.shape[1]:
        raise ValueError(
            f"lengths: expected from 0 to the time steps of x, of shape {x.shape}, got from "
            f"{sizes.min()} to {sizes.max()}"
        )
    valid = np.arange(x.shape[1]) < sizes[:, np.newaxis]
    return Sequences(x[valid], sizes)


# ---- Targets and weights ----


def batch(
    model: Predictor,
    objective: Objective,
    x: Any,
    y: Any,
    sample_weight: Any = None,
    class_weight: dict[int, float] | None = None,
    lengths: Any = None,
) -> Batch:
    """Check and convert samples with targets; the model is built for them if it is not."""
    if y is None:
        hint = "; call it, to have its batches" if callable(x) else ""
        raise ValueError(f"y: expected targets, got None, for x of type {type(x).__name__}{hint}")
    found = inputs(model, x, lengths)
    if type(found) is np.ndarray and class_weight is None and not model.returns_several:
        return _plain(model, objective, found, y, sample_weight)
    _check_counts(model, objective, found, y)
    shape = [item.shape for item in found] if isinstance(found, list) else found.shape
    result = model.checked_output_shape(shape)
    shapes = list(result) if model.returns_several else [result]
    if class_weight is not None and model.returns_several:
        raise ValueError("class_weight: expected a model with one output; use sample_weight")
    targets: list[Any] = []
    weights: list[Any] = []
    parts = zip(
        objective.losses,
        objective.by_output("y", y),
        objective.weights_by_output(sample_weight),
        shapes,
        objective.names,
        strict=True,
    )
    for loss, target, weight, output_shape, name in parts:
        suffix = f"[{name!r}]" if model.returns_several else ""
        measured = objective.metrics[len(targets)] or objective.weighted[len(targets)]
        if target is None and (loss is not None or measured):
            raise ValueError(f"y{suffix}: expected targets, got None")
        if loss is None:  # the metrics take targets as they are
            if measured and isinstance(found, Sequences):
                raise ValueError(
                    f"x: expected sequences of one length for metrics of {name!r}, without a loss"
                )
            targets.append(_checks.numbers(f"y{suffix}", target) if measured else None)
            given = measured and weight is not None
            weights.append(
                _checks.floats(f"sample_weight{suffix}", weight, model._dtype) if given else None
            )
            continue
        if isinstance(found, Sequences):
            target, weight = _sequence_targets(
                model, found, loss, target, weight, output_shape, len(targets), suffix
            )
        else:
            target = _checks.numbers(f"y{suffix}", target)
            target = loss.prepare(target, output_shape, model._dtype, f"y{suffix}")
            if weight is not None:
                weight = _checks.floats(f"sample_weight{suffix}", weight, model._dtype)
                allowed = output_shape if loss.by_step else output_shape[:1]
                weight = losses.check_sample_weight(weight, allowed, f"sample_weight{suffix}")
        if class_weight is not None and not loss.by_step:
            raise ValueError(
                f"class_weight: expected a loss with a class for each target, got {loss.name}; use "
                "sample_weight"
            )
        if class_weight is not None:
            weight = _class_weighted(class_weight, target, output_shape, weight, model._dtype)
        targets.append(target)
        weights.append(weight)
    if not model.built:
        model.ensure_built(shape)  # last, so that bad targets leave no half-made model
    if not model.returns_several:
        return Batch(found, targets[0], weights[0])
    return Batch(found, targets, weights if any(w is not None for w in weights) else None)


def _plain(
    model: Predictor, objective: Objective, x: np.ndarray, y: Any, sample_weight: Any
) -> Batch:
    """`batch` of one input and one output: a small model's time goes into such things."""
    if isinstance(y, dict):
        y = objective.by_output("y", y)[0]
    targets = _checks.numbers("y", y)
    if x.shape[:1] != targets.shape[:1]:
        raise ValueError(
            f"x, y: expected the same number of samples, got {x.shape[:1]} and "
            f"{targets.shape[:1]} (shapes {x.shape} and {targets.shape})"
        )
    output_shape = model.checked_output_shape(x.shape)
    loss = objective.losses[0]
    targets = loss.prepare(targets, output_shape, model._dtype)
    if sample_weight is not None:
        sample_weight = _checks.floats("sample_weight", sample_weight, model._dtype)
        sample_weight = losses.check_sample_weight(
            sample_weight, output_shape if loss.by_step else output_shape[:1]
        )
    if not model.built:  # last, so that bad targets leave no half-made model
        model.ensure_built(x.shape)
    return Batch(x, targets, sample_weight)


def _check_counts(model: Predictor, objective: Objective, found: Any, y: Any) -> None:
    """Raise a ValueError unless there are as many targets as inputs, of each output."""
    shape = (found[0] if isinstance(found, list) else found).shape
    for name, target in zip(objective.names, objective.by_output("y", y), strict=True):
        if target is None:
            continue
        listed = isinstance(found, Sequences) and isinstance(target, (list, tuple, np.ndarray))
        if listed and len(target) == len(found):
            continue
        suffix = f"[{name!r}]" if model.returns_several else ""
        ragged = listed and not isinstance(target, np.ndarray)
        came = (len(target),) if ragged else _checks.numbers(f"y{suffix}", target).shape
        if came[:1] != shape[:1]:
            raise ValueError(
                f"x, y{suffix}: expected the same number of samples, got {shape[:1]} and "
                f"{came[:1]} (shapes {shape} and {came})"
            )


def _sequence_targets(
    model: Predictor,
    x: Sequences,
    loss: losses.Loss,
    y: Any,
    weight: Any,
    output_shape: tuple[int, ...],
    place: int,
    suffix: str,
) -> tuple[Any, Any]:
    """Targets of sequences: one each, or, where the output has a time axis, one for each step."""
    if not loss.by_step or not model.timed_outputs(x.shape)[place]:
        target = _checks.numbers(f"y{suffix}", y)
        target = loss.prepare(target, output_shape, model._dtype, f"y{suffix}")
        if weight is not None:
            weight = _checks.floats(f"sample_weight{suffix}", weight, model._dtype)
            weight = losses.check_sample_weight(weight, output_shape[:1], f"sample_weight{suffix}")
        return target, weight
    if output_shape[1] != x.shape[1]:
        raise ValueError(
            f"y{suffix}: targets for each step of sequences of different lengths need an output "
            f"as long as they are, got {output_shape[1]} steps for {x.shape[1]}"
        )
    steps = _steps(model, f"y{suffix}", y, x)
    if not len(steps.values):
        raise ValueError(f"x: expected at least one step in {len(x)} sequences, got none")
    shape = (len(steps.values), *output_shape[2:])
    steps.values = loss.prepare(steps.values, shape, model._dtype, f"y{suffix}")
    if weight is not None:
        if _is_of_samples(weight, len(x)):
            weight = _checks.floats(f"sample_weight{suffix}", weight, model._dtype)
            weight = losses.check_sample_weight(weight, (len(x),), f"sample_weight{suffix}")
        else:
            values = _steps(model, f"sample_weight{suffix}", weight, x).values
            values = _checks.floats(f"sample_weight{suffix}", values, model._dtype)
            values = losses.check_sample_weight(values, values.shape[:1], f"sample_weight{suffix}")
            weight = Sequences(values, x.lengths, x.time)
    steps.time = x.time
    return steps, weight


def _is_of_samples(weight: Any, count: int) -> bool:
    """Whether there is a weight for each of the sequences, rather than for each of their steps."""
    if isinstance(weight, (list, tuple)) and len(weight) > 0:
        return np.ndim(weight[0]) == 0
    return np.ndim(weight) < 2 or np.shape(weight) == (count, 1)


def _steps(model: Predictor, argument: str, value: Any, x: Sequences) -> Sequences:
    """What is given for each step: a list of arrays, or an array that is padded as x."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        if value.ndim < 2 or value.shape[1] < x.lengths.max():
            raise ValueError(
                f"{argument}: expected a list of arrays, each as long as the sequence in x, or an "
                f"array padded to at least {x.lengths.max()} steps, got shape {value.shape}"
            )
        return _cut(value, x.lengths)
    if len(value) != len(x):
        raise ValueError(
            f"{argument}: expected one for each of {len(x)} sequences, got {len(value)}"
        )
    for place, (item, length) in enumerate(zip(value, x.lengths, strict=True)):
        came = len(item) if hasattr(item, "__len__") else 0
        if came != length:
            raise ValueError(f"{argument}[{place}]: expected {length} steps, as in x, got {came}")
    return _sequences(model, argument, value, x.lengths, targets=True)


def _class_weighted(
    class_weight: dict[int, float],
    targets: Any,
    output_shape: tuple[int, ...],
    weight: Any,
    dtype: np.dtype,
) -> Any:
    """Sample weights times the factor of each target's class."""
    if not isinstance(class_weight, dict):
        raise TypeError(f"class_weight: expected a dictionary, got {class_weight!r}")
    labels = targets.values if isinstance(targets, Sequences) else targets
    if labels.ndim == len(output_shape) - isinstance(targets, Sequences):
        labels = labels.argmax(axis=-1) if output_shape[-1] > 1 else labels[..., 0]
    factors = np.ones(labels.shape, dtype)
    classes = max(2, output_shape[-1])
    for label, factor in class_weight.items():
        if label not in range(classes):
            raise ValueError(
                f"class_weight: expected classes from 0 to {classes - 1}, got {label!r}"
            )
        factors[labels == label] = _checks.real(f"class_weight[{label}]", factor, 0)
    if isinstance(targets, Sequences):
        if weight is not None:
            if not isinstance(weight, Sequences):
                weight = Sequences(np.repeat(weight, targets.lengths), targets.lengths)
            factors = weight.values * factors
        return Sequences(factors, targets.lengths, targets.time)
    if weight is None:
        return factors
    return weight.reshape(weight.shape + (1,) * (factors.ndim - weight.ndim)) * factors
