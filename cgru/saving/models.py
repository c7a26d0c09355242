"""Saving and loading models and weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from cgru import _configs, _room
from cgru.layers.base import Layer
from cgru.saving.contents import collect, restore
from cgru.saving.errors import LoadError, refusing
from cgru.saving.file import Contents, begins, read, write
from cgru.saving.progress import Rest

ZIP, HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"  # how files of Keras begin


def save_model(model: Any, filepath: Any, overwrite: bool = True, zipped: Any = None) -> None:
    """Save a model: layers, weights, what `compile` was given, and the optimizer's state.

    The file is in the safetensors format; weights are under their paths, such as ``"gru/kernel"``,
    and the rest is JSON in its metadata.  With the suffix ``.keras`` it is one that Keras 3 loads,
    which needs h5py.  It appears under its name only when it is whole, so that an interruption
    leaves an earlier one as it was.

    Parameters
    ----------
    model : Model
    filepath : str or path
    overwrite : bool
        Whether to replace a file that is there already.
    zipped : bool, optional
        Accepted for Keras's sake; there is always one file.

    Raises
    ------
    FileExistsError
    TypeError
        If a layer, loss or metric is a function or an object without a configuration, or one that
        Keras has not, for ``.keras``.
    ValueError
        If the model is not built; if one layer is in several others; or if layers are too many, or
        too deep inside each other, to be loaded again.

    Examples
    --------
    >>> import tempfile
    >>> model = cgru.Sequential([cgru.Input((None, 3)), cgru.layers.GRU(4)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cgru.saving.save_model(model, f"{folder}/model.safetensors")
    ...     again = cgru.saving.load_model(f"{folder}/model.safetensors")
    >>> x = np.ones((2, 5, 3))
    >>> np.array_equal(again.predict(x), model.predict(x))
    True
    """
    if _name(filepath).endswith(".keras"):
        from cgru.saving import keras

        keras.save_model(model, filepath, overwrite)
    else:
        write(filepath, describe(model, collect(model)), overwrite)


def describe(model: Any, contents: Contents) -> Contents:
    """Add what a model is, and how it was compiled, to what a file is to hold."""
    _configs.check_sharing(model)
    contents.notes["model"] = _configs.serialize(model)
    _room.check_depth(contents.notes["model"])
    if model.compiled:
        contents.notes["compile"] = _configs.serialize(model._compiled_with)
    return contents


def load_model(
    filepath: Any,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,  # noqa: A002
    safe_mode: bool = True,
) -> Any:
    """The model that `save_model` saved, or that Keras 3 saved in a ``.keras`` file.

    Nothing in the file is run: it names classes of cgru and those in `custom_objects`.  Whatever
    is in it, it is loaded, or refused with a `LoadError` before much memory is taken.  NaN and
    infinity are refused, too: nothing can be predicted with them, nor trained.

    Parameters
    ----------
    filepath : str or path
    custom_objects : dict, optional
        Classes by name, for those that are not cgru's own.
    compile : bool
        Whether to compile the model as the saved one was, and to go on with its optimizer.
    safe_mode : bool
        Accepted for Keras's sake; loading is always safe.

    Returns
    -------
    Model

    Raises
    ------
    FileNotFoundError
    LoadError
        If the file is damaged or holds no model, or names a class that is not known, or if a
        weight is not a finite number.
    MismatchError
        If the weights are not those of the layers.
    """
    if begins(filepath, ZIP):
        from cgru import models
        from cgru.saving import keras

        return keras.load_model(filepath, custom_objects, compile, models.Sequential, models.Model)
    contents = read(filepath)
    if "model" not in contents.notes:
        raise LoadError(f"filepath: {filepath} holds no model; for weights, use load_weights")
    held = sum(array.size for array in contents.arrays.values())
    room = _room.at_most(held, len(contents.arrays))
    with refusing(f"filepath: {filepath} describes no model"), room:
        model = _configs.deserialize(contents.notes["model"], custom_objects)
        if not (isinstance(model, Layer) and hasattr(model, "compile")):
            raise LoadError(f"filepath: expected the configuration of a model, got {model!r}")
        if compile and "compile" in contents.notes:
            settings = _configs.deserialize(contents.notes["compile"], custom_objects)
            model.compile(**settings)
        rest = Rest.of(contents)
        restore(model, contents)
        model._rest = rest
    return model


def save_weights(
    model: Any, filepath: Any, overwrite: bool = True, max_shard_size: Any = None
) -> None:
    """Save the weights of a model, and the state of its optimizer if it is compiled.

    With the suffix ``.h5``, as in ``"model.weights.h5"``, the file is one that Keras 3 loads, which
    needs h5py.

    Parameters
    ----------
    model : Model
    filepath, overwrite
        As for `save_model`.
    max_shard_size : float, optional
        Accepted for Keras's sake; there is always one file.
    """
    if _name(filepath).endswith(".h5"):
        from cgru.saving import keras

        keras.save_weights(model, filepath, overwrite)
    else:
        write(filepath, collect(model), overwrite)


def load_weights(model: Any, filepath: Any, skip_mismatch: bool = False) -> None:
    """Load what `save_weights` or `save_model` saved into a model with the same layers.

    Weights are found by their names; if none of these fit, because layers that were given no name
    got other numbers, by their order.  The state of the optimizer is loaded if the model is
    compiled with one of the same kind.  A file of another program is read, too, if its names fit;
    so is one of Keras, ``.weights.h5``, whose names follow from the layers.

    Parameters
    ----------
    model : Model
        Built.
    filepath : str or path
    skip_mismatch : bool
        Whether to leave out, with a warning, what does not fit.

    Raises
    ------
    FileNotFoundError
    LoadError
        If the file is damaged, or a weight is not a finite number.
    MismatchError
        If names, shapes or dtypes are others; nothing is changed.

    Examples
    --------
    >>> import tempfile
    >>> def build():
    ...     return cgru.Sequential([cgru.Input((None, 3)), cgru.layers.GRU(4)])
    >>> model, again = build(), build()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cgru.saving.save_weights(model, f"{folder}/model.weights")
    ...     cgru.saving.load_weights(again, f"{folder}/model.weights")
    >>> np.array_equal(again.layers[0].kernel, model.layers[0].kernel)
    True
    """
    if begins(filepath, HDF5):
        from cgru.saving import keras

        keras.load_weights(model, filepath, skip_mismatch)
        return
    contents = read(filepath)
    rest = Rest.of(contents)
    restore(model, contents, skip_mismatch=skip_mismatch, new_optimizer=True)
    model._rest = rest


def _name(filepath: Any) -> str:
    return os.path.basename(os.fsdecode(filepath))
