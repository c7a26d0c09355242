"""Metrics of two classes: counts of what was found and missed, and what is made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _checks, _room
from cgru.metrics.base import Metric, aligned, fitting


class Confusion(Metric):
    """Counts, for each threshold, of predictions above it and not, of both classes.

    Attributes
    ----------
    counts : ndarray, shape (4, thresholds)
        True positives, false positives, true negatives, false negatives.
    """

    def __init__(
        self,
        thresholds: Any,
        name: str | None,
        top_k: int | None = None,
        class_id: int | None = None,
    ) -> None:
        self.top_k = None if top_k is None else _checks.integer("top_k", top_k, 1)
        self.class_id = None if class_id is None else _checks.integer("class_id", class_id, 0)
        default = 0.5 if top_k is None else -np.inf  # what is among the k largest counts
        self._limits = np.atleast_1d(np.asarray(default if thresholds is None else thresholds))
        if thresholds is not None and not ((self._limits >= 0) & (self._limits <= 1)).all():
            raise ValueError(f"thresholds: expected numbers from 0 to 1, got {thresholds}")
        self.thresholds = thresholds
        super().__init__(name)
        self.reset_state()

    def reset_state(self) -> None:
        self.counts = np.zeros((4, len(self._limits)))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        p = np.asarray(y_pred, dtype=np.float64)
        t = aligned(np.asarray(y_true), p).astype(bool)
        weight = np.ones(p.shape) if sample_weight is None else fitting(sample_weight, p)
        if self.top_k is not None:
            # Of equal ones the first, as in Keras.
            chosen = np.argsort(-p, axis=-1, kind="stable")[..., : self.top_k]
            kept = np.full_like(p, -np.inf)
            np.put_along_axis(kept, chosen, np.take_along_axis(p, chosen, axis=-1), axis=-1)
            p = kept
        if self.class_id is not None:
            p, t, weight = (part[..., self.class_id] for part in (p, t, weight))
        p, t, weight = p.reshape(-1), t.reshape(-1), weight.reshape(-1)
        p = np.where(weight == 0, 0, p)  # what does not count may be NaN
        # Sorted, so that thousands of thresholds cost one pass.
        order = np.argsort(p)
        p, hit, rest = p[order], (weight * t)[order], (weight * ~t)[order]
        first = np.searchsorted(p, self._limits, side="right")
        found, extra = (
            np.concatenate([np.cumsum(part[::-1])[::-1], [0]])[first] for part in (hit, rest)
        )
        self.counts = self.counts + np.stack([found, extra, rest.sum() - extra, hit.sum() - found])

    def ratio(self, part: np.ndarray, whole: np.ndarray) -> Any:
        """A quotient, 0 where there is nothing to divide by; a number for a single threshold."""
        return self.single(_quotient(part, whole))

    def single(self, values: np.ndarray) -> Any:
        """A number for a single threshold."""
        return values if len(values) > 1 else float(values[0])


def _quotient(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


class TruePositives(Confusion):
    """How many of the first class are predicted as such.

    Parameters
    ----------
    thresholds : float or list of float, optional
        Predictions above it count as of the first class; 0.5 by default.
    name : str, optional

    Examples
    --------
    >>> metric = cgru.metrics.TruePositives()
    >>> metric.update_state([1, 0, 0, 1], [[0.9], [0.6], [0.2], [0.1]])
    >>> metric.result()
    1.0
    """

    direction = "up"

    def __init__(self, thresholds: Any = None, name: str | None = None) -> None:
        super().__init__(thresholds, name)

    def result(self) -> Any:
        return self.single(self.counts[0])


class FalsePositives(Confusion):
    """How many are predicted as of the first class and are not.

    Parameters
    ----------
    thresholds : float or list of float, optional
        Predictions above it count as of the first class; 0.5 by default.
    name : str, optional

    Examples
    --------
    >>> metric = cgru.metrics.FalsePositives()
    >>> metric.update_state([1, 0, 0, 1], [[0.9], [0.6], [0.2], [0.1]])
    >>> metric.result()
    1.0
    """

    direction = "down"

    def __init__(self, thresholds: Any = None, name: str | None = None) -> None:
        super().__init__(thresholds, name)

    def result(self) -> Any:
        return self.single(self.counts[1])


class TrueNegatives(Confusion):
    """How many of the other class are predicted as such.

    Parameters
    ----------
    thresholds : float or list of float, optional
        Predictions above it count as of the first class; 0.5 by default.
    name : str, optional

    Examples
    --------
    >>> metric = cgru.metrics.TrueNegatives()
    >>> metric.update_state([1, 0, 0, 1], [[0.9], [0.6], [0.2], [0.1]])
    >>> metric.result()
    1.0
    """

    direction = "up"

    def __init__(self, thresholds: Any = None, name: str | None = None) -> None:
        super().__init__(thresholds, name)

    def result(self) -> Any:
        return self.single(self.counts[2])


class FalseNegatives(Confusion):
    """How many of the first class are predicted as of the other.

    Parameters
    ----------
    thresholds : float or list of float, optional
        Predictions above it count as of the first class; 0.5 by default.
    name : str, optional

    Examples
    --------
    >>> metric = cgru.metrics.FalseNegatives()
    >>> metric.update_state([1, 0, 0, 1], [[0.9], [0.6], [0.2], [0.1]])
    >>> metric.result()
    1.0
    """

    direction = "down"

    def __init__(self, thresholds: Any = None, name: str | None = None) -> None:
        super().__init__(thresholds, name)

    def result(self) -> Any:
        return self.single(self.counts[3])


class Precision(Confusion):
    """The share of what is predicted as of the first class that is.

    Parameters
    ----------
    thresholds : float or list of float, optional
        Predictions above it count as of the first class; 0.5 by default.
    top_k : int, optional
        Of each sample only the `k` largest predictions may count as such, by default all of them,
        whatever their size.
    class_id : int, optional
        Only this class, a place in the last axis, is looked at.
    name : str, optional

    Examples
    --------
    >>> metric = cgru.metrics.Precision()
    >>> metric.update_state([1, 0, 0, 1], [[0.9], [0.6], [0.2], [0.1]])
    >>> metric.result()
    0.5
    """

    direction = "up"

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(thresholds, name, top_k, class_id)

    def result(self) -> Any:
        return self.ratio(self.counts[0], self.counts[0] + self.counts[1])


class Recall(Confusion):
    """The share of the first class that is predicted as such.

    Parameters
    ----------
    thresholds : float or list of float, optional
        Predictions above it count as of the first class; 0.5 by default.
    top_k : int, optional
        Of each sample only the `k` largest predictions may count as such, by default all of them,
        whatever their size.
    class_id : int, optional
        Only this class, a place in the last axis, is looked at.
    name : str, optional

    Examples
    --------
    >>> metric = cgru.metrics.Recall()
    >>> metric.update_state([1, 0, 0, 1], [[0.9], [0.6], [0.2], [0.1]])
    >>> metric.result()
    0.5
    """

    direction = "up"

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(thresholds, name, top_k, class_id)

    def result(self) -> Any:
        return self.ratio(self.counts[0], self.counts[0] + self.counts[3])


class AUC(Confusion):
    """The area under the ROC or the precision-recall curve, by interpolation of thresholds.

    Parameters
    ----------
    num_thresholds : int
    curve : {"ROC", "PR"}
    summation_method : {"interpolation", "minoring", "majoring"}
        Whether the area between two thresholds is interpolated, the least or the largest possible.
    name : str, optional
    thresholds : list of float, optional
        Instead of `num_thresholds` at equal distances.
    from_logits : bool
        Whether predictions are logits rather than probabilities.

    References
    ----------
    Davis and Goadrich 2006, for the interpolation of the precision-recall curve.

    Examples
    --------
    >>> metric = cgru.metrics.AUC()
    >>> metric.update_state([0, 0, 1, 1], [[0.1], [0.4], [0.35], [0.8]])
    >>> round(metric.result(), 4)
    0.75
    """

    direction = "up"

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = "auc",
        *,
        thresholds: Any = None,
        from_logits: bool = False,
    ) -> None:
        self.num_thresholds = _checks.integer("num_thresholds", num_thresholds, 2)
        _room.claim(self.num_thresholds)
        if summation_method not in ("interpolation", "minoring", "majoring"):
            raise ValueError(
                "summation_method: expected 'interpolation', 'minoring' or 'majoring', got "
                f"{summation_method!r}"
            )
        self.summation_method = summation_method
        if curve not in ("ROC", "PR"):
            raise ValueError(f"curve: expected 'ROC' or 'PR', got {curve!r}")
        self.curve = curve
        self.from_logits = bool(from_logits)
        if thresholds is None:
            inner = np.arange(1, num_thresholds - 1) / (num_thresholds - 1)
        else:
            inner = np.sort(np.asarray(thresholds, dtype=float))
            self.num_thresholds = len(inner) + 2
        super().__init__([0.0, *inner, 1.0], name)
        self.thresholds = thresholds
        self._limits = np.concatenate([[-1e-7], inner, [1 + 1e-7]])  # all, none
        self.reset_state()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if self.from_logits:
            y_pred = 1 / (1 + np.exp(-np.asarray(y_pred, dtype=np.float64)))
        super().update_state(y_true, y_pred, sample_weight)

    def result(self) -> float:
        found, extra, other, missed = self.counts
        if not self.counts.any():
            return 0.0
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self._pr_area(found, extra, missed)
        recall = _quotient(found, found + missed)
        if self.curve == "PR":
            x, y = recall, _quotient(found, found + extra)
        else:
            x, y = _quotient(extra, extra + other), recall
        if self.summation_method == "interpolation":
            heights = (y[:-1] + y[1:]) / 2
        else:
            choose = np.minimum if self.summation_method == "minoring" else np.maximum
            heights = choose(y[:-1], y[1:])
        return float(((x[:-1] - x[1:]) * heights).sum())

    def _pr_area(self, found: np.ndarray, extra: np.ndarray, missed: np.ndarray) -> float:
        positive = found + extra
        dfound, dpositive = found[:-1] - found[1:], positive[:-1] - positive[1:]
        slope = _quotient(dfound, np.maximum(dpositive, 0))
        intercept = found[1:] - slope * positive[1:]
        both = (positive[:-1] > 0) & (positive[1:] > 0)
        quotient = np.where(both, _quotient(positive[:-1], np.maximum(positive[1:], 0)), 1.0)
        logs = np.log(np.where(quotient > 0, quotient, 1))
        parts = _quotient(slope * (dfound + intercept * logs), found[1:] + missed[1:])
        return float(parts.sum())


class FBetaScore(Metric):
    """The weighted harmonic mean of precision and recall, of each class.

    Parameters
    ----------
    average : {None, "micro", "macro", "weighted"}
        How the classes are put together; None gives a score for each.
    beta : float
        The weight of recall.
    threshold : float, optional
        Predictions above it count; by default the largest of each sample does.
    name : str, optional

    Examples
    --------
    >>> metric = cgru.metrics.FBetaScore(beta=2.0, threshold=0.5)
    >>> metric.update_state([[1, 1], [1, 0]], [[0.2, 0.6], [0.6, 0.2]])
    >>> metric.result().round(4)
    array([0.5556, 1.    ])
    """

    direction = "up"

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
    ) -> None:
        if average not in (None, "micro", "macro", "weighted"):
            raise ValueError(
                f"average: expected None, 'micro', 'macro' or 'weighted', got {average!r}"
            )
        self.average = average
        self.beta = _checks.real("beta", beta, 0, open_minimum=True)
        self.threshold = None if threshold is None else _checks.real("threshold", threshold, 0, 1)
        super().__init__(name)
        self.reset_state()

    def reset_state(self) -> None:
        self.counts = np.zeros((3, 1))  # found, extra, missed; of each class

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        p = np.asarray(y_pred, dtype=np.float64)
        t = aligned(np.asarray(y_true), p).astype(bool)
        if self.threshold is None:
            chosen = (p == p.max(axis=-1, keepdims=True)) & (abs(p) > 1e-9)  # as in Keras
        else:
            chosen = p > self.threshold
        weight = np.ones(p.shape) if sample_weight is None else fitting(sample_weight, p)
        axes = tuple(range(p.ndim - 1))
        parts = [(part * weight).sum(axis=axes) for part in (chosen & t, chosen & ~t, ~chosen & t)]
        self.counts = self.counts + np.stack(parts)

    def result(self) -> Any:
        counts = self.counts.sum(axis=1, keepdims=True) if self.average == "micro" else self.counts
        found, extra, missed = counts
        precision, recall = found / (found + extra + 1e-7), found / (found + missed + 1e-7)
        square = self.beta**2
        score = (1 + square) * precision * recall / (square * precision + recall + 1e-7)
        if self.average == "weighted":
            share = (found + missed) / ((found + missed).sum() + 1e-7)
            return float((score * share).sum())
        return score if self.average is None else float(score.mean())


class F1Score(FBetaScore):
    """The harmonic mean of precision and recall, of each class.

    Parameters
    ----------
    average : {None, "micro", "macro", "weighted"}
        How the classes are put together; None gives a score for each.
    threshold : float, optional
        Predictions above it count; by default the largest of each sample does.
    name : str, optional

    Examples
    --------
    >>> metric = cgru.metrics.F1Score(average="macro")
    >>> metric.update_state([[1, 0], [0, 1]], [[0.9, 0.1], [0.2, 0.8]])
    >>> round(metric.result(), 4)
    1.0
    """

    unconfigured = ("beta",)

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
    ) -> None:
        super().__init__(average, 1.0, threshold, name)
