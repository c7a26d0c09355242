"""The validation loss during training, of the three cells."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

# Colours of Okabe and Ito, which colour-blind readers tell apart, and dashes for print.
STYLES = {
    "SimpleRNN": {"color": "#E69F00", "linestyle": ":"},
    "LSTM": {"color": "#0072B2", "linestyle": "--"},
    "GRU": {"color": "#009E73", "linestyle": "-"},
}


def draw(path, rows):
    """One panel for each task: the mean over the seeds, and their range; False if there is none."""
    rows = [row for row in rows if any(row.runs.values())]
    if not rows:
        return False
    plt.rcParams.update({"svg.hashsalt": "cgru", "font.size": 9})  # the same file each time
    figure, panels = plt.subplots(
        1, len(rows), figsize=(4 * len(rows), 3), layout="constrained", squeeze=False
    )
    for axes, row in zip(panels[0], rows, strict=True):
        for cell, runs in row.runs.items():
            if not runs:
                continue
            curves = np.array([run["curve"] for run in runs])
            steps = np.linspace(0, runs[0]["steps"], curves.shape[1] + 1)[1:]
            axes.plot(steps, curves.mean(axis=0), label=cell, **STYLES[cell])
            axes.fill_between(
                steps, curves.min(axis=0), curves.max(axis=0),
                color=STYLES[cell]["color"], alpha=0.2, linewidth=0,
            )  # fmt: skip
        if row.task.chance:
            axes.axhline(row.task.chance, color="0.5", linewidth=0.8)
        axes.set(title=row.task.title, xlabel="step", ylabel="validation loss", yscale="log")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return True
