"""Truncated backpropagation through time: long sequences in chunks (Williams and Peng 1990)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cgru import _checks, _kernels
from cgru.data import Batch
from cgru.layers import _stepwise
from cgru.layers.recurrent import Recurrent
from cgru.losses import Loss
from cgru.variables import FlatVector

if TYPE_CHECKING:
    from cgru.training import Trainer


class Chunks:
    """The gradient of a model's loss through at most `length` steps.

    Parameters
    ----------
    model : Trainer
        Of layers that act on each step alone, or carry a state forwards.
    length : int
        Steps of a chunk.
    """

    def __init__(self, model: Trainer, length: int) -> None:
        self.model = model
        self.length = _checks.integer("tbptt", length, 1)
        if model.takes_several or model.returns_several:
            raise ValueError("tbptt: expected a model with one input and one output")
        assert model.objective is not None
        loss = model.objective.losses[0]
        if loss is not None and not loss.by_step:
            raise ValueError(
                f"tbptt: expected a loss of single steps, got {loss.name}, of whole sequences"
            )
        _stepwise.check("tbptt", model, "stepwise")
        carriers = self._carriers()
        for layer in carriers:
            if carriers.count(layer) > 1:  # each call has its own states, the layer has one
                raise ValueError(
                    f"tbptt: expected recurrent layers that are called once, got {layer.name}"
                )
        inner = list(model.inner_layers())
        self._makes_masks = any(layer.makes_mask for layer in inner)
        regularized = any(layer.activity_regularizer is not None for layer in inner)
        if (
            regularized
            and model.built
            and self._counts_late(model.returns_steps(model.input_shape))
        ):
            raise _no_penalties()

    def _carriers(self) -> list[Any]:
        """The layer of each call that carries a state."""
        layers = _stepwise.calls(self.model)
        return [layer for layer in layers if isinstance(layer, Recurrent)]

    def _counts_late(self, steps_are_returned: bool) -> bool:
        """Whether what the loss is divided by is known in the end only."""
        assert self.model.objective is not None
        loss = self.model.objective.losses[0]
        summed = loss is None or loss.reduction == "sum"
        return steps_are_returned and self._makes_masks and not summed

    @contextlib.contextmanager
    def _carrying(self) -> Iterator[None]:
        """Recurrent layers carry their states from one chunk to the next."""
        before = [(layer, layer.stateful) for layer in self._carriers()]
        for layer, _ in before:
            layer.stateful = True
        try:
            yield
        finally:
            for layer, stateful in before:
                layer.stateful = stateful
                if not stateful:
                    layer.reset_state()

    def _bounds(self, batch: Batch, steps_are_returned: bool) -> list[tuple[int, int]]:
        """Where chunks begin and end.

        Where only the last step is returned, the last chunk begins early enough to hold as many
        steps of the batch's shortest sequence.
        """
        time = batch.x.shape[1]
        starts = list(range(0, time, self.length))
        if not steps_are_returned:
            shortest = time if batch.mask is None else int(batch.mask.sum(axis=1).min())
            last = max(0, shortest - self.length)
            starts = [*range(0, last, self.length), last]
        return list(zip(starts, [*starts[1:], time], strict=True))

    def loss_and_gradient(
        self, flat: FlatVector, batch: Batch, training: bool
    ) -> tuple[float, list[float], Any, Any]:
        """As of a trainer, by chunks; each counts by its share of what the loss is divided by.

        Where layers make masks that is known in the end only, and the gradient is divided then.
        """
        model = self.model
        assert model.objective is not None
        if batch.x.shape[1] <= self.length:
            return model._loss_and_gradient(flat, batch, training)
        returned = model.returns_steps(batch.x.shape)
        bounds = self._bounds(batch, returned)
        _kernels.clear(flat.grad)
        penalties: list[Any] = []
        loss = model.objective.losses[0]
        late = self._counts_late(returned)
        whole = _divisor(loss, batch, batch.mask) if returned and not late else 1.0
        total, divided_by, outputs, masks = 0.0, 0.0, [], []
        with self._carrying():
            for first, end in bounds:
                counts = returned or end == batch.x.shape[1]
                part = _chunk(batch, first, end, returned)
                y, mask, backward = model.execute(
                    part.x, training, part.mask, False, counts, penalties if counts else None
                )
                if not counts:
                    continue
                divisor = _divisor(loss, part, mask) if returned else 1.0
                value, _, dy = model.objective.value_and_grad(part, y, mask)
                backward(dy * dy.dtype.type(divisor / whole))
                total += value * (divisor / whole)
                divided_by += divisor
                outputs.append(y)
                masks.append(mask)
        if late:
            if penalties:
                raise _no_penalties()
            flat.grad /= flat.grad.dtype.type(divided_by or 1.0)
            total /= divided_by or 1.0
        y = np.concatenate(outputs, axis=1) if returned else outputs[0]
        mask = np.concatenate(masks, axis=1) if returned and masks[0] is not None else masks[0]
        return total + model._penalties(flat, penalties), [total], y, mask


def _no_penalties() -> ValueError:
    return ValueError(
        "tbptt: expected no activity_regularizer in a model with layers that make masks"
    )


def _chunk(batch: Batch, first: int, end: int, returned: bool) -> Batch:
    """The steps from `first` to `end` of a batch."""

    def cut(array: Any, where: bool = True) -> Any:
        if array is None or not where:
            return array
        return np.ascontiguousarray(array[:, first:end])

    weight = batch.sample_weight
    by_step = returned and weight is not None and weight.ndim > 1
    return Batch(cut(batch.x), cut(batch.y, returned), cut(weight, by_step), cut(batch.mask))


def _divisor(loss: Loss, batch: Batch, mask: Any) -> float:
    """What the sum over the steps of a batch is divided by in its loss, up to a constant."""
    if loss.reduction == "sum":
        return 1.0
    shape = batch.x.shape[:2]
    mask = loss.counted(batch.y, mask)
    valid = np.ones(shape, bool) if mask is None or loss.reduction in ("none", None) else mask
    weight = batch.sample_weight
    if loss.reduction != "mean_with_sample_weight" or weight is None:
        return float(valid.sum()) or 1.0
    return float((valid * (weight if weight.ndim > 1 else weight[:, np.newaxis])).sum()) or 1.0
