"""What `compile` asked for: the loss of each output, its weight, and metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cgru import _checks, losses, metrics
from cgru.callbacks import Logs
from cgru.data import Batch
from cgru.variables import Variable


class Objective:
    """The losses and metrics of a model's outputs.

    Parameters
    ----------
    names : list of str
        Of the outputs.
    loss, loss_weights, metrics, weighted
        As for `compile`: with several outputs a list or a dictionary by output.

    Attributes
    ----------
    losses, weights, metrics, weighted : list
        For each output its loss (or None), the factor on it, and its metrics.
    part_names : dict of int to str
        The names in results of the losses by place of the output, where there are several.
    named_metrics : dict of str to Metric
        The metrics by their names in results.
    """

    def __init__(
        self, names: Sequence[str], loss: Any, loss_weights: Any, metrics: Any, weighted: Any
    ) -> None:
        self.several = len(names) > 1
        self.names = list(names)
        self.losses = self._each("loss", loss, _loss)
        self.weights = self._each("loss_weights", loss_weights, _weight)
        self.metrics = self._each("metrics", metrics, _metrics)
        self.weighted = self._each("weighted_metrics", weighted, _metrics)
        if len({id(metric) for metric in self.all_metrics()}) < len(self.all_metrics()):
            raise ValueError(
                "metrics: expected an object of its own at each place, got one at several; give "
                "its name or class, or a dictionary by output"
            )
        self.has_loss = any(loss is not None for loss in self.losses)
        trained = [place for place, loss in enumerate(self.losses) if loss is not None]
        parts = {place: f"{self.names[place]}_loss" for place in trained}
        self.part_names = parts if len(parts) > 1 else {}
        self.named_metrics = self._named_metrics()
        self.has_metrics = any(self.metrics) or any(self.weighted)

    def _each(self, argument: str, value: Any, make: Callable[[Any], Any]) -> list[Any]:
        """What is asked for each output."""
        if isinstance(value, dict):
            return [make(item) for item in self._by_name(argument, value)]
        if not self.several:
            # One output's metrics are a list themselves.
            listed = isinstance(value, (list, tuple)) and len(value) == 1 and make is not _metrics
            return [make(value[0] if listed else value)]
        if isinstance(value, (list, tuple)):
            if len(value) != len(self.names):
                raise ValueError(
                    f"{argument}: expected one entry for each of the outputs {self.names}, got "
                    f"{len(value)}"
                )
            return [make(item) for item in value]
        return [make(value) for _ in self.names]

    def _by_name(self, argument: str, value: dict[str, Any]) -> list[Any]:
        """A list with an entry for each output, None where there is no such key."""
        unknown = [name for name in value if name not in self.names]
        if unknown:
            raise ValueError(
                f"{argument}: expected the outputs {self.names} as keys, got {unknown}"
            )
        return [value.get(name) for name in self.names]

    def all_metrics(self) -> list[metrics.Metric]:
        """The metrics of all outputs."""
        return [metric for group in [*self.metrics, *self.weighted] for metric in group]

    def _named_metrics(self) -> dict[str, metrics.Metric]:
        taken = dict.fromkeys(["loss", *self.part_names.values()], 1)
        found: dict[str, metrics.Metric] = {}
        for groups, weighted in ((self.metrics, False), (self.weighted, True)):
            for output, group in zip(self.names, groups, strict=True):
                start = f"{output}_" if self.several else ""
                for metric in group:
                    name = start + metric.name
                    if weighted and name in taken:
                        name = f"{start}weighted_{metric.name}"
                    found[_free(name, taken)] = metric
        return dict(sorted(found.items())) if self.several else found

    @property
    def result_names(self) -> list[str]:
        """The names of the losses and metrics, as in `History`, in the order of Keras."""
        return ["loss", *self.part_names.values(), *self.named_metrics]

    # ---- Targets and weights ----

    def by_output(self, argument: str, value: Any) -> list[Any]:
        """A list with an entry for each output; lists and dictionaries where there are several."""
        if isinstance(value, dict):
            return self._by_name(argument, value)
        if not self.several:
            return [value]
        if value is None:
            return [None] * len(self.names)
        listed = isinstance(value, (list, tuple))
        if not listed or len(value) != len(self.names):
            came = f" of {len(value)}" if listed else ""
            raise ValueError(
                f"{argument}: expected a list with an entry for each of the outputs {self.names}, "
                f"got {type(value).__name__}{came}"
            )
        return list(value)

    def weights_by_output(self, value: Any) -> list[Any]:
        """Sample weights as a list with an entry for each output; an array is for all of them."""
        if hasattr(value, "shape"):
            return [value] * len(self.names)
        return self.by_output("sample_weight", value)

    # ---- A batch ----

    def value_and_grad(
        self, batch: Batch, y_pred: Any, mask: Any
    ) -> tuple[float, list[float], Any]:
        """The loss of a batch, the losses of its outputs, and the gradient for each."""
        if not self.several:
            value, dy = _value_and_grad(self.losses[0], batch.y, y_pred, batch.sample_weight, mask)
            weight = self.weights[0]
            if weight != 1:
                value, dy = value * weight, dy * dy.dtype.type(weight)
            return value, [value], dy
        values: list[float] = []
        grads: list[Any] = []
        total = 0.0
        weights = batch.sample_weight or [None] * len(self.names)
        for place, (loss, weight) in enumerate(zip(self.losses, self.weights, strict=True)):
            if loss is None:
                values.append(0.0)
                grads.append(None)
                continue
            value, dy = _value_and_grad(
                loss, batch.y[place], y_pred[place], weights[place], mask[place]
            )
            values.append(value)
            grads.append(dy if weight == 1 else dy * dy.dtype.type(weight))
            total += value * weight
        return total, values, tuple(grads)


def _value_and_grad(
    loss: losses.Loss, y: Any, y_pred: np.ndarray, weight: Any, mask: Any
) -> tuple[float, np.ndarray]:
    if mask is None:
        return loss.value_and_grad(y, y_pred, weight)
    return loss.value_and_grad(y, y_pred, weight, mask)


class Tracker:
    """The losses, averaged by batch size as in Keras, and the metrics of a number of batches."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.totals = [0.0] * (1 + len(objective.names))
        self.count = 0
        if objective.has_metrics:
            for metric in objective.all_metrics():
                metric.reset_state()

    def update(self, batch: Batch, loss: float, parts: list[float], y_pred: Any, mask: Any) -> None:
        """Take a batch into account: its loss, those of its outputs, and its predictions."""
        objective, count = self.objective, batch.samples
        self.count += count
        self.totals[0] += loss * count
        if objective.several:
            for place, part in enumerate(parts):
                self.totals[place + 1] += part * count
        if not objective.has_metrics:
            return
        for place, (plain, weighted) in enumerate(
            zip(objective.metrics, objective.weighted, strict=True)
        ):
            if not plain and not weighted:
                continue
            y, pred, weight, valid = batch.y, y_pred, batch.sample_weight, mask
            if objective.several:
                y, pred, valid = y[place], pred[place], valid[place]
                weight = None if weight is None else weight[place]
            for metric in plain:
                metric.update_state(y, pred, _masked(None, valid))
            for metric in weighted:
                metric.update_state(y, pred, _masked(weight, valid))

    def logs(self) -> Logs:
        """The means so far, by name."""
        objective, count = self.objective, self.count
        logs = {"loss": self.totals[0] / count}
        if not objective.has_metrics and not objective.part_names:
            return logs  # a small model's time goes into such things
        for place, name in objective.part_names.items():
            logs[name] = self.totals[place + 1] / count
        for name, metric in objective.named_metrics.items():
            logs[name] = _plain(metric.result())
        return logs

    # ---- To go on later ----

    def get_state(self) -> dict[str, np.ndarray]:
        """What was counted so far, as arrays by name."""
        state = {"totals": np.array(self.totals), "count": np.array(self.count)}
        for place, metric in enumerate(self.objective.all_metrics()):
            for name, value in _numbers(metric).items():
                state[f"metric_{place}/{name}"] = np.array(value)
        return state

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `get_state` gave."""
        self.totals = [float(value) for value in state["totals"]]
        self.count = int(state["count"])
        for place, metric in enumerate(self.objective.all_metrics()):
            for name, value in _numbers(metric).items():
                stored = state[f"metric_{place}/{name}"]
                if isinstance(value, Variable):
                    value.assign(stored)
                else:
                    plain = isinstance(value, (int, float))
                    setattr(metric, name, type(value)(stored) if plain else stored.copy())


def _numbers(metric: metrics.Metric) -> dict[str, Any]:
    """What a metric counts: its attributes that are numbers or arrays, and its variables."""
    numbers = {
        name: value
        for name, value in vars(metric).items()
        if isinstance(value, (int, float, np.ndarray)) and not isinstance(value, bool)
    }
    return numbers | {f"variable_{i}": value for i, value in enumerate(metric.variables)}


def _plain(result: Any) -> Any:
    """A metric's result as a number, or as an array that later batches do not change."""
    array = np.array(result)
    return array if array.ndim else array.item()


def _free(name: str, taken: dict[str, int]) -> str:
    """`name`, or, as in Keras, the next number behind it, where it is taken: so many times."""
    while count := taken.get(name, 0):
        taken[name] += 1
        name = f"{name}_{count}"
    taken[name] = 1
    return name


def _loss(identifier: Any) -> losses.Loss | None:
    return None if identifier is None else losses.get(identifier)


def _weight(value: Any) -> float:
    return 1.0 if value is None else _checks.real("loss_weights", value)


def _metrics(identifiers: Any) -> list[metrics.Metric]:
    if identifiers is None:
        return []
    if not isinstance(identifiers, (list, tuple)):
        identifiers = [identifiers]
    if len(identifiers) == 1 and isinstance(identifiers[0], (list, tuple)):
        identifiers = identifiers[0]  # Keras takes a list for each output, of one output, too
    return [metrics.get(identifier) for identifier in identifiers]


def _masked(weight: Any, mask: Any) -> Any:
    """Sample weights that are 0 for what is masked."""
    if mask is None:
        return weight
    if weight is None:
        return mask
    return weight.reshape(weight.shape + (1,) * (mask.ndim - weight.ndim)) * mask
