"""What Keras's callbacks decide on made-up figures; writes callbacks.json beside this file.

Run by hand with Keras: ``KERAS_BACKEND=jax python tests/golden/make_callbacks.py``.
"""

import contextlib
import io
import json
import random
import tempfile
import warnings
from pathlib import Path

from keras import callbacks


class Optimizer:
    """What ReduceLROnPlateau and LearningRateScheduler change."""

    def __init__(self, learning_rate):
        self.learning_rate = learning_rate


class Metric:
    """A metric that says which values are better."""

    def __init__(self, name, direction):
        self.name = name
        self._direction = direction


class Model:
    """Weights that tell the epoch; saving is noted."""

    def __init__(self, learning_rate):
        self.optimizer = Optimizer(learning_rate)
        self.stop_training = False
        self.weights = [-1]
        self.saved = []

    def get_weights(self):
        return list(self.weights)

    def set_weights(self, weights):
        self.weights = list(weights)

    def save(self, path, overwrite=True):
        self.saved.append(Path(path).name)

    save_weights = save


def drive(callback, epochs, learning_rate=1.0, batches=0):
    """Call a callback as fit does, and return all that it did."""
    model = Model(learning_rate)
    callback.set_model(model)
    callback.set_params({"epochs": len(epochs), "steps": batches})
    rates, stopped = [], None
    output = io.StringIO()
    with contextlib.redirect_stdout(output), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        callback.on_train_begin()
        for epoch, logs in enumerate(epochs):
            callback.on_epoch_begin(epoch)
            for batch in range(batches):
                callback.on_train_batch_begin(batch)
                callback.on_train_batch_end(batch, dict(logs))
            model.weights = [epoch]
            logs = dict(logs)
            callback.on_epoch_end(epoch, logs)
            rates.append([model.optimizer.learning_rate, logs.get("learning_rate")])
            if model.stop_training:
                stopped = epoch
                break
        callback.on_train_end()
    return {
        "stopped": stopped,
        "rates": rates,
        "weights": model.weights,
        "saved": model.saved,
        "lines": [line for line in output.getvalue().splitlines() if line],
        "warnings": len(warned),
    }


def figures(rng, name, count):
    """A figure that wanders, in steps that float32 holds exactly."""
    value, found = 64, []
    for _ in range(count):
        value += rng.choice([-3, -2, -1, -1, 0, 0, 1, 1, 2])
        found.append({name: value / 64})
    return found


def early_stopping(rng):
    mode = rng.choice(["auto", "min", "max"])
    return {
        "monitor": "loss" if mode == "auto" else "figure",
        "min_delta": rng.choice([0, 0, 1 / 64, 2 / 64]),
        "patience": rng.choice([0, 1, 2, 3, 4, 6, 9]),
        "mode": mode,
        "baseline": rng.choice([None, None, 60 / 64, 1.0]),
        "restore_best_weights": rng.random() < 0.5,
        "start_from_epoch": rng.choice([0, 0, 0, 1, 3]),
        "verbose": 1,
    }


def plateau(rng):
    mode = rng.choice(["auto", "min", "max"])
    return {
        "monitor": "loss" if mode == "auto" else "figure",
        "factor": rng.choice([0.5, 0.25]),
        "patience": rng.randrange(4),
        "mode": mode,
        "min_delta": rng.choice([0, 1 / 64, 2 / 64]),
        "cooldown": rng.randrange(3),
        "min_lr": rng.choice([0.0, 0.25]),
        "verbose": 1,
    }


def checkpoint(rng):
    mode = rng.choice(["auto", "min", "max"])
    freq = rng.choice(["epoch", "epoch", 2, 3, 5])
    best = rng.random() < 0.6
    return {
        "filepath": "{epoch:02d}.keras" if freq == "epoch" else "{epoch}-{batch}.keras",
        "monitor": "loss" if mode == "auto" else "figure",
        "save_best_only": best and freq == "epoch",
        "mode": mode,
        "save_freq": freq,
        "initial_value_threshold": rng.choice([None, 62 / 64]),
    }


def cases():
    rng = random.Random(4)
    makers = {
        "EarlyStopping": (early_stopping, 40),
        "ReduceLROnPlateau": (plateau, 40),
        "ModelCheckpoint": (checkpoint, 20),
    }
    for name, (make, count) in makers.items():
        for _ in range(count):
            options = make(rng)
            epochs = figures(rng, options["monitor"], 14)
            if rng.random() < 0.1:
                epochs[rng.randrange(1, 14)] = {"other": 1.0}  # the figure is not there
            batches = 0 if options.get("save_freq", "epoch") == "epoch" else 4
            if name == "ModelCheckpoint":
                # In a folder of its own, for Keras makes folders.
                with tempfile.TemporaryDirectory() as folder:
                    path = f"{folder}/{options['filepath']}"
                    callback = callbacks.ModelCheckpoint(**(options | {"filepath": path}))
                    expected = drive(callback, epochs, batches=batches)
            else:
                expected = drive(getattr(callbacks, name)(**options), epochs)
            yield {
                "callback": name,
                "options": options,
                "epochs": epochs,
                "batches": batches,
                "expected": expected,
            }


def csv_files():
    """The files that CSVLogger writes."""
    runs = [
        [{"loss": 0.5, "acc": 0.25}, {"loss": 0.125, "acc": 1.0}],
        [{"loss": 0.5, "val_loss": 1.5}, {"loss": 0.25}],
        [{"loss": 0.5, "list": [1, 2]}],
    ]
    for epochs in runs:
        for separator in ",;":
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "log.csv"
                for append in (False, True):
                    drive(callbacks.CSVLogger(path, separator, append), epochs)
                yield {"epochs": epochs, "separator": separator, "text": path.read_bytes().decode()}


if __name__ == "__main__":
    found = {"cases": list(cases()), "csv": list(csv_files())}
    text = json.dumps(found, indent=None, separators=(",", ":"))
    Path(__file__).with_name("callbacks.json").write_text(
        text.replace('{"callback"', '\n{"callback"')
    )
