"""The base of metrics, and means of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cgru import _checks, config, initializers
from cgru._configs import Configurable
from cgru.variables import Variable


class Metric(Configurable):
    """Base class: the mean of ``values(y_true, y_pred)`` over all batches since `reset_state`.

    A metric that is no mean has methods `update_state` and `result` of its own, and keeps what
    they count in variables.  One that makes what it counts with in its `reset_state` calls that
    in its constructor.

    Parameters
    ----------
    name : str, optional
    dtype : str, optional
        Of its variables; float64 by default.

    Attributes
    ----------
    direction : {"up", "down", None}
        Whether more or less is better, where that is known: for callbacks that watch it.
    variables : list of Variable
        What `add_variable` has made.

    Examples
    --------
    >>> metric = cgru.metrics.MeanAbsoluteError()
    >>> metric.update_state([[1.0], [2.0]], [[1.0], [4.0]])
    >>> metric.result()
    1.0

    A metric of your own:

    >>> class Largest(cgru.metrics.Metric):
    ...     direction = "down"
    ...
    ...     def __init__(self, name="largest", **kwargs):
    ...         super().__init__(name=name, **kwargs)
    ...         self.error = self.add_weight(name="error")
    ...
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.error.assign(max(self.error, abs(y_pred - y_true).max()))
    ...
    ...     def result(self):
    ...         return self.error
    >>> model = cgru.Sequential([cgru.Input((2,)), cgru.layers.Dense(1)])
    >>> model.compile("sgd", "mse", metrics=[Largest()])
    >>> list(model.evaluate(np.ones((4, 2)), np.ones(4), return_dict=True))
    ['loss', 'largest']
    """

    direction: str | None = None
    total = count = 0.0
    unconfigured = ("dtype",)

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        self.name = name or _checks.snake_case(type(self).__name__)
        self.dtype = config.as_dtype(dtype or "float64").name
        self.variables: list[Variable] = []

    def add_variable(
        self,
        shape: tuple[int, ...],
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str = "sum",
        name: str | None = None,
    ) -> Variable:
        """A new variable, which `reset_state` sets to zeros.

        Parameters
        ----------
        shape : tuple of int
        initializer : str or Initializer
        dtype : str, optional
            That of the metric by default.
        aggregation : str
            Accepted for Keras's sake.
        name : str, optional
        """
        name = name or "variable"
        value = initializers.get(initializer)(shape, dtype or self.dtype)
        variable = Variable(value, name, trainable=False, path=f"{self.name}/{name}")
        self.variables.append(variable)
        return variable

    def add_weight(
        self,
        shape: tuple[int, ...] = (),
        initializer: Any = "zeros",
        dtype: Any = None,
        name: str | None = None,
    ) -> Variable:
        """Another name of `add_variable`, for a single number by default."""
        return self.add_variable(shape, initializer, dtype, name=name)

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """One value per sample (and time step)."""
        raise NotImplementedError(f"{type(self).__name__}.values")

    def reset_state(self) -> None:
        """Forget all batches."""
        self.total = 0.0
        self.count = 0.0
        for variable in self.variables:
            variable.assign(np.zeros(variable.shape))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into account."""
        values = self.values(np.asarray(y_true), np.asarray(y_pred))
        if sample_weight is None:
            self.total += float(values.sum(dtype=np.float64))
            self.count += values.size
        else:
            weight = fitting(sample_weight, values)
            values = np.where(weight == 0, 0, values)  # what does not count may be NaN
            self.total += float((values * weight).sum())
            self.count += float(weight.sum())

    def result(self) -> Any:
        """The mean so far; 0 before the first batch."""
        return self.total / self.count if self.count else 0.0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Take a batch into account, as `update_state` does; the result so far."""
        self.update_state(*args, **kwargs)
        return self.result()


class MeanMetricWrapper(Metric):
    """The mean of what a function gives for each sample.

    Parameters
    ----------
    fn : callable
        ``fn(y_true, y_pred)``, one value per sample (and time step).
    name : str, optional
        The name of the function by default.

    Examples
    --------
    >>> def top(y_true, y_pred):
    ...     return y_pred.max(axis=-1)
    >>> metric = cgru.metrics.MeanMetricWrapper(top)
    >>> metric.update_state([0], [[0.25, 0.75]])
    >>> metric.name, metric.result()
    ('top', 0.75)
    """

    def __init__(self, fn: Callable[..., Any], name: str | None = None) -> None:
        super().__init__(name or getattr(fn, "__name__", type(fn).__name__))
        self.fn = fn

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.asarray(self.fn(y_true, y_pred))


class Mean(Metric):
    """The mean of values.

    Examples
    --------
    >>> metric = cgru.metrics.Mean()
    >>> metric([1.0, 3.0])
    2.0
    """

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        array = np.asarray(values, dtype=np.float64)
        weight = np.ones_like(array) if sample_weight is None else fitting(sample_weight, array)
        self.total += float((array * weight).sum())
        self.count += float(weight.sum())


class Sum(Mean):
    """The sum of values.

    Examples
    --------
    >>> metric = cgru.metrics.Sum()
    >>> metric([1.0, 3.0])
    4.0
    """

    def result(self) -> float:
        return self.total


def fitting(weight: Any, values: np.ndarray) -> np.ndarray:
    """Sample weights in the shape of the values."""
    weight = np.asarray(weight, dtype=np.float64)
    if weight.ndim > values.ndim:
        weight = weight.reshape(weight.shape[: values.ndim])
    wide = weight.reshape(weight.shape + (1,) * (values.ndim - weight.ndim))
    return np.broadcast_to(wide, values.shape)


def aligned(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Targets in the shape of the predictions, which may have a last axis of size 1 more."""
    if y_true.shape == y_pred.shape[:-1] and y_pred.shape[-1:] == (1,):
        return y_true[..., np.newaxis]
    if y_true.shape != y_pred.shape:
        raise ValueError(
            f"y_true: expected shape {y_pred.shape}, that of the predictions, got {y_true.shape}"
        )
    return y_true
