"""Learning rates that depend on the number of steps: an optimizer's `learning_rate` may be one.

Examples
--------
>>> schedule = cgru.optimizers.schedules.CosineDecay(0.0, 900, warmup_target=0.01, warmup_steps=100)
>>> [round(schedule(step), 6) for step in (0, 50, 100, 550, 1000)]
[0.0, 0.005, 0.01, 0.005, 0.0]
>>> optimizer = cgru.optimizers.Adam(schedule)
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

from cgru import _checks
from cgru._configs import Configurable


class LearningRateSchedule(Configurable):
    """Base class: a subclass implements ``__call__(step)``, which returns a learning rate.

    Examples
    --------
    >>> class Halving(cgru.optimizers.schedules.LearningRateSchedule):
    ...     def __init__(self, start, every):
    ...         self.start, self.every = start, every
    ...
    ...     def __call__(self, step):
    ...         return self.start * 0.5 ** (step // self.every)
    >>> optimizer = cgru.optimizers.SGD(Halving(0.1, every=100))
    >>> optimizer.learning_rate
    0.1
    """

    def __call__(self, step: int) -> float:
        """The learning rate of a step; the first one is 0."""
        raise NotImplementedError(f"{type(self).__name__}.__call__")


class ExponentialDecay(LearningRateSchedule):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : float
        Greater than 0.
    decay_rate : float
    staircase : bool
        Take the whole part of ``step / decay_steps``.
    name : str

    Examples
    --------
    >>> cgru.optimizers.schedules.ExponentialDecay(0.1, 100, 0.5)(200)
    0.025
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.initial_learning_rate = _rate(initial_learning_rate)
        self.decay_steps = _steps("decay_steps", decay_steps)
        self.decay_rate = _checks.real("decay_rate", decay_rate, 0)
        self.staircase = bool(staircase)
        self.name = name

    def __call__(self, step: int) -> float:
        part = step / self.decay_steps
        return self.initial_learning_rate * self.decay_rate ** (
            math.floor(part) if self.staircase else part
        )


class InverseTimeDecay(LearningRateSchedule):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : float
        Greater than 0.
    decay_rate : float
    staircase : bool
        Take the whole part of ``step / decay_steps``.
    name : str

    Examples
    --------
    >>> cgru.optimizers.schedules.InverseTimeDecay(0.1, 100, 1.0)(100)
    0.05
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        self.initial_learning_rate = _rate(initial_learning_rate)
        self.decay_steps = _steps("decay_steps", decay_steps)
        self.decay_rate = _checks.real("decay_rate", decay_rate, 0)
        self.staircase = bool(staircase)
        self.name = name

    def __call__(self, step: int) -> float:
        part = step / self.decay_steps
        if self.staircase:
            part = math.floor(part)
        return self.initial_learning_rate / (1 + self.decay_rate * part)


class PiecewiseConstantDecay(LearningRateSchedule):
    """One of `values`: the first up to and with step ``boundaries[0]``, and so on.

    Parameters
    ----------
    boundaries : list of float
        Ascending.
    values : list of float
        One more than boundaries.
    name : str

    Examples
    --------
    >>> schedule = cgru.optimizers.schedules.PiecewiseConstantDecay([100, 200], [0.1, 0.05, 0.01])
    >>> schedule(100), schedule(101)
    (0.1, 0.05)
    """

    def __init__(
        self,
        boundaries: Sequence[float],
        values: Sequence[float],
        name: str = "PiecewiseConstant",
    ) -> None:
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                "boundaries: expected one less than values, got "
                f"{len(boundaries)} and {len(values)}"
            )
        if list(boundaries) != sorted(boundaries):
            raise ValueError(f"boundaries: expected an ascending list, got {boundaries}")
        self.boundaries = list(boundaries)
        self.values = [_checks.real("values", value, 0) for value in values]
        self.name = name

    def __call__(self, step: int) -> float:
        return self.values[bisect.bisect_left(self.boundaries, step)]


class PolynomialDecay(LearningRateSchedule):
    """From `initial_learning_rate` to `end_learning_rate` by a power of the steps that are left.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : float
        Greater than 0.
    end_learning_rate : float
    power : float
    cycle : bool
        Instead of staying at the end, go up again: in a line that is twice as long, and so on.
    name : str

    Examples
    --------
    >>> cgru.optimizers.schedules.PolynomialDecay(0.5, 100, end_learning_rate=0.25)(50)
    0.375
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = _rate(initial_learning_rate)
        self.decay_steps = _steps("decay_steps", decay_steps)
        self.end_learning_rate = _checks.real("end_learning_rate", end_learning_rate, 0)
        self.power = _checks.real("power", power, 0)
        self.cycle = bool(cycle)
        self.name = name

    def __call__(self, step: int) -> float:
        steps = self.decay_steps
        if self.cycle:
            steps *= max(1, math.ceil(step / steps))
        left = 1 - min(step, steps) / steps
        above = self.initial_learning_rate - self.end_learning_rate
        return above * left**self.power + self.end_learning_rate


class CosineDecay(LearningRateSchedule):
    """Half a cosine wave down, after a straight line up (Loshchilov and Hutter 2017).

    Parameters
    ----------
    initial_learning_rate : float
        Where the line up begins; without one, where the wave does.
    decay_steps : float
        Of the wave; greater than 0.
    alpha : float
        The part of the wave's height at which it ends, and the learning rate stays.
    name : str
    warmup_target : float, optional
        Where the line ends and the wave begins; None: there is no line.
    warmup_steps : float
        Of the line.

    Examples
    --------
    >>> cgru.optimizers.schedules.CosineDecay(0.5, 100, alpha=0.1)(100)
    0.05
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        self.initial_learning_rate = _rate(initial_learning_rate)
        self.decay_steps = _steps("decay_steps", decay_steps)
        self.alpha = _checks.real("alpha", alpha)
        self.name = name
        if warmup_target is not None:
            warmup_target = _checks.real("warmup_target", warmup_target, 0)
        self.warmup_target = warmup_target
        _checks.real("warmup_steps", warmup_steps, 0)
        self.warmup_steps = warmup_steps

    def __call__(self, step: int) -> float:
        top, passed = self.initial_learning_rate, float(step)
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                return top + (self.warmup_target - top) * step / self.warmup_steps
            top, passed = self.warmup_target, passed - self.warmup_steps
        return top * _wave(min(passed / self.decay_steps, 1), self.alpha)


class CosineDecayRestarts(LearningRateSchedule):
    """Half a cosine wave down, again and again (SGDR, Loshchilov and Hutter 2017).

    Parameters
    ----------
    initial_learning_rate : float
    first_decay_steps : float
        Of the first wave; greater than 0.
    t_mul : float
        How much longer each wave is than the one before it; at least 1.
    m_mul : float
        How much higher it begins.
    alpha : float
        The part of `initial_learning_rate` at which each wave ends.
    name : str

    Examples
    --------
    >>> schedule = cgru.optimizers.schedules.CosineDecayRestarts(0.5, 100)
    >>> [schedule(step) for step in (0, 100, 300)]
    [0.5, 0.5, 0.5]
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = _rate(initial_learning_rate)
        self.first_decay_steps = _steps("first_decay_steps", first_decay_steps)
        self.t_mul = _checks.real("t_mul", t_mul, 1)
        self.m_mul = _checks.real("m_mul", m_mul, 0)
        self.alpha = _checks.real("alpha", alpha)
        self.name = name

    def __call__(self, step: int) -> float:
        # Counted, not by Keras's logarithm, which is off by a wave where a rounding goes wrong.
        wave, length, passed = 0.0, self.first_decay_steps, float(step)
        if self.t_mul == 1:
            wave, passed = divmod(passed, length)
        while passed >= length:
            passed -= length
            length *= self.t_mul
            wave += 1
        height = self.m_mul**wave
        return self.initial_learning_rate * _wave(passed / length, self.alpha, height)


def _wave(part: float, end: float, height: float = 1.0) -> float:
    """Half a cosine wave, at a part of its way, from `height` to 0, pressed between 1 and `end`."""
    return (1 - end) * height * 0.5 * (1 + math.cos(math.pi * part)) + end


def _rate(value: float) -> float:
    return _checks.real("initial_learning_rate", value, 0)


def _steps(argument: str, value: float) -> float:
    _checks.real(argument, value, 0, open_minimum=True)
    return value
