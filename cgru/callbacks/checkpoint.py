"""ModelCheckpoint: saves models as they get better."""

from __future__ import annotations

import glob
import os
import string
from typing import Any

import numpy as np

from cgru import _checks
from cgru.callbacks.base import Logs, heard_if, message
from cgru.callbacks.monitors import MonitorCallback, optional
from cgru.saving import progress
from cgru.saving.contents import collect
from cgru.saving.file import remove_unfinished, write
from cgru.saving.models import describe


class ModelCheckpoint(MonitorCallback):
    """Saves the model, or its weights, after epochs or batches.

    After `cgru.load_model`, or `Model.load_weights`, of what was saved after an epoch, training
    goes on exactly as if it had not been interrupted: by ``model.fit(..., initial_epoch=n)`` with
    the number ``n`` of the epochs before, and the same data and arguments.

    Parameters
    ----------
    filepath : str or path
        May name figures of the logs, ``epoch`` and ``batch`` (both counted from 1) to be filled
        in, as in ``"{epoch:02d}-{val_loss:.2f}.safetensors"``.  Folders are made.  The file is in
        the safetensors format, whatever its name.  It appears when it is whole; what a process
        that was killed had not finished, ``*.tmp``, is removed when training begins again.
    monitor : str
        The name of the figure in the logs that `save_best_only` goes by.
    verbose : int
        1 prints what is saved.
    save_best_only : bool
        Whether to save only when the figure is better than ever.
    save_weights_only : bool
        Whether to save with `cgru.saving.save_weights` instead of `cgru.saving.save_model`.
    mode : {"auto", "min", "max"}
        Whether less or more is better; "auto" knows this of the loss, and of metrics that say so.
    save_freq : "epoch" or int
        Save after each epoch, or after so many batches.
    initial_value_threshold : float, optional
        The best value so far.

    Examples
    --------
    >>> import os, tempfile
    >>> model = cgru.Sequential([cgru.Input((2,)), cgru.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save = cgru.callbacks.ModelCheckpoint(folder + "/{epoch}.safetensors")
    ...     history = model.fit(np.ones((4, 2)), np.ones(4), epochs=2, callbacks=[save])
    ...     print(sorted(os.listdir(folder)))
    ['1.safetensors', '2.safetensors']
    """

    def __init__(
        self,
        filepath: Any,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: Any = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        best = optional("initial_value_threshold", initial_value_threshold)
        super().__init__(monitor, mode, best)
        if not isinstance(filepath, (str, os.PathLike)):
            raise TypeError(f"filepath: expected a path, got {filepath!r}")
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = bool(save_best_only)
        self.save_weights_only = bool(save_weights_only)
        self.save_freq = frequency(save_freq)
        self._epoch = 0
        self._batches = 0  # since it saved last

    def on_train_begin(self, logs: Logs | None = None) -> None:
        parts = string.Formatter().parse(self.filepath)
        remove_unfinished(
            "".join(glob.escape(text) + ("" if field is None else "*") for text, field, *_ in parts)
        )

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    @heard_if(lambda callback: callback.save_freq != "epoch")
    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            return
        self._batches += 1
        if self._batches >= self.save_freq:
            self._batches = 0
            self._save(self._epoch, {"batch": batch + 1}, logs or {})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, {}, logs or {})

    def _save(self, epoch: int, place: dict[str, int], logs: Logs) -> None:
        try:
            path = self.filepath.format(**({"epoch": epoch + 1} | place | logs))
        except KeyError as error:
            raise KeyError(
                f"filepath: {self.filepath!r} names {error}, which is not there; there are: "
                f"epoch, {', '.join(place | logs)}"
            ) from None
        if self.save_best_only and not self._is_best(epoch, path, logs):
            return
        if self.verbose and not self.save_best_only:
            message(f"Epoch {epoch + 1}: saving model to {path}")
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        self._write(path, *((epoch, place["batch"]) if place else (epoch + 1, 0)))
        if self.verbose:
            message(f"Epoch {epoch + 1}: finished saving model to {path}")

    def _write(self, path: str, epoch: int, batch: int) -> None:
        contents = collect(self.model)
        if not self.save_weights_only:
            describe(self.model, contents)
        progress.note(contents, self.model, epoch, batch)
        write(path, contents)

    def _is_best(self, epoch: int, path: str, logs: Logs) -> bool:
        current = logs.get(self.monitor)
        if current is None or np.ndim(current):
            self.missing("saving the best model only", logs)
            return True
        before = "None" if self.best is None else f"{self.best:.5f}"
        better = self.is_improvement(current, self.best)
        if better:
            self.best = current
        if self.verbose:
            change = (
                f"improved from {before} to {current:.5f}, saving model to {path}"
                if better
                else f"did not improve from {before}"
            )
            message(f"Epoch {epoch + 1}: {self.monitor} {change}")
        return better


def frequency(value: Any, argument: str = "save_freq") -> Any:
    """How often to act: "epoch", or a number of batches."""
    if value == "epoch":
        return value
    if isinstance(value, str):
        raise ValueError(f"{argument}: expected 'epoch' or an integer, got {value!r}")
    return _checks.integer(argument, value, 1)
