"""
A live stream
=============

A sensor sends a number every second, and you want to know at once whether it is odd. Reading the
last minutes again for each new number would be a waste: a recurrent network has all it needs in its
state. ``model.stream()`` carries that state, reads one time step at a time, and returns after each
what ``predict`` returns for the whole sequence so far, bit for bit.

Here a small GRU learns how a pump sounds when it is healthy, listens to it live, and raises the
alarm.
"""

import tempfile
import time

import matplotlib.pyplot as plt
import numpy as np

import cgru

plt.style.use("tableau-colorblind10")  # colours that everybody can tell apart
# sphinx_gallery_thumbnail_number = 2
cgru.utils.set_random_seed(1)
rng = np.random.default_rng(1)

# %%
# A pump
# ------
# Its vibration is a beat whose speed wanders, with a harmonic and noise. We make it up, so that we
# know when it breaks: from second 1200 on, the harmonic fades slowly.


def pump(seconds, breaks=None):
    """The vibration, one number a second."""
    t = np.arange(seconds)
    phase = np.cumsum(0.35 + 0.05 * np.sin(t / 90 + rng.uniform(0, 6)))
    harmonic = np.full(seconds, 0.6)
    if breaks is not None:
        harmonic[breaks:] *= np.exp(-np.arange(seconds - breaks) / 150)
    clean = np.sin(phase) + harmonic * np.sin(2 * phase + 1)
    return (clean + 0.1 * rng.standard_normal(seconds)).astype("float32")


healthy = np.stack([pump(400) for _ in range(32)])
signal = pump(1800, breaks=1200)

figure, axes = plt.subplots(2, 1, figsize=(5, 3.4), sharey=True, layout="constrained")
for ax, start, title in zip(axes, (1000, 1500), ("healthy", "broken"), strict=True):
    ax.plot(np.arange(start, start + 100), signal[start : start + 100])
    ax.set(title=title, ylabel="vibration")
axes[1].set_xlabel("second")
plt.show()

# %%
# Learn what is normal
# --------------------
# The model forecasts the next number after each second. It is trained on whole sequences, as usual.

model = cgru.Sequential(
    [
        cgru.Input((None, 1)),
        cgru.layers.GRU(24, return_sequences=True, name="gru"),
        cgru.layers.Dense(1),
    ]
)
model.compile(cgru.optimizers.Adam(0.01), "mse")
x, y = healthy[:, :-1, np.newaxis], healthy[:, 1:, np.newaxis]
model.fit(x, y, batch_size=8, epochs=60)
loss = model.evaluate(x, y)
print(f"typical error of a forecast: {np.sqrt(loss):.3f}")

# %%
# Listen
# ------
# A stream is given one step, [batch, features], as it comes. Each forecast is compared with the
# number that then arrives, and the squares of the errors are averaged, each new one with a weight
# of 1/60, so that those of the last minute or so count most. The alarm goes when that average is
# twice what is normal.

stream = model.stream(batch_size=1)
forecasts, levels, nanoseconds = [], [], []
level, alarm = loss, None
for second, value in enumerate(signal):
    if forecasts:
        level += ((value - forecasts[-1]) ** 2 - level) / 60
        if alarm is None and level > 2 * loss:
            alarm = second
    levels.append(level)
    start = time.perf_counter_ns()
    forecast = stream.step([[value]])
    nanoseconds.append(time.perf_counter_ns() - start)
    forecasts.append(forecast[0, 0])
print(f"alarm {alarm - 1200} seconds after the fault began")

figure, ax = plt.subplots(figsize=(5, 3), layout="constrained")
ax.plot(np.divide(levels, loss), "C0")
ax.axhline(2, color="C3", ls="--", label="alarm above this")
ax.axvline(1200, color="C1", ls=":", lw=2, label="the fault begins")
ax.set(xlabel="second", ylabel="mean square error / normal", ylim=(0, None))
ax.legend(loc="upper left")
plt.show()

# %%
# The same as predict, bit for bit
# --------------------------------
# ``predict`` reads the whole signal at once, with the kernel made for that. Not one bit differs:

whole = model.predict(signal[np.newaxis, :, np.newaxis])[0, :, 0]
assert np.array_equal(forecasts, whole)
print(f"{np.count_nonzero(forecasts != whole)} of {len(whole)} forecasts differ")

# %%
# So what you tested offline is what runs live. (There is one exception: ``CGRU_ISA=blas``. BLAS
# sums in another order for other sizes.)
#
# How long does a step take?
# --------------------------
# Each step above was timed, and does the same work, however long the stream has run. Beside it:
# what it takes to read the last 100 seconds anew.

again = []
for second in range(100, 600):
    window = signal[np.newaxis, second - 100 : second, np.newaxis]
    start = time.perf_counter_ns()
    model.predict(window)
    again.append(time.perf_counter_ns() - start)

step, window = np.array(nanoseconds) / 1000, np.array(again) / 1000
for name, values in (("a step of the stream", step), ("predict, 100 steps", window)):
    median, late = np.percentile(values, [50, 99])
    print(f"{name}: median {median:.1f} us,")
    print(f"    99 of 100 below {late:.1f} us")

figure, ax = plt.subplots(figsize=(5, 3), layout="constrained")
bins = np.geomspace(min(step.min(), window.min()), max(step.max(), window.max()), 60)
for values, color, hatch, name in (
    (step, "C0", "", "a step of the stream"),
    (window, "C1", "//", "predict, last 100 steps"),
):
    weights = np.full(len(values), 100 / len(values))
    ax.hist(values, bins, weights=weights, color=color, hatch=hatch, alpha=0.8, label=name)
ax.set(xscale="log", xlabel="microseconds", ylabel="% of the calls")
ax.legend()
plt.show()

# %%
# Stop, and go on
# ---------------
# The state is all that the stream knows: a few numbers for each recurrent layer, by name. Keep them
# with the model, and another process goes on where this one stopped, even in the middle of a fault:

stream.reset()
stream.run(signal[np.newaxis, :1300, np.newaxis])  # many steps in one call
with tempfile.TemporaryDirectory() as folder:
    model.save(f"{folder}/pump")
    np.savez(f"{folder}/state.npz", gru=stream.state["gru"][0])

    # In the other process, perhaps tomorrow:
    later = cgru.load_model(f"{folder}/pump").stream()
    with np.load(f"{folder}/state.npz") as file:
        later.state = {"gru": [file["gru"]]}
rest = later.run(signal[np.newaxis, 1300:, np.newaxis])[0, :, 0]
assert np.array_equal(rest, whole[1300:])
print(f"a state of {stream.state['gru'][0].size} numbers,")
print(f"{len(rest)} forecasts as before")

# %%
# Several sensors
# ---------------
# One stream reads several signals side by side. When one of them begins anew, because its sensor
# was replaced, its row is reset, and the others go on:

several = model.stream(batch_size=3)
several.run(healthy[:3, :200, np.newaxis])
several.reset([False, True, False])
norms = np.linalg.norm(several.state["gru"][0], axis=1)
print("sizes of the states:", *(f"{norm:.2f}" for norm in norms))
assert (norms > 0).tolist() == [True, False, True]

# %%
# More: :doc:`/streaming`.
