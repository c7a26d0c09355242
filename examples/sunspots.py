import numpy as np

import cgru

cgru.utils.set_random_seed(1)
years, numbers = cgru.datasets.sunspots.load_data()
root = np.sqrt(numbers / 100)  # evens out small and large cycles
x, y = np.lib.stride_tricks.sliding_window_view(root[:-1], 12)[..., np.newaxis], root[12:]
model = cgru.Sequential([cgru.layers.GRU(16), cgru.layers.Dense(1)])
model.compile(cgru.optimizers.Adam(0.005), loss="mse")
model.fit(x[:209], y[:209], epochs=150)  # the years to 1920
forecast = 100 * model.predict(x)[:, 0] ** 2  # for 1712 to 2008, each from the 12 years before
