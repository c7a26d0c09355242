"""Metrics of how well sets of places overlap."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _checks, _room
from cgru.losses.base import EPSILON
from cgru.metrics.base import Metric, fitting


class IoU(Metric):
    """The size of the intersection over that of the union, of what is and what is said to be.

    The mean over some of the classes, all batches taken together.

    Parameters
    ----------
    num_classes : int
    target_class_ids : list of int
        The classes that count.
    name : str, optional
    ignore_class : int, optional
        A label that does not count.
    sparse_y_true, sparse_y_pred : bool
        Whether targets, predictions, are labels rather than a value for each class.
    axis : int
        The axis of the values for each class; only the last one.

    Notes
    -----
    Sample weights count as they are; Keras rounds them down to integers unless told otherwise.

    Examples
    --------
    >>> metric = cgru.metrics.IoU(num_classes=2, target_class_ids=[0])
    >>> metric.update_state([0, 0, 1, 1], [0, 1, 0, 1])
    >>> round(metric.result(), 4)
    0.3333
    """

    direction = "up"

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Any,
        name: str | None = None,
        *,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        self.num_classes = _checks.integer("num_classes", num_classes, 1)
        _room.claim(self.num_classes**2)
        self.target_class_ids = [
            _checks.integer("target_class_ids", label, 0) for label in target_class_ids
        ]
        if not self.target_class_ids or max(self.target_class_ids) >= num_classes:
            raise ValueError(
                f"target_class_ids: expected classes from 0 to {num_classes - 1}, got "
                f"{target_class_ids}"
            )
        if axis != -1:
            raise ValueError(f"axis: expected -1, got {axis!r}")
        self.ignore_class = ignore_class
        self.sparse_y_true, self.sparse_y_pred = bool(sparse_y_true), bool(sparse_y_pred)
        self.axis = axis
        super().__init__(name)
        self.reset_state()

    def reset_state(self) -> None:
        self.counts = np.zeros((self.num_classes, self.num_classes))  # of each label and prediction

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        t, p = np.asarray(y_true), np.asarray(y_pred)
        t = t if self.sparse_y_true else t.argmax(axis=-1)
        p = p if self.sparse_y_pred else p.argmax(axis=-1)
        if t.size != p.size:
            raise ValueError(
                f"y_true: expected as many labels as predictions, got shapes {t.shape}, {p.shape}"
            )
        weight = np.ones(t.shape) if sample_weight is None else fitting(sample_weight, t)
        t, p, weight = t.reshape(-1), p.reshape(-1), weight.reshape(-1)
        counts = (t >= 0) & (t < self.num_classes) & (p >= 0) & (p < self.num_classes)
        if self.ignore_class is not None:
            counts &= t != self.ignore_class
        place = t[counts].astype(np.intp) * self.num_classes + p[counts].astype(np.intp)
        found = np.bincount(place, weight[counts], self.num_classes**2)
        self.counts = self.counts + found.reshape(self.counts.shape)

    def result(self) -> float:
        both = np.diag(self.counts)
        union = (self.counts.sum(axis=0) + self.counts.sum(axis=1) - both)[self.target_class_ids]
        there = union > 1e-9
        shares = np.where(there, both[self.target_class_ids] / (union + EPSILON), 0)
        return float(shares.sum() / (there.sum() + EPSILON))


class MeanIoU(IoU):
    """`IoU`, the mean over all classes.

    Parameters
    ----------
    num_classes : int
    name, ignore_class, sparse_y_true, sparse_y_pred, axis
        As for `IoU`.

    Examples
    --------
    >>> metric = cgru.metrics.MeanIoU(num_classes=2)
    >>> metric.update_state([0, 0, 1, 1], [0, 1, 0, 1])
    >>> round(metric.result(), 4)
    0.3333
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        *,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        classes = range(_checks.integer("num_classes", num_classes, 1))
        super().__init__(
            num_classes,
            classes,
            name,
            ignore_class=ignore_class,
            sparse_y_true=sparse_y_true,
            sparse_y_pred=sparse_y_pred,
            axis=axis,
        )


class OneHotIoU(IoU):
    """`IoU` of targets and predictions that have a value for each class.

    Parameters
    ----------
    num_classes : int
    target_class_ids : list of int
    name, ignore_class, sparse_y_pred, axis
        As for `IoU`.

    Examples
    --------
    >>> metric = cgru.metrics.OneHotIoU(num_classes=2, target_class_ids=[1])
    >>> metric.update_state([[1, 0], [0, 1]], [[0.2, 0.8], [0.1, 0.9]])
    >>> round(metric.result(), 4)
    0.5
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Any,
        name: str | None = None,
        *,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(
            num_classes,
            target_class_ids,
            name,
            ignore_class=ignore_class,
            sparse_y_true=False,
            sparse_y_pred=sparse_y_pred,
            axis=axis,
        )


class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` of targets and predictions that have a value for each class.

    Parameters
    ----------
    num_classes : int
    name, ignore_class, sparse_y_pred, axis
        As for `IoU`.

    Examples
    --------
    >>> metric = cgru.metrics.OneHotMeanIoU(num_classes=2)
    >>> metric.update_state([[1, 0], [0, 1]], [[0.8, 0.2], [0.1, 0.9]])
    >>> round(metric.result(), 4)
    1.0
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        *,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(
            num_classes,
            name,
            ignore_class=ignore_class,
            sparse_y_true=False,
            sparse_y_pred=sparse_y_pred,
            axis=axis,
        )


class BinaryIoU(IoU):
    """`IoU` of two classes, for predictions that are numbers.

    Parameters
    ----------
    target_class_ids : list of int
    threshold : float
        Predictions of at least so much count as of class 1.
    name : str, optional

    Examples
    --------
    >>> metric = cgru.metrics.BinaryIoU(threshold=0.3)
    >>> metric.update_state([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7])
    >>> round(metric.result(), 4)
    0.3333
    """

    def __init__(
        self, target_class_ids: Any = (0, 1), threshold: float = 0.5, name: str | None = None
    ) -> None:
        super().__init__(2, target_class_ids, name)
        self.threshold = _checks.real("threshold", threshold)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        super().update_state(y_true, np.asarray(y_pred) >= self.threshold, sample_weight)
