"""Files of Keras 3: models in ``.keras``, weights in ``.weights.h5``."""

from __future__ import annotations

import io
import json
import os
import re
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from cgru import _configs, _room
from cgru.saving import hdf5
from cgru.saving.errors import LoadError, Problems, fitting, refusing
from cgru.saving.file import write_whole
from cgru.saving.keras_export import compile_config, export
from cgru.saving.keras_import import Importer

CONFIG, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"
KERAS_VERSION = "3.8.0"  # the first that reads all that is written here
SETTINGS = ("optimizer", "loss", "loss_weights", "metrics", "weighted_metrics")
UNUSED = ("run_eagerly", "steps_per_execution", "jit_compile", "auto_scale_loss")


# ---- Writing ----


def save_model(model: Any, filepath: Any, overwrite: bool = True) -> None:
    """Save a model as Keras does."""
    arrays = _arrays(model)
    _configs.check_sharing(model)
    config = export(model) | {"compile_config": compile_config(model)}
    _room.check_depth(config)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(METADATA, json.dumps({"keras_version": KERAS_VERSION}))
        archive.writestr(CONFIG, _room.check_text(json.dumps(config)))
        archive.writestr(WEIGHTS, hdf5.write(arrays))
    write_whole(filepath, stream.getvalue(), overwrite)


def save_weights(model: Any, filepath: Any, overwrite: bool = True) -> None:
    """Save weights as Keras does."""
    write_whole(filepath, hdf5.write(_arrays(model)), overwrite)


def _arrays(model: Any) -> dict[str, np.ndarray]:
    model.check_built()
    weights = hdf5.places(model)
    arrays = {place: np.asarray(getattr(value, "value", value)) for place, value in weights.items()}
    return arrays | (_state(model, weights) or {})


def _state(model: Any, weights: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """The state of the optimizer, None if there is none that fits."""
    if model.optimizer is None or type(model.optimizer).__name__ not in hdf5.SLOTS:
        return None
    try:
        return hdf5.optimizer_state(model, weights)
    except ValueError:  # layers were frozen or added since it was used
        return None


# ---- Reading ----


def load_model(
    filepath: Any,
    custom_objects: Mapping[str, Any] | None,
    compile: bool,  # noqa: A002
    sequential: Any,
    functional: Any,
) -> Any:
    """The model in a file of Keras.

    Parameters
    ----------
    filepath : str or path
    custom_objects : dict, optional
    compile : bool
    sequential, functional : type
        The classes of models.
    """
    path = os.fsdecode(filepath)
    config, content = _members(path)
    tree = hdf5.Tree(content, path)
    held = sum(array.size for array in tree.arrays.values())
    importer = Importer(path, custom_objects, sequential, functional)
    with refusing(f"filepath: {path} describes no model"), _room.at_most(held, len(tree.arrays)):
        described = json.loads(config)
        model = importer.make(described)
        if not isinstance(model, (sequential, functional)):
            raise LoadError(f"filepath: {path} holds no model, but {model!r}")
        settings = described.get("compile_config") or {}
        if compile and settings:
            unknown = [key for key in settings if key not in (*SETTINGS, *UNUSED)]
            if unknown:
                raise LoadError(f"filepath: {path} compiles with {unknown}, which cgru has not")
            settings = {key: settings[key] for key in SETTINGS if key in settings}
            model.compile(**importer.make(settings))
    if not model.built:
        if any(not place.startswith("optimizer/") for place in tree.arrays):
            raise LoadError(f"filepath: {path} does not say the shape of the model's input")
        return model
    _restore(model, tree, hdf5.places(model, importer.order))
    return model


def load_weights(model: Any, filepath: Any, skip_mismatch: bool = False) -> None:
    """Load weights in HDF5 into a model."""
    model.check_built()
    path = os.fsdecode(filepath)
    tree = hdf5.Tree(None, path)
    _restore(model, tree, hdf5.places(model), skip_mismatch, new_optimizer=True)


def _members(path: str) -> tuple[str, bytes]:
    """The configuration and the weights, of which no more is unpacked than there can be."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(set(names)) < len(names) or not {CONFIG, WEIGHTS} <= set(names):
                raise LoadError(
                    f"filepath: {path} is no model of Keras: expected one {CONFIG} and one "
                    f"{WEIGHTS} in the zip, got {sorted(names)[:9]}"
                )
            weights = archive.getinfo(WEIGHTS)
            most = max(weights.compress_size * 4, 1 << 24)
            if archive.getinfo(CONFIG).file_size > _room.MAX_TEXT or weights.file_size > most:
                raise LoadError(f"filepath: {path} unpacks to more than a model can have")
            config, content = (
                _unpacked(archive, CONFIG, _room.MAX_TEXT),
                _unpacked(archive, WEIGHTS, most),
            )
            return config.decode(), content
    except (OSError, LoadError):
        raise
    except Exception as error:
        raise LoadError(f"filepath: {path} is no zip, or damaged: {error}") from error


def _unpacked(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    with archive.open(name) as stream:
        content = stream.read(most + 1)
    if len(content) != archive.getinfo(name).file_size:
        raise LoadError(f"filepath: {name} is not of the size that the zip says")
    return content


def _restore(
    model: Any,
    tree: hdf5.Tree,
    own: dict[str, Any],
    skip_mismatch: bool = False,
    new_optimizer: bool = False,
) -> None:
    """Give a model the weights of a file, and its optimizer its state: all of it, or nothing."""
    stored = {
        place: array
        for place, array in tree.arrays.items()
        if not place.startswith("optimizer/") and not re.search(r"seed_generator.*/vars/0$", place)
    }
    problems, unlike = Problems(), Problems()
    problems.compare(own, stored, "")
    state, stored_state = _state(model, own), None
    if state is not None:
        stored_state = {p: a for p, a in tree.arrays.items() if p.startswith("optimizer/")}
        state = _comparable(state, stored_state, model.optimizer)
        unlike.compare(state, stored_state, "")
        if unlike and (new_optimizer or skip_mismatch):
            warnings.warn(f"the optimizer starts anew: {unlike}", stacklevel=4)
            state, unlike = None, Problems()
    own = fitting(model, own, stored, problems, unlike, skip_mismatch)
    values = {place: tree.read(place) for place in [*own, *(state or ())]}
    if state:
        _set_state(model.optimizer, state, values, tree.path)
    for place, variable in own.items():
        if hasattr(variable, "assign"):
            variable.assign(values[place])


def _comparable(
    state: dict[str, np.ndarray], stored: Mapping[str, Any], optimizer: Any
) -> dict[str, np.ndarray]:
    """The state as a file may have it: with steps in another integer type, or none yet."""
    steps = stored.get("optimizer/vars/0")
    if not stored:
        return {}
    if steps is not None and steps.dtype.kind in "iu":
        state = state | {"optimizer/vars/0": state["optimizer/vars/0"].astype(steps.dtype)}
    first = 1 + ("learning_rate" in optimizer.get_state())
    if len(stored) == first:  # Keras had not trained
        state = dict(list(state.items())[:first])
    return state


def _set_state(
    optimizer: Any, state: Mapping[str, np.ndarray], values: Mapping[str, Any], path: Any
) -> None:
    new: dict[str, Any] = {"iterations": int(values["optimizer/vars/0"])}
    held = optimizer.get_state()
    if "learning_rate" in held:
        new["learning_rate"] = float(values["optimizer/vars/1"])
    last = list(state)[len(new) :]
    if "momenta" in held and last:
        new["momenta"] = values[last.pop()].reshape(1)
    with refusing(f"filepath: {path}"):  # it may find its values wrong
        optimizer.set_state(held | new)
    for place in last:
        state[place][...] = values[place]
