"""The loop behind `fit`, `evaluate` and `predict`."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cgru import _checks, _kernels, losses, metrics, optimizers
from cgru.callbacks import Callback, History, Logs, ProgbarLogger
from cgru.data import ArrayBatches, Batch, IterableBatches
from cgru.layers.base import Backward, Layer, Shape
from cgru.variables import FlatVector


class Trainer(Layer):
    """A layer that can be trained: what `cgru.Sequential` inherits.

    The way of a batch: `fit` -> `_train_step` -> `forward` of the layers -> the loss and its
    gradient -> the layers' `backward` functions in reverse -> one optimizer kernel over the flat
    vector.
    """

    stop_training: bool
    optimizer: optimizers.Optimizer | None = None
    loss: losses.Loss | None = None
    history: History | None = None
    input_shape: Shape
    stateful: bool
    _flat: FlatVector | None = None
    _metrics: Sequence[metrics.Metric] = ()

    # ---- What a subclass implements ----

    def forward(
        self,
        x: np.ndarray,
        training: bool = False,
        mask: np.ndarray | None = None,
        needs_input_grad: bool = True,
        needs_backward: bool = True,
    ) -> tuple[np.ndarray, Backward]:
        """The output for x, and the function that takes a gradient back."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def checked_output_shape(self, input_shape: tuple[int, ...]) -> Any:
        """The output's shape, for an input whose shape is checked; asked at every batch."""
        raise NotImplementedError(f"{type(self).__name__}.checked_output_shape")

    # ---- The flat parameter vector ----

    def flat(self) -> FlatVector:
        """The vector that the trainable weights are views into, made anew where they are not."""
        if not self.built:
            raise ValueError(
                f"{self.name} has no weights yet: start it with an Input, call build(), or show "
                "it data"
            )
        weights = self.trainable_weights
        if self._flat is None or not self._flat.holds(weights):
            self._flat = FlatVector(weights)
        return self._flat

    @property
    def theta(self) -> np.ndarray:
        """All trainable weights as one vector, shape (P,): a copy; set it to set them all."""
        return self.flat().value.copy()

    @theta.setter
    def theta(self, value: Any) -> None:
        flat = self.flat()
        theta = _checks.floats("theta", value, flat.value.dtype)
        if theta.shape != flat.value.shape:
            raise ValueError(f"theta: expected shape {flat.value.shape}, got {theta.shape}")
        flat.to_change()[:] = theta

    def value_and_grad(
        self, theta: Any, x: Any, y: Any, sample_weight: Any = None, training: bool = False
    ) -> tuple[float, np.ndarray]:
        """The loss at the parameters `theta`, and its gradient: what `scipy.optimize` asks for.

        The model is left with these parameters.

        Parameters
        ----------
        theta : array_like, shape (P,)
            All trainable weights, as in `theta`.
        x, y, sample_weight : array_like
            One batch, as in `train_on_batch`.
        training : bool
            Whether layers behave as in training (dropout makes the loss random).

        Returns
        -------
        loss : float
        grad : ndarray of float64, shape (P,)

        Examples
        --------
        >>> from scipy.optimize import minimize
        >>> x = np.linspace(-1, 1, 20).reshape(4, 5, 1)
        >>> y = x.mean(axis=1)
        >>> model = cgru.Sequential(
        ...     [cgru.Input((5, 1)), cgru.layers.GRU(3), cgru.layers.Dense(1)]
        ... )
        >>> model.compile(loss="mse")
        >>> result = minimize(
        ...     model.value_and_grad, model.theta, args=(x, y), jac=True, method="L-BFGS-B"
        ... )
        >>> model.theta = result.x
        >>> model.evaluate(x, y) < 1e-4
        True
        """
        self._check_compiled("value_and_grad")
        batch = self._batch(x, y, sample_weight)
        self.theta = theta
        flat = self.flat()
        value, _ = self._loss_and_gradient(flat, batch, training)
        return value, flat.grad.astype(np.float64)

    # ---- Compiling ----

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, metrics: Any = None) -> None:
        """Choose how to train.

        Parameters
        ----------
        optimizer : str or Optimizer
        loss : str or Loss
        metrics : list of str or Metric, optional
        """
        self.optimizer, self.loss, self._metrics = (
            optimizers.get(optimizer),
            None if loss is None else losses.get(loss),
            _metrics(metrics),
        )

    @property
    def metrics_names(self) -> list[str]:
        """The names of what `evaluate` returns."""
        return ["loss", *(metric.name for metric in self._metrics)]

    def _check_compiled(self, method: str) -> None:
        if self.optimizer is None:
            raise RuntimeError(f"{method}: call compile() first, with an optimizer and a loss")
        if self.loss is None:
            raise ValueError(f"{method}: compile() was given no loss")

    # ---- Training ----

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Sequence[Callback] | Callback | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
    ) -> History:
        """Train for a number of epochs.

        Parameters
        ----------
        x : array_like, or iterable of batches
            Inputs [samples, time, features] (or what the first layer reads); or an iterable of
            ``(x, y)`` or ``(x, y, sample_weight)`` batches, without `y`.  Converted to the
            model's dtype where needed: integers, float16, other byte orders and layouts work.
        y : array_like
            Targets.
        batch_size : int
            Samples per step; 32 by default.
        epochs : int
            The epoch at which to stop.
        verbose : {"auto", 0, 1, 2}
            See `cgru.callbacks.ProgbarLogger`.
        callbacks : list of Callback, optional
        validation_split : float
            The part of the samples, taken from their end, that is not trained on but evaluated
            after each epoch.
        validation_data : tuple of array_like, or iterable of batches
            ``(x, y)`` or ``(x, y, sample_weight)`` to evaluate after each epoch.
        shuffle : bool
            Whether to draw a new order of the samples for each epoch.
        class_weight : dict of int to float, optional
            Factors on the sample weights by class (1 for classes that are not in it).
        sample_weight : array_like, shape (samples,) or (samples, time), optional
        initial_epoch : int
            The epoch at which to start: of use when going on with a model.
        steps_per_epoch : int, optional
            Batches per epoch, for iterables that do not end.

        Returns
        -------
        History
            Also kept as ``model.history``, where an interrupted run leaves it.

        Raises
        ------
        ValueError, TypeError
            For what cannot be trained on, before anything is changed.
        RuntimeError
            If the model was not compiled.
        """
        self._check_compiled("fit")
        epochs = _checks.integer("epochs", epochs, 1)
        initial_epoch = _checks.integer("initial_epoch", initial_epoch, 0)
        if steps_per_epoch is not None:
            steps_per_epoch = _checks.integer("steps_per_epoch", steps_per_epoch, 1)
        split = _checks.real("validation_split", validation_split, 0, 1, open_maximum=True)
        if verbose not in ("auto", 0, 1, 2):
            raise ValueError(f"verbose: expected 'auto', 0, 1 or 2, got {verbose!r}")
        if isinstance(callbacks, Callback):
            callbacks = [callbacks]
        for callback in callbacks or ():
            if not isinstance(callback, Callback):
                raise TypeError(f"callbacks: expected Callback objects, got {callback!r}")

        validation: ArrayBatches | IterableBatches | None = None
        batches: ArrayBatches | IterableBatches
        if _is_iterable_of_batches(x, y):
            if split or sample_weight is not None:
                raise ValueError(
                    "validation_split, sample_weight: expected with arrays only; an iterable "
                    "gives (x, y, sample_weight) itself, and takes validation_data"
                )
            batches = IterableBatches(
                x, functools.partial(self._batch, class_weight=class_weight), steps_per_epoch
            )
        else:
            data = self._batch(x, y, sample_weight, class_weight)
            if split:
                cut = min(int(len(data.x) * (1 - split)), len(data.x) - 1)
                if cut == 0:
                    raise ValueError(
                        f"validation_split: {split} of {len(data.x)} samples leaves none to "
                        "train on"
                    )
                validation = self._array_batches(data.take(slice(cut, None)), batch_size)
                data = data.take(slice(cut))
            batches = self._array_batches(data, batch_size, bool(shuffle))
            if steps_per_epoch is not None:
                # Epochs of a fixed length go on through the samples where the last one stopped.
                batches = IterableBatches(batches, Batch, steps_per_epoch)
        if validation_data is not None:
            validation = self._validation(validation_data, batch_size)

        self.stop_training = False
        self.history = History()
        loop = [*(callbacks or ()), self.history, ProgbarLogger()]
        try:
            steps = len(batches)
        except TypeError:
            steps = None
        params = dict(epochs=epochs, steps=steps, verbose=verbose, initial_epoch=initial_epoch)
        for callback in loop:
            callback.set_model(self)
            callback.set_params(params)
        try:
            _call(loop, "on_train_begin")
            for epoch in range(initial_epoch, epochs):
                _call(loop, "on_epoch_begin", epoch)
                logs = self._epoch(batches, loop)
                if validation is not None:
                    results = self._evaluate(validation)
                    logs |= {f"val_{name}": value for name, value in results.items()}
                _call(loop, "on_epoch_end", epoch, logs)
                if self.stop_training:
                    break
        finally:  # also after Ctrl-C or an error: model and history hold what was done
            _call(loop, "on_train_end")
        return self.history

    def _epoch(self, batches: Iterable[Batch], callbacks: list[Callback]) -> Logs:
        tracker = _Tracker(self._metrics)
        for step, batch in enumerate(batches):
            _call(callbacks, "on_train_batch_begin", step)
            self._train_step(batch, tracker)
            _call(callbacks, "on_train_batch_end", step, tracker.logs())
        return tracker.logs()

    def _train_step(self, batch: Batch, tracker: _Tracker) -> None:
        """One step of the optimizer, its loss and metrics given to the tracker."""
        assert self.optimizer is not None
        flat = self.flat()
        self.optimizer.build(flat)
        tracker.update(batch, *self._loss_and_gradient(flat, batch, training=True))
        self.optimizer.update(flat)

    def _loss_and_gradient(
        self, flat: FlatVector, batch: Batch, training: bool
    ) -> tuple[float, np.ndarray]:
        """The loss and predictions of a batch; the gradient is left in the flat vector."""
        assert self.loss is not None
        y_pred, backward = self.forward(batch.x, training=training, needs_input_grad=False)
        value, dy = self.loss.value_and_grad(batch.y, y_pred, batch.sample_weight)
        _kernels.clear(flat.grad)
        backward(dy)
        return value, y_pred

    def train_on_batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One training step on one batch.

        Parameters
        ----------
        x, y, sample_weight, class_weight
            As in `fit`.
        return_dict : bool

        Returns
        -------
        float, list of float, or dict
            The loss; with metrics, a list of it and them, or a dictionary if asked for.  They
            are those of this batch alone.
        """
        self._check_compiled("train_on_batch")
        batch = self._batch(x, y, sample_weight, class_weight)
        tracker = _Tracker(self._metrics)
        self._train_step(batch, tracker)
        return _results(tracker.logs(), return_dict)

    # ---- Evaluation ----

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        *,
        return_dict: bool = False,
    ) -> Any:
        """The loss and metrics of data.

        Parameters
        ----------
        x, y, sample_weight, batch_size
            As in `fit`.
        verbose : {"auto", 0, 1, 2}
            2 prints the results.
        return_dict : bool

        Returns
        -------
        float, list of float, or dict
            The loss; with metrics, a list of it and them, or a dictionary if asked for.
        """
        self._check_compiled("evaluate")
        if _is_iterable_of_batches(x, y):
            logs = self._evaluate(IterableBatches(x, self._batch))
        else:
            data = self._batch(x, y, sample_weight)
            logs = self._evaluate(self._array_batches(data, batch_size))
        if verbose == 2:
            print(" - ".join(f"{name}: {value:.4g}" for name, value in logs.items()))
        return _results(logs, return_dict)

    def _evaluate(self, batches: Iterable[Batch]) -> Logs:
        assert self.loss is not None
        tracker = _Tracker(self._metrics)
        for batch in batches:
            y_pred = self._predict(batch.x)
            value, _ = self.loss.value_and_grad(batch.y, y_pred, batch.sample_weight)
            tracker.update(batch, value, y_pred)
        return tracker.logs()

    def test_on_batch(
        self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """The loss and metrics of one batch; arguments and result as in `train_on_batch`."""
        self._check_compiled("test_on_batch")
        logs = self._evaluate([self._batch(x, y, sample_weight)])
        return _results(logs, return_dict)

    # ---- Prediction ----

    def predict(self, x: Any, batch_size: int | None = None, verbose: Any = "auto") -> np.ndarray:
        """The outputs for inputs.

        Safe to call from several threads at once.

        Parameters
        ----------
        x : array_like
            As in `fit`.
        batch_size : int
            Samples computed together; 32 by default.
        verbose : {"auto", 0, 1, 2}
            Accepted for Keras's sake; nothing is shown.

        Returns
        -------
        ndarray, shape (samples, ...)
        """
        inputs = self._inputs(x)
        batches = self._array_batches(Batch(inputs), batch_size)
        start, outputs = 0, np.empty(0)
        for batch in batches:
            y = self._predict(batch.x)
            if start == 0:
                outputs = np.empty((len(inputs), *y.shape[1:]), y.dtype)
            outputs[start : start + len(y)] = y
            start += len(y)
        return outputs

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """The outputs for one batch of inputs."""
        return self._predict(self._inputs(x))

    def _predict(self, x: np.ndarray) -> np.ndarray:
        return self.forward(x, needs_input_grad=False, needs_backward=False)[0]

    # ---- The door ----

    def _inputs(self, x: Any) -> np.ndarray:
        """Check and convert inputs; build the model for them if it is not built."""
        inputs = _checks.floats("x", x, self._dtype)
        self.checked_output_shape(inputs.shape)
        if not self.built:
            self.build((None, *inputs.shape[1:]))
        return inputs

    def _batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
    ) -> Batch:
        """Check and convert samples with targets; build the model for them if it is not built."""
        assert self.loss is not None
        if y is None:
            raise ValueError("y: expected targets, got None")
        inputs = _checks.floats("x", x, self._dtype)
        targets = _checks.numbers("y", y)
        if inputs.shape[:1] != targets.shape[:1]:
            raise ValueError(
                f"x, y: expected the same number of samples, got {inputs.shape[:1]} and "
                f"{targets.shape[:1]} (shapes {inputs.shape} and {targets.shape})"
            )
        output_shape = self.checked_output_shape(inputs.shape)
        targets = self.loss.prepare(targets, output_shape, self._dtype)
        weight = None
        if sample_weight is not None:
            weight = _checks.floats("sample_weight", sample_weight, self._dtype)
            losses.check_sample_weight(weight, output_shape)
        if class_weight is not None:
            factors = _class_factors(class_weight, targets, output_shape, self._dtype)
            weight = factors if weight is None else _times(weight, factors)
        if not self.built:  # last, so that bad targets leave no half-made model
            self.build((None, *inputs.shape[1:]))
        return Batch(inputs, targets, weight)

    def _array_batches(
        self, data: Batch, batch_size: int | None, shuffle: bool = False
    ) -> ArrayBatches:
        """Batches of 32, unless asked for or described by the Input otherwise."""
        if batch_size is None:
            batch_size = self.input_shape[0] or 32
        size, count = _checks.integer("batch_size", batch_size, 1), len(data.x)
        if self.stateful and count > size and count % size:
            raise ValueError(
                f"batch_size: a stateful model needs batches of one size, got {count} samples in "
                f"batches of {size}"
            )
        return ArrayBatches(data, size, shuffle)

    def _validation(self, data: Any, batch_size: int | None) -> ArrayBatches | IterableBatches:
        if isinstance(data, tuple):
            if len(data) not in (2, 3):
                raise ValueError(
                    "validation_data: expected (x, y) or (x, y, sample_weight), got "
                    f"{len(data)} entries"
                )
            try:
                return self._array_batches(self._batch(*data), batch_size)
            except (TypeError, ValueError) as error:
                raise type(error)(f"validation_data: {error}") from None
        if not isinstance(data, Iterable):
            raise TypeError(f"validation_data: expected (x, y) or batches, got {data!r}")
        return IterableBatches(data, self._batch, argument="validation_data")


class _Tracker:
    """The loss, averaged by batch size as in Keras, and the metrics of a number of batches."""

    def __init__(self, metrics: Sequence[metrics.Metric]) -> None:
        self.metrics = metrics
        self.total = 0.0
        self.count = 0
        for metric in metrics:
            metric.reset_state()

    def update(self, batch: Batch, loss: float, y_pred: np.ndarray) -> None:
        self.total += loss * len(batch.x)
        self.count += len(batch.x)
        for metric in self.metrics:
            metric.update_state(batch.y, y_pred)

    def logs(self) -> Logs:
        return {"loss": self.total / self.count} | {
            metric.name: metric.result() for metric in self.metrics
        }


def _metrics(identifiers: Any) -> list[metrics.Metric]:
    if identifiers is None:
        return []
    if not isinstance(identifiers, (list, tuple)):
        identifiers = [identifiers]
    found = [metrics.get(identifier) for identifier in identifiers]
    names = [metric.name for metric in found]
    if len(set(names)) < len(names):
        raise ValueError(f"metrics: expected different names, got {names}")
    return found


def _results(logs: Logs, return_dict: bool) -> Any:
    if return_dict:
        return logs
    values = list(logs.values())
    return values if len(values) > 1 else values[0]


def _call(callbacks: Iterable[Callback], event: str, *args: Any) -> None:
    for callback in callbacks:
        getattr(callback, event)(*args)


def _is_iterable_of_batches(x: Any, y: Any) -> bool:
    return y is None and isinstance(x, Iterable) and not hasattr(x, "__array__")


def _class_factors(
    class_weight: dict[int, float],
    targets: np.ndarray,
    output_shape: tuple[int, ...],
    dtype: np.dtype,
) -> np.ndarray:
    """The factor of each target's class."""
    if not isinstance(class_weight, dict):
        raise TypeError(f"class_weight: expected a dictionary, got {class_weight!r}")
    if targets.shape == output_shape:
        targets = targets.argmax(axis=-1) if output_shape[-1] > 1 else targets[..., 0]
    factors = np.ones(targets.shape, dtype)
    classes = max(2, output_shape[-1])
    for label, factor in class_weight.items():
        if label not in range(classes):
            raise ValueError(
                f"class_weight: expected classes from 0 to {classes - 1}, got {label!r}"
            )
        factors[targets == label] = _checks.real(f"class_weight[{label}]", factor, 0)
    return factors


def _times(weight: np.ndarray, factors: np.ndarray) -> np.ndarray:
    return weight.reshape(weight.shape + (1,) * (factors.ndim - weight.ndim)) * factors
