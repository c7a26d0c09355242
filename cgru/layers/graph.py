"""A graph of layers: a list of calls in order; gradients are added where a tensor fans out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from cgru.layers.base import CONTEXT, Backward, Layer, no_backward
from cgru.layers.symbolic import Call, SymbolicTensor
from cgru.variables import structure


class Step(NamedTuple):
    """One call of a layer.  Tensors are known by their places in a list of values."""

    layer: Layer
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    states: int = 0  # so many reads after the inputs are initial states
    training: bool | None = None  # None: as the model
    masked: bool = False  # whether the last read is a mask

    @property
    def inputs(self) -> tuple[int, ...]:
        """The reads that are neither initial states nor a mask."""
        return self.reads[: len(self.reads) - self.states - self.masked]

    @property
    def is_plain(self) -> bool:
        """Whether one tensor is read and one written, and nothing else is to be known."""
        plain = (len(self.reads), len(self.writes), self.states, self.training) == (1, 1, 0, None)
        return plain and not self.layer.takes_several and not isinstance(self.layer, Graph)


class Graph(Layer):
    """A layer that consists of calls of other layers.

    Attributes
    ----------
    steps : list of Step
        In an order in which each finds what it reads.
    count : int
        The number of tensors; the model's inputs are the first.
    sources, sinks : sequence of int
        The places of inputs and outputs.
    integers : list of bool
        For each input whether it is read as indices.
    takes_several, returns_several : bool
        Whether there are several inputs, several outputs.
    is_chain : bool
        Whether each step reads just what the one before it returns.
    """

    def __init__(self, name: str | None = None, trainable: bool = True, **kwargs: Any) -> None:
        super().__init__(name=name, trainable=trainable, **kwargs)
        self.link([], 1, (0,), (0,))
        self._plans: dict[tuple[bool, bool], Any] = {}
        self._plans_version = -1

    def link(
        self, steps: list[Step], count: int, sources: Sequence[int], sinks: Sequence[int]
    ) -> None:
        """Make this the graph of `steps`."""
        self.steps, self.count, self.sources, self.sinks = steps, count, sources, sinks
        self.takes_several = len(sources) > 1
        self.returns_several = len(sinks) > 1
        self.is_chain = (*sinks, count) == (len(steps), len(steps) + 1) and all(
            step.is_plain and step.reads == (place,) for place, step in enumerate(steps)
        )
        readers = [[step.layer for step in steps if place in step.reads] for place in sources]
        self.integers = [
            bool(layers) and all(layer.reads_integers for layer in layers) for layers in readers
        ]

    @property
    def reads_integers(self) -> bool:  # type: ignore[override]
        """Whether all inputs are indices."""
        return all(self.integers)

    def forward(
        self,
        x: Any,
        training: bool = False,
        mask: Any = None,
        needs_input_grad: bool = True,
        needs_backward: bool = True,
        penalties: list[Any] | None = None,
    ) -> tuple[Any, Backward]:
        y, _, backward = self.execute(
            x, training, mask, needs_input_grad, needs_backward, penalties
        )
        return y, backward

    def execute(
        self,
        x: Any,
        training: bool = False,
        mask: Any = None,
        needs_input_grad: bool = True,
        needs_backward: bool = True,
        penalties: list[Any] | None = None,
    ) -> tuple[Any, Any, Backward]:
        """The output, its mask, and the function that takes a gradient back."""
        if self.is_chain:
            return self._execute_chain(
                x, training, mask, needs_input_grad, needs_backward, penalties
            )
        values: list[Any] = [None] * self.count
        masks: list[Any] = [None] * self.count
        if self.takes_several:
            values[: len(x)] = x
            if mask is not None:
                masks[: len(x)] = mask
        else:
            values[0], masks[0] = x, mask
        plan = self._plan(needs_input_grad and needs_backward, needs_backward)
        context = dict.fromkeys(CONTEXT)
        context["training"], context["penalties"] = training, penalties
        backwards = []
        for layer, before, needed, step, plain, read, write in plan:
            context["needs_input_grad"], context["needs_backward"] = before, needed
            if plain:
                value, context["mask"] = values[read], masks[read]
                values[write], layer_backward = layer.run(value, context)
                masks[write] = layer.compute_mask(value, masks[read])
            else:
                layer_backward = _run(step, values, masks, context)
            backwards.append(layer_backward)

        def backward(dy: Any) -> Any:
            grads: list[Any] = [None] * self.count
            for place, grad in zip(self.sinks, dy if self.returns_several else (dy,), strict=True):
                _add(grads, place, grad)
            for entry, layer_backward in zip(reversed(plan), reversed(backwards), strict=True):
                _, needs_input, needed, step, plain, read, write = entry
                if not needed:
                    continue
                if not plain:
                    _run_back(step, layer_backward, grads, needs_input)
                elif grads[write] is not None:
                    dx = layer_backward(grads[write])
                    grads[write] = None  # its memory may be used again
                    if needs_input:
                        _add(grads, read, dx)
            found = [grads[place] for place in self.sources]
            return found if self.takes_several else found[0]

        if self.returns_several:
            return tuple(values[i] for i in self.sinks), [masks[i] for i in self.sinks], backward
        return values[self.sinks[0]], masks[self.sinks[0]], backward

    def _execute_chain(
        self,
        x: Any,
        training: bool,
        mask: Any,
        needs_input_grad: bool,
        needs_backward: bool,
        penalties: list[Any] | None,
    ) -> tuple[Any, Any, Backward]:
        """`execute` without places for values: a small model's time goes into such things."""
        plan = self._plan(needs_input_grad and needs_backward, needs_backward)
        context: dict[str, Any] = {
            "training": training,
            "mask": mask,
            "initial_state": None,
            "needs_input_grad": needs_input_grad,
            "needs_backward": needs_backward,
            "penalties": penalties,
        }
        backwards = []
        for layer, before, needed, _, _, _, _ in plan:
            context["needs_input_grad"], context["needs_backward"] = before, needed
            y, layer_backward = layer.run(x, context)
            if needed:
                backwards.append(layer_backward)
            if mask is not None or layer.makes_mask:
                context["mask"] = mask = layer.compute_mask(x, mask)
            x = y
        if not needs_backward:
            return x, mask, no_backward
        return x, mask, _chain_backward(backwards, needs_input_grad)

    def _plan(self, needs_input_grad: bool, training: bool) -> list[Any]:
        """The layers, whether gradients for their inputs, or any at all, are needed, and the steps.

        They are not for what is frozen, with nothing before it that trains.
        """
        if self._plans_version != structure.version:
            self._plans.clear()
            self._plans_version = structure.version
        plan = self._plans.get((needs_input_grad, training))
        if plan is None:
            needs, plan = [needs_input_grad] * self.count, []
            for step in self.steps:
                before = training and any(needs[place] for place in step.reads)
                needed = training and (before or bool(step.layer.trainable_weights))
                for place in step.writes:
                    needs[place] = needed
                place_in, place_out = step.reads[0], step.writes[0]
                plan.append((step.layer, before, needed, step, step.is_plain, place_in, place_out))
            # Only now that it is complete: another thread may predict at the same time.
            self._plans[needs_input_grad, training] = plan
        return plan

    def heedless_layer(self, shape: Any) -> Layer | None:
        """The first layer whose results for padded sequences would depend on the padding.

        It mixes time steps and takes no notice of masks, as Conv1D does; what comes after the time
        axis is gone is not looked at.
        """
        shapes = self.output_shapes([(None, None, *shape[2:])])
        for step in self.steps:
            reads = [shapes[place] for place in step.reads]
            if not any(len(read) > 1 and read[1] is None for read in reads):
                continue
            if not isinstance(step.layer, Graph):
                found = None if step.layer.heeds_masks else step.layer
            elif step.layer.takes_several:
                found = step.layer
            else:
                found = step.layer.heedless_layer(reads[0])
            if found is not None:
                return found
        return None

    def output_shapes(self, shapes: Sequence[Any]) -> list[Any]:
        """The shapes of all tensors, for inputs of `shapes`; each layer checks what it reads."""
        found: list[Any] = [None] * self.count
        arguments = ["x"] * self.count
        for place, shape in zip(self.sources, shapes, strict=True):
            found[place] = shape
        for step in self.steps:
            reads = step.inputs
            if step.layer.takes_several:
                shape = [found[place] for place in reads]
            else:
                shape = found[reads[0]]
            step.layer.check_input(shape, arguments[reads[0]])
            result = step.layer.compute_output_shape(shape)
            written = result if len(step.writes) > 1 else [result]
            for place, output_shape in zip(step.writes, written, strict=True):
                found[place] = output_shape
                arguments[place] = f"output of {step.layer.name}"
        return found


def _chain_backward(backwards: list[Backward], needs_input_grad: bool) -> Backward:
    def backward(dy: Any) -> Any:
        for layer_backward in reversed(backwards):
            dy = layer_backward(dy)
        return dy if needs_input_grad else None

    return backward


def _add(grads: list[Any], place: int, grad: Any) -> None:
    if grad is not None:
        grads[place] = grad if grads[place] is None else grads[place] + grad


def _run(step: Step, values: list[Any], masks: list[Any], context: dict[str, Any]) -> Backward:
    """A step that reads or writes several tensors, has states, or is a model of its own."""
    layer, count = step.layer, len(step.inputs)
    inputs = [values[place] for place in step.inputs]
    mask: Any = [masks[place] for place in step.inputs]
    states = [values[place] for place in step.reads[count : count + step.states]] or None
    if step.masked:
        mask = [values[step.reads[-1]].astype(bool)]
    x: Any = inputs
    if not layer.takes_several:
        x, mask = inputs[0], mask[0]
    elif all(item is None for item in mask):
        mask = None
    local = context | {"mask": mask, "initial_state": states}
    if step.training is not None:
        local["training"] = step.training
    if isinstance(layer, Graph):  # its mask depends on values inside it
        del local["initial_state"]
        y, output_mask, backward = layer.execute(x, **local)
    else:
        y, backward = layer.run(x, local)
        output_mask = layer.compute_mask(x, mask)
    several = len(step.writes) > 1
    if not isinstance(output_mask, (list, tuple)):
        output_mask = [output_mask] * len(step.writes)
    for place, value, item in zip(step.writes, y if several else [y], output_mask, strict=True):
        values[place], masks[place] = value, item
    return backward


def _run_back(step: Step, backward: Backward, grads: list[Any], needs_input: bool) -> None:
    dys = tuple(grads[place] for place in step.writes)
    if all(dy is None for dy in dys):
        return
    dx = backward(dys if len(dys) > 1 else dys[0])
    dstates: Any = []
    if step.states:
        dx, dstates = dx
    if needs_input:
        found = [*(dx if step.layer.takes_several else [dx]), *dstates]
        for place, grad in zip(step.reads, found, strict=False):  # a mask has none
            _add(grads, place, grad)


def trace(inputs: Sequence[SymbolicTensor], outputs: Sequence[SymbolicTensor]) -> list[Call]:
    """The calls that lead from inputs to outputs, in the order in which they were made."""
    known = {id(tensor) for tensor in inputs}
    calls: dict[int, Call] = {}
    missing = list(outputs)
    while missing:
        tensor = missing.pop()
        if id(tensor) in known:
            continue
        if tensor.call is None:
            raise ValueError(f"outputs: they depend on {tensor!r}, which is not among the inputs")
        if tensor.call.order not in calls:
            calls[tensor.call.order] = tensor.call
            missing.extend(tensor.call.inputs)
    return [calls[order] for order in sorted(calls)]
