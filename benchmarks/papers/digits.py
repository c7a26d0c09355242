"""Handwritten digits read row by row: each image of scikit-learn's is a sequence of 8 rows.

The test images are those of examples/digits.py; a fifth of the others are for validation.
"""

import functools

from task import Task

import cgru


@functools.cache
def parts():
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits().images / 16, load_digits().target
    split = {"random_state": 1, "stratify": labels, "test_size": 0.25}
    x, x_test, y, y_test = train_test_split(images, labels, **split)
    split |= {"stratify": y, "test_size": 0.2}
    x, x_valid, y, y_valid = train_test_split(x, y, **split)
    return {"train": (x, y), "valid": (x_valid, y_valid), "test": (x_test, y_test)}


class Digits(Task):
    name = family = section = "digits"
    title = "Digits, row by row"
    score_name = "accuracy"
    better = "more"
    inputs, outputs = 8, 10
    loss = cgru.losses.SparseCategoricalCrossentropy(from_logits=True)
    grid = tuple(
        {"learning_rate": rate, "dropout": dropout}
        for rate in (0.001, 0.003, 0.006)
        for dropout in (0.2, 0.4)
    )

    def __init__(self):
        self.published = {}
        self.settings = {
            "parameters": 32000,
            "dropout": 0.3,
            "learning_rate": 0.003,
            "clip": 1.0,
            "batch": 32,
            "epochs": 40,
        }
        self.quick = {"epochs": 2, "parameters": 500}

    def fit_arguments(self, settings, seed):
        x, y = parts()["train"]
        return {
            "x": x,
            "y": y,
            "batch_size": settings["batch"],
            "steps_per_epoch": -(-len(x) // settings["batch"]),
            "epochs": settings["epochs"],
            "validation_data": parts()["valid"],
        }

    def batches(self, settings, seed):
        x, y = parts()["train"]
        for start in range(0, len(x), settings["batch"]):
            yield x[start : start + settings["batch"]], y[start : start + settings["batch"]]

    def score(self, model, part, settings):
        x, y = parts()[part]
        return float((model.predict(x).argmax(axis=1) == y).mean()), {}
