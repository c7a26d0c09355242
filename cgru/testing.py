"""What every layer has to keep to, as checks for layers of your own."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from cgru import _configs
from cgru.layers.base import CONTEXT, Layer
from cgru.layers.graph import Graph
from cgru.layers.recurrent import Recurrent
from cgru.layers.symbolic import is_several

STEP = 1e-5  # of the finite differences
ENTRIES = 60  # of an array, at most, have theirs computed


def check_layer(
    layer: Layer | Callable[[], Layer],
    input_shape: Any,
    *,
    draw: Callable[[np.random.Generator, tuple[int, ...]], Any] | None = None,
    rtol: float = 1e-6,
    seed: int = 0,
) -> None:
    """Check that a layer does what models expect of one; all layers of cgru pass.

    Parameters
    ----------
    layer : Layer, or function without arguments that returns one
        A layer is copied, and stays as it is.
    input_shape : tuple of int or None, or a list of them for a layer that reads several arrays
        With the batch; None for what is free, as in ``(None, None, 3)``: several sizes are tried.
    draw : callable, optional
        ``draw(rng, shape)`` returns an input.  By default they are standard normal, or 0 and 1
        for a layer that reads integers.
    rtol : float
        How far gradients may be from finite differences, relative to the largest entry.
    seed : int
        Of inputs and weights.

    Raises
    ------
    AssertionError
        With the name of the check that failed: ``shapes`` (`compute_output_shape`), ``config``,
        ``writes`` (inputs and gradients stay as they are), ``determinism``, ``copies`` (by copy,
        pickle and `get_config`), ``dtypes``, ``memory`` (arrays that are not contiguous),
        ``masks`` (`compute_mask`, and what a layer that reads masks makes of masked steps),
        ``steps`` (`stepwise`), ``gradients``, ``unused`` (outputs that have no gradient) or
        ``frozen`` (`trainable`, and gradients that nobody needs).

    Examples
    --------
    >>> cgru.testing.check_layer(cgru.layers.Dense(2), (None, 3))
    >>> class Double(cgru.layers.Layer):
    ...     def forward(self, x):
    ...         return 2 * x, lambda dy: dy
    >>> cgru.testing.check_layer(Double, (None, 3))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    AssertionError: double..., gradients: of x at (0, 0): expected -0.4..., got -0.2...
    """
    given = copy.deepcopy(layer) if isinstance(layer, Layer) else layer()
    if isinstance(given, Graph):
        raise TypeError(f"layer: expected one that is no model, got {given!r}")
    _Checks(given, input_shape, draw, rtol, np.random.default_rng(seed)).run_all()


class _Result(NamedTuple):
    """What a forward pass, and the backward pass, gave."""

    outputs: tuple[np.ndarray, ...]
    penalty: float
    dx: list[Any]
    dweights: list[np.ndarray]


class _Checks:
    """The checks of one layer; `subject` is a copy in float64 with a seed."""

    def __init__(
        self, layer: Layer, input_shape: Any, draw: Any, rtol: float, rng: np.random.Generator
    ) -> None:
        self.layer, self.rtol, self.rng = layer, rtol, rng
        self.shapes = list(input_shape) if layer.takes_several else [tuple(input_shape)]
        self.draw = draw or (
            (lambda rng, shape: rng.integers(0, 2, shape))
            if layer.reads_integers
            else (lambda rng, shape: rng.standard_normal(shape))
        )
        self.modes = (False, True) if "training" in layer._accepts else (False,)

    def run_all(self) -> None:
        """Every check; whatever goes wrong is an AssertionError that names it."""
        for name in [name[6:] for name in vars(_Checks) if name.startswith("check_")]:
            try:
                getattr(self, f"check_{name}")()
            except AssertionError as error:
                raise AssertionError(f"{self.layer.name}, {name}: {error}") from None
            except Exception as error:
                raise AssertionError(f"{self.layer.name}, {name}: {error!r}") from error

    # ---- What the checks use ----

    def inputs(self, batch: int = 3, time: int = 6) -> list[np.ndarray]:
        """Arrays for the layer."""
        drawn = []
        for first, *rest in self.shapes:
            sizes = (first or batch, *(time if size is None else size for size in rest))
            drawn.append(np.array(self.draw(self.rng, sizes)))
        return drawn

    def shaped(self, values: list[Any]) -> Any:
        """One thing for each input as a call wants it."""
        return values if self.layer.takes_several else values[0]

    def masks(self, x: list[np.ndarray]) -> list[np.ndarray] | None:
        """A mask for each input; None if they are no sequences, or of different lengths."""
        if any(item.ndim < (2 if self.layer.reads_integers else 3) for item in x):
            return None
        if len({item.shape[:2] for item in x}) > 1:
            return None
        return [self.rng.random(item.shape[:2]) < 0.6 for item in x]

    def remade(self, dtype: str) -> Layer:
        """The layer from its configuration, as a file of a model holds it, with its weights."""
        config = _changed(self.layer.serialized(), dtype=dtype, seed=1)
        own = {type(one).__name__: type(one) for one in (self.layer, *self.layer.inner_layers())}
        made: Layer = _configs.deserialize(json.loads(json.dumps(config)), own)
        made.ensure_built(self.shaped([item.shape for item in self.inputs()]))
        made.set_weights(self.layer.get_weights())
        return made

    def run(
        self,
        layer: Layer,
        x: list[np.ndarray],
        masks: list[np.ndarray] | None = None,
        training: bool = False,
        dy: list[Any] | None = None,
        **needs: bool,
    ) -> _Result:
        """A copy's forward pass, and for a gradient dy its backward pass."""
        layer = copy.deepcopy(layer)  # its states, and its random numbers, stay as they are
        penalties: list[Any] = []
        context = dict.fromkeys(CONTEXT) | {"training": training, "penalties": penalties}
        context |= {"mask": None if masks is None else self.shaped(masks)}
        context |= {"needs_input_grad": True, "needs_backward": dy is not None} | needs
        y, backward = layer.run(self.shaped(x), context)
        outputs = y if isinstance(y, tuple) else (y,)
        penalty = float(sum(penalties))
        if dy is None:
            return _Result(outputs, penalty, [], [])
        for weight in layer.weights:
            weight.grad[...] = 1  # backward has to add to it
        dx = backward(tuple(dy) if len(dy) > 1 else dy[0])
        grads = [weight.grad - 1 for weight in layer.weights]
        return _Result(outputs, penalty, dx if self.layer.takes_several else [dx], grads)

    def call(self, layer: Layer, x: list[np.ndarray]) -> tuple[np.ndarray, ...]:
        """The outputs of the layer itself, which is then as it was."""
        y = layer(self.shaped(x))
        if hasattr(layer, "reset_state"):
            layer.reset_state()
        return y if isinstance(y, tuple) else (y,)

    def gradient(self, outputs: tuple[np.ndarray, ...]) -> list[np.ndarray]:
        """A random gradient of outputs."""
        return [self.rng.standard_normal(y.shape).astype(y.dtype) for y in outputs]

    def situations(self, x: list[np.ndarray]) -> Iterator[tuple[Any, bool]]:
        """Without and with masks, in inference and in training, as the layer tells them apart."""
        for training in self.modes:
            yield None, training
            if "mask" in self.layer._accepts and (masks := self.masks(x)) is not None:
                yield masks, training

    # ---- The checks ----

    def check_shapes(self) -> None:
        layer = self.layer
        layer.ensure_built(self.shaped([item.shape for item in self.inputs()]))
        _require(layer.built, "expected built=True after build")
        for weight in layer.trainable_weights:  # zeros and ones would hide what is wrong
            weight.assign(weight.value + 0.1 * self.rng.standard_normal(weight.shape))
        for batch, time in ((3, 6), (1, 9)):
            x = self.inputs(batch, time)
            found = [y.shape for y in self.run(layer, _cast(x, layer.dtype)).outputs]
            for known in ([item.shape for item in x], self.shapes):
                shape = layer.compute_output_shape(self.shaped(known))
                expected = list(shape) if is_several(shape) else [shape]
                _require(
                    len(expected) == len(found) and all(map(_fits, found, expected)),
                    f"compute_output_shape({known}) says {expected}, got {found}",
                )

    def check_config(self) -> None:
        layer = self.layer
        config = layer.get_config()
        lost = {"name", "dtype", "trainable"} - config.keys()
        _require(not lost, f"{lost} missing: the constructor has to hand on **kwargs to Layer's")
        plain = json.loads(json.dumps(_changed(config, dtype="float64", seed=1)))
        self.subject = self.remade("float64")
        again = json.loads(json.dumps(self.subject.get_config()))
        _require(again == plain, f"expected {plain} from a layer made of it, got {again}")

    def check_writes(self) -> None:
        x = self.inputs()
        for masks, training in self.situations(x):
            arrays = {"x": x, "mask": masks or []}
            before = copy.deepcopy(arrays)
            arrays["dy"] = self.gradient(self.run(self.subject, x, masks, training).outputs)
            before["dy"] = copy.deepcopy(arrays["dy"])
            self.run(self.subject, x, masks, training, arrays["dy"])
            for name, kept in before.items():
                _require(_same(kept, arrays[name]), f"{name} was written to")

    def check_determinism(self) -> None:
        x = self.inputs()
        layer = copy.deepcopy(self.subject)
        _require(
            _same(self.call(layer, x), self.call(layer, x)), "two calls with the same x differ"
        )
        pair = [self.run(self.remade("float64"), x, training=True).outputs for _ in range(2)]
        _require(_same(*pair), "two layers with the same seed differ in training")

    def check_copies(self) -> None:
        layer, x = self.layer, _cast(self.inputs(), self.layer.dtype)
        copies = {"deepcopy": copy.deepcopy(layer), "get_config": self.remade(layer.dtype)}
        parts = [layer, *layer.inner_layers()]
        if all(map(_is_importable, parts)):
            copies["pickle"] = pickle.loads(pickle.dumps(layer))
        expected = self.call(layer, x)
        for name, one in copies.items():
            _require(_same(expected, self.call(one, x)), f"a copy by {name} gives other outputs")
        if all(getattr(one, "seed", 0) is not None for one in parts):
            expected = self.run(layer, x, training=True).outputs
            for name, one in copies.items():
                found = self.run(one, x, training=True).outputs
                _require(
                    _same(expected, found), f"a copy by {name} gives other outputs in training"
                )

    def check_dtypes(self) -> None:
        x = self.inputs()
        outputs: list[Any] = []
        for dtype in ("float64", "float32"):
            layer, mine = self.remade(dtype), _cast(x, dtype)
            dy = self.gradient(self.run(layer, mine).outputs)
            found = self.run(layer, mine, dy=dy)
            outputs.append(found.outputs)
            arrays = {"output": found.outputs, "gradient of x": found.dx}
            arrays["gradient of a weight"] = found.dweights
            for name, several in arrays.items():
                kinds = {str(array.dtype) for array in several if array is not None}
                _require(kinds <= {dtype}, f"{name}: expected {dtype}, got {kinds}")
        _close("the output in float32 against that in float64", outputs[0], outputs[1], 1e-4)

    def check_memory(self) -> None:
        x = self.inputs()
        dy = self.gradient(self.run(self.subject, x).outputs)
        plain: Any = self.run(self.subject, x, dy=dy)
        found: Any = self.run(self.subject, _time_major(x), dy=_time_major(dy))
        for part in ("outputs", "dx", "dweights"):
            what = f"{part} for arrays that are time-major in memory"
            _close(what, getattr(plain, part), getattr(found, part), self.rtol)

    def check_masks(self) -> None:
        x = self.inputs()
        masks = self.masks(x)
        if masks is None:
            return
        layer = self.subject
        outputs = self.run(layer, x, masks).outputs
        made = layer.compute_mask(self.shaped(x), None)
        _require(
            layer.makes_mask or all(mask is None for mask in _as_list(made, 1)),
            "compute_mask makes a mask of none, which makes_mask=True has to say",
        )
        valid = _as_list(layer.compute_mask(self.shaped(x), self.shaped(masks)), len(outputs))
        for y, mask in zip(outputs, valid, strict=True):
            _require(
                mask is None or (mask.dtype == bool and mask.shape == y.shape[: mask.ndim]),
                f"compute_mask: expected bool of shape {y.shape[:2]}, got {mask!r}",
            )
        if "mask" not in layer._accepts or layer.reads_integers:
            return
        shown = [np.logical_or.reduce(masks)] * len(x)

        def seen(result: _Result) -> list[np.ndarray]:
            dx = _kept(result.dx, shown) if result.dx else []
            return [*_kept(result.outputs, valid), *dx, *result.dweights]

        for training in self.modes:
            dy = _kept(self.gradient(outputs), valid)
            plain = seen(self.run(layer, x, masks, training, dy))
            # NaN may come back in gradients; models let no NaN in.
            for content, backward in ((5, dy), (np.nan, None)):
                other = _kept(x, shown, content)
                found = seen(self.run(layer, other, masks, training, backward))
                what = f"what comes of valid steps, with {content} at masked ones"
                _close(what, plain[: len(found)], found, self.rtol)

    def check_steps(self) -> None:
        x = self.inputs()
        if not self.subject.stepwise or self.masks(x) is None:
            return
        parts = {"first steps of a stepwise layer": slice(4)}
        layers = (self.subject, *self.subject.inner_layers())
        if not any(isinstance(layer, Recurrent) for layer in layers):
            parts["last steps of a stepwise layer that carries no state"] = slice(-2, None)
        whole = self.run(self.subject, x).outputs
        for what, steps in parts.items():
            part = self.run(self.subject, [item[:, steps] for item in x]).outputs
            for one, two in zip(whole, part, strict=True):
                if one.ndim > 2 and one.shape[1] == x[0].shape[1]:
                    _close(f"{what}, alone", [one[:, steps]], [two], self.rtol)

    def check_gradients(self) -> None:
        layer, x = copy.deepcopy(self.subject), self.inputs()
        for masks, training in self.situations(x):
            dy = self.gradient(self.run(layer, x, masks, training).outputs)
            found = self.run(layer, x, masks, training, dy)

            def loss(
                masks: Any = masks, training: bool = training, dy: list[np.ndarray] = dy
            ) -> float:
                result = self.run(layer, x, masks, training)
                terms = [float((y * d).sum()) for y, d in zip(result.outputs, dy, strict=True)]
                return sum(terms) + result.penalty

            for item, dx in zip(x, found.dx, strict=True):
                if item.dtype.kind == "f":
                    self._differences("x", loss, item, dx)
            trainable = set(layer.trainable_weights)
            for weight, grad in zip(layer.weights, found.dweights, strict=True):
                if weight in trainable:
                    self._differences(weight.path, loss, weight._value, grad)

    def _differences(
        self, name: str, loss: Callable[[], float], array: np.ndarray, gradient: np.ndarray
    ) -> None:
        """Compare a gradient with central differences of `loss` along entries of `array`."""
        _require(gradient is not None, f"of {name}: got None")
        _require(
            gradient.shape == array.shape,
            f"of {name}: expected shape {array.shape}, got {gradient.shape}",
        )
        limit = self.rtol * max(1.0, float(abs(gradient).max()))
        chosen = np.arange(array.size)
        if array.size > ENTRIES:
            chosen = self.rng.choice(chosen, ENTRIES, replace=False)
        for flat in chosen:
            place = tuple(int(i) for i in np.unravel_index(flat, array.shape))
            value = array[place]
            losses = []
            for sign in (1, -1):
                array[place] = value + sign * STEP
                losses.append(loss())
            array[place] = value
            expected, got = (losses[0] - losses[1]) / (2 * STEP), float(gradient[place])
            _require(
                abs(got - expected) <= limit,
                f"of {name} at {place}: expected {expected:.6g}, got {got:.6g}",
            )

    def check_unused(self) -> None:
        x = self.inputs()
        dy = self.gradient(self.run(self.subject, x).outputs)
        for place in range(len(dy) if len(dy) > 1 else 0):
            zero, none = ([*dy[:place], d, *dy[place + 1 :]] for d in (0 * dy[place], None))
            results = [self.run(self.subject, x, dy=d) for d in (zero, none)]
            expected, found = ([*one.dx, *one.dweights] for one in results)
            _close(f"None as the gradient of output {place}", expected, found, self.rtol)

    def check_frozen(self) -> None:
        layer, x = copy.deepcopy(self.subject), self.inputs()
        outputs = self.run(layer, x).outputs
        dy = self.gradient(outputs)
        found = self.run(layer, x, dy=dy)
        less = self.run(layer, x, dy=dy, needs_input_grad=False)
        _close("needs_input_grad=False", found.dweights, less.dweights, self.rtol)
        _close("needs_backward=False", found.outputs, outputs, self.rtol)
        layer.trainable = False
        _require(not layer.trainable_weights, f"it still trains {layer.trainable_weights}")
        frozen = self.run(layer, x, dy=dy)
        _require(
            not any(grad.any() for grad in frozen.dweights),
            "backward adds to the gradients of weights where trainable=False",
        )
        _close("gradient of x where trainable=False", found.dx, frozen.dx, self.rtol)


def _require(holds: Any, message: str) -> None:
    """Like assert, and also where Python runs without assertions."""
    if not holds:
        raise AssertionError(message)


def _fits(found: tuple[int, ...], expected: Any) -> bool:
    """Whether a shape is another one, in which None is any size."""
    return len(found) == len(expected) and all(
        e in (None, f) for e, f in zip(expected, found, strict=True)
    )


def _changed(config: Any, **entries: Any) -> Any:
    """A configuration with other entries, wherever they occur; seeds only where there is none."""
    if isinstance(config, (list, tuple)):
        return [_changed(item, **entries) for item in config]
    if not isinstance(config, dict):
        return config
    return {
        key: entries[key]
        if key in entries and (key != "seed" or value is None)
        else _changed(value, **entries)
        for key, value in config.items()
    }


def _cast(x: list[np.ndarray], dtype: str) -> list[np.ndarray]:
    return [item.astype(dtype) if item.dtype.kind == "f" else item for item in x]


def _as_list(mask: Any, count: int) -> list[Any]:
    return list(mask) if isinstance(mask, (list, tuple)) else [mask] * count


def _kept(arrays: Any, masks: list[Any], fill: float = 0) -> list[np.ndarray]:
    """Arrays with another content in place of what is masked."""
    found = []
    for array, mask in zip(arrays, masks, strict=True):
        array = array.copy()
        if mask is not None:
            array[~mask] = fill
        found.append(array)
    return found


def _time_major(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The same arrays, in memory with time first, as recurrent layers return them."""
    return [
        np.ascontiguousarray(array.swapaxes(0, 1)).swapaxes(0, 1) if array.ndim > 2 else array
        for array in arrays
    ]


def _same(a: Any, b: Any) -> bool:
    return all(
        one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()
        for one, two in zip(a, b, strict=True)
    )


def _close(what: str, expected: Any, found: Any, rtol: float) -> None:
    for one, two in zip(expected, found, strict=True):
        if one is not None or two is not None:
            _require(one.shape == two.shape, f"{what}: expected shape {one.shape}, got {two.shape}")
            limit = rtol * float(np.max(abs(one), initial=1))
            difference = float(np.max(abs(one - two), initial=0))
            _require(difference <= limit, f"{what}: a difference of {difference}")


def _is_importable(layer: Layer) -> bool:
    """Whether pickle finds the class of a layer: not if a function has defined it."""
    cls = type(layer)
    return getattr(sys.modules.get(cls.__module__), cls.__qualname__, None) is cls
