"""Callbacks that steer training: LearningRateScheduler and TerminateOnNaN."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from cgru.callbacks.base import Callback, Logs, message


class LearningRateScheduler(Callback):
    """Sets the learning rate before each epoch.

    It adds ``learning_rate``, that of the epoch, to the logs.

    Parameters
    ----------
    schedule : callable
        Given the epoch, counted from 0, and the learning rate so far (or the epoch alone if it
        takes one argument), returns the new one as a float.
    verbose : int
        1 prints it.

    Examples
    --------
    >>> model = cgru.Sequential([cgru.Input((2,)), cgru.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> halve = cgru.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    >>> history = model.fit(np.ones((4, 2)), np.ones(4), epochs=3, callbacks=[halve])
    >>> history.history["learning_rate"]
    [0.005, 0.0025, 0.00125]
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        if not callable(schedule):
            raise TypeError(f"schedule: expected a function, got {schedule!r}")
        self.schedule = schedule
        self.verbose = verbose

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = self.model.optimizer
        before = float(optimizer.learning_rate)
        args = (epoch, before) if _takes_two(self.schedule) else (epoch,)
        rate: Any = self.schedule(*args)
        if not isinstance(rate, (float, np.floating)):
            raise ValueError(f"schedule: expected it to return a float, got {rate!r}")
        optimizer.learning_rate = float(rate)
        if self.verbose:
            message(f"Epoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


def _takes_two(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(0, 0.0)
    except TypeError:
        return False
    except ValueError:  # it does not say
        return True
    return True


class TerminateOnNaN(Callback):
    """Ends training when the loss is NaN or infinite.

    Parameters
    ----------
    raise_error : bool
        Whether to raise a RuntimeError at once, instead of ending training after the batch.

    Examples
    --------
    >>> stop = cgru.callbacks.TerminateOnNaN()
    """

    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error = bool(raise_error)

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if np.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(f"loss: expected a finite number, got {loss} at batch {batch}")
        message(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True
