"""The adding problem: the sum of the two marked numbers of a long sequence of random ones.

Hochreiter and Schmidhuber 1997, in the form of Le et al. 2015 and Bai et al. 2018: at each step a
number from 0 to 1 and a mark, two of which are 1; the target after the last step is the sum of the
two numbers.  Who always answers 1 has a mean squared error of 1/6.
"""

import numpy as np
from task import Generated

import cgru


class Adding(Generated):
    family = section = "adding"
    score_name = "mean squared error"
    inputs, outputs = 2, 1
    loss = cgru.losses.MeanSquaredError()
    chance = 1 / 6  # of always answering 1
    grid = tuple({"learning_rate": rate} for rate in (0.002, 0.005, 0.01))

    def __init__(self, time):
        self.name, self.title = f"adding-{time}", f"Adding problem, T = {time}"
        self.settings = {
            "time": time,
            "parameters": 3500,
            "dropout": 0.0,
            "learning_rate": 0.005,
            "clip": 1.0,
            "batch": 32,
            "steps_per_epoch": 200,
            "epochs": 30,
            "held_out": 1000,
        }
        self.quick = {"steps_per_epoch": 2, "epochs": 2, "held_out": 20}
        self.published = {}
        if time == 600:
            self.published["Bai et al. 2018"] = {"SimpleRNN": 0.177, "LSTM": 0.164, "GRU": 5.3e-5}

    @staticmethod
    def sample(rng, count, time):
        numbers = rng.random((count, time), np.float32)
        marks = np.zeros((count, time), np.float32)
        first = rng.integers(0, time, count)
        second = (first + rng.integers(1, time, count)) % time  # any other place
        marks[np.arange(count), first] = marks[np.arange(count), second] = 1
        return np.stack([numbers, marks], axis=2), (numbers * marks).sum(axis=1, keepdims=True)

    def score(self, model, part, settings):
        x, y = self.held_out(part, settings)
        error = model.predict(x, batch_size=100) - y
        return float(np.square(error).mean(dtype=np.float64)), {}
