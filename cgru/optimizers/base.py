"""What all optimizers share: the learning rate, options around a step, and the state."""

from __future__ import annotations

import inspect
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import Any

import numpy as np

from cgru import _checks, _kernels
from cgru._configs import Configurable, serialize
from cgru.optimizers.schedules import LearningRateSchedule
from cgru.variables import FlatVector, Variable, aligned_zeros

Rate = float | LearningRateSchedule | Callable[[], float]


class Optimizer(Configurable):
    """Base class of all optimizers.

    A subclass names its state vectors in `slots` and implements `step`, which sees all weights as
    one vector.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule, or callable without arguments
    weight_decay : float, optional
        Before each step, weights shrink by this part of the learning rate (decoupled, as in
        Loshchilov and Hutter 2019, arXiv:1711.05101).
    clipnorm : float, optional
        Scale the gradient of each weight down to at most this norm.
    clipvalue : float, optional
        Cut each entry of the gradient to at most this size.
    global_clipnorm : float, optional
        Scale the whole gradient down to at most this norm.
    use_ema : bool
        Keep a moving average of the weights, which replaces them at the end of `fit`.
    ema_momentum : float
        What the average keeps of itself from step to step; from 0 to 1.
    ema_overwrite_frequency : int, optional
        Set the weights to their average after each such number of steps, too.
    loss_scale_factor : float, optional
        Accepted for Keras's sake: it is divided out again, and gradients in float32 or float64
        do not need it.
    gradient_accumulation_steps : int, optional
        Take a step for the mean gradient of each such number of batches; at least 2.
    name : str, optional

    Attributes
    ----------
    state : dict of ndarray
        The slots, and with the options above ``average`` and ``accumulated``; each of shape (P,)
        for P parameters.

    Examples
    --------
    An optimizer of your own, which goes by the signs of gradients:

    >>> class SignDescent(cgru.optimizers.Optimizer):
    ...     def step(self, theta, grad, learning_rate):
    ...         theta -= learning_rate * np.sign(grad)
    >>> model = cgru.Sequential([cgru.Input((2,)), cgru.layers.Dense(1)])
    >>> model.compile(SignDescent(0.1, weight_decay=0.01), "mse")
    >>> history = model.fit([[1.0, 2.0]], [3.0])
    """

    slots: tuple[str, ...] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # What help() shows: the shared arguments written out in the place of *args, **kwargs.
        own = list(inspect.signature(cls.__init__).parameters.values())[1:]
        if [p.kind for p in own[-2:]] == [Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD]:
            own = own[:-2]
            names = {"learning_rate", *(p.name for p in own)}
            shared = list(inspect.signature(Optimizer.__init__).parameters.values())[1:]
            own += [p for p in shared if p.name not in names]
            cls.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]

    def __init__(
        self,
        learning_rate: Rate,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        self._learning_rate: Rate = 0.0
        self.learning_rate = learning_rate
        limits = dict(clipnorm=clipnorm, clipvalue=clipvalue, global_clipnorm=global_clipnorm)
        given = {key: value for key, value in limits.items() if value is not None}
        if len(given) > 1:
            raise ValueError(f"clipping: expected at most one limit, got {given}")
        for key, value in given.items():
            _checks.real(key, value, 0, open_minimum=True)
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        if weight_decay is not None:
            weight_decay = _checks.real("weight_decay", weight_decay, 0)
        self.weight_decay = weight_decay
        self.use_ema = bool(use_ema)
        self.ema_momentum = _checks.real("ema_momentum", ema_momentum, 0, 1)
        if ema_overwrite_frequency is not None:
            _checks.integer("ema_overwrite_frequency", ema_overwrite_frequency, 1)
        self.ema_overwrite_frequency = ema_overwrite_frequency
        if loss_scale_factor is not None:
            _checks.real("loss_scale_factor", loss_scale_factor, 0, open_minimum=True)
        self.loss_scale_factor = loss_scale_factor
        if gradient_accumulation_steps is not None:
            _checks.integer("gradient_accumulation_steps", gradient_accumulation_steps, 2)
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.name = name or _checks.snake_case(type(self).__name__)
        self.state: dict[str, np.ndarray] = {}
        self._batches = 0  # seen so far
        self._flat: FlatVector | None = None
        self._constrained: list[Variable] = []
        self._exempt: tuple[list[Variable], str | None] = [], None
        self._decayed: list[slice] = []

    # ---- What a subclass implements ----

    def make_state(self, size: int, dtype: np.dtype) -> dict[str, np.ndarray]:
        """The state before the first step: zeros for each of the slots, unless overridden."""
        return {slot: aligned_zeros(size, dtype) for slot in self.slots}

    def step(self, theta: np.ndarray, grad: np.ndarray, learning_rate: float) -> None:
        """Change theta, in place, by the step for `grad`.

        Parameters
        ----------
        theta, grad : ndarray, shape (P,)
            All weights and their gradient.
        learning_rate : float
            That of this step.
        """
        raise NotImplementedError(f"{type(self).__name__}.step")

    # ---- The learning rate ----

    @property
    def iterations(self) -> int:
        """Steps so far; where gradients are accumulated, those that changed weights."""
        return self._batches // (self.gradient_accumulation_steps or 1)

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the next step, a float.

        It may be set at any time: to a number, unless it follows a schedule, or to a schedule.
        """
        rate = self._learning_rate
        if isinstance(rate, float):
            return rate
        # As in Keras, a schedule counts batches, and not the steps for accumulated gradients.
        return float(rate(self._batches) if isinstance(rate, LearningRateSchedule) else rate())

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if callable(value):
            self._learning_rate = value
            return
        self.check_settable()
        self._learning_rate = _checks.real("learning_rate", value, 0)

    def check_settable(self) -> None:
        """Raise a TypeError if the learning rate cannot be set, because it follows a schedule."""
        if isinstance(self._learning_rate, LearningRateSchedule):
            raise TypeError(
                f"learning_rate: this {self.name} follows a schedule, "
                f"{type(self._learning_rate).__name__}; make it with a number if the learning "
                "rate is to be set"
            )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"learning_rate": serialize(self._learning_rate)}

    # ---- Steps ----

    def build(self, flat: FlatVector) -> None:
        """Make the state for the parameters of `flat`, unless it is there already."""
        if self._flat is flat:
            return
        if self._flat is None or not _same(flat.variables, self._flat.variables):
            if self._batches:
                raise ValueError(
                    f"optimizer: this {self.name} was used with other weights (another model, or "
                    "layers added or frozen since); compile the model with a new one"
                )
            size, dtype = flat.value.size, flat.value.dtype
            self.state = self.make_state(size, dtype)
            if self.use_ema:
                self.state["average"] = aligned_zeros(size, dtype)
            if self.gradient_accumulation_steps:
                self.state["accumulated"] = aligned_zeros(size, dtype)
            self._constrained = [v for v in flat.variables if v.constraint is not None]
            self._decayed = self._decaying_runs(flat.variables)
        self._flat = flat

    def update(self, flat: FlatVector) -> None:
        """Change the parameters of `flat` by one step along its gradient, which is used up."""
        if flat is not self._flat:
            self.build(flat)
        grad, steps = flat.grad, self.gradient_accumulation_steps
        if steps is None or self._accumulate(grad, steps):
            self._clip(flat)
            rate = self._learning_rate
            if not isinstance(rate, float):
                rate = self.learning_rate
            theta = flat.to_change()
            try:
                if self.weight_decay:
                    for run in self._decayed:
                        # Not (1 - decay) times theta: float32 has few digits for such a factor.
                        _kernels.blend(theta[run], theta[run], 1.0, -self.weight_decay * rate)
                self.step(theta, grad, rate)
            finally:
                flat.changed()
        if self.use_ema:
            self._average(flat)
        for variable in self._constrained:
            variable.assign(variable.constraint(variable.value))
        self._batches += 1

    def _accumulate(self, grad: np.ndarray, steps: int) -> bool:
        """Whether a step is due, for the mean gradient that `grad` then is."""
        total = self.state["accumulated"]
        due = (self._batches + 1) % steps == 0
        if due:
            _kernels.blend(grad, total, 1 / steps, 1 / steps)
            _kernels.clear(total)
        else:
            _kernels.blend(total, grad, 1.0, 1.0)
        return due

    def _clip(self, flat: FlatVector) -> None:
        if self.clipvalue is not None:
            np.clip(flat.grad, -self.clipvalue, self.clipvalue, out=flat.grad)
        elif self.global_clipnorm is not None:
            _limit_norm(flat.grad, self.global_clipnorm)
        elif self.clipnorm is not None:
            for variable in flat.variables:
                _limit_norm(variable.grad.reshape(-1), self.clipnorm)

    def _average(self, flat: FlatVector) -> None:
        average = self.state["average"]
        # The first weights are taken as they are.
        momentum = self.ema_momentum if self.iterations else 0.0
        _kernels.blend(average, flat.value, momentum, 1 - momentum)
        every = self.ema_overwrite_frequency
        if every is not None and (self.iterations + 1) % every == 0:
            flat.assign(average)

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """Set weights to their moving average, if there is one; `fit` does so at its end.

        Parameters
        ----------
        var_list : list of Variable
            The weights that this optimizer trains.
        """
        if not self.use_ema or not self._batches:
            return
        assert self._flat is not None
        if not _same(var_list, self._flat.variables):
            raise ValueError(
                f"var_list: expected the {len(self._flat.variables)} weights that this "
                f"{self.name} trains, got {len(var_list)} weights, or others"
            )
        start = 0
        for variable in var_list:
            part = self.state["average"][start : start + variable.size]
            variable.assign(part.reshape(variable.shape))
            start += variable.size

    def exclude_from_weight_decay(
        self,
        var_list: Sequence[Variable] | None = None,
        var_names: Sequence[str] | None = None,
    ) -> None:
        """Choose weights that `weight_decay` leaves alone; to be called before training.

        Parameters
        ----------
        var_list : list of Variable, optional
        var_names : list of str, optional
            Regular expressions: a weight is left alone if one is found in its name.

        Examples
        --------
        >>> optimizer = cgru.optimizers.AdamW()
        >>> optimizer.exclude_from_weight_decay(var_names=["bias"])
        """
        if self._flat is not None:
            raise ValueError(
                "exclude_from_weight_decay: expected before the optimizer is built, that is, "
                "before the first step"
            )
        if isinstance(var_names, str):
            raise TypeError(f"var_names: expected a list of str, got {var_names!r}")
        self._exempt = list(var_list or ()), "|".join(var_names) if var_names else None

    def exempt_from_weight_decay(self, variables: Sequence[Variable]) -> list[Variable]:
        """Those of `variables` that were chosen so."""
        listed, pattern = self._exempt
        exempt = set(listed)
        return [v for v in variables if v in exempt or (pattern and re.search(pattern, v.name))]

    def restore_exempt(self, variables: Sequence[Variable]) -> None:
        """Leave just these alone, in an optimizer that was built."""
        assert self._flat is not None
        self._exempt = list(variables), None
        self._decayed = self._decaying_runs(self._flat.variables)

    def _decaying_runs(self, variables: Sequence[Variable]) -> list[slice]:
        """The parts of the flat vector that decay, as few as possible."""
        exempt = set(self.exempt_from_weight_decay(variables))
        runs: list[slice] = []
        start = 0
        for variable in variables:
            stop = start + variable.size
            if variable in exempt:
                pass
            elif runs and runs[-1].stop == start:
                runs[-1] = slice(runs[-1].start, stop)
            else:
                runs.append(slice(start, stop))
            start = stop
        return runs

    # ---- The state ----

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        # joblib may have mapped a file, read-only.
        self.state = {name: array.copy() for name, array in self.state.items()}

    def get_state(self) -> dict[str, np.ndarray]:
        """Copies of all that steps depend on besides the weights: for going on later.

        Returns
        -------
        dict of ndarray
            ``iterations`` (batches so far), ``learning_rate`` (unless it follows a schedule or a
            function), and what `state` holds.
        """
        found = {"iterations": np.array(self._batches, np.int64)}
        if isinstance(self._learning_rate, float):
            found["learning_rate"] = np.array(self._learning_rate)
        return found | {name: array.copy() for name, array in self.state.items()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned, with the same options and weights of equal shapes.

        Parameters
        ----------
        state : dict of array_like

        Raises
        ------
        ValueError
            If the optimizer was not built, or the state is that of another one; nothing is changed.
        """
        if self._flat is None:
            raise ValueError(f"set_state: build this {self.name} first, for a model's weights")
        own = self.get_state()
        if own.keys() != state.keys():
            raise ValueError(f"state: this {self.name} expects {sorted(own)}, got {sorted(state)}")
        for key, array in own.items():
            if np.shape(state[key]) != array.shape:
                raise ValueError(
                    f"state, {key}: expected shape {array.shape}, got {np.shape(state[key])}"
                )
        batches = _checks.integer("state, iterations", np.asarray(state["iterations"])[()], 0)
        if "learning_rate" in own:
            self.learning_rate = np.asarray(state["learning_rate"])[()]
        self._batches = batches
        for key, array in self.state.items():
            array[...] = state[key]


def _limit_norm(grad: np.ndarray, limit: float) -> None:
    norm = _kernels.norm(grad)
    if norm > limit:
        grad *= grad.dtype.type(limit / norm)


def _same(some: Sequence[Variable], others: Sequence[Variable]) -> bool:
    return len(some) == len(others) and all(map(operator.is_, some, others))
