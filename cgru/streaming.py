"""Live streams: a model that is given a sequence step by step, and carries its states."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cgru import _checks, _door, _kernels, activations
from cgru.layers import _packed, _stepwise
from cgru.layers.base import Layer
from cgru.layers.core import Dense
from cgru.layers.graph import Graph
from cgru.layers.gru import GRU
from cgru.layers.lstm import LSTM
from cgru.layers.recurrent import Recurrent
from cgru.layers.simple_rnn import SimpleRNN
from cgru.layers.wrappers import TimeDistributed

if TYPE_CHECKING:
    from cgru.models import Model

# Those that the compiled steps know.
_ACTIVATIONS = (activations.linear, activations.sigmoid, activations.tanh)
_CELLS = (GRU, LSTM, SimpleRNN)


class Stream:
    """A model that reads sequences one time step after the other: see `Model.stream`.

    It returns what `predict` returns for the sequences so far, and works with the weights that
    the model has at the time of the step.  One stream serves one thread at a time; streams of one
    model are independent of each other, and of the model's own `stateful` layers.  ``copy.copy``
    makes another one of the same model, which goes on from the same states.

    Parameters
    ----------
    model : Model
        Built, of layers that act on each step alone, or carry a state forwards.
    batch_size : int
        The number of sequences that are read side by side.

    Raises
    ------
    ValueError
        If the model is not built, or a layer needs more of a sequence than the steps so far.

    Examples
    --------
    >>> model = cgru.Sequential([cgru.Input((None, 3)), cgru.layers.GRU(4), cgru.layers.Dense(1)])
    >>> x = np.random.rand(1, 10, 3).astype("float32")
    >>> stream = cgru.streaming.Stream(model)
    >>> for t in range(10):
    ...     y = stream.step(x[:, t])
    >>> bool(np.array_equal(y, model.predict(x)))
    True
    """

    def __init__(self, model: Model, batch_size: int = 1) -> None:
        self.batch_size = _checks.integer("batch_size", batch_size, 1)
        model.check_built()
        _stepwise.check("stream", model, "predicts_stepwise")
        self._model = model
        shapes = model.input_shape if model.takes_several else [model.input_shape]
        for shape, integers in zip(shapes, model.integers, strict=True):
            if len(shape) < 2 + (not integers) or None in shape[2:]:
                raise ValueError(
                    f"stream: expected inputs of shape [batch, time, features], got {shape}"
                )
        self._inner = [tuple(shape[2:]) for shape in shapes]
        one = [(self.batch_size, 1, *inner) for inner in self._inner]
        free = model.output_shapes([(self.batch_size, None, *inner) for inner in self._inner])
        self._timed = [_over_time(free[place]) for place in model.sinks]
        self._by_chunk = all(self._timed) and not _mixes(model, [free[i] for i in model.sources])
        self._carriers: dict[str, Any] = {}
        self._graph: Any = self._twin(model)
        self._program = self._compiled()
        self._lock: Any = self._program or threading.Lock()
        zeros = [
            np.zeros(shape, "int64" if integers else model.dtype)
            for shape, integers in zip(one, model.integers, strict=True)
        ]
        self._execute(zeros if model.takes_several else zeros[0])  # states have shapes from now on
        self.reset()

    def __reduce__(self) -> Any:
        return type(self), (self._model, self.batch_size), self.state

    def __setstate__(self, state: dict[str, list[np.ndarray]]) -> None:
        self.state = state

    def _twin(self, layer: Any) -> Any:
        """A layer with the same weights, and states of its own."""
        if isinstance(layer, TimeDistributed):
            return layer
        twin = copy.copy(layer)
        vars(twin).pop("run", None)  # a regularizer's, of the original
        if isinstance(layer, Graph):
            steps = [step._replace(layer=self._twin(step.layer)) for step in layer.steps]
            twin._plans, twin._plans_version = {}, -1
            twin.link(steps, layer.count, layer.sources, layer.sinks)
            return twin
        for name, value in list(vars(layer).items()):
            if isinstance(value, Layer):
                setattr(twin, name, self._twin(value))
            elif isinstance(value, list) and any(isinstance(item, Layer) for item in value):
                parts = [self._twin(v) if isinstance(v, Layer) else v for v in value]
                setattr(twin, name, parts)
        if isinstance(layer, Recurrent):
            twin.stateful, twin._state = True, None
            name, count = layer.name, 1
            while name in self._carriers:  # called, or named so, more than once
                count += 1
                name = f"{layer.name}_call_{count}"
            self._carriers[name] = twin
        return twin

    def _compiled(self) -> _kernels.StreamProgram | None:
        """The steps of a chain of recurrent and Dense layers as one call, if they are as usual."""
        layers: list[Any] = []
        layer: Any
        for layer in (step.layer for step in self._model.steps):
            if (
                isinstance(layer, Recurrent)
                and type(layer) in _CELLS
                and layer._sequence(None) is _packed.sequence
                and not layer.return_state
            ):
                layers.append((layer._variables, None))
            elif type(layer) is Dense and layer.activation in _ACTIVATIONS:
                layers.append((layer._variables, layer.activation.name))
            else:
                return None
        bare = self._model.is_chain and self._model._output_keys is None
        ready = bare and 0 < len(layers) <= 16 and _kernels.packs()
        return _kernels.StreamProgram(layers, self.batch_size) if ready else None

    def step(self, x: Any) -> Any:
        """Read one time step.

        Parameters
        ----------
        x : array_like, shape (batch_size, features)
            For several inputs a list or a dictionary of them, as for `predict`; indices, for an
            `Embedding`, have the shape (batch_size,).

        Returns
        -------
        ndarray, shape (batch_size, ...)
            The output after this step, in the structure in which `predict` returns outputs.

        Raises
        ------
        ValueError
            If x does not fit.  The states are then as before.
        RuntimeError
            If another thread is using this stream.
        """
        if self._program is not None:
            y = self._program.step(x)
            if y is not None:
                return y
        inputs = self._inputs(self._each(x, _one_step), 1)
        if self._program is not None:
            return self._program.step(np.ascontiguousarray(inputs[:, 0]))
        outputs = self._alone(lambda: self._execute(inputs))
        found = [y[:, 0] if timed else y for y, timed in zip(outputs, self._timed, strict=True)]
        return self._structured(found)

    def run(self, x: Any) -> Any:
        """Read a chunk of time steps.

        Parameters
        ----------
        x : array_like, shape (batch_size, time, features)
            As for `predict`.

        Returns
        -------
        ndarray, shape (batch_size, time, ...)
            The outputs after each step, also of a model that ends in ``return_sequences=False``.

        Raises
        ------
        ValueError, RuntimeError
            As in `step`.
        """
        inputs = self._inputs(self._each(x, np.asarray), None)
        if self._program is not None:
            by_step = self._program.run(np.ascontiguousarray(inputs.swapaxes(0, 1)))
            return np.ascontiguousarray(by_step.swapaxes(0, 1))
        if self._by_chunk:
            return self._structured(self._alone(lambda: self._execute(inputs)))
        several = self._model.takes_several

        def all_steps() -> list[Any]:
            found = []
            for t in range((inputs[0] if several else inputs).shape[1]):
                part = [item[:, t : t + 1] for item in (inputs if several else [inputs])]
                found.append(self._execute(part if several else part[0]))
            return found

        return self._structured(
            [
                np.concatenate(ys, axis=1) if timed else np.stack(ys, axis=1)
                for ys, timed in zip(
                    zip(*self._alone(all_steps), strict=True), self._timed, strict=True
                )
            ]
        )

    def reset(self, rows: Any = None) -> None:
        """Let sequences begin anew.

        Parameters
        ----------
        rows : array_like of bool, shape (batch_size,), optional
            Which; all of them by default.
        """
        which = np.ones(self.batch_size, bool) if rows is None else np.asarray(rows)
        if which.dtype != bool or which.shape != (self.batch_size,):
            raise ValueError(
                f"rows: expected bool of shape {(self.batch_size,)}, got {which.dtype} of "
                f"{which.shape}"
            )

        def clear() -> None:
            for name in self._carriers:
                for array in self._arrays(name):
                    array[which] = 0

        self._alone(clear)

    @property
    def state(self) -> dict[str, list[np.ndarray]]:
        """Copies of the states of each recurrent layer, by its name; setting it restores them.

        A layer that is called more than once has a state for each call.
        """
        return self._alone(
            lambda: {
                name: [array.copy() for array in self._arrays(name)] for name in self._carriers
            }
        )

    @state.setter
    def state(self, value: Mapping[str, Any]) -> None:
        if not isinstance(value, Mapping) or value.keys() != self._carriers.keys():
            got = sorted(value) if isinstance(value, Mapping) else value
            raise ValueError(f"state: expected states of {sorted(self._carriers)}, got {got!r}")
        new: dict[str, list[np.ndarray]] = {}
        for name, layer in self._carriers.items():
            own = self._arrays(name)
            arrays = [
                _checks.floats(f"state, {name}", item, layer._dtype) for item in list(value[name])
            ]
            if [array.shape for array in arrays] != [array.shape for array in own]:
                raise ValueError(
                    f"state, {name}: expected shapes {[array.shape for array in own]}, got "
                    f"{[array.shape for array in arrays]}"
                )
            new[name] = arrays

        def restore() -> None:
            for name, arrays in new.items():
                for array, values in zip(self._arrays(name), arrays, strict=True):
                    array[...] = values

        self._alone(restore)

    def _arrays(self, name: str) -> list[np.ndarray]:
        """The states of a layer, where they lie now."""
        if self._program is not None:
            states = self._program.states[list(self._carriers).index(name)]
            return [state[0] for state in states]
        return list(self._carriers[name]._state)

    def _each(self, x: Any, change: Callable[[Any], Any]) -> Any:
        """Each input changed, in the structure in which they came."""
        if isinstance(x, Mapping):
            return {name: change(item) for name, item in x.items()}
        if self._model.takes_several and isinstance(x, (list, tuple)):
            return [change(item) for item in x]
        return change(x)

    def _inputs(self, x: Any, time: int | None) -> Any:
        """Inputs, checked."""
        inputs: Any = _door.inputs(self._model, x)
        arrays = inputs if self._model.takes_several else [inputs]
        for array, inner in zip(arrays, self._inner, strict=True):
            steps = arrays[0].shape[1] if time is None and array.ndim > 1 else time
            if array.shape != (self.batch_size, steps, *inner):
                shape = (self.batch_size, *inner) if time else (self.batch_size, "time", *inner)
                got = (array.shape[0], *array.shape[2:]) if time else array.shape
                raise ValueError(f"x: expected shape {shape}, got {got}")
        return inputs

    def _execute(self, inputs: Any) -> list[Any]:
        y, _, _ = self._graph.execute(inputs, needs_input_grad=False, needs_backward=False)
        return list(y) if self._model.returns_several else [y]

    def _structured(self, outputs: list[Any]) -> Any:
        return self._model._structured(outputs)

    def _alone(self, work: Callable[[], Any]) -> Any:
        """What `work` returns, unless another thread is at work on this stream."""
        if not self._lock.acquire(blocking=False):
            raise RuntimeError("stream: another thread is using it: expected a stream for each")
        try:
            return work()
        finally:
            self._lock.release()


def _over_time(shape: Any) -> bool:
    return len(shape) > 1 and shape[1] is None


def _mixes(graph: Any, shapes: list[Any]) -> bool:
    """Whether a layer reads each step of a chunk together with what comes after the last one."""
    found = graph.output_shapes(shapes)
    for step in graph.steps:
        reads = [found[place] for place in step.inputs]
        timed = list(map(_over_time, reads))
        if any(timed) and not all(timed):
            return True
        if isinstance(step.layer, Graph) and _mixes(step.layer, reads):
            return True
    return False


def _one_step(x: Any) -> np.ndarray:
    """A time step as a sequence of one."""
    array = np.asarray(x)
    if array.ndim == 0:
        raise ValueError(f"x: expected an array of shape (batch_size, features), got {x!r}")
    return array[:, np.newaxis]
