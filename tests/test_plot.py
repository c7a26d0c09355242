"""What the pictures of cgru.plot show."""

import sys

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from processes import python  # noqa: E402

import cgru  # noqa: E402
from cgru import inspect, layers, plot  # noqa: E402

X = np.random.default_rng(0).standard_normal((3, 20, 2))


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


def model_of(cell=layers.GRU, **options):
    cgru.utils.set_random_seed(1)
    model = cgru.Sequential(
        [cgru.Input((None, 2)), cell(4, name="cell", **options), layers.Dense(1)]
    )
    model.compile("adam", "mse", metrics=["mae"])
    return model


def lines_of(ax):
    return {line.get_label(): line for line in ax.get_lines()}


def labels_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_history_shows_each_epoch():
    fitted = model_of().fit(X, X[:, 0, 0], epochs=4, validation_split=0.4)
    ax = plot.history(fitted)
    lines = lines_of(ax)
    assert lines["training"].get_xdata().tolist() == [1, 2, 3, 4]
    assert lines["training"].get_ydata().tolist() == fitted.history["loss"]
    assert lines["validation"].get_ydata().tolist() == fitted.history["val_loss"]
    assert lines["training"].get_linestyle() != lines["validation"].get_linestyle()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")
    mae = lines_of(plot.history(fitted.history, "mae"))
    assert mae["training"].get_ydata().tolist() == fitted.history["mae"]


def test_history_of_some_epochs():
    fitted = model_of().fit(
        X, X[:, 0, 0], epochs=7, initial_epoch=2, validation_split=0.4, validation_freq=2
    )
    lines = lines_of(plot.history(fitted))
    assert lines["training"].get_xdata().tolist() == [3, 4, 5, 6, 7]
    assert lines["validation"].get_xdata().tolist() == [4, 6]
    fitted = model_of().fit(X, X[:, 0, 0], epochs=8, validation_split=0.4, validation_freq=3)
    lines = lines_of(plot.history(fitted))
    assert lines["validation"].get_xdata().tolist() == [3, 6]
    only = plot.history({"loss": [3.0, 2.0]})
    assert labels_of(only) == ["training"]
    assert not lines_of(plot.history({"loss": []}))["training"].get_xdata().size


def test_marks_that_the_user_has_set_stay():
    _, ax = plt.subplots()
    ax.set_xticks([1, 3])
    plot.history({"loss": [3.0, 2.0, 1.0]}, ax=ax)
    assert ax.get_xticks().tolist() == [1, 3]
    ax.set_xscale("log")
    plot.history({"loss": [3.0, 2.0, 1.0]}, ax=ax)
    assert ax.get_xscale() == "log"


@pytest.mark.parametrize("cell", [layers.GRU, layers.LSTM, layers.SimpleRNN])
def test_gates_have_a_panel_each(cell):
    found = inspect.gates(model_of(cell), X)
    axes = plot.gates(found, sample=1)
    for ax, (name, values) in zip(axes, found["cell"].items(), strict=True):
        assert ax.get_title().startswith(name)
        (image,) = ax.get_images()
        np.testing.assert_array_equal(image.get_array(), values[1].T)
        low, high = image.get_clim()
        assert high >= 1
        assert low == (-high if name in ("candidate", "cell", "state") else 0)
        assert image.cmap.name in ("viridis", "PuOr")
    assert axes[-1].get_xlabel() == "time step"


def test_masked_steps_are_left_out():
    found = inspect.gates(model_of(), [X[0, :5], X[1]])
    for ax in plot.gates(found):
        shown = np.ma.getmaskarray(np.ma.masked_invalid(ax.get_images()[0].get_array()))
        assert shown[:, 5:].all()
        assert not shown[:, :5].any()


def test_gradient_flows_are_compared():
    y = X[:, 0, :1]
    cells = (layers.SimpleRNN, layers.GRU, layers.LSTM)
    flows = {cell.__name__: inspect.gradient_flow(model_of(cell), X, y)["cell"] for cell in cells}
    ax = plot.gradient_flow(flows)
    assert labels_of(ax) == ["SimpleRNN", "GRU", "LSTM", "LSTM, cell"]
    assert ax.get_yscale() == "log"
    lines = lines_of(ax)
    expected = np.sqrt((flows["GRU"]["state"] ** 2).sum(axis=0))
    np.testing.assert_allclose(lines["GRU"].get_ydata(), expected)
    # The last cell is not looked at but through h: no gradient of its own, no point.
    assert np.isnan(lines["LSTM, cell"].get_ydata()[-1])
    assert len({lines[name].get_color() for name in ("SimpleRNN", "GRU", "LSTM")}) == 3
    whole = plot.gradient_flow(inspect.gradient_flow(model_of(), X, y))
    assert labels_of(whole) == ["cell"]


def test_memory_shows_influence_gates_and_length():
    found = inspect.memory_length(model_of(), X)["cell"]
    ax = plot.memory(found)
    lines = lines_of(ax)
    relative = found.influence / found.influence.max(axis=1, keepdims=True)
    shown = lines["influence of the input"]
    np.testing.assert_allclose(shown.get_ydata(), np.median(relative, axis=0))
    longest = lines["kept by the gates, longest unit"].get_ydata()
    np.testing.assert_allclose(longest, np.median(found.kept.max(axis=2), axis=0))
    length = float(np.median(found.length))
    assert list(lines[f"memory length: {length:g} steps"].get_xdata()) == [length, length]
    assert ax.get_yscale() == "log"
    simple = plot.memory(inspect.memory_length(model_of(layers.SimpleRNN), X))
    assert not any("gates" in label for label in labels_of(simple))


def test_memory_of_sequences_of_different_lengths():
    found = inspect.memory_length(model_of(), [X[0, :5], X[1]])["cell"]
    shown = lines_of(plot.memory(found))["influence of the input"].get_ydata()
    relative = found.influence / np.nanmax(found.influence, axis=1, keepdims=True)
    np.testing.assert_allclose(shown, np.nanmedian(relative, axis=0))
    assert np.isfinite(shown).all()


def test_the_median_counts_sequences_without_influence():
    x = X.copy()
    x[:2, 17] = 0
    model = cgru.Sequential([cgru.Input((None, 2)), layers.Masking(), layers.GRU(4, name="cell")])
    found = inspect.memory_length(model, x)["cell"]
    assert (found.influence[:, 2] > 0).tolist() == [False, False, True]
    assert np.isnan(lines_of(plot.memory(found))["influence of the input"].get_ydata()[2])


def test_gates_below_zero_have_a_colour():
    model = model_of(layers.LSTM, recurrent_activation="linear")
    (image,) = plot.gates(inspect.gates(model, X))[0].get_images()
    assert image.get_array().min() < 0
    assert image.get_clim()[0] <= image.get_array().min()


def test_memory_of_a_single_step():
    ax = plot.memory(inspect.memory_length(model_of(), X[:, :1]))
    assert labels_of(ax)[0] == "influence of the input"


def test_memory_of_nothing():
    model = model_of()
    model.set_weights([np.zeros(weight.shape) for weight in model.weights])
    ax = plot.memory(inspect.memory_length(model, X))
    assert "influence of the input" not in labels_of(ax)
    assert "memory length: 0 steps" in labels_of(ax)


def test_spectrum_shows_the_singular_values():
    found = inspect.jacobian_spectrum(model_of(), X, [9, 0, -1])["cell"]
    lines = lines_of(plot.spectrum(found))
    assert lines["largest"].get_xdata().tolist() == [0, 9, 19]
    expected = found.singular_values[:, [1, 0, 2], 0].mean(axis=0)
    np.testing.assert_allclose(lines["largest"].get_ydata(), expected)
    expected = found.radius[:, [1, 0, 2]].mean(axis=0)
    np.testing.assert_allclose(lines["spectral radius"].get_ydata(), expected)


def test_saliency_has_a_bar_for_each_step():
    found = inspect.saliency(model_of(), X)
    ax = plot.saliency(found, sample=2)
    heights = [bar.get_height() for bar in ax.patches]
    np.testing.assert_allclose(heights, np.linalg.norm(found[2], axis=1))


@pytest.mark.parametrize(
    ("cell", "symbols"),
    [
        ("gru", ["reset", "update", "candidate", "$h_{t-1}$", "$x_t$", "$h_t$"]),
        ("lstm", ["forget", "input", "candidate", "output", "$c_{t-1}$", "$c_t$", "$h_t$"]),
        ("simple_rnn", ["state", "$h_{t-1}$", "$x_t$", "$h_t$"]),
    ],
)
def test_cell_diagrams_name_their_parts(cell, symbols):
    ax = plot.cell_diagram(cell)
    ax.figure.canvas.draw()  # which would find mistakes in formulas
    texts = [text.get_text() for text in ax.texts]
    assert set(symbols) <= set(texts)
    # Nothing is drawn outside the figure.
    size = ax.figure.bbox
    for text in ax.texts:
        box = text.get_window_extent()
        assert box.x0 >= size.x0
        assert box.x1 <= size.x1
        assert box.y0 >= size.y0
        assert box.y1 <= size.y1


def pictures():
    model = model_of()
    return {
        "history": lambda ax: plot.history({"loss": [2.0, 1.0]}, ax=ax),
        "gradient_flow": lambda ax: plot.gradient_flow(
            inspect.gradient_flow(model, X, X[:, 0, :1]), ax=ax
        ),
        "memory": lambda ax: plot.memory(inspect.memory_length(model, X), ax=ax),
        "spectrum": lambda ax: plot.spectrum(inspect.jacobian_spectrum(model, X), ax=ax),
        "saliency": lambda ax: plot.saliency(inspect.saliency(model, X), ax=ax),
        "cell_diagram": lambda ax: plot.cell_diagram(ax=ax),
    }


@pytest.mark.parametrize("name", pictures())
def test_axes_can_be_given(name):
    draw = pictures()[name]
    figure, ax = plt.subplots()
    assert draw(ax) is ax
    assert plt.get_fignums() == [figure.number]
    new = draw(None)
    assert new.figure is not figure
    assert new.get_title()
    assert new.figure.get_facecolor() == (1, 1, 1, 1)
    assert name == "cell_diagram" or (new.get_xlabel() and new.get_ylabel())


def test_axes_of_gates_can_be_given():
    found = inspect.gates(model_of(), X)
    _, axes = plt.subplots(4, 1)
    assert list(plot.gates(found, ax=axes)) == list(axes)
    assert list(plot.gates(found, ax=axes.reshape(2, 2))) == list(axes)
    with pytest.raises(ValueError, match=r"ax: expected 4 axes, for \['update'.*got 3"):
        plot.gates(found, ax=axes[:3])


def test_one_of_several_layers_is_chosen():
    model = cgru.Sequential(
        [cgru.Input((None, 2)), layers.Bidirectional(layers.GRU(3, name="gru"), name="both")]
    )
    found = inspect.gates(model, X)
    (image,) = plot.gates(found, layer="both/backward_gru")[3].get_images()
    expected = found["both/backward_gru"]["state"][0].T
    np.testing.assert_array_equal(image.get_array(), expected)
    with pytest.raises(ValueError, match=r"layer: expected one of \['both/forward_gru', .*None"):
        plot.gates(found)
    with pytest.raises(ValueError, match="layer: expected one of .*'gru'"):
        plot.memory(inspect.memory_length(model, X), layer="gru")


def test_what_cannot_be_drawn_is_refused():
    found = inspect.gates(model_of(), X)
    with pytest.raises(ValueError, match="sample: expected one of 3 sequences, got 3"):
        plot.gates(found, sample=3)
    with pytest.raises(TypeError, match="memory: expected what cgru.inspect returned, got Gates"):
        plot.memory(found)
    with pytest.raises(TypeError, match="spectrum: expected what"):
        plot.spectrum(3)
    with pytest.raises(ValueError, match=r"metric: expected one of \['loss'\], got 'mae'"):
        plot.history({"loss": [1.0]}, "mae")
    with pytest.raises(TypeError, match=r"history: expected what fit\(\) returned, got 3"):
        plot.history(3)
    with pytest.raises(TypeError, match="flows: expected a dictionary"):
        plot.gradient_flow(3)
    with pytest.raises(TypeError, match=r"flows\['state'\]: expected what"):
        plot.gradient_flow({"state": np.ones((2, 3))})
    with pytest.raises(ValueError, match="saliency: expected"):
        plot.saliency(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"cell: expected one of \['gru', 'lstm', 'simple_rnn'\]"):
        plot.cell_diagram("rnn")
    assert not plt.get_fignums()


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'cgru\[plot\]'"):
        plot.cell_diagram()


def test_matplotlib_is_imported_when_something_is_drawn():
    code = """
import sys, cgru
assert not {"cgru.inspect", "cgru.plot"} & set(sys.modules)
cgru.inspect.gates
assert "matplotlib" not in sys.modules
cgru.plot.cell_diagram
assert "matplotlib" not in sys.modules
"""
    python(code)
    with pytest.raises(AttributeError, match="module 'cgru' has no attribute 'plots'"):
        _ = cgru.plots
