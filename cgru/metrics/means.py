"""Metrics that are means of a loss's values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cgru import _checks, losses
from cgru.metrics.base import Metric, aligned


class _OfLoss(Metric):
    """The mean of the values of a loss."""

    loss: losses.Loss
    direction = "down"

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return self.loss.values(aligned(y_true, y_pred).astype(y_pred.dtype), y_pred)


class MeanAbsoluteError(_OfLoss):
    """The mean of absolute differences.

    Examples
    --------
    >>> metric = cgru.metrics.MeanAbsoluteError()
    >>> metric.update_state([1.0, 2.0], [[1.0], [4.0]])
    >>> metric.result()
    1.0
    """

    loss = losses.MeanAbsoluteError()


class MeanSquaredError(_OfLoss):
    """The mean of squared differences.

    Examples
    --------
    >>> metric = cgru.metrics.MeanSquaredError()
    >>> metric.update_state([1.0, 2.0], [[1.0], [4.0]])
    >>> metric.result()
    2.0
    """

    loss = losses.MeanSquaredError()


class MeanAbsolutePercentageError(_OfLoss):
    """The mean of absolute differences in percent of the targets.

    Examples
    --------
    >>> metric = cgru.metrics.MeanAbsolutePercentageError()
    >>> metric.update_state([[2.0]], [[1.0]])
    >>> metric.result()
    50.0
    """

    loss = losses.MeanAbsolutePercentageError()


class MeanSquaredLogarithmicError(_OfLoss):
    """The mean of squared differences of ``log(1 + y)``.

    Examples
    --------
    >>> metric = cgru.metrics.MeanSquaredLogarithmicError()
    >>> metric.update_state([[0.0]], [[np.e - 1]])
    >>> round(metric.result(), 4)
    1.0
    """

    loss = losses.MeanSquaredLogarithmicError()


class LogCoshError(_OfLoss):
    """The mean of ``log(cosh(difference))``.

    Examples
    --------
    >>> metric = cgru.metrics.LogCoshError()
    >>> metric.update_state([[1.0]], [[1.0]])
    >>> metric.result()
    0.0
    """

    loss = losses.LogCosh()

    def __init__(self, name: str | None = "logcosh") -> None:
        super().__init__(name)


class Poisson(_OfLoss):
    """The mean of ``y_pred - y_true * log(y_pred)``.

    Examples
    --------
    >>> metric = cgru.metrics.Poisson()
    >>> metric.update_state([[1.0]], [[1.0]])
    >>> round(metric.result(), 4)
    1.0
    """

    loss = losses.Poisson()


class KLDivergence(_OfLoss):
    """The mean of the Kullback-Leibler divergence.

    Examples
    --------
    >>> metric = cgru.metrics.KLDivergence()
    >>> metric.update_state([[0.5, 0.5]], [[0.5, 0.5]])
    >>> metric.result()
    0.0
    """

    loss = losses.KLDivergence()


class Hinge(_OfLoss):
    """The mean of ``max(1 - y_true * y_pred, 0)``.

    Examples
    --------
    >>> metric = cgru.metrics.Hinge()
    >>> metric.update_state([[1.0], [-1.0]], [[0.5], [-2.0]])
    >>> metric.result()
    0.25
    """

    loss = losses.Hinge()


class SquaredHinge(_OfLoss):
    """The mean of the squares of ``max(1 - y_true * y_pred, 0)``.

    Examples
    --------
    >>> metric = cgru.metrics.SquaredHinge()
    >>> metric.update_state([[1.0], [-1.0]], [[0.5], [-2.0]])
    >>> metric.result()
    0.125
    """

    loss = losses.SquaredHinge()


class CategoricalHinge(_OfLoss):
    """The mean of `cgru.losses.CategoricalHinge`.

    Examples
    --------
    >>> metric = cgru.metrics.CategoricalHinge()
    >>> metric.update_state([[0.0, 1.0]], [[0.5, 1.0]])
    >>> metric.result()
    0.5
    """

    loss = losses.CategoricalHinge()


class RootMeanSquaredError(MeanSquaredError):
    """The square root of the mean of squared differences.

    Examples
    --------
    >>> metric = cgru.metrics.RootMeanSquaredError()
    >>> metric.update_state([0.0, 0.0], [[3.0], [3.0]])
    >>> metric.result()
    3.0
    """

    def result(self) -> float:
        return math.sqrt(super().result())


class CosineSimilarity(_OfLoss):
    """The mean of the cosine of the angle between targets and predictions.

    Examples
    --------
    >>> metric = cgru.metrics.CosineSimilarity()
    >>> metric.update_state([[1.0, 0.0]], [[2.0, 0.0]])
    >>> round(metric.result(), 4)
    1.0
    """

    loss = losses.CosineSimilarity()
    direction = "up"

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return -super().values(y_true, y_pred)


class _OfEntropy(_OfLoss):
    """The mean of a cross-entropy."""

    def values(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        prepared = self.loss.prepare(y_true, y_pred.shape, y_pred.dtype, "y_true")
        return self.loss.values(prepared, y_pred)


class BinaryCrossentropy(_OfEntropy):
    """The mean of `cgru.losses.BinaryCrossentropy`.

    Parameters
    ----------
    name : str, optional
    from_logits : bool
    label_smoothing : float

    Examples
    --------
    >>> metric = cgru.metrics.BinaryCrossentropy()
    >>> metric.update_state([[1.0]], [[0.5]])
    >>> round(metric.result(), 4)
    0.6931
    """

    def __init__(
        self, name: str | None = None, *, from_logits: bool = False, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(name)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing
        self.loss = losses.BinaryCrossentropy(from_logits, label_smoothing)


class CategoricalCrossentropy(_OfEntropy):
    """The mean of `cgru.losses.CategoricalCrossentropy`.

    Parameters
    ----------
    name : str, optional
    from_logits : bool
    label_smoothing : float

    Examples
    --------
    >>> metric = cgru.metrics.CategoricalCrossentropy()
    >>> metric.update_state([[0.0, 1.0]], [[0.5, 0.5]])
    >>> round(metric.result(), 4)
    0.6931
    """

    def __init__(
        self, name: str | None = None, *, from_logits: bool = False, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(name)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing
        self.loss = losses.CategoricalCrossentropy(from_logits, label_smoothing)


class SparseCategoricalCrossentropy(_OfEntropy):
    """The mean of `cgru.losses.SparseCategoricalCrossentropy`.

    Parameters
    ----------
    name : str, optional
    from_logits : bool
    ignore_class : int, optional
        Labels of this class do not count.

    Examples
    --------
    >>> metric = cgru.metrics.SparseCategoricalCrossentropy()
    >>> metric.update_state([1], [[0.5, 0.5]])
    >>> round(metric.result(), 4)
    0.6931
    """

    def __init__(
        self, name: str | None = None, *, from_logits: bool = False, ignore_class: int | None = None
    ) -> None:
        super().__init__(name)
        self.from_logits, self.ignore_class = from_logits, ignore_class
        self.loss = losses.SparseCategoricalCrossentropy(from_logits, ignore_class)


class R2Score(Metric):
    """The coefficient of determination: 1 less the share of the variance that is left.

    Parameters
    ----------
    class_aggregation : {"uniform_average", "variance_weighted_average", None}
        How the scores of several outputs are put together; None gives each.
    num_regressors : int
        If above 0, the score is adjusted for so many independent variables.
    name : str, optional

    Examples
    --------
    >>> metric = cgru.metrics.R2Score()
    >>> metric.update_state([[1.0], [3.0]], [[1.0], [3.0]])
    >>> metric.result()
    1.0
    """

    direction = "up"

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
    ) -> None:
        if class_aggregation not in ("uniform_average", "variance_weighted_average", None):
            raise ValueError(
                "class_aggregation: expected 'uniform_average', 'variance_weighted_average' or "
                f"None, got {class_aggregation!r}"
            )
        self.class_aggregation = class_aggregation
        self.num_regressors = _checks.integer("num_regressors", num_regressors, 0)
        super().__init__(name)
        self.reset_state()

    def reset_state(self) -> None:
        self.samples = 0
        self.sums = np.zeros((4, 1))  # of weights, targets, their squares, squared differences

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        p = np.asarray(y_pred, dtype=np.float64)
        t = aligned(np.asarray(y_true, dtype=np.float64), p).reshape(-1, p.shape[-1])
        p = p.reshape(t.shape)
        self.samples += t.size
        weight = np.ones((len(t), 1))
        if sample_weight is not None:
            weight = np.asarray(sample_weight, dtype=np.float64).reshape(len(t), 1)
        parts = [
            np.broadcast_to(weight, t.shape),
            weight * t,
            weight * t * t,
            weight * (t - p) ** 2,
        ]
        self.sums = self.sums + np.stack([part.sum(axis=0) for part in parts])

    def result(self) -> Any:
        count, total, squares, left = self.sums
        spread = squares - total * total / np.maximum(count, 1e-300)
        score = np.where(spread > 0, 1 - left / np.where(spread > 0, spread, 1), 0)
        if self.class_aggregation is None:
            found = score
        elif self.class_aggregation == "uniform_average":
            found = score.mean()
        else:
            found = (score * spread).sum() / max(spread.sum(), 1e-300)
        freedom = self.samples - self.num_regressors - 1
        if self.num_regressors and freedom > 0:
            found = 1 - (1 - found) * (self.samples - 1) / freedom
        return found if self.class_aggregation is None else float(found)
