"""Callbacks that record and show: History, ProgbarLogger, CSVLogger."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from cgru.callbacks.base import Callback, Logs, heard_if, shown


class History(Callback):
    """Records the loss and metrics of each epoch; `fit` returns it.

    Attributes
    ----------
    epoch : list of int
    history : dict of list of float
        By name, such as ``"loss"`` and ``"val_loss"``, one entry for each epoch that had it; arrays
        of metrics that have several values.
    epochs_of : dict of list of int
        By name, the epochs that had it: not all, where validation comes now and then.
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[Any]] = {}
        self.epochs_of: dict[str, list[int]] = {}

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
            self.epochs_of.setdefault(name, []).append(epoch)


class ProgbarLogger(Callback):
    """Draws the progress of `fit`: a bar over all its batches, with the time left.

    With ``verbose="auto"`` the bar is drawn on a terminal and in notebooks, and nothing is shown
    elsewhere; 1 prints a line per epoch there, and 2 does so everywhere.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._lines = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        verbose = self.params.get("verbose", "auto")
        watched = sys.stderr.isatty() or "ipykernel" in sys.modules
        self._lines = verbose == 2 or (verbose == 1 and not watched)
        if verbose in ("auto", 1) and watched:
            from tqdm.auto import tqdm  # not needed, so not imported, where nobody watches

            steps, epochs = self.params.get("steps"), self.params.get("epochs")
            known = steps is not None and epochs is not None
            total = steps * (epochs - self.params.get("initial_epoch", 0)) if known else None
            done = self.params.get("initial_batch", 0)
            self._bar = tqdm(
                total=total, initial=done, unit="batch", dynamic_ncols=True, leave=True
            )

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self._bar is not None:
            self._bar.set_description(self._title(epoch), refresh=False)

    @heard_if(lambda callback: callback._bar is not None)
    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        # Figures are formatted only when tqdm has decided that it is time to draw.
        if self._bar is not None and self._bar.update():
            self._bar.set_postfix_str(_figures(logs or {}))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(_figures(logs or {}), refresh=False)
        if self._lines:
            print(f"{self._title(epoch)} - {_figures(logs or {})}")

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _title(self, epoch: int) -> str:
        epochs = self.params.get("epochs")
        return f"Epoch {epoch + 1}" if epochs is None else f"Epoch {epoch + 1}/{epochs}"


def _figures(logs: Logs) -> str:
    return ", ".join(f"{name}={shown(value)}" for name, value in logs.items())


class CSVLogger(Callback):
    """Writes the loss and metrics of each epoch to a CSV file, a line for each.

    The columns are ``epoch`` and the names of the first epoch's logs in order of the alphabet;
    without any of validation, columns for those follow.  What is missing is written as NA.

    Parameters
    ----------
    filename : str or path
    separator : str
        One character.
    append : bool
        Whether to go on with a file that is there already, instead of starting anew.

    Examples
    --------
    >>> import tempfile
    >>> dense = cgru.layers.Dense(1, kernel_initializer="zeros")
    >>> model = cgru.Sequential([cgru.Input((2,)), dense])
    >>> model.compile(cgru.optimizers.SGD(0.0), "mse")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = cgru.callbacks.CSVLogger(f"{folder}/log.csv")
    ...     history = model.fit(np.ones((4, 2)), np.ones(4), callbacks=[log])
    ...     open(f"{folder}/log.csv").read().split()
    ['epoch,loss,val_loss', '0,1.0,NA']
    """

    def __init__(self, filename: Any, separator: str = ",", append: bool = False) -> None:
        self.filename = os.fspath(filename)
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(f"separator: expected one character, got {separator!r}")
        self.sep = separator
        self.append = bool(append)
        self.keys: list[str] = []
        self.csv_file: TextIO | None = None
        self.writer: Any = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._close()
        self.csv_file = open(  # noqa: SIM115  # closed at the end of training
            self.filename, "a" if self.append else "w", newline="", encoding="utf-8"
        )

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        assert self.csv_file is not None
        logs = logs or {}
        if self.writer is None:
            self.keys = sorted(logs)
            if not any(key.startswith("val_") for key in self.keys):
                self.keys += [f"val_{key}" for key in self.keys]
            self.writer = csv.writer(self.csv_file, delimiter=self.sep)
            if self.csv_file.tell() == 0:
                self.writer.writerow(["epoch", *self.keys])
        self.writer.writerow([epoch, *(_cell(logs.get(key, "NA")) for key in self.keys)])
        self.csv_file.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._close()

    def _close(self) -> None:
        if self.csv_file is not None:
            self.csv_file.close()
        self.csv_file = self.writer = None


def _cell(value: Any) -> Any:
    """Several values in one cell."""
    if isinstance(value, str) or getattr(value, "ndim", 1) == 0 or not isinstance(value, Iterable):
        return value
    return f'"[{", ".join(map(str, value))}]"'
