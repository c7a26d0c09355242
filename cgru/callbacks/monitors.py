"""Callbacks that watch a figure: EarlyStopping and ReduceLROnPlateau."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from cgru import _checks
from cgru.callbacks.base import Callback, Logs, message


class MonitorCallback(Callback):
    """Base class of callbacks that watch whether a figure gets better.

    Parameters
    ----------
    monitor : str
        Its name in the logs.
    mode : {"auto", "min", "max"}
        Whether less or more of it is better; "auto" knows this of the loss, and of metrics that
        say so.
    baseline : float, optional
        The best value so far.
    min_delta : float
        Changes of up to this are none.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: str = "auto",
        baseline: float | None = None,
        min_delta: float = 0,
    ) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"monitor: expected the name of a loss or metric, got {monitor!r}")
        if mode not in ("auto", "min", "max"):
            warnings.warn(
                f"mode: expected 'auto', 'min' or 'max', got {mode!r}; 'auto' is used",
                stacklevel=3,
            )
            mode = "auto"
        self.monitor = monitor
        self.mode = mode
        self.best = optional("baseline", baseline)
        self.min_delta = abs(_checks.real("min_delta", min_delta))
        self._sign = {"auto": 0, "min": -1, "max": 1}[mode]  # 0 until it is known

    def is_improvement(self, value: float, reference: float | None) -> bool:
        """Whether `value` is better than `reference`; anything is better than None.

        Raises
        ------
        ValueError
            If the mode is "auto", and it is not known which values are better.
        """
        self._sign = self._sign or self._direction()
        if reference is None:
            return True
        if self._sign < 0:
            return bool(value + self.min_delta < reference)
        return bool(value - self.min_delta > reference)

    def _direction(self) -> int:
        name = self.monitor.removeprefix("val_")
        if name == "loss":
            return -1
        metric = getattr(self.model.objective, "named_metrics", {}).get(name)
        if metric is not None and metric.direction is not None:
            return 1 if metric.direction == "up" else -1
        raise ValueError(
            f"mode: {type(self).__name__} does not know whether less or more of {self.monitor!r} "
            "is better; pass mode='min' or mode='max'"
        )

    def missing(self, purpose: str, logs: Logs) -> None:
        """Warn that the figure is not in the logs."""
        warnings.warn(
            f"{purpose} depends on {self.monitor!r}, which is not there; there are: "
            f"{', '.join(logs)}",
            stacklevel=4,
        )


def optional(argument: str, value: Any) -> float | None:
    """`value` as a finite float, or None."""
    return None if value is None else _checks.real(argument, value)


class EarlyStopping(MonitorCallback):
    """Ends training when a figure no longer gets better.

    Parameters
    ----------
    monitor : str
        The name of the figure in the logs.
    min_delta : float
        Changes of up to this are no improvement.
    patience : int
        End after this many epochs without improvement.
    verbose : int
        1 prints when training is ended.
    mode : {"auto", "min", "max"}
        Whether less or more is better; "auto" knows this of the loss, and of metrics that say so.
    baseline : float, optional
        Epochs that are not better than this do not count as improvements.
    restore_best_weights : bool
        Whether to set the weights back to those after the best epoch, at the end of training
        (whether it ended early or not).  `baseline` plays no part in that.
    start_from_epoch : int
        The first epoch that counts.

    Attributes
    ----------
    stopped_epoch : int
        The epoch after which training was ended, or 0.

    Examples
    --------
    >>> model = cgru.Sequential([cgru.Input((2,)), cgru.layers.Dense(1)])
    >>> model.compile(cgru.optimizers.SGD(0.0), "mse")
    >>> stop = cgru.callbacks.EarlyStopping("loss", patience=3)
    >>> history = model.fit(np.ones((4, 2)), np.ones(4), epochs=10, callbacks=[stop])
    >>> len(history.epoch)
    4
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = _checks.integer("patience", patience, 0)
        self.verbose = verbose
        self.baseline = optional("baseline", baseline)
        self.restore_best_weights = bool(restore_best_weights)
        self.start_from_epoch = _checks.integer("start_from_epoch", start_from_epoch, 0)
        self._reset()

    def _reset(self) -> None:
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best = None
        self.best_weights: list[np.ndarray] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        current = (logs or {}).get(self.monitor)
        if current is None:
            self.missing("early stopping", logs or {})
        if current is None or epoch < self.start_from_epoch:
            return
        improved = self.is_improvement(current, self.best)
        if self.restore_best_weights and (improved or self.best_weights is None):
            self.best_weights = self.model.get_weights()
        self.wait += 1
        if improved:
            self.best, self.best_epoch = current, epoch
            if self.is_improvement(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch and self.verbose:
            message(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                message(
                    "Restoring model weights from the end of the best epoch: "
                    f"{self.best_epoch + 1}."
                )
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(MonitorCallback):
    """Lowers the learning rate when a figure no longer gets better.

    It adds ``learning_rate``, that of the epoch, to the logs.

    Parameters
    ----------
    monitor : str
        The name of the figure in the logs.
    factor : float
        What the learning rate is multiplied by; less than 1.
    patience : int
        Lower it after this many epochs without improvement.
    verbose : int
        1 prints when it is lowered.
    mode : {"auto", "min", "max"}
        Whether less or more is better; "auto" knows this of the loss, and of metrics that say so.
    min_delta : float
        Changes of up to this are no improvement.
    cooldown : int
        Epochs after lowering it that do not count.
    min_lr : float
        It is not lowered below this.

    Examples
    --------
    >>> model = cgru.Sequential([cgru.Input((2,)), cgru.layers.Dense(1)])
    >>> model.compile(cgru.optimizers.SGD(1e-9), "mse")
    >>> reduce = cgru.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=2)
    >>> history = model.fit(np.ones((4, 2)), np.ones(4), epochs=4, callbacks=[reduce])
    >>> print(model.optimizer.learning_rate)
    5e-10
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        self.factor = _checks.real("factor", factor, 0, 1, open_maximum=True)
        self.patience = _checks.integer("patience", patience, 0)
        self.verbose = verbose
        self.cooldown = _checks.integer("cooldown", cooldown, 0)
        self.min_lr = _checks.real("min_lr", min_lr, 0)
        self.cooldown_counter = self.wait = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.model.optimizer.check_settable()
        self.best = None
        self.cooldown_counter = self.wait = 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = {} if logs is None else logs
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        current = logs.get(self.monitor)
        if current is None:
            self.missing("the learning rate", logs)
            return
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.is_improvement(current, self.best):
            self.best = current
            self.wait = 0
        elif not self.cooldown_counter:
            self.wait += 1
            if self.wait >= self.patience and logs["learning_rate"] > self.min_lr:
                self._reduce(epoch, logs["learning_rate"])

    def _reduce(self, epoch: int, learning_rate: float) -> None:
        reduced = max(learning_rate * self.factor, self.min_lr)
        self.model.optimizer.learning_rate = reduced
        if self.verbose:
            message(f"Epoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {reduced}.")
        self.cooldown_counter = self.cooldown
        self.wait = 0
