"""Weights in HDF5, in the tree of groups in which Keras 3 keeps them.

Each layer has the group ``vars`` for its weights, ``"0"``, ``"1"``...; a model has the group
``layers``, where a layer is named by its class, with a number from the second on.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from cgru import _checks, _room
from cgru.layers.base import Layer
from cgru.layers.graph import Graph
from cgru.saving.errors import LoadError

# The states of an optimizer in the order of Keras; those in one tuple take turns, weight by weight.
SLOTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "SGD": (("velocity",),),
    "RMSprop": (("square",), ("velocity",), ("mean",)),
    "Adam": (("m", "v"), ("v_max",)),
    "AdamW": (("m", "v"), ("v_max",)),
    "Nadam": (("m", "v"),),
    "Adamax": (("m", "u"),),
    "Adagrad": (("square",),),
    "Adadelta": (("square", "step_square"),),
    "Lion": (("m",),),
}
# Groups and arrays in a file; and groups inside each other, of which a model has two.
MAX_OBJECTS, MAX_DEPTH = 5_000, 2 * _room.MAX_DEPTH + 10


def class_name(layer: Any) -> str:
    """The name of Keras's class."""
    name = type(layer).__name__
    return "Functional" if name == "Model" else name


def places(model: Any, order: Mapping[Any, list[Layer]] | None = None) -> dict[str, Any]:
    """The weights of a model by their places in the tree.

    Parameters
    ----------
    model : Model
    order : dict, optional
        The layers of models in the order of a file, where it says so.

    Returns
    -------
    dict
        Variables; or, for a number that only Keras has, its value.
    """
    found: dict[str, Any] = {}
    _place(model, "", order or {}, found, set())
    return found


def _place(layer: Any, path: str, order: Any, found: dict[str, Any], seen: set[int]) -> None:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    cell = "cell/" if hasattr(layer, "go_backwards") else ""
    for number, variable in enumerate(layer._variables):
        found[f"{path}{cell}vars/{number}"] = variable
    if class_name(layer) == "Normalization" and layer._variables:
        found[f"{path}vars/2"] = np.int32(0)  # the samples that adapt() has seen
    if isinstance(layer, Graph):
        names: dict[str, int] = {}
        for inner in order.get(layer) or _in_order(layer):
            name = _checks.snake_case(class_name(inner))
            number = names[name] = names.get(name, -1) + 1
            place = f"{path}layers/{name}_{number}/" if number else f"{path}layers/{name}/"
            _place(inner, place, order, found, seen)
        return
    for attribute in sorted(vars(layer)):
        inner = vars(layer)[attribute]
        if isinstance(inner, Layer):
            _place(inner, f"{path}{attribute}/", order, found, seen)


def _in_order(model: Any) -> list[Layer]:
    """The layers of a model, whose order is that of Keras, as far as it is known."""
    hidden = [layer.name for layer in model.layers if isinstance(layer, Graph) and _masks(layer)]
    if hidden and not model.is_chain:
        raise ValueError(
            f"{model.name}: files of Keras tell its layers by their order, which is not known "
            f"where a mask is made inside a model that is a layer: {hidden}"
        )
    return model.layers


def _masks(layer: Any) -> bool:
    """Whether a mask is made inside a layer."""
    return layer.makes_mask or any(_masks(inner) for inner in layer.sublayers())


def optimizer_state(model: Any, weights: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Views of the state of a model's optimizer, which is built, by their places in the tree.

    Writing to those of the size of a weight changes the state.
    """
    optimizer = model.optimizer
    optimizer.build(model.flat())
    state = optimizer.get_state()
    found = [np.asarray(state["iterations"], np.int32)]
    if "learning_rate" in state:
        found.append(np.asarray(state["learning_rate"], np.float32))
    starts, start = {}, 0
    for variable in model.flat().variables:
        starts[variable] = start
        start += variable.size
    train = [v for v in trainable_order(weights) if v in starts]
    groups = [("average",), ("accumulated",), *SLOTS[type(optimizer).__name__]]
    for group in groups:
        names = [name for name in group if name in optimizer.state]
        for variable in train:
            part = slice(starts[variable], starts[variable] + variable.size)
            found += [optimizer.state[name][part].reshape(variable.shape) for name in names]
    if "momenta" in optimizer.state:
        found.append(optimizer.state["momenta"].astype(model.dtype).reshape(()))
    return {f"optimizer/vars/{number}": array for number, array in enumerate(found)}


def trainable_order(weights: Mapping[str, Any]) -> list[Any]:
    """The weights in the order in which Keras's optimizers see them."""
    own = {path: value for path, value in weights.items() if hasattr(value, "assign")}
    # The forward layer of a Bidirectional comes first, while its group comes second.
    return [own[path] for path in sorted(own, key=_forward_first(list(own)))]


def _forward_first(paths: list[str]) -> Any:
    place = {path: number for number, path in enumerate(paths)}
    first: dict[str, int] = {}
    for path in paths:
        head = path.partition("backward_layer/")[0].partition("forward_layer/")[0]
        first.setdefault(head, place[path])

    def key(path: str) -> tuple[int, bool, int]:
        head = path.partition("backward_layer/")[0].partition("forward_layer/")[0]
        return first[head], "backward_layer/" in path, place[path]

    return key


def h5py() -> Any:
    """The package h5py, an optional one."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            "files of Keras need h5py: pip install h5py, or pip install 'cgru[keras]'"
        ) from error
    return h5py


def write(arrays: Mapping[str, Any]) -> bytes:
    """The bytes of an HDF5 file with these arrays at their places.

    Raises
    ------
    ValueError
        If they are more than `Tree` reads.
    """
    parts = [path.split("/") for path in arrays]
    count = len({tuple(part[:end]) for part in parts for end in range(1, len(part) + 1)})
    if count > MAX_OBJECTS:
        raise ValueError(
            f"model: expected at most {MAX_OBJECTS} groups and arrays in a file of Keras, which "
            f"is what can be loaded again, got {count}; save to .safetensors instead"
        )
    stream = io.BytesIO()
    with h5py().File(stream, "w") as file:
        for path, array in arrays.items():
            file[path] = array
    return stream.getvalue()


class Stored(NamedTuple):
    """An array in a file, of which the values are not read yet."""

    dataset: Any  # h5py's identifier of it
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """The number of its values."""
        return math.prod(self.shape)


class Tree:
    """The arrays of an HDF5 file, of which the values are read when they are wanted.

    Parameters
    ----------
    content : bytes or None
        If it is in memory; else the file is that of the path.
    path : str
        What errors call the file.

    Attributes
    ----------
    arrays : dict of Stored
        By their places.

    Raises
    ------
    LoadError
        If it is damaged, or holds anything but arrays of numbers.
    """

    def __init__(self, content: bytes | None, path: Any) -> None:
        self.path = path
        library = h5py()
        self.arrays: dict[str, Stored] = {}
        self._objects = 0
        try:
            opened = path if content is None else library.h5f.open_file_image(content)
            self._file = library.File(opened, "r")
            self._walk(self._file["/"].id, "", 0)
            size = sum(array.size * array.dtype.itemsize for array in self.arrays.values())
        except LoadError:
            raise
        except Exception as error:
            raise LoadError(f"filepath: {path} holds no HDF5, or is damaged: {error}") from error
        if size > (os.path.getsize(path) if content is None else len(content)):
            raise LoadError(f"filepath: {path}: its arrays are larger than the file")

    # Through the lower half of h5py, which takes a third of the time: there may be many objects.

    def _walk(self, group: Any, place: str, depth: int) -> None:
        library = h5py()
        if depth > MAX_DEPTH:
            raise LoadError(f"filepath: {self.path}: groups inside groups at {place[:80]}...")
        for name in group:
            self._objects += 1
            if self._objects > MAX_OBJECTS:
                raise LoadError(f"filepath: {self.path} holds too many arrays")
            where = f"{place}{name.decode()}"
            if group.links.get_info(name).type != library.h5l.TYPE_HARD:
                raise LoadError(f"filepath: {self.path}: {where} is a link, which is not followed")
            found = library.h5o.open(group, name)
            if isinstance(found, library.h5g.GroupID):
                self._walk(found, f"{where}/", depth + 1)
            else:
                self.arrays[where] = self._array(where, found)

    def _array(self, where: str, found: Any) -> Stored:
        library = h5py()
        if not isinstance(found, library.h5d.DatasetID) or found.dtype.kind not in "fiu":
            raise LoadError(f"filepath: {self.path}: {where} is no array of numbers")
        return Stored(found, found.shape, found.dtype)

    def read(self, place: str) -> np.ndarray:
        """The values of an array, which must be in the file itself as they are, and finite."""
        library, dataset = h5py(), self.arrays[place].dataset
        try:
            options = dataset.get_create_plist()
            elsewhere = options.get_layout() == library.h5d.VIRTUAL or options.get_external_count()
            if elsewhere or options.get_nfilters():
                raise ValueError("it is compressed, or lies in another file")
            values = np.asarray(library.Dataset(dataset)[()])
        except Exception as error:
            raise LoadError(f"filepath: {self.path}: {place} cannot be read: {error}") from error
        if not np.isfinite(values).all():
            raise LoadError(f"filepath: {self.path}: {place} holds values that are not finite")
        return values
