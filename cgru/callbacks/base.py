"""The protocol: what callbacks are told, and when."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

Logs = dict[str, Any]  # numbers, or arrays of metrics that have several values
F = TypeVar("F", bound=Callable[..., None])


def heard_if(condition: Callable[[Any], bool]) -> Callable[[F], F]:
    """Mark a method that need not be called unless ``condition(callback)``."""

    def mark(method: F) -> F:
        method.heard = condition  # type: ignore[attr-defined]
        return method

    return mark


def hears(callback: Callback, event: str) -> bool:
    """Whether a callback does anything when told of an event."""
    condition = getattr(getattr(callback, event), "heard", None)
    return condition is None or bool(condition(callback))


def message(text: str) -> None:
    """Print a line, above a progress bar if there is one."""
    tqdm = sys.modules.get("tqdm")
    (print if tqdm is None else tqdm.tqdm.write)(text)


def shown(value: Any) -> str:
    """A figure as it is printed; of several values their mean, as in Keras."""
    return f"{np.mean(value):.4g}"


nothing = heard_if(lambda callback: False)


class Callback:
    """Base class: override what you need.

    Each method is given `logs`, a dictionary of the loss and metrics by name, or None where there
    is nothing to tell.  Methods for batches cost time only where they are overridden.

    Attributes
    ----------
    model : Model
        Set ``self.model.stop_training = True`` to end training, after the batch or epoch in
        which it is set.
    params : dict
        ``epochs``, ``initial_epoch``, ``steps`` (per epoch, None where unknown) and ``verbose``.

    Examples
    --------
    >>> class Stop(cgru.callbacks.Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         self.model.stop_training = logs["loss"] < 0.5
    """

    model: Any = None
    params: Any = None

    # Whether others are told first of the end of a batch or epoch.
    told_last = False

    def set_model(self, model: Any) -> None:
        """Called before all else, with the model."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Called before all else, with the parameters."""
        self.params = params

    @nothing
    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Before the first epoch of `fit`."""

    @nothing
    def on_train_end(self, logs: Logs | None = None) -> None:
        """After the last epoch of `fit`, also when it was interrupted; logs are those of it."""

    @nothing
    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Before an evaluation, `fit`'s on validation data included."""

    @nothing
    def on_test_end(self, logs: Logs | None = None) -> None:
        """After an evaluation, with its results."""

    @nothing
    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Before the first batch of `predict`."""

    @nothing
    def on_predict_end(self, logs: Logs | None = None) -> None:
        """After the last batch of `predict`."""

    @nothing
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before each epoch; they are counted from 0."""

    @nothing
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """After each epoch, with its loss and metrics, those of validation as ``val_...``."""

    @nothing
    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of `on_train_batch_begin`."""

    @nothing
    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Another name of `on_train_batch_end`."""

    @heard_if(lambda callback: hears(callback, "on_batch_begin"))
    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before each batch of an epoch; they are counted from 0."""
        self.on_batch_begin(batch, logs)

    @heard_if(lambda callback: hears(callback, "on_batch_end"))
    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After each batch, with the epoch's loss and metrics so far."""
        self.on_batch_end(batch, logs)

    @nothing
    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before each batch of an evaluation."""

    @nothing
    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After each batch of an evaluation, with its loss and metrics so far."""

    @nothing
    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before each batch of `predict`."""

    @nothing
    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After each batch of `predict`; its outputs are ``logs["outputs"]``."""


EVENTS = tuple(name for name in vars(Callback) if name.startswith("on_"))


class LambdaCallback(Callback):
    """A callback made of functions.

    Parameters
    ----------
    on_epoch_begin, on_epoch_end : callable, optional
        Called with ``(epoch, logs)``.
    on_train_begin, on_train_end : callable, optional
        Called with ``(logs)``.
    on_train_batch_begin, on_train_batch_end : callable, optional
        Called with ``(batch, logs)``.
    **kwargs
        Any other method of `Callback`.

    Examples
    --------
    >>> model = cgru.Sequential([cgru.Input((2,)), cgru.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> tell = cgru.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, *logs))
    >>> history = model.fit(np.ones((4, 2)), np.ones(4), epochs=2, callbacks=[tell])
    0 loss
    1 loss
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        given = dict(
            on_epoch_begin=on_epoch_begin,
            on_epoch_end=on_epoch_end,
            on_train_begin=on_train_begin,
            on_train_end=on_train_end,
            on_train_batch_begin=on_train_batch_begin,
            on_train_batch_end=on_train_batch_end,
        )
        for name, function in (given | kwargs).items():
            if name not in EVENTS:
                raise TypeError(f"{name}: expected a method of Callback, one of {EVENTS}")
            if function is not None:
                if not callable(function):
                    raise TypeError(f"{name}: expected a function, got {function!r}")
                setattr(self, name, function)
