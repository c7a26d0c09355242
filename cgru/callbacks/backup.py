"""BackupAndRestore: a run that was interrupted goes on as if it had not been."""

from __future__ import annotations

import contextlib
import glob
import os
import warnings
from typing import Any

import numpy as np

from cgru import _random
from cgru._configs import serialize
from cgru.callbacks.base import Callback, Logs, heard_if
from cgru.callbacks.checkpoint import frequency
from cgru.saving import progress
from cgru.saving.contents import collect, restore
from cgru.saving.errors import LoadError, refusing
from cgru.saving.file import Contents, read, remove_unfinished, write


class BackupAndRestore(Callback):
    """Saves the state of training, from which the next `fit` goes on if this one is interrupted.

    The next one is to be called with the same model, data and arguments, in the same process or a
    new one.  It ends with the weights, bit for bit, that the run would have had: weights,
    optimizer, learning rate, random numbers (of the order of samples, and of dropout), states of
    stateful layers, the place in the epoch and the history are all those of the moment.  What is
    outside of the model is not saved: what other callbacks count, what draws from `random` and
    `numpy.random`, and the place in an iterable that goes on from epoch to epoch, with
    `steps_per_epoch`.  A backup with weights that are not finite, of a training that diverged, is
    refused with a `cgru.saving.LoadError`.

    Parameters
    ----------
    backup_dir : str or path
        A folder for this run alone.
    save_freq : "epoch" or int
        Save after each epoch, or after so many batches.
    double_checkpoint : bool
        Whether to keep the one before the last, too, and to go on from it if the last is damaged.
    delete_checkpoint : bool
        Whether to remove it when training has come to its end.

    Examples
    --------
    >>> import tempfile
    >>> class Interrupt(cgru.callbacks.Callback):
    ...     def on_epoch_begin(self, epoch, logs=None):
    ...         if epoch == 4:
    ...             raise KeyboardInterrupt
    >>> model = cgru.Sequential([cgru.Input((2,)), cgru.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x, y = np.ones((4, 2)), np.ones(4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     backup = cgru.callbacks.BackupAndRestore(folder)
    ...     try:
    ...         history = model.fit(x, y, epochs=10, callbacks=[backup, Interrupt()])
    ...     except KeyboardInterrupt:
    ...         history = model.fit(x, y, epochs=10, callbacks=[backup])
    >>> history.epoch
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    told_last = True  # of ends: what other callbacks then change is part of the state

    def __init__(
        self,
        backup_dir: Any,
        save_freq: Any = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        self.backup_dir = os.fspath(backup_dir)
        if not self.backup_dir:
            raise ValueError("backup_dir: expected the path of a folder, got ''")
        self.save_freq = frequency(save_freq)
        self.double_checkpoint = bool(double_checkpoint)
        self.delete_checkpoint = bool(delete_checkpoint)
        self._latest = os.path.join(self.backup_dir, "latest.safetensors")
        self._previous = os.path.join(self.backup_dir, "previous.safetensors")
        self._batches = 0  # since it saved last
        self._epoch = 0  # to be trained next, or now
        self._epoch_source: Any = None  # the source of randomness when the epoch began
        self._resumed: Contents | None = None  # until the interrupted epoch goes on

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if not self.model.built:
            raise ValueError(
                f"backup_dir: {self.model.name} has no weights yet: build it before fit()"
            )
        remove_unfinished(os.path.join(glob.escape(self.backup_dir), "*.safetensors"))
        self._batches, self._resumed = 0, None
        self._epoch = self.params["initial_epoch"]
        found = self._load()
        if found is None:
            return
        with refusing(f"backup_dir: what {self.backup_dir} holds of the training is damaged"):
            training, history = found.notes["training"], self.model.history
            history.epoch = training["epochs"]
            history.history = {
                name: [np.array(value) if isinstance(value, list) else value for value in values]
                for name, values in training["history"].items()
            }
            # Backups of version 0.4 do not say which epochs had it.
            all_epochs = {name: history.epoch[: len(v)] for name, v in history.history.items()}
            history.epochs_of = training.get("epochs_of", all_epochs)
            self._epoch, batch = training["place"]
            self.params["initial_epoch"] = self._epoch
            self.params["initial_batch"] = batch
            # An epoch that goes on begins like the first time, with the same order of samples.
            _random.set_state(training["epoch_source"] if batch else training["source"])
        if batch:
            self._resumed = found

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch
        self._epoch_source = _random.get_state()
        if self._resumed is not None:
            self.model.tracker.set_state(self._resumed.take(self._resumed.notes["tracker"]))

    @heard_if(lambda callback: callback._resumed is not None)
    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        if self._resumed is not None:
            _random.set_state(self._resumed.notes["training"]["source"])
            self._resumed = None

    @heard_if(lambda callback: callback.save_freq != "epoch")
    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            return
        self._batches += 1
        if self._batches >= self.save_freq:
            self._batches = 0
            self._save(self._epoch, batch + 1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch + 1
        self._resumed = None
        if self.save_freq == "epoch":
            self._save(epoch + 1, 0)

    def on_train_end(self, logs: Logs | None = None) -> None:
        complete = self._epoch >= self.params["epochs"] or self.model.stop_training
        if complete and self.delete_checkpoint:
            for path in (self._latest, self._previous):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            with contextlib.suppress(OSError):  # there is none, or something else is in it
                os.rmdir(self.backup_dir)

    def _save(self, epoch: int, batch: int) -> None:
        contents = collect(self.model)
        progress.note(contents, self.model, epoch, batch).update(
            epoch_source=self._epoch_source,
            epochs=self.model.history.epoch,
            history=serialize(self.model.history.history),
            epochs_of=self.model.history.epochs_of,
        )
        if batch:
            state = self.model.tracker.get_state()
            contents.notes["tracker"] = contents.add_all("tracker", state)
        os.makedirs(self.backup_dir, exist_ok=True)
        if self.double_checkpoint:
            with contextlib.suppress(FileNotFoundError):
                os.replace(self._latest, self._previous)
        write(self._latest, contents)

    def _load(self) -> Contents | None:
        """What was saved last, with weights and optimizer set to it."""
        try:
            found = read(self._latest)
        except FileNotFoundError:
            if not os.path.exists(self._previous):
                return None
            found = read(self._previous)
        except LoadError as error:
            if not os.path.exists(self._previous):
                raise
            warnings.warn(f"{error}; the one before it is used", stacklevel=3)
            found = read(self._previous)
        restore(self.model, found)
        progress.restore_layers(found, self.model)
        return found
