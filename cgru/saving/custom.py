"""Classes that are not cgru's own, made known to those that read configurations and files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from cgru import _configs

C = TypeVar("C", bound=type)


def register_keras_serializable(
    package: str = "Custom", name: str | None = None
) -> Callable[[C], C]:
    """Make a class known, so that models which contain it are loaded without `custom_objects`.

    Parameters
    ----------
    package : str
        Accepted for Keras's sake.
    name : str, optional
        Another name under which it is to be found as well.

    Returns
    -------
    callable
        A decorator of classes.

    Examples
    --------
    >>> @cgru.saving.register_keras_serializable()
    ... class Double(cgru.layers.Layer):
    ...     def forward(self, x):
    ...         return 2 * x, lambda dy: 2 * dy
    >>> model = cgru.Sequential([cgru.Input((3,)), Double()])
    >>> cgru.models.model_from_json(model.to_json()).predict(np.ones((1, 3)))
    array([[2., 2., 2.]], dtype=float32)
    """

    def register(cls: C) -> C:
        if not (isinstance(cls, type) and issubclass(cls, _configs.Configurable)):
            raise TypeError(
                f"register_keras_serializable: expected a layer, loss or other class with a "
                f"configuration, got {cls!r}"
            )
        _configs.REGISTERED[cls.__name__] = _configs.REGISTERED[name or cls.__name__] = cls
        return cls

    return register


def get_custom_objects() -> dict[str, Any]:
    """The classes that are known, by name: a dictionary that may be changed.

    Examples
    --------
    >>> "Unknown" in cgru.saving.get_custom_objects()
    False
    """
    return _configs.REGISTERED


@contextlib.contextmanager
def custom_object_scope(custom_objects: Mapping[str, Any]) -> Iterator[None]:
    """Make classes known for a while.

    Parameters
    ----------
    custom_objects : dict
        Classes by name.

    Examples
    --------
    >>> class Triple(cgru.layers.Layer):
    ...     def forward(self, x):
    ...         return 3 * x, lambda dy: 3 * dy
    >>> text = cgru.Sequential([cgru.Input((3,)), Triple()]).to_json()
    >>> with cgru.saving.custom_object_scope({"Triple": Triple}):
    ...     model = cgru.models.model_from_json(text)
    """
    before = dict(_configs.REGISTERED)
    _configs.REGISTERED.update(custom_objects)
    try:
        yield
    finally:
        _configs.REGISTERED.clear()
        _configs.REGISTERED.update(before)
