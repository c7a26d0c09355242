"""First values of weights.

An initializer is called with a shape and a dtype.  With the same seed it gives the same values on
every call; without one it draws a seed when it is made, from the source that
`cgru.utils.set_random_seed` restarts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cgru import _checks, _random
from cgru._configs import Configurable, Function


class Initializer(Configurable):
    """Base class: a subclass implements ``__call__(shape, dtype)``."""

    def __call__(self, shape: tuple[int, ...], dtype: Any = "float32") -> np.ndarray:
        """An array of `shape` and `dtype`."""
        raise NotImplementedError


class Zeros(Initializer):
    """All 0.

    Examples
    --------
    >>> cgru.initializers.Zeros()((2,))
    array([0., 0.], dtype=float32)
    """

    def __call__(self, shape: tuple[int, ...], dtype: Any = "float32") -> np.ndarray:
        return np.zeros(shape, dtype)


class Ones(Initializer):
    """All 1.

    Examples
    --------
    >>> cgru.initializers.Ones()((2,))
    array([1., 1.], dtype=float32)
    """

    def __call__(self, shape: tuple[int, ...], dtype: Any = "float32") -> np.ndarray:
        return np.ones(shape, dtype)


class Constant(Initializer):
    """All `value`; or the numbers of an array, of the weight's shape or broadcast to it.

    Examples
    --------
    >>> cgru.initializers.Constant(2.5)((2,))
    array([2.5, 2.5], dtype=float32)
    >>> cgru.layers.Embedding(2, 2, cgru.initializers.Constant([[1, 2], [3, 4]]))([1])
    array([[3., 4.]], dtype=float32)
    """

    def __init__(self, value: Any = 0.0) -> None:
        if np.ndim(value) == 0:
            self.value: Any = _checks.real("value", value)
        else:
            self.value = _checks.floats("value", value, np.dtype(np.float64))

    def __call__(self, shape: tuple[int, ...], dtype: Any = "float32") -> np.ndarray:
        try:
            return np.full(shape, self.value, dtype)
        except ValueError:
            raise ValueError(
                f"value: expected numbers for a weight of shape {shape}, got shape "
                f"{np.shape(self.value)}"
            ) from None


class _Function(Function, Initializer):
    """A function of a shape and a dtype."""

    def __call__(self, shape: tuple[int, ...], dtype: Any = "float32") -> np.ndarray:
        found = np.array(self.function(shape, dtype=np.dtype(dtype).name), dtype)
        if found.shape != tuple(shape):
            raise ValueError(
                f"initializer: expected shape {tuple(shape)} of {self.function!r}, got "
                f"{found.shape}"
            )
        return found


class _Random(Initializer):
    """Draws in float64, so that both dtypes start from the same numbers."""

    def __init__(self, seed: int | None) -> None:
        self.seed = _random.draw_seed() if seed is None else _checks.integer("seed", seed, 0)

    def __call__(self, shape: tuple[int, ...], dtype: Any = "float32") -> np.ndarray:
        return self.draw(_random.generator(self.seed), tuple(shape)).astype(dtype)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        raise NotImplementedError


class RandomNormal(_Random):
    """Normal with the given mean and standard deviation.

    Examples
    --------
    >>> cgru.initializers.RandomNormal(stddev=0.1, seed=1)((2, 3)).shape
    (2, 3)
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean = _checks.real("mean", mean)
        self.stddev = _checks.real("stddev", stddev, 0)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return generator.normal(self.mean, self.stddev, shape)


class TruncatedNormal(RandomNormal):
    """Normal; what lies beyond two standard deviations is drawn again.

    Parameters
    ----------
    mean, stddev : float
        Before that.
    seed : int, optional

    Examples
    --------
    >>> values = cgru.initializers.TruncatedNormal(stddev=0.1, seed=1)((1000,))
    >>> bool(abs(values).max() <= 0.2)
    True
    """

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return self.mean + self.stddev * _truncated_normal(generator, shape)


class RandomUniform(_Random):
    """Uniform between two limits.

    Examples
    --------
    >>> bool(abs(cgru.initializers.RandomUniform(seed=1)((100,))).max() <= 0.05)
    True
    """

    def __init__(
        self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None
    ) -> None:
        super().__init__(seed)
        self.minval = _checks.real("minval", minval)
        self.maxval = _checks.real("maxval", maxval, self.minval)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return generator.uniform(self.minval, self.maxval, shape)


class VarianceScaling(_Random):
    """Variance `scale` / n, where n counts inputs, outputs, or their mean.

    Parameters
    ----------
    scale : float
        More than 0.
    mode : {"fan_in", "fan_out", "fan_avg"}
        What n counts.
    distribution : {"truncated_normal", "untruncated_normal", "uniform"}
        A truncated normal draws again beyond two standard deviations; its variance is corrected
        for that.
    seed : int, optional

    Examples
    --------
    >>> cgru.initializers.VarianceScaling(2.0, "fan_out", seed=1)((3, 2)).shape
    (3, 2)
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        modes = ("fan_in", "fan_out", "fan_avg")
        distributions = ("truncated_normal", "untruncated_normal", "uniform")
        if mode not in modes:
            raise ValueError(f"mode: expected one of {modes}, got {mode!r}")
        if distribution not in distributions:
            raise ValueError(f"distribution: expected one of {distributions}, got {distribution!r}")
        self.scale = _checks.real("scale", scale, 0, open_minimum=True)
        self.mode = mode
        self.distribution = distribution

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        fan_in, fan_out = _fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return generator.uniform(-limit, limit, shape)
        if self.distribution == "untruncated_normal":
            return generator.normal(0, math.sqrt(variance), shape)
        values = _truncated_normal(generator, shape)
        # the standard deviation of a normal truncated at 2
        return values * (math.sqrt(variance) / 0.87962566103423978)


def _truncated_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal; what lies beyond 2 is drawn again."""
    values = generator.standard_normal(shape)
    while (far := np.abs(values) > 2).any():
        values[far] = generator.standard_normal(np.count_nonzero(far))
    return values


def _fans(shape: tuple[int, ...]) -> tuple[float, float]:
    """Inputs and outputs of a weight of `shape`; leading axes are a convolution's window."""
    if len(shape) < 2:
        return (float(shape[0]),) * 2 if shape else (1.0, 1.0)
    window = math.prod(shape[:-2])
    return float(window * shape[-2]), float(window * shape[-1])


class GlorotUniform(VarianceScaling):
    """Glorot and Bengio 2010, uniform: the default for kernels.

    Examples
    --------
    >>> limit = (6 / (3 + 5)) ** 0.5
    >>> bool(abs(cgru.initializers.GlorotUniform(seed=1)((3, 5))).max() <= limit)
    True
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed)


class GlorotNormal(VarianceScaling):
    """Glorot and Bengio 2010, truncated normal.

    Examples
    --------
    >>> cgru.initializers.GlorotNormal(seed=1)((3, 5)).shape
    (3, 5)
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal", seed)


class HeUniform(VarianceScaling):
    """He et al. 2015, uniform: for layers followed by relu.

    Examples
    --------
    >>> cgru.initializers.HeUniform(seed=1)((3, 5)).shape
    (3, 5)
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "uniform", seed)


class HeNormal(VarianceScaling):
    """He et al. 2015, truncated normal: for layers followed by relu.

    Examples
    --------
    >>> cgru.initializers.HeNormal(seed=1)((3, 5)).shape
    (3, 5)
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(2.0, "fan_in", "truncated_normal", seed)


class LecunUniform(VarianceScaling):
    """LeCun et al. 1998, uniform.

    Examples
    --------
    >>> cgru.initializers.LecunUniform(seed=1)((3, 5)).shape
    (3, 5)
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "uniform", seed)


class LecunNormal(VarianceScaling):
    """LeCun et al. 1998, truncated normal.

    Examples
    --------
    >>> cgru.initializers.LecunNormal(seed=1)((3, 5)).shape
    (3, 5)
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(1.0, "fan_in", "truncated_normal", seed)


class Orthogonal(_Random):
    """A random matrix with orthonormal rows or columns (Saxe et al. 2014).

    The default for recurrent kernels: it neither shrinks nor stretches the state.

    Parameters
    ----------
    gain : float
        Factor on the matrix.
    seed : int, optional

    Examples
    --------
    >>> q = cgru.initializers.Orthogonal(seed=1)((4, 4), "float64")
    >>> bool(abs(q @ q.T - np.eye(4)).max() < 1e-12)
    True
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = _checks.real("gain", gain)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) < 2:
            raise ValueError(f"shape: orthogonal expects at least 2 dimensions, got {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = generator.standard_normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(tall)
        q *= np.sign(np.diag(r))  # else the signs of QR would leave it less than uniform
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


class Identity(Initializer):
    """The identity matrix.

    Parameters
    ----------
    gain : float
        Factor on it.

    Examples
    --------
    >>> cgru.initializers.Identity(2.0)((2, 2))
    array([[2., 0.],
           [0., 2.]], dtype=float32)
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = _checks.real("gain", gain)

    def __call__(self, shape: tuple[int, ...], dtype: Any = "float32") -> np.ndarray:
        if len(shape) != 2:
            raise ValueError(f"shape: identity expects 2 dimensions, got {shape}")
        return (self.gain * np.eye(*shape)).astype(dtype)


_NAMES = _checks.names_of(
    Zeros,
    Ones,
    Constant,
    RandomNormal,
    RandomUniform,
    VarianceScaling,
    GlorotUniform,
    GlorotNormal,
    HeUniform,
    HeNormal,
    LecunUniform,
    LecunNormal,
    Orthogonal,
    TruncatedNormal,
    Identity,
    uniform=RandomUniform,
    normal=RandomNormal,
)

# The names of Keras's functions, which are these classes there, too.
zeros, ones, constant, identity = Zeros, Ones, Constant, Identity
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
variance_scaling, orthogonal = VarianceScaling, Orthogonal
glorot_uniform, glorot_normal = GlorotUniform, GlorotNormal
he_uniform, he_normal = HeUniform, HeNormal
lecun_uniform, lecun_normal = LecunUniform, LecunNormal
IdentityInitializer, OrthogonalInitializer = Identity, Orthogonal


def get(identifier: Any, argument: str = "initializer") -> Initializer:
    """The initializer that a name, class, object, array or function stands for.

    A function is called with a shape and, by name, a dtype; it cannot be saved.

    Examples
    --------
    >>> cgru.initializers.get("he_normal")  # doctest: +ELLIPSIS
    <cgru.initializers.HeNormal object at ...>
    """
    if isinstance(identifier, (np.ndarray, np.generic)):
        return Constant(identifier)
    if callable(identifier) and not isinstance(identifier, (Initializer, type)):
        return _Function(identifier)
    return _checks.resolve(argument, identifier, Initializer, _NAMES)
