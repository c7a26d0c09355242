"""Pictures of training and of what `cgru.inspect` finds, by matplotlib.

Each is one call that returns the axes it drew on: those given as `ax`, or new ones.  Colours can be
told apart by people who are colour-blind (Okabe and Ito 2008).  This needs
``pip install 'cgru[plot]'``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cgru import _checks, _diagrams
from cgru.callbacks import History
from cgru.inspect import Gates, Memory, Spectrum

# Okabe and Ito's, those first that are easiest to tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def history(history: History | Mapping[str, Any], metric: str = "loss", ax: Any = None) -> Any:
    """The loss, or a metric, of each epoch, and that of the validation data where there was some.

    Parameters
    ----------
    history : History or dict of list of float
        What `fit` returned.  A dictionary does not say which epochs had validation; where it has
        fewer entries, they are taken to be evenly spread.
    metric : str
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError, TypeError
        If there is no such metric, or no history.

    Examples
    --------
    >>> x = np.random.rand(50, 9, 2)
    >>> model = cgru.Sequential([cgru.layers.GRU(4), cgru.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> fitted = model.fit(x, x.sum(axis=(1, 2)), epochs=3, validation_split=0.2)
    >>> cgru.plot.history(fitted).get_ylabel()
    'loss'
    """
    if isinstance(history, History):
        values, epochs = history.history, history.epochs_of
    elif isinstance(history, Mapping):
        values = dict(history)
        longest = max(map(len, values.values()), default=0)
        epochs = {name: _evenly(len(each), longest) for name, each in values.items()}
    else:
        raise TypeError(f"history: expected what fit() returned, got {history!r}")
    if metric not in values:
        raise ValueError(f"metric: expected one of {list(values)}, got {metric!r}")
    ax = _axes(ax)
    for name, label, style, color in (
        (metric, "training", "-", COLORS[0]),
        (f"val_{metric}", "validation", "--", COLORS[1]),
    ):
        if name in values:
            shown = np.array(epochs[name]) + 1
            marker = "o" if len(shown) < 30 else None
            ax.plot(shown, values[name], style, color=color, label=label, marker=marker, ms=4)
    _whole_numbers(ax.xaxis)
    ax.set(xlabel="epoch", ylabel=metric, title=f"Training: {metric} after each epoch")
    ax.legend(frameon=False)
    return ax


def _evenly(count: int, longest: int) -> list[int]:
    """`count` of the epochs 0 to `longest` - 1, as far from each other as they can be."""
    every = longest // count if count else 1
    return [every * (place + 1) - 1 for place in range(count)]


def gates(
    gates: Gates | Mapping[str, Gates], sample: int = 0, layer: str | None = None, ax: Any = None
) -> Any:
    """The gates and states of one sequence: a panel for each, a row for each unit.

    Parameters
    ----------
    gates : Gates, or dict of str to Gates
        What `cgru.inspect.gates` returned.
    sample : int
        The sequence of the batch.
    layer : str, optional
        Which, where there are several.
    ax : sequence of matplotlib.axes.Axes, optional
        As many as there are arrays.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
        From top to bottom.  Steps that are masked are grey.

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit.

    Examples
    --------
    >>> model = cgru.Sequential([cgru.Input((None, 3)), cgru.layers.GRU(4)])
    >>> axes = cgru.plot.gates(cgru.inspect.gates(model, np.random.rand(2, 30, 3)))
    >>> [ax.get_title() for ax in axes]
    ['update gate z', 'reset gate r', 'candidate n', 'state h']
    """
    found = _one_layer("gates", gates, Gates, layer)
    sample = _sample(sample, len(found["state"]))
    lstm = "cell" in found
    titles = {
        "update": "update gate z",
        "reset": "reset gate r",
        "input": "input gate i",
        "forget": "forget gate f",
        "output": "output gate o",
        "candidate": f"candidate {'g' if lstm else 'n'}",
        "cell": "cell c",
        "state": "state h",
    }
    if ax is None:
        size = (7, 0.6 + 1.1 * len(found))
        axes = _figure(size).subplots(len(found), 1, sharex=True, squeeze=False)[:, 0]
    else:
        axes = np.asarray(ax, dtype=object).ravel()
        if len(axes) != len(found):
            raise ValueError(f"ax: expected {len(found)} axes, for {list(found)}, got {len(axes)}")
    for panel, (name, values) in zip(axes, found.items(), strict=True):
        shown = values[sample].T
        if found.mask is not None:
            shown = np.where(found.mask[sample], shown, np.nan)
        panel.set_facecolor("0.8")
        limit = max(1.0, float(np.nanmax(abs(shown), initial=0)))
        signed = name in ("candidate", "cell", "state") or np.nanmin(shown, initial=0) < 0
        image = panel.imshow(
            shown,
            aspect="auto",
            interpolation="none",
            cmap="PuOr" if signed else "viridis",
            vmin=-limit if signed else 0,
            vmax=limit,
        )
        panel.set_title(titles[name], fontsize="medium")
        panel.set_ylabel("unit")
        _whole_numbers(panel.yaxis)
        panel.figure.colorbar(image, ax=panel, pad=0.01, fraction=0.05)
    axes[-1].set_xlabel("time step")
    return axes


def gradient_flow(flows: Mapping[str, Mapping[str, np.ndarray]], ax: Any = None) -> Any:
    """The size of the loss's gradient at each step, on a logarithmic scale: a line for each layer.

    Parameters
    ----------
    flows : dict of str to dict of str to ndarray
        What `cgru.inspect.gradient_flow` returned; or, to compare several models, what it returned
        for one layer of each, by names of your own.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        The lines are norms over the whole batch; where the gradient is 0 there is none.

    Raises
    ------
    ValueError, TypeError
        If that is not what it returned.

    Examples
    --------
    >>> x = np.random.rand(5, 50, 2)
    >>> flows = {}
    >>> for cell in (cgru.layers.SimpleRNN, cgru.layers.GRU):
    ...     model = cgru.Sequential(
    ...         [cgru.Input((None, 2)), cell(4, name="cell"), cgru.layers.Dense(1)]
    ...     )
    ...     model.compile(loss="mse")
    ...     flows[cell.__name__] = cgru.inspect.gradient_flow(model, x, x[:, 0, :1])["cell"]
    >>> ax = cgru.plot.gradient_flow(flows)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['SimpleRNN', 'GRU']
    """
    if not isinstance(flows, Mapping) or not flows:
        raise TypeError(f"flows: expected a dictionary by layer, got {flows!r}")
    for name, flow in flows.items():
        if not isinstance(flow, Mapping) or any(np.ndim(norms) != 2 for norms in flow.values()):
            raise TypeError(
                f"flows[{name!r}]: expected what cgru.inspect.gradient_flow returned for a layer, "
                f"got {type(flow).__name__}"
            )
    ax = _axes(ax)
    for place, (name, flow) in enumerate(flows.items()):
        for part, norms in flow.items():
            norm = np.linalg.norm(norms, axis=0)
            ax.plot(
                np.where(norm > 0, norm, np.nan),
                "-" if part == "state" else "--",
                color=COLORS[place % len(COLORS)],
                label=name if part == "state" else f"{name}, {part}",
                linewidth=2,
            )
    ax.set_yscale("log")
    ax.set(
        xlabel="time step",
        ylabel="norm of the gradient (log scale)",
        title="How much of the loss's gradient reaches each step",
    )
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    return ax


def memory(memory: Memory | Mapping[str, Memory], layer: str | None = None, ax: Any = None) -> Any:
    """How far back inputs matter to the last state, and what the gates alone let through.

    Parameters
    ----------
    memory : Memory, or dict of str to Memory
        What `cgru.inspect.memory_length` returned.
    layer : str, optional
        Which, where there are several.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        With the median over the sequences, from the least to the largest as a band.

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit.

    Examples
    --------
    >>> model = cgru.Sequential([cgru.Input((None, 3)), cgru.layers.GRU(4)])
    >>> memory = cgru.inspect.memory_length(model, np.random.rand(2, 30, 3))
    >>> cgru.plot.memory(memory).get_xlabel()
    'steps back'
    """
    found = _one_layer("memory", memory, Memory, layer)
    largest = np.nanmax(found.influence, axis=1, keepdims=True, initial=0)
    with np.errstate(invalid="ignore"):
        lines = [("influence of the input", found.influence / largest, "-")]
    if (found.kept[:, 1:] > 0).any():  # a simple RNN has no gates
        lines += [
            ("kept by the gates, mean of the units", found.kept.mean(axis=-1), "--"),
            ("kept by the gates, longest unit", found.kept.max(axis=-1), ":"),
        ]
    ax = _axes(ax)
    for (label, values, style), color in zip(lines, COLORS, strict=False):
        steps, there = np.arange(values.shape[1]), np.ma.masked_invalid(values)
        if not there.count():
            continue  # no input has any influence
        middle: Any = np.ma.median(there, axis=0)  # type: ignore[no-untyped-call]
        shown = middle.filled(np.nan)
        shown[shown == 0] = np.nan  # it has no place on the scale
        ax.plot(steps, shown, style, color=color, label=label, linewidth=2)
        low, high = there.min(axis=0), there.max(axis=0)
        ax.fill_between(
            steps, low.filled(np.nan), high.filled(np.nan), color=color, alpha=0.2, lw=0
        )
    length = float(np.median(found.length))
    ax.axvline(length, color="0.4", linewidth=1, label=f"memory length: {length:g} steps")
    ax.set_yscale("log")
    ax.set_ylim(max(ax.get_ylim()[0], 1e-8), 2)
    ax.set(
        xlabel="steps back",
        ylabel="share of the largest (log scale)",
        title="How long the layer remembers",
    )
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize="small")
    return ax


def spectrum(
    spectrum: Spectrum | Mapping[str, Spectrum], layer: str | None = None, ax: Any = None
) -> Any:
    """The singular values of the state transition: above 1 a step stretches, below it shrinks.

    Parameters
    ----------
    spectrum : Spectrum, or dict of str to Spectrum
        What `cgru.inspect.jacobian_spectrum` returned.
    layer : str, optional
        Which, where there are several.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        With means over the batch.

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit.

    Examples
    --------
    >>> model = cgru.Sequential([cgru.Input((None, 3)), cgru.layers.GRU(4)])
    >>> spectrum = cgru.inspect.jacobian_spectrum(model, np.random.rand(2, 30, 3))
    >>> cgru.plot.spectrum(spectrum).get_ylabel()
    'singular value'
    """
    found = _one_layer("spectrum", spectrum, Spectrum, layer)
    order = np.argsort(found.steps)
    steps, values = found.steps[order], found.singular_values.mean(axis=0)[order]
    ax = _axes(ax)
    ax.fill_between(
        steps, values[:, -1], values[:, 0], color=COLORS[5], alpha=0.4, lw=0, label="all"
    )
    for label, line, style, color in (
        ("largest", values[:, 0], "o-", COLORS[0]),
        ("median", np.median(values, axis=1), "s--", COLORS[2]),
        ("spectral radius", found.radius.mean(axis=0)[order], "^:", COLORS[1]),
    ):
        ax.plot(steps, line, style, color=color, label=label, markersize=5)
    ax.axhline(1, color="0.4", linewidth=1)
    ax.set_ylim(bottom=0)
    ax.set(
        xlabel="time step",
        ylabel="singular value",
        title="What one step does to the state (1: keeps its size)",
    )
    ax.legend(frameon=False, fontsize="small", ncols=4, loc="lower center")
    return ax


def saliency(saliency: np.ndarray, sample: int = 0, ax: Any = None) -> Any:
    """How much each time step of one sequence matters to the output.

    Parameters
    ----------
    saliency : ndarray, shape (batch, time, features)
        What `cgru.inspect.saliency` returned, for one input.
    sample : int
        The sequence of the batch.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        With the norm over the features.

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit.

    Examples
    --------
    >>> model = cgru.Sequential([cgru.Input((None, 3)), cgru.layers.GRU(4)])
    >>> ax = cgru.plot.saliency(cgru.inspect.saliency(model, np.random.rand(2, 30, 3)))
    >>> len(ax.patches)
    30
    """
    values = _checks.numbers("saliency", saliency)
    if values.ndim != 3:
        raise ValueError(f"saliency: expected [batch, time, features], got shape {values.shape}")
    norms = np.linalg.norm(values[_sample(sample, len(values))], axis=-1)
    ax = _axes(ax)
    ax.bar(np.arange(len(norms)), norms, width=1.0, color=COLORS[0], edgecolor="white", lw=0.3)
    ax.set(
        xlabel="time step",
        ylabel="size of the gradient",
        title="How much the input at each step matters to the output",
    )
    return ax


def cell_diagram(cell: str = "gru", ax: Any = None) -> Any:
    """A drawing of a recurrent cell, with its equations.

    Parameters
    ----------
    cell : {"gru", "lstm", "simple_rnn"}
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        For another cell.

    Examples
    --------
    >>> cgru.plot.cell_diagram("gru").get_title()
    'Gated recurrent unit'
    """
    if cell not in _CELLS:
        raise ValueError(f"cell: expected one of {list(_CELLS)}, got {cell!r}")
    draw, title, (bottom, top) = _CELLS[cell]
    ax = _axes(ax, (7, 0.7 * (top - bottom) + 0.4))
    draw(_diagrams.Pen(ax))
    ax.set(xlim=(-0.8, 10.4), ylim=(bottom, top), aspect="equal", title=title, facecolor="white")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax


_CELLS = {
    "gru": (_diagrams.gru, "Gated recurrent unit", (-2.95, 5.3)),
    "lstm": (_diagrams.lstm, "Long short-term memory", (-2.95, 5.3)),
    "simple_rnn": (_diagrams.simple_rnn, "Simple recurrent network", (-0.5, 4.1)),
}

# ---- What they have in common ----


def _figure(size: tuple[float, float]) -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("cgru.plot needs matplotlib: pip install 'cgru[plot]'") from error
    return plt.figure(figsize=size, layout="constrained")


def _axes(ax: Any, size: tuple[float, float] = (7, 4)) -> Any:
    """The axes given, or new ones."""
    return _figure(size).subplots() if ax is None else ax


def _whole_numbers(axis: Any) -> None:
    """Let matplotlib put its marks at whole numbers, unless the user has put them elsewhere."""
    from matplotlib.ticker import AutoLocator

    locator = axis.get_major_locator()
    if isinstance(locator, AutoLocator):
        locator.set_params(integer=True)


def _one_layer(argument: str, value: Any, kind: type, layer: str | None) -> Any:
    """What was found for one layer, where there may be several."""
    if isinstance(value, Mapping) and not isinstance(value, kind):
        if layer is None and len(value) == 1:
            value = next(iter(value.values()))
        elif layer in value:
            value = value[layer]
        else:
            raise ValueError(f"layer: expected one of {list(value)}, got {layer!r}")
    if not isinstance(value, kind):
        raise TypeError(
            f"{argument}: expected what cgru.inspect returned, got {type(value).__name__}"
        )
    return value


def _sample(sample: int, count: int) -> int:
    if _checks.integer("sample", sample, 0) >= count:
        raise ValueError(f"sample: expected one of {count} sequences, got {sample}")
    return sample
