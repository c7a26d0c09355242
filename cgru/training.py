"""The loop behind `fit` and `evaluate`."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from cgru import _checks, _door, _kernels, metrics, optimizers, truncated
from cgru.callbacks import Callback, CallbackList, History, Logs
from cgru.callbacks.base import shown
from cgru.data import ArrayBatches, Batch, IterableBatches, Sequences
from cgru.objective import Objective, Tracker
from cgru.prediction import Predictor, check_steps, check_verbose, is_iterable_of_batches
from cgru.saving.progress import Rest
from cgru.variables import FlatVector, structure


class Trainer(Predictor):
    """A layer that can be trained: what `cgru.Sequential` inherits.

    The way of a batch: `fit` -> `_train_step` -> `forward` of the layers -> the loss and its
    gradient -> the layers' `backward` functions in reverse -> one optimizer kernel over the flat
    vector.
    """

    stop_training: bool
    tracker: Tracker  # of the losses and metrics of the epoch
    history: History | None = None
    optimizer: optimizers.Optimizer | None = None
    objective: Objective | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._flat: FlatVector | None = None
        self._flat_version = -1
        self._rest: Rest | None = None  # of a training, in the file that was loaded

    def __getstate__(self) -> dict[str, Any]:
        # What was made for a version of the structure in one process means nothing in another.
        return vars(self) | {"_flat_version": -1, "_plans": {}, "_plans_version": -1}

    # ---- The flat parameter vector ----

    def flat(self) -> FlatVector:
        """The vector that the trainable weights are views into, made anew where they are not."""
        flat = self._flat
        if flat is None or self._flat_version != structure.version or not flat.is_whole:
            self.check_built()
            version, weights = structure.version, self.trainable_weights
            if flat is None or not flat.holds(weights):
                flat = self._flat = FlatVector(weights)
            self._flat_version = version
        return flat

    @property
    def theta(self) -> np.ndarray:
        """All trainable weights as one vector of shape (P,), a copy; set it to set them all."""
        return self.flat().value.copy()

    @theta.setter
    def theta(self, value: Any) -> None:
        flat = self.flat()
        theta = _checks.floats("theta", value, flat.value.dtype)
        if theta.shape != flat.value.shape:
            raise ValueError(f"theta: expected shape {flat.value.shape}, got {theta.shape}")
        flat.assign(theta)

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
        objective = self._check_compiled("value_and_grad")
        batch = self._one_batch(_door.batch(self, objective, x, y, sample_weight))
        self.theta = theta
        flat = self.flat()
        value, *_ = self._loss_and_gradient(flat, batch, training)
        return value, flat.grad.astype(np.float64)

    # ---- Compiling ----

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Choose how to train.

        Parameters
        ----------
        optimizer : str or Optimizer
        loss : str or Loss
            With several outputs a list, or a dictionary by output; None for outputs that are not
            trained.
        loss_weights : float, or a list or dictionary of them, optional
            Factors on the losses in their sum.
        metrics : list of str or Metric, optional
            With several outputs a list of such lists, or a dictionary by output.
        weighted_metrics : list of str or Metric, optional
            The same, with sample weights taken into account.
        run_eagerly, steps_per_execution, jit_compile, auto_scale_loss
            Accepted for Keras's sake; they change nothing.
        """
        names = self.output_names
        objective = Objective(names, loss, loss_weights, metrics, weighted_metrics)
        self.optimizer, self.objective = optimizers.get(optimizer), objective
        self._compiled_with = {
            "optimizer": self.optimizer,
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
        }

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self.objective is not None

    @property
    def loss(self) -> Any:
        """The loss that `compile` was given."""
        return self._compiled_with["loss"] if self.compiled else None

    @property
    def metrics(self) -> list[metrics.Metric]:
        """The metrics of all outputs."""
        return [] if self.objective is None else self.objective.all_metrics()

    @property
    def metrics_names(self) -> list[str]:
        """The names of what `evaluate` returns."""
        return ["loss"] if self.objective is None else self.objective.result_names

    @property
    def losses(self) -> list[float]:
        """What regularizers of the weights add to the loss, each."""
        weights = [weight for weight in self.trainable_weights if weight.regularizer is not None]
        return [float(weight.regularizer(weight.value)) for weight in weights]

    def get_metrics_result(self) -> Logs:
        """The losses and metrics by name, of the batches since the last epoch of `fit` began."""
        return self.tracker.logs() if hasattr(self, "tracker") else {}

    def reset_metrics(self) -> None:
        """Let the losses and metrics start anew."""
        if self.objective is not None:
            self.tracker = Tracker(self.objective)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> float:
        """The loss of predictions, with what regularizers of the weights add to it.

        Parameters
        ----------
        x : array_like, optional
            Not looked at.
        y, y_pred : array_like
            Targets and predictions; lists, or dictionaries by output, where there are several.
        sample_weight : array_like, optional
        training : bool
            Makes no difference here.

        Notes
        -----
        `fit` does not call it, so that overriding it does not change what is trained on: that is
        what a subclass of `cgru.losses.Loss` is for, which knows its gradient.

        Examples
        --------
        >>> model = cgru.Sequential([cgru.Input((2,)), cgru.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> model.compute_loss(y=[[1.0], [2.0]], y_pred=[[1.0], [4.0]])
        2.0
        """
        objective = self._check_compiled("compute_loss")
        parts = zip(
            objective.names,
            objective.losses,
            objective.weights,
            objective.by_output("y", y),
            objective.by_output("y_pred", y_pred),
            objective.weights_by_output(sample_weight),
            strict=True,
        )
        total = sum(self.losses)
        for name, loss, factor, target, prediction, weight in parts:
            if loss is None:
                continue
            for argument, value in (("y", target), ("y_pred", prediction)):
                if value is None:
                    raise ValueError(f"{argument}: expected values for {name!r}, got None")
            total += factor * loss(target, prediction, weight)
        return float(total)

    def _check_compiled(self, method: str) -> Objective:
        if self.objective is None:
            raise ValueError(f"{method}: call compile() first, with an optimizer and a loss")
        if not self.objective.has_loss:
            raise ValueError(f"{method}: compile() was given no loss")
        return self.objective

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
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        *,
        lengths: Any = None,
        tbptt: int | None = None,
    ) -> History:
        """Train for a number of epochs.

        Parameters
        ----------
        x : array_like, list of array_like, or iterable of batches
            Inputs [samples, time, features] (or what the first layer reads); or a list of
            sequences [time, features] of different lengths; or an iterable of ``(x, y)`` or
            ``(x, y, sample_weight)`` batches, without `y`.  Of a model with several inputs a
            list, or a dictionary by input.  Converted to the model's dtype where needed:
            integers, float16, other byte orders and layouts work.
        y : array_like
            Targets; a list, or a dictionary by output, where there are several.  For sequences of
            different lengths and an output for each step a list of arrays as well.
        batch_size : int
            Samples per step; by default 32, or all samples divided by `steps_per_epoch`.
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
            Batches per epoch.  An iterable that does not end needs it; data that ends within an
            epoch starts anew (in Keras the epoch is cut short), an iterator goes on where it was.
        validation_steps : int, optional
            Batches to evaluate: the first of arrays or of a list; an iterator, which cannot start
            anew, goes on where it was, and needs this.
        validation_batch_size : int, optional
            `batch_size` by default.
        validation_freq : int or list of int
            Evaluate after each so many epochs; or after those of a list, counted from 1.
        lengths : array_like of int, shape (samples,), optional
            The number of steps of each sequence in `x`, which is padded at the end; what is in
            the padding has no effect.  Batches are formed of sequences of similar length.
        tbptt : int, optional
            Backpropagate through at most so many steps: sequences are read in chunks of that
            length, the states carried from one to the next, and the optimizer makes one step with
            the sum of their gradients (Williams and Peng 1990).  The memory needed does not grow
            with the sequences.

        Returns
        -------
        History
            Also kept as ``model.history``, where an interrupted run leaves it.

        Raises
        ------
        ValueError, TypeError
            If the model was not compiled, and for what cannot be trained on, before anything is
            changed.
        """
        objective = self._check_compiled("fit")
        epochs = _checks.integer("epochs", epochs, 1)
        initial_epoch = _checks.integer("initial_epoch", initial_epoch, 0)
        is_validated = _every(validation_freq)
        check_steps(steps_per_epoch=steps_per_epoch, validation_steps=validation_steps)
        check_steps(batch_size=batch_size, validation_batch_size=validation_batch_size)
        split = _checks.real("validation_split", validation_split, 0, 1, open_maximum=True)
        check_verbose(verbose)
        if validation_batch_size is None:
            validation_batch_size = batch_size
        loop = CallbackList(callbacks, add_history=True, add_progbar=True)
        chunks = None if tbptt is None else truncated.Chunks(self, tbptt)

        door = functools.partial(_door.batch, self, objective)
        validation: Batches | None = None
        batches: Batches
        if is_iterable_of_batches(x, y):
            if split or sample_weight is not None or lengths is not None:
                raise ValueError(
                    "validation_split, lengths, sample_weight: expected with arrays only; an "
                    "iterable gives (x, y, sample_weight) itself, and takes validation_data"
                )
            batches = self._iterable_batches(
                x, steps_per_epoch, steps_argument="steps_per_epoch", class_weight=class_weight
            )
        else:
            data = door(x, y, sample_weight, class_weight, lengths)
            if split and validation_data is None:
                cut = min(int(data.samples * (1 - split)), data.samples - 1)
                if cut == 0:
                    raise ValueError(
                        f"validation_split: {split} of {data.samples} samples leaves none to train"
                        " on"
                    )
                # The classes' weights are for training alone.
                held_out = (
                    data if class_weight is None else door(x, y, sample_weight, None, lengths)
                )
                validation = self._array_batches(
                    held_out.take(slice(cut, None)), validation_batch_size, steps=validation_steps
                )
                data = data.take(slice(cut))
            size = self._batch_size(batch_size, data.samples, steps_per_epoch)
            batches = self._array_batches(data, size, bool(shuffle))
            if steps_per_epoch is not None:
                # Epochs of a fixed length go on through the samples where the last one stopped.
                batches = IterableBatches(batches, door, steps_per_epoch)
        if validation_data is not None:
            validation = self._validation(validation_data, validation_batch_size, validation_steps)

        assert self.optimizer is not None
        if self.built:
            self.optimizer.build(self.flat())  # or it says that it belongs to other weights
        self.stop_training = False
        loop.set_model(self)
        try:
            steps = len(batches)
        except TypeError:
            steps = None
        loop.set_params(
            dict(epochs=epochs, steps=steps, verbose=verbose, initial_epoch=initial_epoch)
        )
        logs: Logs | None = None
        try:
            if self._rest is not None:
                rest, self._rest = self._rest, None
                rest.go_on(self, initial_epoch)
            loop.on_train_begin()
            # Callbacks may have training go on somewhere else: BackupAndRestore does.
            first, skipped = loop.params["initial_epoch"], loop.params.get("initial_batch", 0)
            for epoch in range(first, epochs):
                self.tracker = Tracker(objective)
                loop.on_epoch_begin(epoch)
                logs = self._epoch(batches, loop, chunks, skipped)
                skipped = 0
                if validation is not None and is_validated(epoch + 1):
                    results = self._evaluate(validation, loop)
                    logs |= {f"val_{name}": value for name, value in results.items()}
                loop.on_epoch_end(epoch, logs)
                if self.stop_training:
                    break
            self.optimizer.finalize_variable_values(self.trainable_weights)
        finally:  # also after Ctrl-C or an error: model and history hold what was done
            loop.on_train_end(logs)
        assert self.history is not None
        return self.history

    def _epoch(
        self,
        batches: Iterable[Batch],
        loop: CallbackList,
        chunks: truncated.Chunks | None,
        skipped: int,
    ) -> Logs:
        begin, end = loop.batch_calls("train")
        for step, batch in enumerate(itertools.islice(batches, skipped, None), skipped):
            for call in begin:
                call(step, None)
            self._train_step(batch, self.tracker, chunks)
            if end:
                logs = self.tracker.logs()
                for call in end:
                    call(step, logs)
                if self.stop_training:
                    break
        return self.tracker.logs()

    def _train_step(
        self, batch: Batch, tracker: Tracker, chunks: truncated.Chunks | None = None
    ) -> None:
        """One step of the optimizer, its loss and metrics given to the tracker."""
        assert self.optimizer is not None
        flat = self.flat()
        self.optimizer.build(flat)
        gradient = self._loss_and_gradient if chunks is None else chunks.loss_and_gradient
        tracker.update(batch, *gradient(flat, batch, training=True))
        self.optimizer.update(flat)

    def _loss_and_gradient(
        self, flat: FlatVector, batch: Batch, training: bool
    ) -> tuple[float, list[float], Any, Any]:
        """The loss of a batch, those of its outputs, the predictions and their mask.

        The gradient is left in the flat vector.
        """
        assert self.objective is not None
        penalties: list[Any] = []
        y_pred, mask, backward = self.execute(
            batch.x, training, batch.mask, needs_input_grad=False, penalties=penalties
        )
        value, parts, dy = self.objective.value_and_grad(batch, y_pred, mask)
        _kernels.clear(flat.grad)
        backward(dy)
        return value + self._penalties(flat, penalties), parts, y_pred, mask

    def _penalties(self, flat: FlatVector, penalties: list[Any]) -> float:
        """What layers and weights add to the loss; the weights' gradients are added as well."""
        if not flat.regularized and not penalties:
            return 0.0
        for weight in flat.regularized:
            value, grad = weight.regularizer.forward(weight.value)
            penalties.append(value)
            weight.grad += grad
        return float(sum(penalties))

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
        *,
        reset_mask: Any = None,
    ) -> Any:
        """One training step on one batch.

        Parameters
        ----------
        x, y, sample_weight, class_weight
            As in `fit`.
        return_dict : bool
        reset_mask : array_like of bool, shape (batch,), optional
            Which rows start from zeros rather than from the state that a stateful layer carries:
            where another sequence begins.

        Returns
        -------
        float, list of float, or dict
            The loss; with metrics, a list of it and them, or a dictionary if asked for.  They
            are those of this batch alone.
        """
        objective = self._check_compiled("train_on_batch")
        batch = _door.batch(self, objective, x, y, sample_weight, class_weight)
        if isinstance(batch.x, Sequences):
            batch = self._one_batch(batch)
        if reset_mask is not None:
            self.reset_rows(reset_mask, batch.samples)
        tracker = Tracker(objective)
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
        steps: int | None = None,
        callbacks: Sequence[Callback] | Callback | None = None,
        return_dict: bool = False,
        *,
        lengths: Any = None,
    ) -> Any:
        """The loss and metrics of data.

        Parameters
        ----------
        x, y, sample_weight, batch_size, lengths
            As in `fit`.
        steps : int, optional
            Batches to evaluate: the first of the data.
        callbacks : list of Callback, optional
        verbose : {"auto", 0, 1, 2}
            2 prints the results.
        return_dict : bool

        Returns
        -------
        float, list of float, or dict
            The loss; with metrics, a list of it and them, or a dictionary if asked for.
        """
        objective = self._check_compiled("evaluate")
        if steps is not None or batch_size is not None:
            check_steps(steps=steps, batch_size=batch_size)
        check_verbose(verbose)
        batches: Batches
        if is_iterable_of_batches(x, y):
            if sample_weight is not None or lengths is not None:
                raise ValueError(
                    "sample_weight, lengths: expected with arrays only; an iterable gives "
                    "(x, y, sample_weight) itself"
                )
            batches = self._iterable_batches(x, steps)
        else:
            data = _door.batch(self, objective, x, y, sample_weight, lengths=lengths)
            batches = self._array_batches(data, batch_size, steps=steps)
        loop = CallbackList(callbacks, model=self, steps=steps, verbose=verbose)
        logs = self._evaluate(batches, loop)
        if verbose == 2:
            print(" - ".join(f"{name}: {shown(value)}" for name, value in logs.items()))
        return _results(logs, return_dict)

    def _evaluate(self, batches: Iterable[Batch], loop: CallbackList | None = None) -> Logs:
        assert self.objective is not None
        loop = CallbackList() if loop is None else loop
        begin, end = loop.batch_calls("test")
        tracker = Tracker(self.objective)
        loop.on_test_begin()
        for step, batch in enumerate(batches):
            for call in begin:
                call(step, None)
            penalties: list[Any] = []
            y_pred, mask = self._predict(batch, penalties)
            value, parts, _ = self.objective.value_and_grad(batch, y_pred, mask)
            tracker.update(batch, value + float(sum(penalties + self.losses)), parts, y_pred, mask)
            if end:
                logs = tracker.logs()
                for call in end:
                    call(step, logs)
        logs = tracker.logs()
        loop.on_test_end(logs)
        return logs

    def test_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        return_dict: bool = False,
        *,
        reset_mask: Any = None,
    ) -> Any:
        """The loss and metrics of one batch; arguments and result as in `train_on_batch`."""
        objective = self._check_compiled("test_on_batch")
        batch = self._one_batch(_door.batch(self, objective, x, y, sample_weight))
        if reset_mask is not None:
            self.reset_rows(reset_mask, batch.samples)
        return _results(self._evaluate([batch]), return_dict)

    # ---- Batches ----

    def _iterable_batches(
        self,
        source: Any,
        steps: int | None,
        argument: str = "x",
        steps_argument: str = "steps",
        anew: bool = False,
        **options: Any,
    ) -> IterableBatches:
        """What an iterable of batches gives, each checked."""
        assert self.objective is not None
        door = functools.partial(_door.batch, self, self.objective, **options)
        return IterableBatches(
            source,
            lambda *item: self._one_batch(door(*item)),
            steps,
            argument,
            steps_argument,
            anew,
        )

    def _validation(self, data: Any, batch_size: int | None, steps: int | None) -> Batches:
        assert self.objective is not None
        door = functools.partial(_door.batch, self, self.objective)
        if isinstance(data, list) and not all(isinstance(item, tuple) for item in data):
            data = tuple(data)
        if isinstance(data, tuple):
            if len(data) not in (2, 3):
                raise ValueError(
                    "validation_data: expected (x, y) or (x, y, sample_weight), got "
                    f"{len(data)} entries"
                )
            try:
                return self._array_batches(door(*data), batch_size, steps=steps)
            except (TypeError, ValueError) as error:
                raise type(error)(f"validation_data: {error}") from None
        if not isinstance(data, Iterable) or isinstance(data, dict):
            raise TypeError(f"validation_data: expected (x, y) or batches, got {data!r}")
        if isinstance(data, Iterator) and steps is None:
            raise ValueError(
                f"validation_data: an iterator ({type(data).__name__}) cannot start anew for each "
                "epoch, and may not end; say how many batches to take with validation_steps, or "
                "give a list"
            )
        return self._iterable_batches(data, steps, "validation_data", "validation_steps", anew=True)


Batches = ArrayBatches | IterableBatches


def _every(frequency: int | Sequence[int]) -> Callable[[int], bool]:
    """Whether to evaluate after the epoch of a number, counted from 1."""
    if isinstance(frequency, (list, tuple)):
        chosen = {_checks.integer("validation_freq", epoch, 1) for epoch in frequency}
        return lambda number: number in chosen
    every = _checks.integer("validation_freq", frequency, 1)
    return lambda number: number % every == 0


def _results(logs: Logs, return_dict: bool) -> Any:
    if return_dict:
        return logs
    values = list(logs.values())
    return values if len(values) > 1 else values[0]
