"""Losses that look at whole sequences, or at all samples of a batch together."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgru import _checks
from cgru.losses.base import Loss


class CTC(Loss):
    """Minus the logarithm of the probability of a sequence of labels, however it is aligned.

    Targets are labels from 1, [batch, labels], with 0 after the last one; predictions are logits,
    [batch, time, classes], in which class 0 stands for no label.

    Parameters
    ----------
    reduction : str, optional
        As for `Loss`.
    name : str, optional

    References
    ----------
    Graves et al. 2006, "Connectionist Temporal Classification".

    Notes
    -----
    Time steps that are masked are left out, where Keras takes them all.  More labels than fit into
    the steps are an error, where Keras gives a large number.

    Examples
    --------
    Two steps, in which label 1 comes at least once, and nothing but it; three of four ways:

    >>> round(np.exp(-cgru.losses.CTC()([[1]], np.zeros((1, 2, 2)))).item(), 4)
    0.75
    """

    by_step = False

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "ctc"
    ) -> None:
        super().__init__(name, reduction)

    def prepare(
        self, y: Any, output_shape: tuple[int, ...], dtype: np.dtype, argument: str = "y"
    ) -> np.ndarray:
        labels = _checks.integers(argument, y)
        if len(output_shape) != 3 or labels.ndim != 2 or len(labels) != output_shape[0]:
            raise ValueError(
                f"{argument}: expected labels [batch, labels] for logits [batch, time, classes], "
                f"got shapes {labels.shape} and {output_shape}"
            )
        if labels.min() < 0 or labels.max() >= output_shape[2]:
            raise ValueError(
                f"{argument}: expected labels from 1 to {output_shape[2] - 1}, and 0 after the "
                f"last, got from {labels.min()} to {labels.max()}"
            )
        if ((labels[:, :-1] == 0) & (labels[:, 1:] != 0)).any():
            raise ValueError(f"{argument}: expected 0 only after the last label of a sequence")
        _check_room(labels, np.full(len(labels), output_shape[1]), argument)
        return labels

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _aligned(y_true, y_pred, np.ones(y_pred.shape[:2], bool))

    def value_and_grad(
        self,
        y_true: np.ndarray,
        y_pred: np.ndarray,
        sample_weight: np.ndarray | None = None,
        mask: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        if mask is None or mask.ndim != 2:
            return super().value_and_grad(y_true, y_pred, sample_weight)
        _check_room(y_true, mask.sum(axis=1), "y")
        values, grad = _aligned(y_true, y_pred, mask)
        weight, divisor = self._weights(values, sample_weight, None)
        if weight is not None:
            values, grad = values * weight, grad * weight[:, np.newaxis, np.newaxis]
        return float(values.sum(dtype=np.float64) / divisor), grad / grad.dtype.type(divisor)


def _check_room(labels: np.ndarray, steps: np.ndarray, argument: str) -> None:
    """Raise a ValueError unless the labels of each sequence fit into its steps."""
    same = (labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] != 0)
    needed = (labels != 0).sum(axis=1) + same.sum(axis=1)
    if (needed > steps).any():
        worst = int(np.argmax(needed - steps))
        raise ValueError(
            f"{argument}: expected labels that fit into {steps[worst]} steps, got some that need "
            f"{needed[worst]} (with a step between two that are the same)"
        )


def _aligned(
    labels: np.ndarray, logits: np.ndarray, valid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Minus the log-probability of the labels of each sequence, and its gradient.

    The states of an alignment are the labels with nothing before, between and after them; alpha is
    what leads to a state, beta what leads on from it, both as logarithms.
    """
    batch, time, _ = logits.shape
    shifted = logits.astype(np.float64) - logits.max(axis=2, keepdims=True)
    shifted[~valid] = 0
    log_p = shifted - np.log(np.exp(shifted).sum(axis=2, keepdims=True))
    states = np.zeros((batch, 2 * labels.shape[1] + 1), np.intp)
    states[:, 1::2] = labels
    emitted = np.take_along_axis(log_p, states[:, np.newaxis].repeat(time, axis=1), axis=2)
    emitted[~valid] = 0
    # A label may follow another at once, unless they are the same.
    skips = np.full(states.shape, -np.inf)
    skips[:, 2:][(states[:, 2:] != 0) & (states[:, 2:] != states[:, :-2])] = 0

    alpha = np.full((time + 1, *states.shape), -np.inf)
    alpha[0, :, 0] = 0
    for t in range(time):
        found = alpha[t].copy()
        found[:, 1:] = np.logaddexp(found[:, 1:], alpha[t, :, :-1])
        found[:, 2:] = np.logaddexp(found[:, 2:], alpha[t, :, :-2] + skips[:, 2:])
        alpha[t + 1] = np.where(valid[:, t, np.newaxis], found + emitted[:, t], alpha[t])
    last = 2 * (labels != 0).sum(axis=1, keepdims=True)
    places = np.arange(states.shape[1])
    beta = np.where((places == last) | (places == last - 1), 0.0, -np.inf)
    total = np.logaddexp.reduce(alpha[time] + beta, axis=1)
    grad = np.exp(log_p)
    for t in reversed(range(time)):
        share = np.exp(alpha[t + 1] + beta - total[:, np.newaxis])
        np.subtract.at(grad[:, t], (np.arange(batch)[:, np.newaxis], states), share)
        ahead = beta + emitted[:, t]
        found = ahead.copy()
        found[:, :-1] = np.logaddexp(found[:, :-1], ahead[:, 1:])
        found[:, :-2] = np.logaddexp(found[:, :-2], ahead[:, 2:] + skips[:, 2:])
        beta = np.where(valid[:, t, np.newaxis], found, beta)
    grad[~valid] = 0
    return -total.astype(logits.dtype), grad.astype(logits.dtype)


class Circle(Loss):
    """Draws what has the same label together, and what has another apart, by cosines.

    Targets are labels, predictions vectors of length 1 (as of a `UnitNormalization` layer); each
    sample of a batch is compared with all others.

    Parameters
    ----------
    gamma : float
        The scale of similarities.
    margin : float
        How close is close enough.
    remove_diagonal : bool
        Whether a sample is not compared with itself.
    reduction : str, optional
        As for `Loss`; samples whose loss is 0 do not count, as in Keras.
    name : str, optional

    References
    ----------
    Sun et al. 2020, "Circle Loss: A Unified Perspective of Pair Similarity Optimization".

    Examples
    --------
    >>> loss = cgru.losses.Circle(gamma=1.0)
    >>> close, far = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    >>> loss([0, 0, 1], close) < loss([0, 0, 1], far)
    True
    """

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "circle",
    ) -> None:
        super().__init__(name, reduction)
        self.gamma = _checks.real("gamma", gamma, 0, open_minimum=True)
        self.margin = _checks.real("margin", margin, 0, 1)
        self.remove_diagonal = bool(remove_diagonal)

    def prepare(
        self, y: Any, output_shape: tuple[int, ...], dtype: np.dtype, argument: str = "y"
    ) -> np.ndarray:
        labels = _checks.integers(argument, y)
        if len(output_shape) != 2 or labels.size != output_shape[0]:
            raise ValueError(
                f"{argument}: expected a label for each vector [batch, size], got shapes "
                f"{labels.shape} and {output_shape}"
            )
        return labels.reshape(-1)

    def forward(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gradients, values = self._pairs(y_true, y_pred)
        return values, (gradients + gradients.T) @ y_pred

    def value_and_grad(
        self,
        y_true: np.ndarray,
        y_pred: np.ndarray,
        sample_weight: np.ndarray | None = None,
        mask: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        # A sample's value depends on the vectors of all others: the weights come before the sum.
        gradients, values = self._pairs(y_true, y_pred)
        counts = values > 0 if mask is None or mask.ndim > 1 else (values > 0) & mask
        weight, divisor = self._weights(values, sample_weight, counts)
        assert weight is not None
        factor = (weight / divisor).astype(values.dtype)
        gradients = gradients * factor[:, np.newaxis]
        return float((values * factor).sum(dtype=np.float64)), (gradients + gradients.T) @ y_pred

    def _pairs(self, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each value its derivatives by the cosines with all others; and the values."""
        dtype, gamma, margin = y_pred.dtype, self.gamma, self.margin
        apart = 1 - (y_pred @ y_pred.T).astype(np.float64)
        inside, apart = apart >= 0, np.maximum(apart, 0)
        same = y_true[:, np.newaxis] == y_true
        other = ~same
        if self.remove_diagonal:
            np.fill_diagonal(same, False)
        near = np.where(same, -gamma * (margin + apart) * (margin - apart), -np.inf)
        weight = np.maximum(1 + margin - apart, 0)
        far = np.where(other, gamma * weight * (1 - margin - apart), -np.inf)
        near_total, near_share = _log_sum(near)
        far_total, far_share = _log_sum(far)
        total = near_total + far_total
        slope = np.exp(-np.logaddexp(0, -total))[:, np.newaxis]
        by_near = near_share * 2 * gamma * apart
        by_far = far_share * np.where(weight > 0, 2 * gamma * (apart - 1), 0)
        gradients = -slope * (by_near + by_far) * inside
        return gradients.astype(dtype), np.logaddexp(0, total).astype(dtype)


def _log_sum(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The logarithm of the sum of exponentials of each row, and their shares in it."""
    total = np.logaddexp.reduce(x, axis=1)
    finite = np.where(np.isfinite(total), total, 0)
    return total, np.exp(x - finite[:, np.newaxis])
