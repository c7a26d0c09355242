"""What a file holds of a model: its weights and its optimizer's state."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from cgru.saving.file import Contents


class MismatchError(ValueError):
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

    def __init__(self, problems: Problems, subject: str) -> None:
        self.missing = problems.missing
        self.unexpected = problems.unexpected
        self.different = problems.different
        super().__init__(f"filepath: the file does not fit {subject}: {problems}")


class Problems:
    """How arrays differ from those that are needed."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        self.unexpected: list[str] = []
        self.different: list[str] = []

    def compare(
        self, own: Mapping[str, Any], stored: Mapping[str, np.ndarray], prefix: str
    ) -> None:
        """Note differences; names get the prefix."""
        self.missing += [prefix + name for name in own if name not in stored]
        self.unexpected += [prefix + name for name in stored if name not in own]
        for name in own:
            if name in stored and not _alike(own[name], stored[name]):
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


def collect(model: Any) -> Contents:
    """The weights of a model, and the state of its optimizer if it is compiled."""
    if not model.built:
        raise ValueError(f"{model.name} has no weights yet: build it, or show it data, first")
    contents = Contents()
    contents.notes["weights"] = [contents.add(v.path, v.value) for v in model.weights]
    state = _optimizer_state(model)
    if state is not None:
        contents.notes["optimizer"] = contents.add_all("optimizer", state)
    return contents


def restore(
    model: Any, contents: Contents, *, skip_mismatch: bool = False, new_optimizer: bool = False
) -> None:
    """Give a model what `collect` took from one like it: all of it, or nothing.

    Parameters
    ----------
    model : Model
    contents : Contents
    skip_mismatch : bool
        Leave out, with a warning, what does not fit.
    new_optimizer : bool
        Leave out, with a warning, the state of an optimizer of another kind.

    Raises
    ------
    MismatchError
    """
    if not model.built:
        raise ValueError(f"{model.name} has no weights yet: build it, or show it data, first")
    own, stored, problems = _own_weights(model), _stored_weights(contents), Problems()
    if _named_anew(own, stored) and "weights" in contents.notes:
        stored = dict(zip(own, stored.values(), strict=True))
    problems.compare(own, stored, "")

    state, unlike = None, Problems()
    own_state = _optimizer_state(model)
    if own_state is not None and "optimizer" in contents.notes:
        state = contents.take(contents.notes["optimizer"])
        unlike.compare(own_state, state, "optimizer/")
        if unlike and (new_optimizer or skip_mismatch):
            warnings.warn(f"the optimizer starts anew: {unlike}", stacklevel=3)
            state, unlike = None, Problems()

    if problems and skip_mismatch:
        warnings.warn(f"not loaded: {problems}", stacklevel=3)
        own = {
            name: variable
            for name, variable in own.items()
            if name in stored and _alike(variable, stored[name])
        }
    elif problems or unlike:
        problems.missing += unlike.missing
        problems.unexpected += unlike.unexpected
        problems.different += unlike.different
        raise MismatchError(problems, model.name)
    if state is not None:
        model.optimizer.set_state(state)  # the first, because it may find its values wrong
    for name, variable in own.items():
        variable.assign(stored[name])


def _own_weights(model: Any) -> dict[str, Any]:
    names = Contents()
    return {names.add(variable.path, variable.value): variable for variable in model.weights}


def _stored_weights(contents: Contents) -> dict[str, np.ndarray]:
    """All arrays, if the file does not say which are weights."""
    names = contents.notes.get("weights", list(contents.arrays))
    return contents.take({name: name for name in names})


def _named_anew(own: Mapping[str, Any], stored: Mapping[str, np.ndarray]) -> bool:
    """Whether the same weights, in the same order, are those of layers with other names.

    Layers that are given no name get a new number each time that the model is made.
    """
    return (
        own.keys() != stored.keys()
        and len(own) == len(stored)
        and all(
            _alike(own[a], stored[b]) and a.rpartition("/")[2] == b.rpartition("/")[2]
            for a, b in zip(own, stored, strict=True)
        )
    )


def _alike(a: Any, b: Any) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype


def _optimizer_state(model: Any) -> dict[str, np.ndarray] | None:
    """The state of a model's optimizer, None if there is none that fits its weights."""
    if model.optimizer is None:
        return None
    try:
        model.optimizer.build(model.flat())
    except ValueError:  # layers were frozen or added since it was used
        return None
    state: dict[str, np.ndarray] = model.optimizer.get_state()
    return state
