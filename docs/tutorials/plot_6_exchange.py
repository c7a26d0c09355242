"""
From Keras or PyTorch and back
==============================

You have a network that somebody trained in Keras or PyTorch, and want to run it, or train it on,
where neither is installed. Or the other way round. Here two such networks arrive, are compared with
what they forecast at home, learn something new, and go back; and one leaves as ONNX for a program
that has no Python at all.

Neither Keras nor PyTorch is imported on this page. Files of Keras need h5py (``pip install
'cgru[keras]'``), ONNX needs onnx (``pip install 'cgru[onnx]'``); files of PyTorch need nothing
more.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import safetensors.numpy
from onnx.reference import ReferenceEvaluator

import cgru

plt.style.use("tableau-colorblind10")  # colours that everybody can tell apart
cgru.utils.set_random_seed(1)
files = Path("../exchange")  # beside this script's folder in the repository
for path in sorted(files.glob("sunspots.*")):
    print(f"{path.name:21} {path.stat().st_size:6,} bytes")

# %%
# Both networks read the square roots of the yearly sunspot numbers of twelve years, and forecast
# that of the thirteenth. They were trained on the years to 1920.

years, numbers = cgru.datasets.sunspots.load_data()
root = np.sqrt(numbers / 100)
x = np.lib.stride_tricks.sliding_window_view(root[:-1], 12)[..., np.newaxis]
y = root[12:]
print("x", x.shape, "y", y.shape)

# %%
# A model of Keras
# ----------------
# Keras wrote ``sunspots.keras`` with this script, and what it forecasts beside it, so that there is
# something to compare with:
#
# .. literalinclude:: ../exchange/with_keras.py
#    :start-at: keras.utils.set_random_seed
#
# The file holds the layers, the weights, and what ``compile`` was given. One call makes a model of
# them. Nothing in the file is run.

model = cgru.load_model(files / "sunspots.keras")
model.summary()
print(f"optimizer: {model.optimizer.name}, after {model.optimizer.iterations} steps")

# %%
# Does it forecast here what it forecast there? To rounding: float32 has about seven digits.

from_keras = model.predict(x)
at_home = np.load(files / "keras_forecast.npy")
difference = abs(from_keras - at_home).max()
print(f"largest difference from Keras: {difference:.1e}")
assert difference < 1e-5

# %%
# It is a model like any other: here it learns the years to 1955 as well, and Adam goes on from
# where it was in Keras, moments included. The years after are new to it.

new = years[12:] > 1955
print("mean squared error after 1955:")
print(f"{model.evaluate(x[new], y[new]):.4f}  as it came")
model.fit(x[~new], y[~new], epochs=50)
print(f"{model.evaluate(x[new], y[new]):.4f}  trained to 1955")

# %%
# And back: the suffix ``.keras`` writes a file that ``keras.saving.load_model`` opens. What was
# saved is what comes back.

folder = tempfile.TemporaryDirectory()
model.save(f"{folder.name}/longer.keras")
again = cgru.load_model(f"{folder.name}/longer.keras")
assert np.array_equal(again.predict(x), model.predict(x))
print(f"in the file: {again.optimizer.name}, after {again.optimizer.iterations} steps")

# %%
# A module of PyTorch
# -------------------
# A file of PyTorch's weights knows their names, and not what ``forward`` does with them. So you
# need the class that they belong to. This is the one that wrote ``sunspots.safetensors``, by
# ``safetensors.torch.save_file(net.state_dict(), ...)``:
#
# .. literalinclude:: ../exchange/with_torch.py
#    :pyobject: Forecaster
#
# What the file says:

stored = safetensors.numpy.load_file(files / "sunspots.safetensors")
for name, array in stored.items():
    print(f"{name:17} {array.shape}")

# %%
# Make the same network here. A module of two layers is two layers, all but the last returning
# sequences; ``names`` says which prefix is which.

twin = cgru.Sequential(
    [
        cgru.Input((None, 1)),
        cgru.layers.GRU(12, return_sequences=True, name="lower"),
        cgru.layers.GRU(12, name="upper"),
        cgru.layers.Dense(1, name="head"),
    ]
)
names = {"rnn": ["lower", "upper"], "head": "head"}
cgru.saving.from_torch(files / "sunspots.safetensors", twin, names=names)

from_torch = twin.predict(x)
at_home_too = np.load(files / "torch_forecast.npy")
difference = abs(from_torch - at_home_too).max()
print(f"largest difference from PyTorch: {difference:.1e}")
assert difference < 1e-5

# %%
# PyTorch has the gates in another order, and transposed; ``from_torch`` and ``to_torch`` see to it.
# (Where PyTorch is, ``cgru.saving.from_torch(module)`` makes the model of a GRU or an
# ``nn.Sequential`` without all this, and ``to_torch(model, module)`` loads the weights into one.)
#
# The way back gives the state dict that the file had, bit for bit:

state = cgru.saving.to_torch(twin, names=names)
assert state.keys() == stored.keys()
assert all(np.array_equal(state[name], stored[name]) for name in stored)
print(f"{len(state)} arrays, the same as in the file")

# %%
# What does not fit is an error that says what, and nothing is changed. The model from Keras has one
# recurrent layer, not two:

try:
    cgru.saving.from_torch(stored, model, names={"rnn": "gru", "head": "dense"})
except cgru.saving.MismatchError as error:
    print(error)

# %%
# The forecasts, as each framework made them, and as they were made here:

shown = years[12:] >= 1940
made = {"Keras": (at_home, from_keras), "PyTorch": (at_home_too, from_torch)}
options = {"sharex": True, "sharey": True, "layout": "constrained"}
figure, axes = plt.subplots(2, 1, figsize=(5, 5), **options)
for ax, (name, (there, here)) in zip(axes, made.items(), strict=True):
    year = years[12:][shown]
    ax.plot(year, numbers[12:][shown], color="0.6", lw=4, label="observed")
    ax.plot(year, 100 * there[shown, 0] ** 2, "C0", label=f"by {name}")
    ax.plot(year, 100 * here[shown, 0] ** 2, "C1o", ms=3, label="and here")
    ax.set(ylabel="sunspots", ylim=(0, 290))
    ax.legend(loc="upper right", ncols=2)
axes[1].set_xlabel("year")
plt.show()

# %%
# On, without Python: ONNX
# ------------------------
# A trained model can run in a phone, a browser or a C++ program, through ONNX Runtime and others.
# Its file has standard operators only. Here ONNX's own reference implementation runs it, slowly:

cgru.saving.export_onnx(twin, f"{folder.name}/sunspots.onnx")
runtime = ReferenceEvaluator(f"{folder.name}/sunspots.onnx")
(elsewhere,) = runtime.run(None, {runtime.input_names[0]: x.astype("float32")})
difference = abs(elsewhere - twin.predict(x)).max()
print(f"largest difference in ONNX: {difference:.1e}")
assert difference < 1e-5
folder.cleanup()

# %%
# More: :doc:`/keras`, :doc:`/torch`, :doc:`/onnx`.
