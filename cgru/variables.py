"""A layer's weights, and the flat vector that a model's weights are views into."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cgru import _checks

_stamps = itertools.count()


def aligned_zeros(size: int, dtype: Any) -> np.ndarray:
    """A vector of zeros that begins with a cache line, so that no vector of it is in two lines."""
    itemsize = np.dtype(dtype).itemsize
    memory = np.zeros(size * itemsize + 63, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size * itemsize].view(dtype)


class Memory:
    """Where values of weights lie.

    `stamp` differs after each change of them, and from every other memory's: for those who keep
    something that was made from the values.
    """

    def __init__(self) -> None:
        self.changed()

    def changed(self) -> None:
        """The values have changed.

        To be called after the last of them: what another thread makes of half of them in between is
        then made anew.
        """
        self.stamp = next(_stamps)


class Structure:
    """Counts the changes of which layers and weights there are, and which of them train.

    Whoever keeps something that was made from them looks here whether it still holds.
    """

    version = 0

    def changed(self) -> None:
        """Something may have changed."""
        self.version += 1


structure = Structure()


class Variable(np.lib.mixins.NDArrayOperatorsMixin):
    """A named array that a layer owns, usable wherever an array is.

    Parameters
    ----------
    value : array_like
        Copied.
    name : str
    trainable : bool
        Whether training changes it.
    path : str, optional
        `name` below the name of its layer.

    Examples
    --------
    >>> v = cgru.Variable([1.0, 2.0], name="gain")
    >>> v.assign([3.0, 4.0])
    >>> v * 2
    array([6., 8.])
    >>> v
    <Variable gain, shape=(2,), dtype=float64, value=[3. 4.]>
    """

    def __init__(
        self, value: Any, name: str = "variable", trainable: bool = True, path: str | None = None
    ) -> None:
        self._value = np.array(value, order="C")
        self._grad: np.ndarray | None = None
        self._memory = Memory()
        self.name = name
        self.path = path or name
        self._trainable = bool(trainable)
        self.regularizer: Any = None  # of the loss, and after each step: see Layer.add_weight
        self.constraint: Any = None

    @property
    def trainable(self) -> bool:
        """Whether training changes it."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        structure.changed()

    @property
    def value(self) -> np.ndarray:
        """The live array, read-only; change it with `assign`."""
        view = self._value.view()
        view.flags.writeable = False
        return view

    @property
    def grad(self) -> np.ndarray:
        """The gradient, same shape; a layer's backward pass adds to it (``v.grad += ...``)."""
        if self._grad is None:
            self._grad = np.zeros_like(self._value)
        return self._grad

    @grad.setter
    def grad(self, value: np.ndarray) -> None:
        if value is not self._grad:
            self.grad[...] = value

    def numpy(self) -> np.ndarray:
        """A copy of the value, which later training does not change."""
        return self._value.copy()

    def assign(self, value: Any) -> None:
        """Set the value; `value` must have the variable's shape."""
        array = _checks.numbers(self.path, value)
        if array.shape != self.shape:
            raise ValueError(f"{self.path}: expected shape {self.shape}, got {array.shape}")
        self._value[...] = array
        self._memory.changed()

    def assign_add(self, value: Any) -> None:
        """Add `value` to the value."""
        self.assign(self._value + value)

    def assign_sub(self, value: Any) -> None:
        """Subtract `value` from the value."""
        self.assign(self._value - value)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self._value.shape

    @property
    def dtype(self) -> str:
        """The name of the dtype."""
        return self._value.dtype.name

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._value.ndim

    @property
    def size(self) -> int:
        """The number of values."""
        return self._value.size

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy:
            return np.array(self._value, dtype=dtype)
        return self.value if dtype is None else self.value.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(isinstance(out, Variable) for out in kwargs.get("out", ())):
            raise TypeError(f"{self.path}: set a variable's value with assign()")
        arrays = [item.value if isinstance(item, Variable) else item for item in inputs]
        return getattr(ufunc, method)(*arrays, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        return self.value[key]

    def __len__(self) -> int:
        return len(self._value)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.value)

    def __float__(self) -> float:
        return float(self._value)

    def __repr__(self) -> str:
        return (
            f"<Variable {self.path}, shape={self.shape}, dtype={self.dtype}, value={self._value}>"
        )

    def __getstate__(self) -> dict[str, Any]:
        # A copy has memory of its own, until a copy of the flat vector makes it a view again.
        return {k: v for k, v in vars(self).items() if k not in ("_memory", "_grad")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _memory=Memory(), _grad=None)
        self._value = self._value.copy()  # joblib may have mapped a file, read-only

    # Comparison is by element, as for arrays; a variable itself is told from others by identity.
    __hash__ = object.__hash__


class FlatVector(Memory):
    """One value and one gradient vector that `variables` become views into.

    An optimizer is then one kernel over one array, and `scipy.optimize` can train the model.

    Parameters
    ----------
    variables : sequence of Variable
        In the order of the vector.

    Attributes
    ----------
    grad : ndarray, shape (P,)
    variables : list of Variable
    """

    def __init__(self, variables: Sequence[Variable]) -> None:
        super().__init__()
        dtypes: dict[str, str] = {}
        for variable in variables:
            dtypes.setdefault(variable.dtype, variable.path)
        if len(dtypes) > 1:
            raise ValueError(f"dtype: all weights of a model must have one dtype, got {dtypes}")
        self.variables = list(variables)
        self.regularized = [v for v in variables if v.regularizer is not None]
        self._whole = True  # until one of them moves on to another vector
        size = sum(variable.size for variable in variables)
        dtype = next(iter(dtypes), "float32")
        self._value = aligned_zeros(size, dtype)
        self.grad = aligned_zeros(size, dtype)
        start = 0
        for variable in variables:
            stop = start + math.prod(variable.shape)
            value = self._value[start:stop].reshape(variable.shape)
            value[...] = variable._value
            variable._value = value
            variable._grad = self.grad[start:stop].reshape(variable.shape)
            if isinstance(variable._memory, FlatVector):
                variable._memory._whole = False
            variable._memory = self
            start = stop

    @property
    def value(self) -> np.ndarray:
        """The values, shape (P,), read-only."""
        view = self._value.view()
        view.flags.writeable = False
        return view

    def to_change(self) -> np.ndarray:
        """The values, shape (P,), for one who changes them, and then calls `changed`."""
        return self._value

    def assign(self, value: np.ndarray) -> None:
        """Set the values, shape (P,)."""
        self._value[:] = value
        self.changed()

    @property
    def is_whole(self) -> bool:
        """Whether no variable has moved on to another vector."""
        return self._whole

    def __reduce__(self) -> Any:
        # A copy is made of the copies of the variables, which become views into it.
        return type(self), (self.variables,), self.grad

    def __setstate__(self, grad: np.ndarray) -> None:
        self.grad[...] = grad

    def holds(self, variables: Sequence[Variable]) -> bool:
        """Whether exactly `variables` are views into this vector, in this order.

        They are not when some were added, frozen, or moved on to another model's vector.
        """
        return (
            self._whole
            and len(variables) == len(self.variables)
            and all(map(operator.is_, variables, self.variables))
        )
