"""CallbackList: how training loops talk to callbacks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from cgru.callbacks.base import Callback, Logs, hears
from cgru.callbacks.records import History, ProgbarLogger


class CallbackList(Callback):
    """Several callbacks as one, for training loops.

    Parameters
    ----------
    callbacks : list of Callback, or a Callback, optional
    add_history, add_progbar : bool
        Add a `History` or a `ProgbarLogger` if there is none yet.
    model : Model, optional
    **params
        For `Callback.set_params`.

    Examples
    --------
    >>> model = cgru.Sequential([cgru.Input((2,)), cgru.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> callbacks = cgru.callbacks.CallbackList(add_history=True, model=model)
    >>> callbacks.on_train_begin()
    >>> for epoch in range(2):
    ...     callbacks.on_epoch_begin(epoch)
    ...     logs = model.train_on_batch(np.ones((4, 2)), np.ones(4), return_dict=True)
    ...     callbacks.on_epoch_end(epoch, logs)
    >>> callbacks.on_train_end(logs)
    >>> model.history.epoch
    [0, 1]
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        self.callbacks = list(_flat(callbacks))
        self._begun: list[Callback] = []  # which know that training has begun
        histories = [item for item in self.callbacks if isinstance(item, History)]
        if add_history and not histories:
            histories.append(History())
            self.callbacks += histories
        self._history = histories[-1] if histories else None
        if add_progbar and not any(isinstance(item, ProgbarLogger) for item in self.callbacks):
            self.callbacks.append(ProgbarLogger())
        if model is not None:
            self.set_model(model)
        self.set_params(params)

    def set_model(self, model: Any) -> None:
        self.model = model
        if self._history is not None:
            model.history = self._history
        for callback in self.callbacks:
            callback.set_model(model)

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    def batch_calls(self, mode: str) -> tuple[list[Callable[..., None]], list[Callable[..., None]]]:
        """Whom to call before and after each batch: those who listen, to be asked in each epoch.

        Parameters
        ----------
        mode : {"train", "test", "predict"}

        Returns
        -------
        begin, end : list of callable
            Each to be called with ``(batch, logs)``.
        """
        events = f"on_{mode}_batch_begin", f"on_{mode}_batch_end"
        begin, end = (
            [getattr(item, event) for item in self._in_order(event) if hears(item, event)]
            for event in events
        )
        return begin, end

    def _in_order(self, event: str) -> list[Callback]:
        if event.endswith("_end"):
            return sorted(self.callbacks, key=lambda callback: callback.told_last)
        return self.callbacks

    def _tell(self, event: str, *args: Any) -> None:
        for callback in self._in_order(event):
            getattr(callback, event)(*args)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._begun.clear()
        for callback in self.callbacks:
            callback.on_train_begin(logs)
            self._begun.append(callback)

    def on_train_end(self, logs: Logs | None = None) -> None:
        with contextlib.ExitStack() as each:  # is told, also if one before it fails
            for callback in reversed(self._in_order("on_train_end")):
                if callback in self._begun:
                    each.callback(callback.on_train_end, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._tell("on_test_begin", logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._tell("on_test_end", logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._tell("on_predict_begin", logs)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._tell("on_predict_end", logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._tell("on_epoch_begin", epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._tell("on_epoch_end", epoch, logs)

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._tell("on_batch_begin", batch, logs)

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._tell("on_batch_end", batch, logs)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._tell("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._tell("on_train_batch_end", batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._tell("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._tell("on_test_batch_end", batch, logs)

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._tell("on_predict_batch_begin", batch, logs)

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._tell("on_predict_batch_end", batch, logs)


def _flat(callbacks: Any) -> Iterator[Callback]:
    if isinstance(callbacks, CallbackList):
        yield from callbacks.callbacks
    elif isinstance(callbacks, (list, tuple)):
        for callback in callbacks:
            yield from _flat(callback)
    elif isinstance(callbacks, Callback):
        yield callbacks
    elif callbacks is not None:
        raise TypeError(f"callbacks: expected Callback objects, got {callbacks!r}")
