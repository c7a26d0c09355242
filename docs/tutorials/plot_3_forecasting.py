"""
Forecasting a real series with quantiles
========================================

A forecast that is one number hides what matters most: how wrong it may be. Here a network forecasts
the sunspots of the next five years, and for each year gives three numbers: a low one, a middle and
a high one, chosen so that the truth should lie between the outer two in eight years out of ten.

On the way: a loss for quantiles, a split of the data that does not look into the future, two simple
forecasts to compare with, and a count of how often the truth was where we said.
"""

import matplotlib.pyplot as plt
import numpy as np

import cgru

# %%
# The data, and a split in time
# -----------------------------
# The yearly sunspot numbers come with cgru. Large cycles also vary more, so we work with square
# roots, which evens that out. Nothing is lost: the root of a quantile is the quantile of the root,
# so that we can square the forecasts in the end.

years, numbers = cgru.datasets.sunspots.load_data()
root = np.sqrt(numbers / 100)

# %%
# A sample is a window of twelve years, a whole solar cycle, and what it should forecast: the five
# years after it. `numpy.lib.stride_tricks.sliding_window_view` makes all of them without a
# copy.

past, ahead = 12, 5
windows = np.lib.stride_tricks.sliding_window_view
x = windows(root[:-ahead], past)[..., np.newaxis]  # [sample, year, 1]
y = windows(root[past:], ahead)  # [sample, year ahead]
now = years[past - 1 : -ahead]  # the last year that a window has seen
print("inputs", x.shape, "targets", y.shape)

# %%
# Neighbouring windows share most of their years. A random split would put windows in the test whose
# answers the network has seen in training, so we split by time, and no target lies on both sides:
# the first years are for training, the next ones to decide when to stop, the last ones are the
# test. Nothing below is chosen by looking at them.

train = now + ahead <= 1880
validate = (now >= 1880) & (now + ahead <= 1920)
test = now >= 1920
known = now + ahead <= 1920  # what may be used to fit anything
print(f"windows: {train.sum()} to train, {validate.sum()} to validate, {test.sum()} to test")

figure, ax = plt.subplots(figsize=(6.4, 2.6), layout="constrained")
ax.plot(years, numbers, color="0.3", linewidth=1)
parts = [(1700, 1880, "train", "#56B4E9"), (1880, 1920, "validate", "#F0E442")]
for first, last, name, color in [*parts, (1920, 2008, "test", "#CC79A7")]:
    ax.axvspan(first, last, color=color, alpha=0.25, linewidth=0)
    ax.text((first + last) / 2, 222, name, ha="center", va="top")
ax.set(xlabel="year", ylabel="sunspot number", xlim=(1700, 2008), ylim=(0, 225))
plt.show()

# %%
# A loss whose least value is at a quantile
# -----------------------------------------
# The mean squared error is least at the mean, the absolute error at the median. Tilt the absolute
# error, so that being too low costs q and being too high 1 - q, and it is least at the quantile q:
# that is the *pinball loss*.

errors = np.linspace(-1, 1, 201)
figure, ax = plt.subplots(figsize=(5, 2.6), layout="constrained")
for q, style in ((0.1, ":"), (0.5, "--"), (0.9, "-")):
    pinball = cgru.losses.Quantile([q])
    costs = [pinball([[error]], [[0.0]]) for error in errors]
    ax.plot(errors, costs, style, color="#0072B2", label=f"q = {q}")
ax.set(xlabel="truth minus forecast", ylabel="loss")
ax.legend(frameon=False)
plt.show()

# %%
# :class:`cgru.losses.Quantile` takes all quantiles at once. The last axis of what the model returns
# has a place for each of them: here 5 years by 3 quantiles, which a ``Reshape`` makes of 15
# numbers.

quantiles = [0.1, 0.5, 0.9]
loss = cgru.losses.Quantile(quantiles)


def forecaster(seed):
    """A network that was trained from one random start."""
    cgru.utils.set_random_seed(seed)
    model = cgru.Sequential(
        [
            cgru.Input((past, 1)),
            cgru.layers.GRU(16),
            cgru.layers.Dropout(0.2),
            cgru.layers.Dense(ahead * len(quantiles)),
            cgru.layers.Reshape((ahead, len(quantiles))),
        ]
    )
    model.compile(cgru.optimizers.Adam(0.005), loss)
    stop = cgru.callbacks.EarlyStopping(patience=40, restore_best_weights=True)
    held = (x[validate], y[validate])
    model.fit(x[train], y[train], epochs=400, validation_data=held, callbacks=[stop], verbose=0)
    return model


# %%
# So few data leave much to the luck of the random start. Seven networks, whose quantiles are
# averaged, are steadier than any one of them, and take no more than a moment to train.

models = [forecaster(seed) for seed in range(1, 8)]
print("parameters of each:", models[0].count_params())
gru = np.mean([model.predict(x) for model in models], axis=0)
gru = np.sort(gru, axis=-1)  # in case that two quantiles have crossed

# %%
# What a simple forecast can do
# -----------------------------
# A figure such as "the loss is 0.04" says nothing by itself. Two forecasts that take no network:
#
# - **persistence**: each of the next years will be like this one;
# - **AR(9)**: a weighted sum of the last nine years, by least squares for each year ahead. Such
#   sums, at first of two years, have been fitted to the sunspots since Yule 1927.
#
# Both give one number; the quantiles of their own errors in the years before 1920 make a band of
# it. (AR(9) was fitted to these years, so its band is a little too narrow.)


def with_band(forecast):
    """A forecast [sample, year ahead], with the quantiles of its errors around it."""
    band = np.quantile((y - forecast)[known], quantiles, axis=0).T
    return forecast[..., np.newaxis] + band


design = np.column_stack([np.ones(len(x)), x[:, -9:, 0]])
weights = np.linalg.lstsq(design[known], y[known], rcond=None)[0]
forecasts = {
    "persistence": with_band(np.repeat(x[:, -1], ahead, axis=1)),
    "AR(9)": with_band(design @ weights),
    "GRU": gru,
}

# %%
# The pinball loss over the test years, for each number of years ahead (less is better):

print("years ahead " + "".join(f"{k + 1:8}" for k in range(ahead)))
for name, forecast in forecasts.items():
    scores = [loss(y[test, k], forecast[test, k]) for k in range(ahead)]
    print(f"{name:12}" + "".join(f"{score:8.4f}" for score in scores))

# %%
# Compare the last two rows: a good linear forecast is hard to beat one year ahead, where the next
# year nearly is a weighted sum of the last ones. If a network has something to offer, it is in the
# years after. Without the other two rows, we would not know.
#
# Is the truth where we said?
# ---------------------------
# The band from the quantile 0.1 to 0.9 promises to hold the truth in 80 % of the years. Whether it
# does is called its *coverage*, and it is simply counted:


def coverage(forecast, k):
    """How often the truth was between the outer quantiles, k + 1 years ahead."""
    truth, (low, _, high) = y[test, k], forecast[test, k].T
    return np.mean((low <= truth) & (truth <= high))


covered = {name: [coverage(f, k) for k in range(ahead)] for name, f in forecasts.items()}
print("years ahead " + "".join(f"{k + 1:6}" for k in range(ahead)))
for name, shares in covered.items():
    print(f"{name:12}" + "".join(f"{share:6.0%}" for share in shares))

# %%
# A count of so few years is uncertain itself. If they were independent, two standard errors of it
# would be

spread = 2 * np.sqrt(0.8 * 0.2 / test.sum())
print(f"{spread:.0%}")

# %%
# (they are not, so it is more). The grey strip shows what that allows:

figure, ax = plt.subplots(figsize=(6.4, 3), layout="constrained")
ax.axhspan(0.8 - spread, 0.8 + spread, color="0.9", label="two standard errors")
ax.axhline(0.8, color="0.4", linewidth=1, label="promised")
looks = {"persistence": ("#E69F00", "s:"), "AR(9)": ("#009E73", "^--"), "GRU": ("#0072B2", "o-")}
for name, (color, style) in looks.items():
    ax.plot(np.arange(ahead) + 1, covered[name], style, color=color, label=name)
ax.set(xlabel="years ahead", ylabel="coverage", ylim=(0.3, 1), xticks=np.arange(ahead) + 1)
ax.legend(frameon=False, ncols=3, loc="lower center")
plt.show()

# %%
# The forecasts
# -------------
# One year ahead, over all the test years:

low, middle, high = 100 * np.maximum(gru[test, 0], 0).T ** 2  # as sunspot numbers
figure, ax = plt.subplots(figsize=(6.4, 3), layout="constrained")
ax.fill_between(
    now[test] + 1, low, high, color="#56B4E9", alpha=0.5, linewidth=0, label="80 % band"
)
ax.plot(now[test] + 1, middle, "--", color="#0072B2", label="middle")
ax.plot(now[test] + 1, 100 * y[test, 0] ** 2, ".-", color="0.2", linewidth=0.8, label="observed")
ax.set(xlabel="year", ylabel="sunspot number", title="Each year, as seen from the year before")
ax.legend(frameon=False, ncols=3)
plt.show()

# %%
# And as it would have been used: standing in one year, looking at the next five. The band widens
# where the past says less.

figure, axes = plt.subplots(1, 3, figsize=(6.4, 3), sharey=True, layout="constrained")
for ax, year in zip(axes, (1934, 1961, 1985), strict=True):
    sample = np.flatnonzero(now == year)[0]
    low, middle, high = 100 * np.maximum(gru[sample], 0).T ** 2
    seen, coming = np.arange(year - past + 1, year + 1), np.arange(year + 1, year + 1 + ahead)
    ax.plot(seen, 100 * x[sample, :, 0] ** 2, ".-", color="0.2", linewidth=0.8, label="seen")
    ax.fill_between(coming, low, high, color="#56B4E9", alpha=0.5, linewidth=0, label="80 % band")
    ax.plot(coming, middle, "--", color="#0072B2", label="middle")
    ax.plot(coming, 100 * y[sample] ** 2, "D", color="#D55E00", markersize=4, label="came")
    ax.set(xlabel="year", title=f"seen from {year}")
axes[0].set_ylabel("sunspot number")
axes[0].legend(frameon=False, fontsize="small")
plt.show()

# %%
# For your own series
# -------------------
# - Split by time, with no target on both sides of a border.
# - Put a simple forecast beside the network's, under the same rules.
# - Count the coverage, on data that nothing was chosen by.
# - More features are more numbers at each step: x of shape [sample, time, features].
