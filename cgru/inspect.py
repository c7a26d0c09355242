"""Looking inside recurrent layers: gates, gradients through time, and how long they remember.

Each function takes a model and inputs as `predict` does, and returns what it found by the names of
the recurrent layers, in the order in which they run.  A layer in a model that is a layer, or in a
`Bidirectional`, is named below it, as ``"bidirectional/forward_gru"``; the second call of a layer
as ``"gru_call_2"``.  Time is that of the inputs, also where a layer reads from the end.

The model stays as it is: its weights, gradients, states and random numbers.  Gradients are computed
in float64, whatever the dtype of the model.  `cgru.plot` draws what is returned.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cgru import _checks, _door
from cgru._watched import Call, recurrent_layers, watched
from cgru.data import Batch
from cgru.layers.embedding import Embedding
from cgru.layers.gru import GRU
from cgru.layers.lstm import LSTM
from cgru.models import Model


class Gates(dict[str, np.ndarray]):
    """The gates and states of a recurrent layer by name, each [batch, time, units].

    A GRU has ``"update"``, ``"reset"``, ``"candidate"`` and ``"state"``; an LSTM ``"input"``,
    ``"forget"``, ``"candidate"``, ``"output"``, ``"cell"`` and ``"state"``; a SimpleRNN
    ``"state"``.

    Attributes
    ----------
    before : dict of str to ndarray, shape (batch, time, units)
        ``"state"`` (and ``"cell"``) before each step.
    mask : ndarray of bool, shape (batch, time), or None
        False where a step was skipped: the state there is the one before it, and gates are NaN,
        since none was computed.
    """

    before: dict[str, np.ndarray]
    mask: np.ndarray | None


class Spectrum(NamedTuple):
    """What `jacobian_spectrum` found for a layer; N is the size of its states together.

    Attributes
    ----------
    steps : ndarray of int, shape (steps,)
    singular_values : ndarray, shape (batch, steps, N)
        From the largest to the least.
    radius : ndarray, shape (batch, steps)
        The largest absolute value of the eigenvalues.
    """

    steps: np.ndarray
    singular_values: np.ndarray
    radius: np.ndarray


class Memory(NamedTuple):
    """What `memory_length` found for a layer; k = 0 is the last step that was read.

    Attributes
    ----------
    influence : ndarray, shape (batch, k)
        Of the input k steps back on the last state; NaN before the beginning of a sequence.
    kept : ndarray, shape (batch, k, units)
        The part of each unit's state of k steps ago that the gates alone have let through.
    length : ndarray of int, shape (batch,)
        The steps back to the furthest input that still matters.
    """

    influence: np.ndarray
    kept: np.ndarray
    length: np.ndarray


def gates(model: Model, x: Any) -> dict[str, Gates]:
    """The gates and states of each recurrent layer at every step.

    They are what a training step keeps for its backward pass; to find them takes as long as its
    forward pass.  Activations other than those of the kernels take a few times as much.

    Parameters
    ----------
    model : Model
    x : array_like
        As for `predict`, one batch.

    Returns
    -------
    dict of str to Gates
        By the names of the layers, in the dtype of the model.

    Raises
    ------
    ValueError, TypeError
        If the model is not built or has no recurrent layer, or x does not fit.

    Examples
    --------
    >>> model = cgru.Sequential([cgru.Input((None, 3)), cgru.layers.GRU(4, name="gru")])
    >>> found = cgru.inspect.gates(model, np.random.rand(2, 7, 3))["gru"]
    >>> {name: values.shape for name, values in found.items()}
    {'update': (2, 7, 4), 'reset': (2, 7, 4), 'candidate': (2, 7, 4), 'state': (2, 7, 4)}
    >>> z, n = found["update"], found["candidate"]
    >>> np.allclose(found["state"], z * found.before["state"] + (1 - z) * n, atol=1e-6)
    True
    """
    found = {}
    for call in _calls(model, x):
        values = call.gates | call.states
        layer = found[call.name] = Gates(
            _by_batch({name: values[name] for name in _ORDER if name in values})
        )
        layer.before = _by_batch(call.before)
        layer.mask = None if call.mask is None else call.mask.swapaxes(0, 1)
    return found


def gradient_flow(
    model: Model, x: Any, y: Any, sample_weight: Any = None
) -> dict[str, dict[str, np.ndarray]]:
    """The norm of the loss's gradient with respect to each recurrent layer's states, at every step.

    It is the whole gradient: that of what the model makes of the state at this step, and that which
    comes back from the later steps.  Layers behave as in inference.

    Parameters
    ----------
    model : Model
        Compiled, with the loss to look at.
    x, y, sample_weight : array_like
        One batch, as for `train_on_batch`.

    Returns
    -------
    dict of str to dict of str to ndarray, shape (batch, time)
        By the names of the layers and then ``"state"``, for an LSTM also ``"cell"``: the norm over
        the units, for each sequence.  Of the loss of the batch: a mean over the batch has the
        factor 1 / batch.

    Raises
    ------
    ValueError, TypeError
        If the model is not built, not compiled, or has no recurrent layer, or x or y do not fit.

    Examples
    --------
    >>> model = cgru.Sequential(
    ...     [cgru.Input((None, 1)), cgru.layers.SimpleRNN(8, name="rnn"), cgru.layers.Dense(1)]
    ... )
    >>> model.compile(loss="mse")
    >>> x = np.random.default_rng(1).standard_normal((4, 200, 1))
    >>> flow = cgru.inspect.gradient_flow(model, x, x.sum(axis=1))["rnn"]["state"]
    >>> flow.shape
    (4, 200)
    >>> bool(flow[:, 0].max() < 1e-6 * flow[:, -1].min())  # a simple RNN's vanishes
    True
    """
    _check(model)
    model._check_compiled("gradient_flow")
    twin, calls = watched(model, "float64")
    batch = twin._one_batch(_door.batch(twin, twin.objective, x, y, sample_weight))
    y_pred, mask, backward = twin.execute(batch.x, False, batch.mask, penalties=[])
    backward(twin.objective.value_and_grad(batch, y_pred, mask)[2])
    return {call.name: _by_batch(call.state_grads) for call in calls}


def jacobian_spectrum(model: Model, x: Any, steps: Any = None) -> dict[str, Spectrum]:
    """The singular values of the state transition: how a step stretches what the state holds.

    They are those of the Jacobian of the states after a step with respect to those before it.  A
    gradient that passes steps with all of them below 1 vanishes; where some are above, it may grow.

    Parameters
    ----------
    model : Model
    x : array_like
        As for `predict`, one batch.
    steps : sequence of int, optional
        Which; negative ones count from the end.  By default up to 10, evenly spread.

    Returns
    -------
    dict of str to Spectrum
        By the names of the layers.  The states of an LSTM count as one vector, h before c.

    Raises
    ------
    ValueError, TypeError
        If the model is not built or has no recurrent layer, or x or steps do not fit.

    Examples
    --------
    >>> model = cgru.Sequential([cgru.Input((None, 3)), cgru.layers.GRU(4, name="gru")])
    >>> spectrum = cgru.inspect.jacobian_spectrum(model, np.random.rand(2, 50, 3), [0, -1])["gru"]
    >>> spectrum.steps, spectrum.singular_values.shape, spectrum.radius.shape
    (array([ 0, 49]), (2, 2, 4), (2, 2))
    """
    found = {}
    for call in _calls(model, x, "float64"):
        places = _steps(steps, len(call.order), call.name)
        jacobians = np.stack([_jacobian(call, t) for t in places], axis=1)
        _check_finite(call, jacobians)
        found[call.name] = Spectrum(
            places,
            np.linalg.svd(jacobians, compute_uv=False),
            abs(np.linalg.eigvals(jacobians)).max(axis=-1),
        )
    return found


def memory_length(model: Model, x: Any, tolerance: float = 0.01) -> dict[str, Memory]:
    """How many steps back an input still matters to each recurrent layer.

    The influence of the input k steps back is the Frobenius norm of the Jacobian of the last state
    h_T with respect to it,

        dh_T/dx_(T-k) = dh_T/dh_(T-1) ... dh_(T-k+1)/dh_(T-k) dh_(T-k)/dx_(T-k),

    computed exactly, for the sequences in x.  The length is the largest k whose influence is at
    least `tolerance` times the largest; the first step of x ends it, too.  Beside it stands what
    the gates alone let through: the product of a GRU's update gates, or an LSTM's forget gates,
    over the last k steps (nothing, of a SimpleRNN, which has none).

    Parameters
    ----------
    model : Model
    x : array_like
        As for `predict`, one batch.  The effort is that of ``units`` backward passes.
    tolerance : float

    Returns
    -------
    dict of str to Memory
        By the names of the layers; x is there what that layer reads, T the last step it reads (the
        first one of x if it goes backwards) that is not masked.

    Raises
    ------
    ValueError, TypeError
        If the model is not built or has no recurrent layer, or x or tolerance do not fit.

    Examples
    --------
    >>> model = cgru.Sequential([cgru.Input((None, 3)), cgru.layers.GRU(4, name="gru")])
    >>> memory = cgru.inspect.memory_length(model, np.random.rand(2, 30, 3))["gru"]
    >>> memory.influence.shape, memory.kept.shape, memory.length.shape
    ((2, 30), (2, 30, 4), (2,))
    """
    tolerance = _checks.real("tolerance", tolerance, 0, 1, open_minimum=True)
    return {call.name: _memory(call, tolerance) for call in _calls(model, x, "float64")}


def saliency(model: Model, x: Any, unit: int | None = None) -> Any:
    """How much each input at each time step matters to the output: the size of the gradient.

    Parameters
    ----------
    model : Model
        With one output, [batch, units] or [batch, time, units]; of the latter, the last step that
        is not masked is looked at.
    x : array_like
        As for `predict`, one batch.
    unit : int, optional
        Whose gradient: by default each sequence's largest output.

    Returns
    -------
    ndarray, shape (batch, time, features)
        The absolute value of the gradient with respect to the input; where indices are read, with
        respect to what the `Embedding` returns for them.  Of several inputs a dictionary by name,
        without those that have no gradient, such as masks.

    Raises
    ------
    ValueError, TypeError
        If the model is not built, has several outputs, or x or unit do not fit.

    References
    ----------
    Simonyan et al. 2013, "Deep inside convolutional networks: visualising image classification
    models and saliency maps".

    Examples
    --------
    >>> model = cgru.Sequential([cgru.Input((None, 3)), cgru.layers.GRU(4), cgru.layers.Dense(1)])
    >>> cgru.inspect.saliency(model, np.random.rand(2, 7, 3)).shape
    (2, 7, 3)
    """
    _check(model)
    if model.returns_several:
        raise ValueError(
            f"model: expected one output, got {model.output_names}; make a model that ends at one "
            "of them, cgru.Model(model.input, output)"
        )
    twin, _ = watched(model, "float64")
    looked_up: list[list[Any]] = []
    for layer in twin.inner_layers():
        if isinstance(layer, Embedding):
            layer.run = _noting(layer, looked_up)  # type: ignore[method-assign]
    batch = twin._one_batch(Batch(twin._inputs(x)))
    y, mask, backward = twin.execute(batch.x, False, batch.mask)
    grads = backward(_of_one_unit(y, mask, unit))
    found = {}
    several = model.takes_several
    for name, value, grad, indices in zip(
        model.input_names,
        batch.x if several else [batch.x],
        grads if several else [grads],
        model.integers,
        strict=True,
    ):
        own = [dy for read, dy in looked_up if read is value]
        if own or indices:
            if len(own) != 1 or grad is not None:
                raise ValueError(
                    f"x: expected {name!r} to be read by one Embedding, and nothing else, to have "
                    f"a gradient for its indices; {len(own)} Embeddings read it as it is"
                )
            grad = own[0]
        if grad is not None:
            found[name] = abs(grad)
    if not found:
        raise ValueError(f"x: the output of {model.name} has no gradient for {model.input_names}")
    return found if several else found[name]


# ---- What several of them do ----

_ORDER = ("update", "reset", "input", "forget", "candidate", "output", "cell", "state")


def _check(model: Any) -> None:
    if not isinstance(model, Model):
        raise TypeError(f"model: expected a Model, got {model!r}")
    model.check_built()
    if next(recurrent_layers(model), None) is None:
        raise ValueError(f"model: expected one with a recurrent layer, {model.name} has none")


def _calls(model: Any, x: Any, dtype: Any = None) -> list[Call]:
    """The calls of recurrent layers, for x."""
    _check(model)
    twin, calls = watched(model, dtype)
    batch = twin._one_batch(Batch(twin._inputs(x)))
    twin.execute(batch.x, False, batch.mask, False, False)
    return calls


def _by_batch(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays [time, batch, ...] as [batch, time, ...]."""
    return {name: array.swapaxes(0, 1) for name, array in arrays.items()}


def _steps(steps: Any, time: int, name: str) -> np.ndarray:
    if steps is None:
        return np.unique(np.linspace(0, time - 1, 10).astype(int))
    places = np.atleast_1d(_checks.integers("steps", steps))
    if np.asarray(steps).dtype == bool:
        raise TypeError(f"steps: expected a list of steps, got a mask, {steps!r}")
    if places.ndim > 1 or places.min() < -time or places.max() >= time:
        raise ValueError(
            f"steps: expected a list of steps from {-time} to {time - 1}, for {name}, got {steps!r}"
        )
    return places % time


def _identity(call: Call, rows: int) -> list[np.ndarray]:
    """The first `rows` rows of an identity matrix over all states, for each sequence."""
    units, count = call.layer.units, call.layer._states
    blocks = np.split(np.eye(rows, units * count), count, axis=1)
    return [np.tile(block, (call.x.shape[1], 1)) for block in blocks]


def _jacobian(call: Call, t: int) -> np.ndarray:
    """The Jacobian of step t, [batch, states after, states before]."""
    size = call.layer.units * call.layer._states
    _, rows = call.step_back(t, _identity(call, size), copies=size)
    return np.concatenate(rows, axis=1).reshape(-1, size, size)


def _check_finite(call: Call, gradients: np.ndarray) -> None:
    if not np.isfinite(gradients).all():
        raise ValueError(
            f"model: expected finite gradients of the states of {call.name}, got NaN or infinity; "
            "are its weights finite?"
        )


def _memory(call: Call, tolerance: float) -> Memory:
    time, batch, _ = call.x.shape
    units = call.layer.units
    back = call.order[::-1]
    influence = np.empty((batch, time))
    grads = _identity(call, units)
    for k, t in enumerate(back):
        dx, grads = call.step_back(t, grads, copies=units)
        influence[:, k] = np.linalg.norm(dx.reshape(batch, -1), axis=1)
    _check_finite(call, influence)
    # What is left of the state after a step once the later ones, k of them, have been read.
    kept = np.ones((batch, time, units))
    kept[:, 1:] = np.cumprod(_keeping(call)[back].swapaxes(0, 1), axis=1)[:, :-1]
    if call.mask is not None:
        # Steps are counted from the last one that each sequence has, to the first.
        read = call.mask[back]
        skipped = read.argmax(axis=0)
        count = np.where(read.any(axis=0), time - read[::-1].argmax(axis=0) - skipped, 0)
        beyond = np.arange(time) >= count[:, np.newaxis]
        places = (np.arange(time) + skipped[:, np.newaxis]) % time
        influence = np.where(beyond, np.nan, np.take_along_axis(influence, places, axis=1))
        kept = np.take_along_axis(kept, places[..., np.newaxis], axis=1)
        kept[beyond] = np.nan
    largest = np.nanmax(influence, axis=1, keepdims=True, initial=0)
    matters = influence >= tolerance * largest
    matters &= influence > 0
    return Memory(influence, kept, np.where(matters, np.arange(time), 0).max(axis=1))


def _keeping(call: Call) -> np.ndarray:
    """By what a gate alone multiplies the state at each step, [time, batch, units]."""
    name = {GRU: "update", LSTM: "forget"}
    for cell, gate in name.items():
        if isinstance(call.layer, cell):
            return np.nan_to_num(call.gates[gate], nan=1.0)  # a masked step keeps all
    keeping = np.zeros((*call.x.shape[:2], call.layer.units))
    if call.mask is not None:
        keeping[~call.mask] = 1
    return keeping


def _noting(layer: Embedding, looked_up: list[list[Any]]) -> Any:
    """The layer's `run`, which notes what was looked up, and the gradient of what was found."""

    def run(x: Any, context: dict[str, Any]) -> Any:
        note = [x, None]
        looked_up.append(note)

        def backward(dy: Any) -> None:
            note[1] = dy

        return type(layer).run(layer, x, context)[0], backward

    return run


def _of_one_unit(y: np.ndarray, mask: Any, unit: int | None) -> np.ndarray:
    """The gradient of one unit of each output, at its last step."""
    if y.ndim not in (2, 3):
        raise ValueError(
            f"model: expected an output [batch, units] or [batch, time, units], got shape {y.shape}"
        )
    rows = np.arange(len(y))
    at: tuple[Any, ...] = (rows,)
    if y.ndim == 3:
        time = y.shape[1]
        last = time - 1 if mask is None else time - 1 - mask[:, ::-1].argmax(axis=1)
        at = (rows, np.broadcast_to(last, rows.shape))
    if unit is None:
        units = y[at].argmax(axis=-1)
    else:
        units = _checks.integer("unit", unit, 0)
        if units >= y.shape[-1]:
            raise ValueError(f"unit: expected one of {y.shape[-1]} outputs, got {unit}")
    dy = np.zeros_like(y)
    dy[(*at, units)] = 1
    return dy
