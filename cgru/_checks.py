"""The door: arguments are checked and converted here, before anything is changed.

Every message says which argument, what was expected and what came.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from cgru import _kernels

T = TypeVar("T")


def snake_case(name: str) -> str:
    """`GlorotUniform` -> `glorot_uniform`, `Conv1D` -> `conv1d`: a class's other name."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])", "_", name).lower()


def names_of(*classes: Callable[[], T], **aliases: Callable[[], T]) -> dict[str, Callable[[], T]]:
    """The names under which classes are known: `HeNormal`, `he_normal`, and any aliases."""
    names: dict[str, Callable[[], T]] = {}
    for cls in classes:
        names[cls.__name__] = names[snake_case(cls.__name__)] = cls
    return names | aliases


def resolve(
    argument: str, identifier: Any, base: type[T], names: Mapping[str, Callable[[], T]]
) -> T:
    """The object that `identifier` (an object, its class, or a known name) stands for."""
    if isinstance(identifier, base):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, base):
        return identifier()
    if not isinstance(identifier, str):
        raise TypeError(
            f"{argument}: expected a name or a {base.__name__} object, got {identifier!r}"
        )
    if identifier not in names:
        near = difflib.get_close_matches(identifier, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        known = ", ".join(sorted(name for name in names if name == name.lower()))
        raise ValueError(f"{argument}: unknown name {identifier!r}; {hint}Known names: {known}")
    return names[identifier]()


def integer(argument: str, value: Any, minimum: int) -> int:
    """`value` as an int of at least `minimum`."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < minimum:
        raise ValueError(f"{argument}: expected an integer >= {minimum}, got {value!r}")
    return number


def real(
    argument: str,
    value: Any,
    minimum: float = -np.inf,
    maximum: float = np.inf,
    *,
    open_minimum: bool = False,
    open_maximum: bool = False,
) -> float:
    """`value` as a finite float between `minimum` and `maximum`."""
    try:
        number = np.nan if isinstance(value, (str, bytes)) else float(value)
    except (TypeError, ValueError):
        number = np.nan
    inside = (minimum < number if open_minimum else minimum <= number) and (
        number < maximum if open_maximum else number <= maximum
    )
    if not (np.isfinite(number) and inside):
        left = f"{'>' if open_minimum else '>='} {minimum:g}" if minimum > -np.inf else ""
        right = f"{'<' if open_maximum else '<='} {maximum:g}" if maximum < np.inf else ""
        limits = " and ".join(part for part in (left, right) if part)
        raise ValueError(f"{argument}: expected a number {limits}".rstrip() + f", got {value!r}")
    return number


def numbers(argument: str, value: Any) -> np.ndarray:
    """`value` as an array of real numbers of whatever dtype, neither empty nor ragged."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"{argument}: expected an array or nested lists of equal length, got {error}"
        ) from None
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{argument}: expected an array of numbers, got dtype {array.dtype} "
            f"({type(value).__name__}); convert it first, for example with astype('float32')"
        )
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise TypeError(
            f"{argument}: expected a plain array, got a masked array whose mask would be lost; "
            "fill it first"
        )
    if array.size == 0:
        raise ValueError(f"{argument}: expected at least one value, got shape {array.shape}")
    return array


def floats(argument: str, value: Any, dtype: np.dtype) -> np.ndarray:
    """`value` as a C-contiguous array of `dtype` without NaN or infinity.

    An aligned, C-contiguous array of that dtype comes back as it is; anything else is converted:
    integers, booleans, float16, other byte orders, other memory layouts.
    """
    if _kernels.is_ready(value, dtype):
        return value
    array = numbers(argument, value)
    if array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned:
        converted = array
    else:
        with np.errstate(over="ignore"):  # what overflows is reported just below
            converted = np.array(array, dtype=dtype, order="C", ndmin=1)
    if not _kernels.all_finite(converted):
        bad = np.argwhere(~np.isfinite(converted))
        where = tuple(int(i) for i in bad[0])
        raise ValueError(
            f"{argument}: expected finite numbers within the range of {dtype}, got "
            f"{array[where]} at index {where} ({len(bad)} such value{'s'[: len(bad) != 1]})"
        )
    return converted


def integers(argument: str, value: Any) -> np.ndarray:
    """`value` as a C-contiguous array of integers; floats must have integer values."""
    array = numbers(argument, value)
    if array.dtype.kind == "f":
        whole = np.isfinite(array) & (array == np.trunc(array))
        if not whole.all():
            raise ValueError(f"{argument}: expected integers, got {array[~whole][0]}")
    return np.ascontiguousarray(array, dtype=np.intp)
