"""Copying memory: ten symbols, a long blank, and then the ten symbols again.

Hochreiter and Schmidhuber 1997, in the form of Arjovsky et al. 2016 and Bai et al. 2018: 10 symbols
of 8 kinds, T - 1 blanks, and 11 marks, at the last 10 of which the symbols are to be repeated; at
all steps before them the target is blank.  Who remembers nothing has a cross-entropy of
10 ln(8) / (T + 20) a step.
"""

import math

import numpy as np
from task import Generated

import cgru

SYMBOLS, LENGTH = 8, 10
BLANK, MARK = 0, SYMBOLS + 1


class Copying(Generated):
    family = section = "copying"
    score_name = "cross-entropy a step"
    inputs = outputs = SYMBOLS + 2
    sequences = True
    loss = cgru.losses.SparseCategoricalCrossentropy(from_logits=True)
    grid = tuple({"learning_rate": rate} for rate in (0.001, 0.003))

    def __init__(self, time):
        self.name, self.title = f"copying-{time}", f"Copying memory, T = {time}"
        self.chance = LENGTH * math.log(SYMBOLS) / (time + 2 * LENGTH)
        self.settings = {
            "time": time,
            "parameters": 4500,
            "dropout": 0.0,
            "learning_rate": 0.003,
            "clip": 1.0,
            "batch": 32,
            "steps_per_epoch": 100,
            "epochs": 10,
            "held_out": 500,
        }
        self.quick = {"steps_per_epoch": 2, "epochs": 2, "held_out": 20}
        self.published = {}
        if time == 1000:
            bai = {"SimpleRNN": 0.0202, "LSTM": 0.0204, "GRU": 0.0197}
            self.published["Bai et al. 2018"] = bai

    @staticmethod
    def sample(rng, count, time):
        symbols = rng.integers(1, SYMBOLS + 1, (count, LENGTH))
        x = np.full((count, time + 2 * LENGTH), BLANK)
        y = x.copy()
        x[:, :LENGTH] = y[:, -LENGTH:] = symbols
        x[:, -LENGTH - 1 :] = MARK
        return np.eye(SYMBOLS + 2, dtype=np.float32)[x], y

    def score(self, model, part, settings):
        x, y = self.held_out(part, settings)
        logits = model.predict(x, batch_size=100).astype(np.float64)
        logits -= logits.max(axis=-1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        right = logits.argmax(axis=-1) == y
        return (
            float(-np.take_along_axis(log_p, y[..., np.newaxis], axis=-1).mean()),
            {"symbols right": float(right[:, -LENGTH:].mean())},
        )
