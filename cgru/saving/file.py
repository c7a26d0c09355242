"""A safetensors file: written whole or not at all, and read without running anything."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from cgru import _room
from cgru.saving.errors import LoadError, refusing

FORMAT_VERSION = 1
DESCRIPTIONS = {"model", "compile"}  # notes of which objects are made


class Contents:
    """Named arrays, and notes that JSON can hold.

    Attributes
    ----------
    arrays : dict of ndarray
    notes : dict
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.notes: dict[str, Any] = {"format_version": FORMAT_VERSION}

    def add(self, name: str, array: np.ndarray) -> str:
        """Put in an array, under a name that is made unique and returned."""
        number, unique = 0, name
        while unique in self.arrays:
            number += 1
            unique = f"{name}_{number}"
        self.arrays[unique] = np.asarray(array, order="C")
        return unique

    def add_all(self, prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, str]:
        """Put in several, and return the name of each by its key."""
        return {key: self.add(f"{prefix}/{key}", array) for key, array in arrays.items()}

    def take(self, names: Mapping[str, str]) -> dict[str, np.ndarray]:
        """What `add_all` was given, for what it returned."""
        if not isinstance(names, Mapping) or not all(isinstance(n, str) for n in names.values()):
            raise LoadError(f"filepath: damaged, for it has {names!r} where names should be")
        lost = [name for name in names.values() if name not in self.arrays]
        if lost:
            raise LoadError(f"filepath: damaged, for it lacks the arrays {lost} that it names")
        return {key: self.arrays[name] for key, name in names.items()}


def write(filepath: Any, contents: Contents, overwrite: bool = True) -> None:
    """Write a safetensors file, as `write_whole` does."""
    from safetensors.numpy import save

    metadata = {"format": "cgru"}
    metadata |= {key: _room.check_text(json.dumps(value)) for key, value in contents.notes.items()}
    write_whole(filepath, save(contents.arrays, metadata), overwrite)


def write_whole(filepath: Any, data: bytes, overwrite: bool = True) -> None:
    """Write bytes to a file, in the place of an earlier one only when all are on the disk."""
    path = os.path.realpath(os.fsdecode(filepath))
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f"filepath: {path} is there already, and overwrite is False")
    if os.path.isdir(path):
        raise IsADirectoryError(f"filepath: expected a file, got the directory {path}")
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(f"filepath: expected a file, got {path}, a device or the like")
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    try:
        with open(temporary, "xb") as stream:
            _lock(stream)  # as long as this process writes
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(directory)  # the name, too
    finally:
        os.close(directory)


def remove_unfinished(pattern: str) -> None:
    """Remove what processes that were killed had not finished writing.

    Parameters
    ----------
    pattern : str
        Of the paths of the files that they wrote, for `glob`.
    """
    for path in glob.glob(f"{pattern}.{'[0-9a-f]' * 8}.tmp"):
        with contextlib.suppress(OSError), open(path, "rb") as stream:
            _lock(stream)  # an OSError if another process is writing it now
            os.unlink(path)


def _lock(stream: BinaryIO) -> None:
    import fcntl

    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def begins(filepath: Any, signature: bytes) -> bool:
    """Whether a file begins so."""
    with open(_regular(filepath), "rb") as stream:
        return stream.read(len(signature)) == signature


def _regular(filepath: Any) -> str:
    """The path of what must be a file, and not a directory or a pipe."""
    path = os.fsdecode(filepath)
    if os.path.isdir(path):
        raise IsADirectoryError(f"filepath: expected a file, got the directory {path}")
    if os.path.exists(path) and not os.path.isfile(path):
        raise LoadError(f"filepath: expected a file, got {path}, which may have no end")
    return path


def read(filepath: Any) -> Contents:
    """Read a file, one of another program's too.

    Raises
    ------
    FileNotFoundError
    LoadError
        If it is damaged, of another format, or of a newer cgru.
    """
    from safetensors import safe_open

    path = _regular(filepath)
    contents = Contents()
    with refusing(f"filepath: {path} is no safetensors file, or damaged"):
        metadata = _metadata(path)
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118  # it has no iterator
                contents.arrays[name] = file.get_tensor(name)
        if metadata.pop("format", None) == "cgru":
            for key in DESCRIPTIONS & metadata.keys():
                _room.check_text(metadata[key])
            contents.notes = {key: _parsed(text) for key, text in metadata.items()}
    version = contents.notes.get("format_version")
    if version != FORMAT_VERSION:
        raise LoadError(
            f"filepath: {path} has format version {version!r}, and this cgru reads "
            f"{FORMAT_VERSION}: a newer one is needed"
        )
    return contents


def _metadata(path: str) -> dict[str, str]:
    """The metadata in a file's header; nothing in the header may be there twice."""
    with open(path, "rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if size > os.fstat(stream.fileno()).st_size:
            raise ValueError(f"it ends within its header of {size} bytes")
        metadata: dict[str, str] = _parsed(stream.read(size)).get("__metadata__", {})
    return metadata


def _parsed(text: str | bytes) -> Any:
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a name is there twice, among {[name for name, _ in pairs][:10]}")
    return found
