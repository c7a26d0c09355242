"""Which models read sequences step by step: for streams, and for chunks of sequences."""

from __future__ import annotations

from collections.abc import Iterator

from cgru.layers.base import Layer
from cgru.layers.graph import Graph
from cgru.layers.wrappers import TimeDistributed


def calls(layer: Layer) -> Iterator[Layer]:
    """The layer of each call inside one; of a TimeDistributed nothing, for it carries no state."""
    inner = [step.layer for step in layer.steps] if isinstance(layer, Graph) else layer.sublayers()
    for item in inner:
        yield item
        if not isinstance(item, TimeDistributed):
            yield from calls(item)


def check(argument: str, model: Graph, attribute: str) -> None:
    """Raise a ValueError where a layer needs more of a sequence than the steps so far.

    Parameters
    ----------
    argument : str
        Who asks.
    model : Graph
    attribute : {"stepwise", "predicts_stepwise"}
        What layers are asked.
    """
    for layer in (model, *calls(model)):
        if isinstance(layer, Graph):
            if any(step.states for step in layer.steps):
                raise ValueError(f"{argument}: expected no layer that is called with initial_state")
        elif not getattr(layer, attribute):
            raise ValueError(
                f"{argument}: expected layers that read a sequence step by step, got {layer.name} "
                f"({type(layer).__name__})"
            )
