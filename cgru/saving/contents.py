"""What a file holds of a model: its weights and its optimizer's state."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from cgru.saving.errors import LoadError, Problems, alike, fitting, refusing
from cgru.saving.file import Contents


def collect(model: Any) -> Contents:
    """The weights of a model, and the state of its optimizer if it is compiled."""
    model.check_built()
    contents = Contents()
    contents.notes["weights"] = [contents.add(v.path, v.value) for v in model.weights]
    state = _optimizer_state(model)
    if state is not None:
        contents.notes["optimizer"] = contents.add_all("optimizer", state)
        exempt = set(model.optimizer.exempt_from_weight_decay(model.weights))
        if exempt:
            pairs = zip(contents.notes["weights"], model.weights, strict=True)
            contents.notes["no_weight_decay"] = [name for name, v in pairs if v in exempt]
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
    LoadError
        If a number is not finite: nothing can be trained or predicted with it.
    MismatchError
    """
    model.check_built()
    own, stored, problems = _own_weights(model), _stored_weights(contents), Problems()
    names: dict[str, str] = {}
    if "weights" in contents.notes:
        names = _names_of_old(own, stored)
        stored = {names.get(name, name): array for name, array in stored.items()}
    variables = dict(own)
    problems.compare(own, stored, "")

    state, unlike = None, Problems()
    own_state = _optimizer_state(model)
    if own_state is not None and "optimizer" in contents.notes:
        state = contents.take(contents.notes["optimizer"])
        unlike.compare(own_state, state, "optimizer/")
        if not problems and not unlike:
            state = _in_order(model.flat().variables, own, stored, state)
        if unlike and (new_optimizer or skip_mismatch):
            warnings.warn(f"the optimizer starts anew: {unlike}", stacklevel=3)
            state, unlike = None, Problems()

    own = fitting(model, own, stored, problems, unlike, skip_mismatch)
    _check_finite({name: stored[name] for name in own})
    if state is not None:
        _check_finite(state, "optimizer/")
        with refusing("filepath"):  # the first, because it may find its values wrong
            listed = contents.notes.get("no_weight_decay", ())
            exempt = [variables[names.get(name, name)] for name in listed]
            model.optimizer.set_state(state)
        if exempt:
            model.optimizer.restore_exempt(exempt)
    for name, variable in own.items():
        variable.assign(stored[name])


def _own_weights(model: Any) -> dict[str, Any]:
    names = Contents()
    return {names.add(variable.path, variable.value): variable for variable in model.weights}


def _stored_weights(contents: Contents) -> dict[str, np.ndarray]:
    """All arrays, if the file does not say which are weights."""
    names = contents.notes.get("weights", list(contents.arrays))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise LoadError(f"filepath: damaged, for it has {names!r} where names should be")
    return contents.take({name: name for name in names})


def _check_finite(arrays: Mapping[str, np.ndarray], prefix: str = "") -> None:
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise LoadError(
                f"filepath: {prefix}{name} is not finite: it holds NaN or infinity, as after a "
                "training that diverged"
            )


def _names_of_old(own: Mapping[str, Any], stored: Mapping[str, np.ndarray]) -> dict[str, str]:
    """The names of the same weights, where those are stored of layers with other names.

    Layers that are given no name get a new number each time that the model is made.  Of names that
    were given, one that is in both must be in the same place: its layer would get the weights of
    another one.
    """
    if own.keys() == stored.keys() or len(own) != len(stored):
        return {}
    pairs = list(zip(stored, own, strict=True))
    made = list(zip(sorted(stored, key=_number), sorted(own, key=_number), strict=True))
    if all(_number(a)[0] == _number(b)[0] for a, b in made):
        pairs = made
    elif any(a != b and (a in own or b in stored) for a, b in pairs):
        return {}
    same = all(
        alike(own[b], stored[a]) and a.rpartition("/")[2] == b.rpartition("/")[2] for a, b in pairs
    )
    return dict(pairs) if same else {}


def _number(path: str) -> tuple[str, list[int]]:
    """The name of a weight without the numbers, which tell in what order layers were made."""
    number = r"_(\d+)(?=/|$)"
    return re.sub(number, "", path), [int(found) for found in re.findall(number, path)]


def _in_order(
    variables: list[Any],
    own: Mapping[str, Any],
    stored: Mapping[str, Any],
    state: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """The state of an optimizer for weights in the model's order.

    Before 0.5.0, layers of a model that branches had another one.
    """
    names = {variable: name for name, variable in own.items()}
    kept = [names[variable] for variable in variables]
    trained = set(kept)
    before = [name for name in stored if name in trained]
    if before == kept:
        return state
    size = sum(variable.size for variable in variables)
    places = np.split(np.arange(size), np.cumsum([stored[name].size for name in before])[:-1])
    by_name = dict(zip(before, places, strict=True))
    order = np.concatenate([by_name[name] for name in kept])
    return {key: array[order] if array.shape == (size,) else array for key, array in state.items()}


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
