"""The way of a batch through cgru: its stations, a proof that they are passed, a picture."""

import re
import sys
from pathlib import Path
from typing import NamedTuple

import cgru

SOURCES = Path(__file__).parent.parent / "cgru"
COLORS = {"": "#cfe5f3", "layers": "#cdeadf", ".pyx": "#fbe6bf", "csrc": "#f6d5c2"}


class Station(NamedTuple):
    """A function that a batch passes; `level` is how deep it is called."""

    level: int
    name: str
    file: str
    text: str

    @property
    def function(self):
        return self.name.rsplit(".", 1)[-1]

    @property
    def is_python(self):
        return self.file.endswith(".py")


WAY = {
    "Before the first batch": [
        Station(0, "Trainer.fit", "training.py", "what to train on, and for how long"),
        Station(1, "batch", "_door.py", "checks and converts; nothing is changed before"),
    ],
    "Forward": [
        Station(1, "ArrayBatches.parts", "data.py", "a batch of samples, in random order"),
        Station(1, "Trainer._train_step", "training.py", "one step of the optimizer"),
        Station(2, "Trainer._loss_and_gradient", "training.py", "forward, loss, backward"),
        Station(3, "Graph.execute", "layers/graph.py", "one layer after the other"),
        Station(4, "Recurrent.forward", "layers/recurrent.py", "states, dropout, directions"),
        Station(5, "sequence", "layers/_packed.py", "keeps what the way back needs"),
        Station(6, "Workspace.forward", "_kernels.pyx", "large buffers, used again"),
        Station(7, "packed_forward", "_kernels.pyx", "checks sizes; releases the GIL"),
        Station(8, "cgru_forward", "csrc/levels.h", "the loops for this CPU, on threads"),
        Station(9, "forward", "csrc/packed.h", "all time steps"),
        Station(10, "gru_cell", "csrc/gru.h", "the four equations of a GRU"),
        Station(4, "Dense.forward", "layers/core.py", "the last layer"),
    ],
    "Loss": [
        Station(3, "Objective.value_and_grad", "objective.py", "the loss and its gradient"),
    ],
    "Backward": [
        Station(3, "backward", "layers/graph.py", "the layers in reverse"),
        Station(4, "backward", "layers/core.py", "adds to the gradients of its weights"),
        Station(4, "backward", "layers/recurrent.py", "the way back of Recurrent.forward"),
        Station(5, "backward", "layers/_packed.py", "the way back of that sequence"),
        Station(6, "Workspace.backward", "_kernels.pyx", "the gradients as views"),
        Station(7, "packed_backward", "_kernels.pyx", "without the GIL, as before"),
        Station(8, "cgru_backward", "csrc/levels.h", "on as many threads as it is worth"),
        Station(9, "backward", "csrc/packed.h", "all time steps, from the last"),
        Station(10, "gru_cell_grad", "csrc/gru.h", "the equations, differentiated"),
    ],
    "Step": [
        Station(2, "Optimizer.update", "optimizers/base.py", "clips, decays"),
        Station(3, "Adam.step", "optimizers/adam.py", "the learning rate of this step"),
        Station(7, "adam", "_kernels.pyx", "all weights as one vector"),
        Station(8, "cgru_adam", "csrc/levels.h", "the loops for this CPU, on threads"),
        Station(9, "adam", "csrc/elementwise.h", "one pass over that vector"),
    ],
}
STATIONS = [station for part in WAY.values() for station in part]


def calls():
    """The functions of cgru that a small `fit` calls, in order: files and names."""
    model = cgru.Sequential([cgru.Input((5, 3)), cgru.layers.GRU(4), cgru.layers.Dense(1)])
    model.compile("adam", "mse")
    x, y = [[[1.0] * 3] * 5] * 4, [1.0] * 4
    package, found = str(Path(cgru.__file__).parent), []

    def note(frame, event, _):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(package):
            path = Path(code.co_filename).relative_to(package)
            found.append((path.as_posix(), code.co_name))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        model.fit(x, y, verbose=0)
    finally:
        sys.setprofile(before)
    return found


def check():
    """Raise an AssertionError if a batch does not pass all stations, in this order.

    Functions in Python are watched at work.  Compiled ones are looked up in the sources: each must
    be defined where the station says, and be named in the file of the station before it.
    """
    passed = iter(calls())
    for before, station in zip([None, *STATIONS], STATIONS, strict=False):
        where = f"{station.file}: {station.name}"
        if station.is_python:
            assert (station.file, station.function) in passed, f"{where} is not called there"
            continue
        defined = rf"^ *(def|cpdef|cdef|static)\b.*\b{station.function}\b\)?\("
        source = (SOURCES / station.file).read_text()
        assert re.search(defined, source, re.MULTILINE), f"{where} is not defined there"
        caller = (SOURCES / before.file).read_text()
        assert re.search(rf"\b{station.function}\b", caller), f"{before.file} does not call {where}"


def draw():
    """The picture."""
    import matplotlib.pyplot as plt

    check()
    rows = len(STATIONS) + len(WAY)
    figure, ax = plt.subplots(figsize=(6, 0.43 * rows))
    ax.set(xlim=(0, 6), ylim=(rows, 0))
    ax.set_axis_off()
    figure.subplots_adjust(0, 0, 1, 1)
    row = 0
    for title, stations in WAY.items():
        ax.text(0.05, row + 0.65, title, va="center", fontsize=11, weight="bold")
        row += 1
        for station in stations:
            kind = next(k for k in reversed(COLORS) if k in station.file)
            left = 0.1 + 0.16 * station.level
            box = plt.Rectangle(
                (left, row + 0.06), 5.9 - left, 0.88, fc=COLORS[kind], ec="0.6", lw=0.6
            )
            ax.add_patch(box)
            at = {"va": "center", "clip_on": True}
            ax.text(left + 0.07, row + 0.31, station.name, family="monospace", fontsize=9, **at)
            ax.text(left + 0.07, row + 0.71, station.text, fontsize=8.5, **at)
            ax.text(5.84, row + 0.31, station.file, ha="right", fontsize=8, color="0.35", **at)
            row += 1
    return figure
