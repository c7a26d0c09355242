"""Polyphonic music: the keys that are down at the next step, of 88, given all steps so far.

The piano rolls and their split into training, validation and test data are those of
Boulanger-Lewandowski et al. 2012.  The negative log-likelihood of a step is the sum of the binary
cross-entropies of the 88 keys, in nats.  Steps 2 to T of each sequence are predicted from those
before them; the mean is over all predicted steps of all sequences, as in Bai et al. 2018.
"""

import functools

import numpy as np
from task import Task

import cgru

KEYS = 88
PARTS = ["train", "valid", "test"]
STAND_IN = {"train": 60, "valid": 20, "test": 20}  # sequences

FILES = {"JSB Chorales": "JSB_Chorales.mat", "Nottingham": "Nottingham.mat"}

PUBLISHED = {
    "JSB Chorales": {
        "Chung et al. 2014": {"SimpleRNN": 9.10, "LSTM": 8.67, "GRU": 8.54},
        "Bai et al. 2018": {"SimpleRNN": 8.91, "LSTM": 8.45, "GRU": 8.43},
    },
    "Nottingham": {
        "Chung et al. 2014": {"SimpleRNN": 3.13, "LSTM": 3.20, "GRU": 3.23},
        "Bai et al. 2018": {"SimpleRNN": 4.05, "LSTM": 3.29, "GRU": 3.46},
    },
}

SETTINGS = {
    "JSB Chorales": {"parameters": 380000, "batch": 8, "epochs": 60},
    "Nottingham": {
        "parameters": 192000,
        "batch": 1,
        "epochs": 80,
        "learning_rate": 0.001,
        "dropout": 0.25,
        "recurrent_dropout": 0.15,
    },
    "stand-in": {"parameters": 20000, "batch": 8, "epochs": 20},
}


@functools.cache
def rolls(path):
    """The piano rolls of a file by part, each a list of arrays [steps, 88]."""
    from scipy.io import loadmat

    found = loadmat(path)
    return {part: [roll.astype(np.float32) for roll in found[f"{part}data"][0]] for part in PARTS}


@functools.cache
def stand_in():
    """Random music: chords of four keys, each of which lasts some steps or moves a little."""
    rng = np.random.default_rng(1)

    def roll():
        steps = int(rng.integers(20, 60))
        moves = rng.integers(-2, 3, (steps, 4)) * (rng.random((steps, 1)) < 0.3)
        keys = (np.array([20, 32, 44, 56]) + np.cumsum(moves, axis=0)).clip(0, KEYS - 1)
        return np.eye(KEYS, dtype=np.float32)[keys].max(axis=1)

    return {part: [roll() for _ in range(count)] for part, count in STAND_IN.items()}


def shifted(sequences):
    """What is read, and what is to be predicted from it."""
    return [roll[:-1] for roll in sequences], [roll[1:] for roll in sequences]


def nll(logits, targets):
    """The negative log-likelihood a step: of lists of arrays [steps, 88]."""
    total = 0.0
    for z, y in zip(logits, targets, strict=True):
        total += np.logaddexp(0, z.astype(np.float64)).sum() - (z * y).sum(dtype=np.float64)
    return float(total / sum(map(len, targets)))


class Music(Task):
    section = "music"
    score_name = "negative log-likelihood a step"
    inputs = outputs = KEYS
    sequences = True
    loss = cgru.losses.BinaryCrossentropy(from_logits=True)  # the mean over the keys
    loss_weight = float(KEYS)
    grid = tuple({"dropout": dropout} for dropout in (0.25, 0.5))

    def __init__(self, title, path=None):
        self.title, self.path = title, path
        self.name = self.family = f"music-{title.split()[0].lower()}"
        self.published = PUBLISHED.get(title, {})
        self.quick = {"epochs": 2, "parameters": 3000}
        self.settings = {"dropout": 0.5, "learning_rate": 0.003, "clip": 5.0} | SETTINGS[title]

    def part(self, name):
        return shifted((rolls(self.path) if self.path else stand_in())[name])

    def fit_arguments(self, settings, seed):
        x, y = self.part("train")
        return {
            "x": x,
            "y": y,
            "batch_size": settings["batch"],
            "steps_per_epoch": -(-len(x) // settings["batch"]),
            "epochs": settings["epochs"],
            "validation_data": self.part("valid"),
        }

    def batches(self, settings, seed):
        x, y = self.part("train")
        order = np.random.default_rng(seed).permutation(len(x))
        for start in range(0, len(x), settings["batch"]):
            chosen = order[start : start + settings["batch"]]
            yield [x[i] for i in chosen], [y[i] for i in chosen]

    def score(self, model, part, settings):
        x, y = self.part(part)
        return nll(model.predict(x), y), {}


def tasks(folder):
    """Those of which the data is in `folder`, or the stand-in."""
    found = [Music(title, folder / file) for title, file in FILES.items()]
    found = [task for task in found if task.path.exists()]
    return found or [Music("stand-in")]
