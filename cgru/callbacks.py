"""What may happen between batches and epochs of `fit`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

Logs = dict[str, float]


class Callback:
    """Base class: override what you need.

    ``self.model`` is the model, ``self.params`` a dictionary with ``epochs``, ``steps`` (per
    epoch, None where unknown) and ``verbose``.  Set ``self.model.stop_training = True`` to end
    training after the epoch.

    Examples
    --------
    >>> class Stop(cgru.callbacks.Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         self.model.stop_training = logs["loss"] < 0.5
    """

    model: Any = None
    params: Mapping[str, Any] = MappingProxyType({})

    def set_model(self, model: Any) -> None:
        """Called before training with the model."""
        self.model = model

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Called before training with its parameters."""
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """After the last epoch, also when it was interrupted."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before each epoch."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """After each epoch, with its loss and metrics."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before each batch."""

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After each batch, with the epoch's loss and metrics so far."""


class History(Callback):
    """Records the loss and metrics of each epoch; `fit` returns it.

    Attributes
    ----------
    epoch : list of int
    history : dict of list of float
        By name, such as ``"loss"`` and ``"val_loss"``, one entry for each epoch.
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class ProgbarLogger(Callback):
    """Draws the progress of `fit`: a bar over all its batches, with the time left.

    With ``verbose="auto"`` the bar is drawn on a terminal and in notebooks, and nothing is shown
    elsewhere; 1 prints a line per epoch there, and 2 does so everywhere.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._lines = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        verbose = self.params["verbose"]
        watched = sys.stderr.isatty() or "ipykernel" in sys.modules
        self._lines = verbose == 2 or (verbose == 1 and not watched)
        if verbose in ("auto", 1) and watched:
            from tqdm.auto import tqdm  # not needed, so not imported, where nobody watches

            steps, epochs = self.params["steps"], self.params["epochs"]
            first = self.params["initial_epoch"]
            total = None if steps is None else steps * (epochs - first)
            self._bar = tqdm(total=total, unit="batch", dynamic_ncols=True, leave=True)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self._bar is not None:
            self._bar.set_description(f"Epoch {epoch + 1}/{self.params['epochs']}", refresh=False)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        # Figures are formatted only when tqdm has decided that it is time to draw.
        if self._bar is not None and self._bar.update():
            self._bar.set_postfix_str(_figures(logs or {}))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(_figures(logs or {}), refresh=False)
        if self._lines:
            print(f"Epoch {epoch + 1}/{self.params['epochs']} - {_figures(logs or {})}")

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _figures(logs: Logs) -> str:
    return ", ".join(f"{name}={value:.4g}" for name, value in logs.items())
