"""The loop behind `predict`, and what batches go through on their way into a model."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cgru import _checks, _door
from cgru.callbacks import Callback, CallbackList
from cgru.data import ArrayBatches, Batch, Sequences, check_ends
from cgru.layers.graph import Graph


class Predictor(Graph):
    """A model that predicts: what `Trainer` inherits, which adds training."""

    # Each model has its own of these.

    # The keys of inputs and outputs that were given as dictionaries.
    _input_keys: list[str] | None
    _output_keys: list[str] | None

    @property
    @abstractmethod
    def input_names(self) -> list[str]:
        """The names of the inputs."""

    @property
    @abstractmethod
    def output_names(self) -> list[str]:
        """The names of the outputs."""

    @property
    @abstractmethod
    def input_shape(self) -> Any:
        """The shape of the input, or a list of the shapes of several."""

    @property
    @abstractmethod
    def stateful(self) -> bool:
        """Whether a layer carries its state from batch to batch."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._known_shapes: dict[Any, Any] = {}

    # ---- Shapes ----

    def checked_output_shape(self, input_shape: Any) -> Any:
        """The output's shape for arrays of `input_shape`, which is checked; asked at each batch."""
        key = tuple(input_shape)
        shape = self._known_shapes.get(key)
        if shape is None:
            if len(self._known_shapes) > 100:
                self._known_shapes.clear()
            self.check_input(input_shape)
            shape = self._known_shapes[key] = self.compute_output_shape(input_shape)
        return shape

    def timed_outputs(self, input_shape: tuple[int, ...]) -> list[bool]:
        """For each output whether it has a time axis, of a length that depends on the input's."""
        result = self.compute_output_shape((None, None, *input_shape[2:]))
        return [shape[1:2] == (None,) for shape in (result if self.returns_several else [result])]

    def returns_steps(self, input_shape: tuple[int, ...]) -> bool:
        """Whether there is one output, with a time axis."""
        return self.timed_outputs(input_shape) == [True]

    # ---- Prediction ----

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Sequence[Callback] | Callback | None = None,
        *,
        lengths: Any = None,
    ) -> Any:
        """The outputs for inputs.

        Safe to call from several threads at once.

        Parameters
        ----------
        x, lengths : array_like
            As in `fit`.
        batch_size : int
            Samples computed together; by default 32, or all samples divided by `steps`.
        verbose : {"auto", 0, 1, 2}
            Accepted for Keras's sake; nothing is shown.
        steps : int, optional
            Batches to predict, the first of the data.
        callbacks : list of Callback, optional

        Returns
        -------
        ndarray, shape (samples, ...)
            A list, or a dictionary, of them where there are several outputs.  For sequences of
            different lengths and an output for each step a list of an array for each sequence.
        """
        if steps is not None or batch_size is not None:
            check_steps(steps=steps, batch_size=batch_size)
        check_verbose(verbose)
        loop = CallbackList(callbacks, model=self, steps=steps, verbose=verbose)
        if is_iterable_of_batches(x, None) and not isinstance(x, (str, list, tuple, dict)):
            if lengths is not None:
                raise ValueError("lengths: expected with an array, got an iterable of batches")
            return self._predict_iterable(x, steps, loop)
        batches = self._array_batches(Batch(self._inputs(x, lengths)), batch_size, steps=steps)
        data = batches.data
        outputs: list[Any] = []
        begin, end = loop.batch_calls("predict")
        loop.on_predict_begin()
        for step, part in enumerate(batches.parts()):
            for call in begin:
                call(step, None)
            taken = data.take(part)
            y, _ = self._predict(taken.ready())
            found = self._by_sequence(taken, y)
            if not outputs:
                outputs = [_room(data.samples, array) for array in found]
            for output, array in zip(outputs, found, strict=True):
                if isinstance(output, list):
                    for place, row in zip(np.arange(data.samples)[part], array, strict=True):
                        output[place] = row
                else:
                    output[part] = array
            for call in end:
                call(step, {"outputs": y})
        loop.on_predict_end()
        return self._structured(outputs)

    def _predict_iterable(self, x: Any, steps: int | None, loop: CallbackList) -> Any:
        """The outputs for what an iterable of batches gives."""
        if steps is None:
            check_ends(x, "x", "steps")
        parts: list[list[np.ndarray]] = []
        begin, end = loop.batch_calls("predict")
        loop.on_predict_begin()
        for step, item in enumerate(itertools.islice(x, steps)):
            for call in begin:
                call(step, None)
            data = Batch(self._inputs(item[0] if isinstance(item, tuple) else item))
            y, _ = self._predict(self._one_batch(data))
            parts.append(self._by_sequence(data, y))
            for call in end:
                call(step, {"outputs": y})
        loop.on_predict_end()
        if not parts:
            raise ValueError("x: the iterable gave no batches")
        return self._structured([_together(arrays) for arrays in zip(*parts, strict=True)])

    def predict_on_batch(self, x: Any, *, reset_mask: Any = None) -> Any:
        """The outputs for one batch of inputs.

        Parameters
        ----------
        x : array_like
        reset_mask : array_like of bool, shape (batch,), optional
            As in `train_on_batch`.
        """
        inputs, mask, data = self._inputs(x), None, None
        if isinstance(inputs, Sequences):
            data = Batch(inputs)
            inputs, _, _, mask = self._one_batch(data)
        if reset_mask is not None:
            self.reset_rows(reset_mask, Batch(inputs).samples)
        y, _, _ = self.execute(inputs, False, mask, False, False)
        if data is not None:
            return self._structured(self._by_sequence(data, y))
        if self.returns_several or self._output_keys is not None:
            return self._structured(list(y) if self.returns_several else [y])
        return y

    def _predict(self, batch: Batch, penalties: list[Any] | None = None) -> tuple[Any, Any]:
        """The output for a batch, and its mask."""
        y, mask, _ = self.execute(
            batch.x,
            mask=batch.mask,
            needs_input_grad=False,
            needs_backward=False,
            penalties=penalties,
        )
        return y, mask

    def _one_batch(self, data: Batch) -> Batch:
        """Samples as one batch: sequences padded, which not all layers can read."""
        if isinstance(data.x, Sequences) and len(set(data.x.lengths)) > 1:
            layer = self.heedless_layer(data.x.shape)
            if layer is not None:
                raise ValueError(
                    f"x: what {layer.name} ({type(layer).__name__}) makes of a sequence depends on "
                    "padding: expected sequences of one length in a batch, got lengths from "
                    f"{data.x.lengths.min()} to {data.x.lengths.max()}"
                )
        return data.ready()

    def _by_sequence(self, data: Batch, y: Any) -> list[Any]:
        """The outputs; those of sequences with a time axis as lists, each as long as it should."""
        found: list[Any] = list(y) if self.returns_several else [y]
        if not isinstance(data.x, Sequences):
            return found
        time = data.x.shape[1]
        for place, timed in enumerate(self.timed_outputs(data.x.shape)):
            if timed:
                whole = found[place].shape[1] != time  # as of a convolution that is not padded
                found[place] = [
                    row.copy() if whole else row[:length].copy()
                    for row, length in zip(found[place], data.x.lengths, strict=True)
                ]
        return found

    def _structured(self, outputs: list[Any]) -> Any:
        """Outputs as the model returns them: one, a list, or a dictionary."""
        raise NotImplementedError(f"{type(self).__name__}._structured")

    # ---- The door ----

    def _inputs(self, x: Any, lengths: Any = None) -> Any:
        """Check and convert inputs; build the model for them if it is not built."""
        inputs = _door.inputs(self, x, lengths)
        shape = [item.shape for item in inputs] if self.takes_several else inputs.shape
        self.checked_output_shape(shape)
        if not self.built:
            self.ensure_built(shape)
        return inputs

    def _array_batches(
        self,
        data: Batch,
        batch_size: int | None,
        shuffle: bool = False,
        steps: int | None = None,
    ) -> ArrayBatches:
        """Batches of a size, 32 by default; or the first `steps` of them."""
        size = self._batch_size(batch_size, data.samples, steps)
        if steps is not None:
            data = data.take(slice(steps * size))
        count = data.samples
        if self.stateful and count > size and count % size:
            raise ValueError(
                f"batch_size: a stateful model needs batches of one size, got {count} samples in "
                f"batches of {size}"
            )
        lengths = "any" if self.stateful else "similar"
        if isinstance(data.x, Sequences) and self.heedless_layer(data.x.shape) is not None:
            if self.stateful:
                self._one_batch(data)
            lengths = "equal"
            # The shortest must have room for all layers, too.
            shortest = max(1, int(data.x.lengths.min()))
            self.checked_output_shape((data.samples, shortest, *data.x.shape[2:]))
        return ArrayBatches(data, size, shuffle, lengths)

    def _batch_size(self, batch_size: int | None, samples: int, steps: int | None) -> int:
        """The size of batches: as asked for, that of the Input, or what makes so many steps."""
        shape = self.input_shape[0] if self.takes_several else self.input_shape
        return batch_size or shape[0] or (32 if steps is None else math.ceil(samples / steps))

    def reset_rows(self, mask: Any, count: int | None = None) -> None:
        """Let rows of the next batch of stateful layers start from zeros.

        Parameters
        ----------
        mask : array_like of bool, shape (batch,)
        count : int, optional
            The size of that batch, if it is known.
        """
        if not self.stateful:
            raise ValueError(f"reset_mask: {self.name} has no stateful layer")
        rows = np.asarray(mask)
        if rows.dtype != bool or rows.ndim != 1:
            raise ValueError(
                f"reset_mask: expected bool of shape (batch,), got {rows.dtype} of {rows.shape}"
            )
        if count is not None and len(rows) != count:
            raise ValueError(f"reset_mask: expected shape {(count,)}, got {rows.shape}")
        for layer in self.inner_layers():
            if getattr(layer, "stateful", False) and not layer.sublayers():
                layer.reset_rows(rows)  # type: ignore[attr-defined]


def check_steps(**steps: Any) -> None:
    """Raise an error unless each is a number of steps, or None."""
    for argument, value in steps.items():
        if value is not None:
            _checks.integer(argument, value, 1)


def check_verbose(verbose: Any) -> None:
    """Raise an error unless it is one of Keras's values."""
    if verbose not in ("auto", 0, 1, 2):
        raise ValueError(f"verbose: expected 'auto', 0, 1 or 2, got {verbose!r}")


def _room(count: int, y: Any) -> Any:
    """Where outputs go: an array, or a list where each sequence's is as long as itself."""
    return [None] * count if isinstance(y, list) else np.empty((count, *y.shape[1:]), y.dtype)


def _together(parts: Sequence[Any]) -> Any:
    """The outputs for several batches: a list if some are, or if their lengths differ."""
    if any(isinstance(part, list) for part in parts) or len({part.shape[1:] for part in parts}) > 1:
        return [row for part in parts for row in part]
    return np.concatenate(parts)


def is_iterable_of_batches(x: Any, y: Any) -> bool:
    """Whether x gives batches, instead of being the data."""
    return y is None and isinstance(x, Iterable) and not hasattr(x, "__array__")
