"""Layers that bring values to a scale."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from cgru import _checks, constraints, initializers, regularizers
from cgru.layers.base import Backward, Layer, Shape
from cgru.variables import Variable


class _Scaled(Layer):
    """A normalization whose result is multiplied by gamma, and has beta added."""

    def __init__(
        self,
        axis: Any,
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: Any,
        gamma_initializer: Any,
        beta_regularizer: Any,
        gamma_regularizer: Any,
        beta_constraint: Any,
        gamma_constraint: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.axis = axis
        self.epsilon = _checks.real("epsilon", epsilon, 0)
        self.center = bool(center)
        self.scale = bool(scale)
        self.beta_initializer = initializers.get(beta_initializer, "beta_initializer")
        self.gamma_initializer = initializers.get(gamma_initializer, "gamma_initializer")
        self.beta_regularizer = regularizers.get(beta_regularizer, "beta_regularizer")
        self.gamma_regularizer = regularizers.get(gamma_regularizer, "gamma_regularizer")
        self.beta_constraint = constraints.get(beta_constraint, "beta_constraint")
        self.gamma_constraint = constraints.get(gamma_constraint, "gamma_constraint")
        self.gamma: Variable | None = None
        self.beta: Variable | None = None

    def _axes(self, ndim: int) -> tuple[int, ...]:
        """The places of `axis`, counted from the front."""
        axes = self.axis if isinstance(self.axis, (list, tuple)) else [self.axis]
        return tuple(sorted(axis % ndim for axis in axes))

    def check_input(self, shape: Shape, argument: str = "x") -> None:
        axes = self.axis if isinstance(self.axis, (list, tuple)) else [self.axis]
        if not all(-len(shape) <= axis < len(shape) for axis in axes):
            raise ValueError(f"axis: {self.name} expects axes of {argument}, {shape}, got {axes}")
        if any(shape[axis] is None for axis in axes):
            raise ValueError(f"{argument}: {self.name} expects sizes along {axes}, got {shape}")
        if self.built and self._variables:
            sizes = tuple(shape[axis] for axis in self._axes(len(shape)))
            if sizes != self._variables[0].shape:
                raise ValueError(
                    f"{argument}: {self.name} was built for {self._variables[0].shape} values "
                    f"along axis {self.axis}, got shape {shape}"
                )

    def _add_scale(self, shape: tuple[int, ...]) -> None:
        if self.scale:
            self.gamma = self.add_weight(
                shape,
                self.gamma_initializer,
                "gamma",
                regularizer=self.gamma_regularizer,
                constraint=self.gamma_constraint,
            )
        if self.center:
            self.beta = self.add_weight(
                shape,
                self.beta_initializer,
                "beta",
                regularizer=self.beta_regularizer,
                constraint=self.beta_constraint,
            )

    def _scaled(self, z: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, Backward]:
        """Z gamma + beta, and the way back to z."""
        wide = [size if axis in axes else 1 for axis, size in enumerate(z.shape)]
        gamma = None if self.gamma is None else self.gamma.value.reshape(wide)
        y = z if gamma is None else z * gamma
        if self.beta is not None:
            y = y + self.beta.value.reshape(wide)
        others = tuple(axis for axis in range(z.ndim) if axis not in axes)

        def backward(dy: np.ndarray) -> np.ndarray:
            if self.trainable and self.gamma is not None:
                self.gamma.grad += (dy * z).sum(axis=others)
            if self.trainable and self.beta is not None:
                self.beta.grad += dy.sum(axis=others)
            return dy if gamma is None else dy * gamma

        return y, backward


class LayerNormalization(_Scaled):
    """Each sample's values to mean 0 and variance 1 along an axis (Ba et al. 2016).

    Parameters
    ----------
    axis : int or list of int
        The axes of which mean and variance are taken.
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether to add beta, and to multiply by gamma.
    beta_initializer, gamma_initializer : str or Initializer
    beta_regularizer, gamma_regularizer : str or Regularizer, optional
    beta_constraint, gamma_constraint : str or Constraint, optional
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> y = cgru.layers.LayerNormalization()([[1.0, 2.0, 3.0]])
    >>> bool(abs(y.mean()) < 1e-6)
    True
    """

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(axis, (int, list, tuple)):
            raise TypeError(f"axis: expected an integer or a list of them, got {axis!r}")
        super().__init__(
            axis,
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **kwargs,
        )

    @property
    def stepwise(self) -> bool:  # type: ignore[override]
        """Whether a time step is normalized by itself."""
        return self._axes(3) == (2,)

    def build(self, input_shape: Shape) -> None:
        sizes = [input_shape[axis] for axis in self._axes(len(input_shape))]
        self._add_scale(tuple(sizes))  # type: ignore[arg-type]

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        axes = self._axes(x.ndim)
        centered = x - x.mean(axis=axes, keepdims=True)
        variance = np.square(centered).mean(axis=axes, keepdims=True)
        inverse = 1 / np.sqrt(variance + x.dtype.type(self.epsilon))
        z = centered * inverse
        y, scaled_backward = self._scaled(z, axes)

        def backward(dy: np.ndarray) -> np.ndarray:
            dz = scaled_backward(dy)
            mean = dz.mean(axis=axes, keepdims=True)
            slope = (dz * z).mean(axis=axes, keepdims=True)
            return (dz - mean - z * slope) * inverse

        return y, backward


class BatchNormalization(_Scaled):
    """Each feature to mean 0 and variance 1 over a batch (Ioffe and Szegedy 2015).

    In training by the statistics of the batch, of which moving averages are kept; otherwise, or
    where the layer is frozen, by these.  Steps that are masked do not count.

    Parameters
    ----------
    axis : int
        The axis of the features.
    momentum : float
        The part of a moving average that stays at each batch.
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether to add beta, and to multiply by gamma.
    beta_initializer, gamma_initializer : str or Initializer
    moving_mean_initializer, moving_variance_initializer : str or Initializer
    beta_regularizer, gamma_regularizer : str or Regularizer, optional
    beta_constraint, gamma_constraint : str or Constraint, optional
    synchronized : bool
        Accepted for Keras's sake; it changes nothing.
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> layer = cgru.layers.BatchNormalization()
    >>> y = layer([[1.0, 2.0], [3.0, 6.0]], training=True)
    >>> bool(abs(y.mean(axis=0)).max() < 1e-6)
    True
    """

    _heeds_masks = True

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        *,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            int(axis),
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **kwargs,
        )
        self.momentum = _checks.real("momentum", momentum, 0, 1)
        self.moving_mean_initializer = initializers.get(
            moving_mean_initializer, "moving_mean_initializer"
        )
        self.moving_variance_initializer = initializers.get(
            moving_variance_initializer, "moving_variance_initializer"
        )
        self.synchronized = bool(synchronized)

    @property
    def predicts_stepwise(self) -> bool:
        """What it makes of a step depends on others in training only."""
        return self.axis in (-1, 2)

    def build(self, input_shape: Shape) -> None:
        size = input_shape[self.axis]
        assert size is not None
        self._add_scale((size,))
        self.moving_mean = self.add_weight(
            (size,), self.moving_mean_initializer, "moving_mean", trainable=False
        )
        self.moving_variance = self.add_weight(
            (size,), self.moving_variance_initializer, "moving_variance", trainable=False
        )

    def forward(
        self, x: np.ndarray, training: bool = False, mask: np.ndarray | None = None
    ) -> tuple[np.ndarray, Backward]:
        axes = self._axes(x.ndim)
        others = tuple(axis for axis in range(x.ndim) if axis not in axes)
        wide = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
        epsilon = x.dtype.type(self.epsilon)
        if not (training and self.trainable):
            mean = self.moving_mean.value.reshape(wide)
            inverse = 1 / np.sqrt(self.moving_variance.value.reshape(wide) + epsilon)
            y, scaled_backward = self._scaled((x - mean) * inverse, axes)
            return y, lambda dy: scaled_backward(dy) * inverse

        valid: Any = 1
        count: Any = x.size // wide[axes[0]]
        if mask is not None:
            if mask.ndim != x.ndim - 1:
                raise ValueError(
                    f"mask: {self.name} expects {x.ndim - 1} dimensions, got {mask.shape}"
                )
            valid = mask[..., np.newaxis].astype(x.dtype)
            count = np.broadcast_to(valid, x.shape).sum(axis=others, keepdims=True)
            count = count + x.dtype.type(1e-7)  # as in Keras
        kept = x if mask is None else np.where(mask[..., np.newaxis], x, x.dtype.type(0))
        mean = kept.sum(axis=others, keepdims=True) / count
        centered = (kept - mean) * valid
        variance = np.square(centered).sum(axis=others, keepdims=True) / count
        keep = self.momentum
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving.value * keep + new.reshape(moving.shape) * (1 - keep))
        inverse = 1 / np.sqrt(variance + epsilon)
        z = (x - mean) * inverse
        y, scaled_backward = self._scaled(z, axes)

        def backward(dy: np.ndarray) -> np.ndarray:
            dz = scaled_backward(dy)
            # The mean has part in all z, the variance too; both depend on valid steps alone.
            dmean = dz.sum(axis=others, keepdims=True) / count
            slope = (dz * z).sum(axis=others, keepdims=True) / count
            return (dz - valid * (dmean + z * slope)) * inverse

        return y, backward


class UnitNormalization(Layer):
    """Values divided by their norm along an axis.

    Parameters
    ----------
    axis : int or list of int
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> cgru.layers.UnitNormalization()([[3.0, 4.0]])
    array([[0.6, 0.8]], dtype=float32)
    """

    def __init__(self, axis: Any = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(axis, (int, list, tuple)):
            raise TypeError(f"axis: expected an integer or a list of them, got {axis!r}")
        self.axis = axis

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        axes = tuple(self.axis) if isinstance(self.axis, (list, tuple)) else self.axis
        square = np.square(x).sum(axis=axes, keepdims=True)
        small = square < 1e-12
        inverse = 1 / np.sqrt(np.maximum(square, x.dtype.type(1e-12)))
        y = x * inverse

        def backward(dy: np.ndarray) -> np.ndarray:
            along = np.where(small, 0, (dy * y).sum(axis=axes, keepdims=True))
            return (dy - y * along.astype(x.dtype)) * inverse

        return y, backward


class Rescaling(Layer):
    """``x scale + offset``.

    Parameters
    ----------
    scale, offset : float
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> cgru.layers.Rescaling(1 / 255)([[255.0]])
    array([[1.]], dtype=float32)
    """

    stepwise = True

    def __init__(self, scale: float, offset: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = _checks.real("scale", scale)
        self.offset = _checks.real("offset", offset)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        scale, offset = x.dtype.type(self.scale), x.dtype.type(self.offset)
        return x * scale + offset, lambda dy: dy * scale


class Normalization(Layer):
    """``(x - mean) / sqrt(variance)``, of given data or given numbers.

    Parameters
    ----------
    axis : int, tuple of int, or None
        The axes with a mean and a variance for each place; None: one for all values.
    mean, variance : array_like, optional
        Instead of `adapt`.
    invert : bool
        ``x sqrt(variance) + mean`` instead.
    **kwargs
        As for `Layer`.

    Examples
    --------
    >>> layer = cgru.layers.Normalization()
    >>> layer.adapt([[1.0, 10.0], [3.0, 30.0]])
    >>> layer([[1.0, 10.0]])
    array([[-1., -1.]], dtype=float32)
    """

    def __init__(
        self,
        axis: Any = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.axis = axis
        if (mean is None) != (variance is None):
            raise ValueError(
                f"mean, variance: expected both or none, got {mean!r} and {variance!r}"
            )
        self.mean = None if mean is None else np.asarray(mean, self._dtype)
        self.variance = None if variance is None else np.asarray(variance, self._dtype)
        self.invert = bool(invert)

    @property
    def stepwise(self) -> bool:  # type: ignore[override]
        """Whether no time step has numbers of its own."""
        return self._kept(3) in ((), (2,))

    def _kept(self, ndim: int) -> tuple[int, ...]:
        axes = () if self.axis is None else np.atleast_1d(self.axis)
        return tuple(sorted(int(axis) % ndim for axis in axes))

    def build(self, input_shape: Shape) -> None:
        kept = self._kept(len(input_shape))
        if 0 in kept or any(input_shape[axis] is None for axis in kept):
            raise ValueError(
                f"axis: {self.name} expects axes of known size, not the batch, got {self.axis} "
                f"for {input_shape}"
            )
        shape = tuple(input_shape[axis] for axis in kept)
        if self.mean is None:
            self.moving_mean = self.add_weight(shape, "zeros", "mean", trainable=False)  # type: ignore[arg-type]
            self.moving_variance = self.add_weight(
                shape,  # type: ignore[arg-type]
                "ones",
                "variance",
                trainable=False,
            )

    def adapt(self, data: Any) -> None:
        """Take mean and variance of data.

        Parameters
        ----------
        data : array_like, or iterable of batches
        """
        if self.mean is not None:
            raise ValueError(f"adapt: {self.name} was given mean and variance")
        is_array = hasattr(data, "__array__") or isinstance(data, (list, tuple))
        batches: Iterable[Any] = [data] if is_array else data
        count, total, square = 0, 0.0, 0.0
        for batch in batches:
            x = _checks.floats("data", batch[0] if isinstance(batch, tuple) else batch, self._dtype)
            self.ensure_built(x.shape)
            others = tuple(axis for axis in range(x.ndim) if axis not in self._kept(x.ndim))
            # Chan's way to join means and squares of parts: no small difference of large numbers.
            number = x.size // max(1, self.moving_mean.size)
            mean = x.mean(axis=others, dtype=np.float64)
            wide = np.expand_dims(mean, others)
            part = np.square(x - wide).sum(axis=others, dtype=np.float64)
            delta = mean - total
            square = square + part + np.square(delta) * (count * number / (count + number))
            total = total + delta * (number / (count + number))
            count += number
        if not count:
            raise ValueError("data: expected at least one batch")
        self.moving_mean.assign(total)
        self.moving_variance.assign(square / count)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        kept = self._kept(x.ndim)
        wide = [size if axis in kept else 1 for axis, size in enumerate(x.shape)]
        if self.mean is None:
            mean, variance = self.moving_mean.value, self.moving_variance.value
        else:
            assert self.variance is not None
            mean, variance = self.mean, self.variance
        if mean.size == np.prod(wide):
            mean, variance = mean.reshape(wide), variance.reshape(wide)
        deviation = np.maximum(np.sqrt(variance), x.dtype.type(1e-7))
        if self.invert:
            return x * deviation + mean, lambda dy: dy * deviation
        return (x - mean) / deviation, lambda dy: dy / deviation
