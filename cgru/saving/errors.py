"""What is raised where a file or the weights of another library cannot be loaded."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any


class LoadError(ValueError):
    """A file is damaged, or not what it should be; nothing of it was loaded.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     _ = path.write_bytes(b"no model")
    ...     try:
    ...         cgru.saving.load_model(path)
    ...     except cgru.saving.LoadError:
    ...         print("no model in there")
    no model in there
    """


@contextlib.contextmanager
def refusing(subject: str) -> Iterator[None]:
    """Raise a LoadError about `subject` for whatever goes wrong in a block, but for OSError.

    What stands in a file may be anything, and so may be what comes of it: a TypeError, KeyError,
    RecursionError, MemoryError...
    """
    try:
        yield
    except (LoadError, OSError):
        raise
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        text = str(error)[:1000]  # a file may make it as long as it likes
        raise LoadError(f"{subject}: {kind}{text}") from error


class MismatchError(LoadError):
    """A file does not fit a model; nothing of it was loaded.

    Attributes
    ----------
    missing, unexpected : list of str
        Names of arrays that only the model, or only the file, has.
    different : list of str
        Those whose shape or dtype is another one, with both.

    Examples
    --------
    >>> import tempfile
    >>> small, large = (
    ...     cgru.Sequential([cgru.Input((2,)), cgru.layers.Dense(units, name="out")])
    ...     for units in (1, 3)
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cgru.saving.save_weights(small, f"{folder}/small")
    ...     try:
    ...         cgru.saving.load_weights(large, f"{folder}/small")
    ...     except cgru.saving.MismatchError as error:
    ...         print(*error.different, sep="; ")
    out/kernel: expected (2, 3) float32, got (2, 1) float32; out/bias: expected (3,) float32, \
got (1,) float32
    """

    def __init__(
        self, problems: Problems, subject: str, source: str = "filepath: the file"
    ) -> None:
        self.missing = problems.missing
        self.unexpected = problems.unexpected
        self.different = problems.different
        self._made_of = problems, subject, source
        super().__init__(f"{source} does not fit {subject}: {problems}")

    def __reduce__(self) -> Any:
        return type(self), self._made_of  # and not the message alone


class Problems:
    """How arrays differ from those that are needed."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        self.unexpected: list[str] = []
        self.different: list[str] = []

    def compare(self, own: Mapping[str, Any], stored: Mapping[str, Any], prefix: str) -> None:
        """Note differences; names get the prefix."""
        self.missing += [prefix + name for name in own if name not in stored]
        self.unexpected += [prefix + name for name in stored if name not in own]
        for name in own:
            if name in stored and not alike(own[name], stored[name]):
                expected, found = (f"{a.shape} {a.dtype}" for a in (own[name], stored[name]))
                self.different.append(f"{prefix}{name}: expected {expected}, got {found}")

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.different)

    def __str__(self) -> str:
        return "; ".join(
            f"{kind} {', '.join(names)}"
            for kind, names in (
                ("missing", self.missing),
                ("unexpected", self.unexpected),
                ("of another shape or dtype:", self.different),
            )
            if names
        )


def fitting(
    model: Any,
    own: Mapping[str, Any],
    stored: Mapping[str, Any],
    problems: Problems,
    unlike: Problems,
    skip_mismatch: bool,
) -> dict[str, Any]:
    """Those of a model's own weights that are to be loaded.

    Parameters
    ----------
    model : Model
    own, stored : dict
    problems, unlike : Problems
        Of the weights, and of the optimizer's state.
    skip_mismatch : bool
        Whether to leave out, with a warning, weights that do not fit.

    Raises
    ------
    MismatchError
        That lists all problems, if any are left.
    """
    if problems and skip_mismatch:
        warnings.warn(f"not loaded: {problems}", stacklevel=4)
        return {name: v for name, v in own.items() if name in stored and alike(v, stored[name])}
    if problems or unlike:
        problems.missing += unlike.missing
        problems.unexpected += unlike.unexpected
        problems.different += unlike.different
        raise MismatchError(problems, model.name)
    return dict(own)


def alike(a: Any, b: Any) -> bool:
    """Whether two arrays have one shape and one dtype."""
    return a.shape == b.shape and a.dtype == b.dtype
