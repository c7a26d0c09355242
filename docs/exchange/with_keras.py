"""Writes sunspots.keras and what it forecasts: KERAS_BACKEND=jax python with_keras.py."""

import pathlib

import keras
import numpy as np

import cgru

folder = pathlib.Path(__file__).parent
years, numbers = cgru.datasets.sunspots.load_data()
root = np.sqrt(numbers / 100).astype("float32")
x, y = np.lib.stride_tricks.sliding_window_view(root[:-1], 12)[..., np.newaxis], root[12:]

keras.utils.set_random_seed(1)
model = keras.Sequential([keras.Input((None, 1)), keras.layers.GRU(12), keras.layers.Dense(1)])
model.compile(keras.optimizers.Adam(0.005), "mse")
model.fit(x[:209], y[:209], epochs=100, verbose=0)
model.save(folder / "sunspots.keras")
np.save(folder / "keras_forecast.npy", model.predict(x, verbose=0))
