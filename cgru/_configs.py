"""Objects as dictionaries: what `get_config`, `from_config` and files of models share.

A class keeps each argument of its constructor in an attribute of the same name, and nothing else
has to be written for it.  Names are looked up in cgru's own public modules and in `custom_objects`;
nothing is ever imported, or run, because a configuration says so.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from cgru import _room

T = TypeVar("T", bound="Configurable")

# The modules whose public classes a configuration may name.
MODULES = (
    "activations",
    "constraints",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "optimizers.schedules",
    "regularizers",
)

# Classes that are not cgru's own, by name: see cgru.saving.custom.
REGISTERED: dict[str, Any] = {}


class Configurable:
    """Base of all that has a configuration."""

    # Arguments that are used up, and not part of it.
    unconfigured: tuple[str, ...] = ()

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an object like this one, as values that JSON can hold.

        Returns
        -------
        dict
        """
        cls: type = type(self)
        names = [name for name in arguments(cls) if name not in self.unconfigured]
        return {name: serialize(getattr(self, name)) for name in names}

    def serialized(self) -> Any:
        """The object as part of another's configuration."""
        cls = type(self)
        return {
            "module": public_module(cls),
            "class_name": cls.__name__,
            "config": self.get_config(),
        }

    @classmethod
    def from_config(cls: type[T], config: Mapping[str, Any]) -> T:
        """The object that `get_config` described.

        Parameters
        ----------
        config : dict
        """
        return cls(**{name: deserialize(value) for name, value in config.items()})


class Function(Configurable):
    """A plain function where an object with a configuration is expected.

    Parameters
    ----------
    function : callable
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def serialized(self) -> Any:
        raise TypeError(f"config: {self.function!r} is a function, which has no configuration")


@functools.cache
def arguments(cls: type) -> tuple[str, ...]:
    """The names of the arguments of a class, those that ``**kwargs`` hands on included."""
    found: dict[str, None] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base) or base is object:
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        names = [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        found |= dict.fromkeys(names)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return tuple(found)


def serialize(value: Any) -> Any:
    """`value` as numbers, strings, lists and dictionaries.

    Objects with a configuration become ``{"module", "class_name", "config"}``.
    """
    if isinstance(value, Configurable):
        return value.serialized()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [serialize(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): serialize(item) for key, item in value.items()}
    raise TypeError(f"config: {value!r} ({type(value).__name__}) has no configuration")


def check_sharing(model: Any) -> None:
    """Check, before a model is described, that none of its layers is in several others.

    Raises
    ------
    ValueError
        If there is one: it would be described once for each, and made as many times.
    """
    homes: dict[int, Any] = {}
    waiting = [model]
    while waiting:
        home = waiting.pop()
        for layer in home.sublayers():
            other = homes.get(id(layer))
            if other is None:
                homes[id(layer)] = home
                waiting.append(layer)
            elif other is not home:
                raise ValueError(
                    f"model: {layer.name} is in {other.name} and in {home.name}, and a "
                    "configuration would make two layers of it; pickle keeps it as one"
                )


def deserialize(value: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """What `serialize` was given; lists stay lists.

    Parameters
    ----------
    value : object
    custom_objects : dict, optional
        Classes by name, for those that are not cgru's own.
    """
    if isinstance(value, list):
        return [deserialize(item, custom_objects) for item in value]
    if not isinstance(value, Mapping):
        return value
    if "class_name" not in value or "config" not in value:
        return {key: deserialize(item, custom_objects) for key, item in value.items()}
    cls = find_class(value.get("module"), value["class_name"], custom_objects)
    with _room.one_part():
        config = {key: deserialize(item, custom_objects) for key, item in value["config"].items()}
        return cls.from_config(config)


def find_class(module: Any, name: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The class of a configuration: one of `custom_objects`, or public in cgru's `module`."""
    if custom_objects is not None and name in custom_objects:
        return custom_objects[name]
    if name in REGISTERED:
        return REGISTERED[name]
    package, _, rest = str(module).partition(".")
    if package in ("cgru", "keras") and rest in MODULES:
        cls = getattr(importlib.import_module(f"cgru.{rest}"), str(name), None)
        if isinstance(cls, type) and issubclass(cls, Configurable):
            return cls
    raise ValueError(
        f"config: {module}.{name} is not a class of cgru; if it is yours, pass "
        f"custom_objects={{{str(name)!r}: ...}}, or register it"
    )


def public_module(cls: type) -> str:
    """Where users find a class: ``cgru.layers`` for ``cgru.layers.core.Dense``."""
    package, _, rest = cls.__module__.partition(".")
    public = [module for module in MODULES if f"{rest}.".startswith(f"{module}.")]
    return f"cgru.{max(public, key=len)}" if package == "cgru" and public else cls.__module__
