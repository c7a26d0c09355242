"""Where training is, besides weights and optimizer: random numbers and states of layers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from cgru import _random
from cgru.layers.base import Layer
from cgru.layers.recurrent import Recurrent
from cgru.saving.errors import LoadError, refusing
from cgru.saving.file import Contents


def note(contents: Contents, model: Any, epoch: int, batch: int = 0) -> dict[str, Any]:
    """Note that `batch` of `epoch` is the next, and all that it will depend on.

    Returns
    -------
    dict
        The notes, which may be added to.
    """
    contents.notes["training"] = {
        "place": [epoch, batch],
        "source": _random.get_state(),
        "layers": [_layer_state(layer, contents) for layer in _layers(model)],
    }
    found: dict[str, Any] = contents.notes["training"]
    return found


def restore_layers(contents: Contents, model: Any) -> None:
    """Give layers the random numbers and states that were noted.

    Raises
    ------
    LoadError
        If the notes are not those of such a model.
    """
    with refusing("filepath: what it holds of the training does not fit the model"):
        found = contents.notes["training"]["layers"]
        pairs = list(zip(_layers(model), found, strict=True))
        for layer, saved in pairs:
            _check_layer_state(layer, saved, contents)
        for layer, saved in pairs:
            _set_layer_state(layer, saved, contents)


class Rest:
    """What a model that was loaded needs for `fit` to go on exactly where it was saved."""

    def __init__(self, contents: Contents) -> None:
        self.contents = Contents()
        training = self.contents.notes["training"] = contents.notes["training"]
        with refusing("filepath: what it holds of the training is damaged"):
            self.epoch, self.batch = training["place"]
            states = {name: name for layer in training["layers"] for name in layer["states"]}
        self.contents.arrays = contents.take(states)

    @classmethod
    def of(cls, contents: Contents) -> Rest | None:
        """None if a file holds nothing of a training."""
        return cls(contents) if "training" in contents.notes else None

    def go_on(self, model: Any, epoch: int) -> None:
        """Restore it, if training goes on with the epoch that was to be the next."""
        if (self.epoch, self.batch) != (epoch, 0):
            return
        try:
            restore_layers(self.contents, model)
            with refusing("filepath: the random numbers that it holds are damaged"):
                _random.set_state(self.contents.notes["training"]["source"])
        except LoadError as error:  # layers without weights may be others than they were
            warnings.warn(f"training goes on with other random numbers: {error}", stacklevel=4)


def _layers(layer: Layer) -> Iterator[Layer]:
    """A layer, and all within it; a shared one as often as it occurs."""
    yield layer
    yield from layer.inner_layers()


def _layer_state(layer: Layer, contents: Contents) -> dict[str, Any]:
    """What a layer keeps from batch to batch besides weights: its random numbers and its state."""
    states = (isinstance(layer, Recurrent) and layer._state) or []
    return {
        "random": {
            name: value.bit_generator.state
            for name, value in vars(layer).items()
            if isinstance(value, np.random.Generator)
        },
        "states": [
            contents.add(f"{layer.name}/state/{i}", state) for i, state in enumerate(states)
        ],
    }


def _check_layer_state(layer: Any, saved: dict[str, Any], contents: Contents) -> None:
    own = [name for name, value in vars(layer).items() if isinstance(value, np.random.Generator)]
    if set(own) != saved["random"].keys():
        raise ValueError(
            f"expected random numbers {own} of {layer.name}, got those of another layer"
        )
    states = [contents.arrays[name] for name in saved["states"]]
    if not states or not isinstance(layer, Recurrent):
        return
    shape, dtype = (len(states[0]), layer.units), layer._dtype
    fits = all((s.shape, s.dtype) == (shape, dtype) and np.isfinite(s).all() for s in states)
    if len(states) != layer._states or not fits:
        found = ", ".join(f"{state.shape} {state.dtype}" for state in states)
        raise ValueError(
            f"expected {layer._states} finite states {shape} {dtype} of {layer.name}, got {found}"
        )


def _set_layer_state(layer: Any, saved: dict[str, Any], contents: Contents) -> None:
    for name, random in saved["random"].items():
        getattr(layer, name).bit_generator.state = random
    if isinstance(layer, Recurrent):
        layer._state = [contents.arrays[name] for name in saved["states"]] or None
