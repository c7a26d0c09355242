"""Metrics of two classes at the threshold that is best for one of them, given another."""

from __future__ import annotations

import numpy as np

from cgru import _checks, _room
from cgru.metrics.confusion import Confusion


class _BestAt(Confusion):
    """The largest value of one figure among the thresholds where another is large enough."""

    direction = "up"

    def __init__(self, num_thresholds: int, class_id: int | None, name: str | None) -> None:
        self.num_thresholds = _checks.integer("num_thresholds", num_thresholds, 1)
        _room.claim(self.num_thresholds)
        thresholds = list(np.linspace(0, 1, num_thresholds)) if num_thresholds > 1 else 0.5
        super().__init__(thresholds, name, class_id=class_id)

    def best(self, wanted: np.ndarray, other: np.ndarray, least: float) -> float:
        """The largest of `wanted` where `other` is at least `least`; 0 if it is nowhere."""
        return float(np.max(wanted, initial=0.0, where=other >= least))

    def share(self, part: int, rest: int) -> np.ndarray:
        """A count as a share of its sum with another, 0 where there are none."""
        counts = self.counts
        return np.atleast_1d(self.ratio(counts[part], counts[part] + counts[rest]))

    def of_positives(self) -> np.ndarray:
        """The recall, or sensitivity, at each threshold."""
        return self.share(0, 3)

    def of_negatives(self) -> np.ndarray:
        """The specificity at each threshold."""
        return self.share(2, 1)

    def of_found(self) -> np.ndarray:
        """The precision at each threshold."""
        return self.share(0, 1)


class SensitivityAtSpecificity(_BestAt):
    """The best sensitivity where the specificity is at least so much.

    Parameters
    ----------
    specificity : float
        Between 0 and 1.
    num_thresholds : int
        So many are tried.
    class_id : int, optional
        The place on the last axis that counts; all do by default.
    name : str, optional

    Examples
    --------
    >>> metric = cgru.metrics.SensitivityAtSpecificity(0.5)
    >>> metric.update_state([0, 0, 0, 1, 1], [[0.0], [0.3], [0.8], [0.3], [0.8]])
    >>> metric.result()
    0.5
    """

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
    ) -> None:
        self.specificity = _checks.real("specificity", specificity, 0, 1)
        super().__init__(num_thresholds, class_id, name)

    def result(self) -> float:
        return self.best(self.of_positives(), self.of_negatives(), self.specificity)


class SpecificityAtSensitivity(_BestAt):
    """The best specificity where the sensitivity is at least so much.

    Parameters
    ----------
    sensitivity : float
        Between 0 and 1.
    num_thresholds : int
        So many are tried.
    class_id : int, optional
        The place on the last axis that counts; all do by default.
    name : str, optional

    Examples
    --------
    >>> metric = cgru.metrics.SpecificityAtSensitivity(0.5)
    >>> metric.update_state([0, 0, 0, 1, 1], [[0.0], [0.3], [0.8], [0.3], [0.8]])
    >>> round(metric.result(), 4)
    0.6667
    """

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
    ) -> None:
        self.sensitivity = _checks.real("sensitivity", sensitivity, 0, 1)
        super().__init__(num_thresholds, class_id, name)

    def result(self) -> float:
        return self.best(self.of_negatives(), self.of_positives(), self.sensitivity)


class PrecisionAtRecall(_BestAt):
    """The best precision where the recall is at least so much.

    Parameters
    ----------
    recall : float
        Between 0 and 1.
    num_thresholds : int
        So many are tried.
    class_id : int, optional
        The place on the last axis that counts; all do by default.
    name : str, optional

    Examples
    --------
    >>> metric = cgru.metrics.PrecisionAtRecall(0.5)
    >>> metric.update_state([0, 0, 0, 1, 1], [[0.0], [0.3], [0.8], [0.3], [0.8]])
    >>> metric.result()
    0.5
    """

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
    ) -> None:
        self.recall = _checks.real("recall", recall, 0, 1)
        super().__init__(num_thresholds, class_id, name)

    def result(self) -> float:
        return self.best(self.of_found(), self.of_positives(), self.recall)


class RecallAtPrecision(_BestAt):
    """The best recall where the precision is at least so much.

    Parameters
    ----------
    precision : float
        Between 0 and 1.
    num_thresholds : int
        So many are tried.
    class_id : int, optional
        The place on the last axis that counts; all do by default.
    name : str, optional

    Examples
    --------
    >>> metric = cgru.metrics.RecallAtPrecision(0.5)
    >>> metric.update_state([0, 0, 0, 1, 1], [[0.0], [0.3], [0.8], [0.3], [0.8]])
    >>> metric.result()
    1.0
    """

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
    ) -> None:
        self.precision = _checks.real("precision", precision, 0, 1)
        super().__init__(num_thresholds, class_id, name)

    def result(self) -> float:
        return self.best(self.of_positives(), self.of_found(), self.precision)
