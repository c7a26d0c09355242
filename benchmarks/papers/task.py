"""What the tasks have in common: one model, one way to train it, one test of what was chosen.

The model is one recurrent layer and a dense layer; the optimizer is Adam with the gradient's norm
limited and a learning rate that falls to 0 along half a cosine wave.  After each epoch the
validation data is evaluated, and the weights after the best epoch are kept: only they see the test
data, once.
"""

import json
import time
from pathlib import Path

import numpy as np

import cgru
from cgru import layers

CELLS = ["SimpleRNN", "LSTM", "GRU"]
HERE = Path(__file__).parent
CHOSEN = HERE / "chosen.json"  # what `run.py --choose` found


def parameters(cell, units, inputs, outputs):
    """How many parameters a model has: those of the cell and those of the dense layer."""
    gates = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}[cell]
    biases = 2 if cell == "GRU" else 1  # reset_after=True
    return gates * units * (inputs + units + biases) + (units + 1) * outputs


def units(cell, limit, inputs, outputs):
    """The most units with which a model has no more parameters than `limit`."""
    count = 1
    while parameters(cell, count + 1, inputs, outputs) <= limit:
        count += 1
    return count


class Task:
    """One row of the papers' tables.

    A subclass says what is learned (`fit_arguments`, `batches`) and how it is judged (`score`).
    """

    name: str  # of its files
    title: str
    family: str  # tasks that share what --choose found on one of them
    section: str  # of the page
    score_name: str
    better = "less"
    inputs: int
    outputs: int
    sequences = False  # whether there is an output for each step
    loss: cgru.losses.Loss
    loss_weight = 1.0
    published: dict  # paper -> cell -> value
    settings: dict
    quick: dict  # what is different in a quick run
    grid: tuple  # of what --choose tries
    chance = None  # the loss of who knows nothing, drawn in the picture

    def settings_of(self, cell, quick=False):
        """The settings, with what was chosen on the validation data for this cell."""
        chosen = json.loads(CHOSEN.read_text()) if CHOSEN.exists() else {}
        found = chosen.get(self.family, {}).get(cell, {}).get("settings", {})
        return self.settings | found | (self.quick if quick else {})

    def units(self, cell, settings):
        return units(cell, settings["parameters"], self.inputs, self.outputs)

    def fit_arguments(self, settings, seed):
        """The data, as `fit` takes it, and how many epochs of how many steps: a dictionary."""
        raise NotImplementedError

    def batches(self, settings, seed):
        """The first batches (x, y) of a training, of which the time is measured."""
        raise NotImplementedError

    def score(self, model, part, settings):
        """The figure of the tables on "valid" or "test", and others by name."""
        raise NotImplementedError

    def build(self, cell, settings, seed, steps):
        """The compiled model."""
        cgru.utils.set_random_seed(seed)
        recurrent = getattr(layers, cell)(
            self.units(cell, settings),
            return_sequences=self.sequences,
            recurrent_dropout=settings.get("recurrent_dropout", 0.0),
        )
        dropout = [layers.Dropout(settings["dropout"])] if settings["dropout"] else []
        model = cgru.Sequential([recurrent, *dropout, layers.Dense(self.outputs)])
        rate = cgru.optimizers.schedules.CosineDecay(settings["learning_rate"], steps)
        adam = cgru.optimizers.Adam(rate, global_clipnorm=settings["clip"])
        model.compile(adam, self.loss, loss_weights=self.loss_weight)
        return model

    def run(self, cell, seed, settings, tell=lambda loss: None, test=True):
        """Train one model; a dictionary of what was found, to be kept as JSON."""
        fit = self.fit_arguments(settings, seed)
        steps = fit["epochs"] * fit["steps_per_epoch"]
        model = self.build(cell, settings, seed, steps)
        best = cgru.callbacks.EarlyStopping(patience=fit["epochs"], restore_best_weights=True)
        told = cgru.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: tell(logs["val_loss"]))
        wall, cpu = time.perf_counter(), time.process_time()
        history = model.fit(**fit, verbose=0, callbacks=[best, told]).history
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        valid, details = self.score(model, "valid", settings)
        found = {"valid": valid, "valid_details": details}
        if test:
            found["test"], found["test_details"] = self.score(model, "test", settings)
        return found | {
            "units": self.units(cell, settings),
            "parameters": model.count_params(),
            "steps": steps,
            "best_step": (best.best_epoch + 1) * fit["steps_per_epoch"],
            "wall": wall,
            "cpu": cpu,
            "curve": [float(f"{value:.4g}") for value in history["val_loss"]],
            "settings": settings,
        }


class Generated(Task):
    """A task whose batches are drawn at random, each new."""

    @staticmethod
    def sample(rng, count, time):
        """`count` sequences x and targets y."""
        raise NotImplementedError

    def held_out(self, part, settings):
        """Data that is the same in all runs."""
        seed = {"valid": 10**6, "test": 10**6 + 1}[part]
        rng = np.random.default_rng(seed)
        return self.sample(rng, settings["held_out"], settings["time"])

    def batches(self, settings, seed):
        rng = np.random.default_rng(seed)
        while True:
            yield self.sample(rng, settings["batch"], settings["time"])

    def fit_arguments(self, settings, seed):
        return {
            "x": self.batches(settings, seed),
            "steps_per_epoch": settings["steps_per_epoch"],
            "epochs": settings["epochs"],
            "validation_data": self.held_out("valid", settings),
        }
