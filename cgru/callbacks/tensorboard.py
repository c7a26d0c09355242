"""TensorBoard: curves of the loss and metrics."""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np

from cgru.callbacks.base import Callback, Logs, heard_if
from cgru.callbacks.checkpoint import frequency


class TensorBoard(Callback):
    """Writes the loss, metrics and learning rate for TensorBoard.

    It needs tensorboardX: ``pip install cgru[tensorboard]``.  Names and folders are those of
    Keras: ``epoch_loss`` in ``train`` and in ``validation``, for example.  A metric that has
    several values is written as several, ``epoch_f1_score_0`` and so on.

    Parameters
    ----------
    log_dir : str or path
    update_freq : "epoch", "batch" or int
        Write after each epoch; or also after each batch, or each so many, as ``batch_loss``.
    histogram_freq, write_images, write_steps_per_second, profile_batch, embeddings_freq
        Only the defaults of Keras are accepted, with which there is nothing to write.
    write_graph, embeddings_metadata
        Accepted for Keras's sake; only scalars are written.

    Raises
    ------
    ImportError
        If tensorboardX is not there.
    """

    def __init__(
        self,
        log_dir: Any = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: Any = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        beyond = dict(
            histogram_freq=histogram_freq,
            write_images=write_images,
            write_steps_per_second=write_steps_per_second,
            profile_batch=profile_batch,
            embeddings_freq=embeddings_freq,
        )
        for name, value in beyond.items():
            if value:
                raise ValueError(f"{name}: expected 0, for only scalars are written, got {value!r}")
        self.log_dir = os.fspath(log_dir)
        self.update_freq = 1 if update_freq == "batch" else frequency(update_freq, "update_freq")
        try:
            self._library = importlib.import_module("tensorboardX")
        except ImportError:
            raise ImportError(
                "TensorBoard needs tensorboardX: pip install cgru[tensorboard]"
            ) from None
        self._writers: dict[str, Any] = {}
        self._batches = 0  # of all epochs

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._batches = 0

    @heard_if(lambda callback: callback.update_freq != "epoch")
    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        if self.update_freq != "epoch" and self._batches % self.update_freq == 0:
            self._write("train", "batch_", logs or {}, self._batches)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        figures = dict(logs or {})
        validation = {
            name.removeprefix("val_"): figures.pop(name)
            for name in list(figures)
            if name.startswith("val_")
        }
        figures["learning_rate"] = float(self.model.optimizer.learning_rate)
        self._write("train", "epoch_", figures, epoch)
        self._write("validation", "epoch_", validation, epoch)

    def on_test_end(self, logs: Logs | None = None) -> None:
        steps = self.model.optimizer.iterations
        figures = {f"{name}_vs_iterations": value for name, value in (logs or {}).items()}
        self._write("validation", "evaluation_", figures, steps)
        if not self.params.get("epochs"):  # an evaluation of its own
            self._close()

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._close()

    def _write(self, folder: str, prefix: str, figures: Logs, step: int) -> None:
        if figures and folder not in self._writers:
            path = os.path.join(self.log_dir, folder)
            self._writers[folder] = self._library.SummaryWriter(path)
        for name, value in figures.items():
            several = np.ndim(value) > 0
            for place, part in enumerate(np.ravel(value)):
                end = f"_{place}" if several else ""
                self._writers[folder].add_scalar(f"{prefix}{name}{end}", part, step)

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}
