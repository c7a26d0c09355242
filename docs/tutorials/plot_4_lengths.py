"""
Classifying sequences of different lengths
==========================================

Sentences, strokes of a pen, visits of a customer: hardly any real sequences are of one length.
Arrays are, so that shorter sequences are filled up with something: padding. A network must not take
the padding for data. Here it reads handwritten digits as lists of their dark points, from left to
right, and we check that padding changes nothing.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

import cgru

# %%
# Digits as sequences of points
# -----------------------------
# scikit-learn comes with small images of handwritten digits. We walk through each image column by
# column and write down every point that is dark enough: its height, its distance from the left, and
# how dark it is. A thin digit has few such points, a round one many.

images, labels = load_digits(return_X_y=True)
images = images.reshape(-1, 8, 8) / 16


def points(image):
    """The dark points of an image, from left to right: [point, (height, left, darkness)]."""
    left, row = np.nonzero(image.T > 0.25)
    return np.column_stack([1 - row / 7, left / 7, image[row, left]]).astype(np.float32)


sequences = [points(image) for image in images]
lengths = np.array([len(sequence) for sequence in sequences])
print(f"{len(sequences)} sequences of {lengths.min()} to {lengths.max()} points")

figure, axes = plt.subplots(1, 5, figsize=(6.4, 2), layout="constrained")
for ax, sample in zip(axes, (0, 1, 2, 3, 4), strict=True):
    height, left, _ = sequences[sample].T
    ax.imshow(images[sample], cmap="Greys", extent=(-1 / 14, 15 / 14, -1 / 14, 15 / 14), alpha=0.4)
    dots = ax.scatter(left, height, c=np.arange(len(left)), cmap="viridis", s=14)
    ax.set_title(f"a {labels[sample]}: {len(left)} points", fontsize="medium")
    ax.set_axis_off()
figure.colorbar(dots, ax=axes, ticks=[], label="order of reading", pad=0.01)
plt.show()

# %%
# Training: a list is enough
# --------------------------
# One quarter is kept for the test, with the same share of each digit. ``fit`` takes a list of
# arrays of different lengths as it is. It forms batches of similar lengths, pads them, and tells
# every layer which steps are real.

train, test = train_test_split(
    np.arange(len(labels)), test_size=0.25, stratify=labels, random_state=1
)
x_train, x_test = [sequences[i] for i in train], [sequences[i] for i in test]
y_train, y_test = labels[train], labels[test]

cgru.utils.set_random_seed(1)
epochs = 60
model = cgru.Sequential(
    [
        cgru.Input((None, 3)),  # None: any number of points
        cgru.layers.GRU(64, name="reader"),
        cgru.layers.Dropout(0.3),
        cgru.layers.Dense(10, "softmax"),
    ]
)
steps = epochs * -(-len(train) // 32)
rate = cgru.optimizers.schedules.CosineDecay(0.005, steps)
model.compile(cgru.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x_train, y_train, epochs=epochs, verbose=0)
accuracy = model.evaluate(x_test, y_test, return_dict=True)["accuracy"]
print(f"right in the test: {accuracy:.1%}")

figure, ax = plt.subplots(figsize=(5, 2.6), layout="constrained")
ax.plot(history.epoch, history.history["loss"], color="#0072B2")
ax.set(xlabel="epoch", ylabel="cross-entropy in training", yscale="log")
plt.show()

# %%
# Is that good?
# -------------
# The nearest neighbour is a simple rule with which to compare: a digit is what the most similar one
# in the training data is. It needs arrays of one shape, which is where padding begins to hurt: in
# the padded array the n-th point of one digit is compared with the n-th of another, and one point
# more at the start shifts all the rest. Given the image it is excellent, but then it is told where
# each pixel belongs. And the number of points alone says little.

padded = cgru.utils.pad_sequences(sequences, dtype="float32", padding="post")
print("padded to", padded.shape)


def nearest(name, inputs):
    """The share of the test that the nearest neighbour gets right."""
    inputs = inputs.reshape(len(labels), -1)
    rule = KNeighborsClassifier(1).fit(inputs[train], y_train)
    print(f"{name:38} {rule.score(inputs[test], y_test):.1%}")


print(f"{'GRU, points one by one':38} {accuracy:.1%}")
nearest("nearest neighbour, padded points", padded)
nearest("nearest neighbour, number of points", lengths)
nearest("nearest neighbour, image", images)

# %%
# Padding changes nothing
# -----------------------
# The same sequences, in four ways: each alone, as a list, in a padded array with ``lengths``, and
# the same with NaN as the padding, which would spoil every number that it touched.

alone = np.concatenate([model.predict(sequence[np.newaxis]) for sequence in x_test])
listed = model.predict(x_test)
with_lengths = model.predict(padded[test], lengths=lengths[test])
poisoned = cgru.utils.pad_sequences(x_test, dtype="float32", padding="post", value=np.nan)
with_nan = model.predict(poisoned, lengths=lengths[test])
for name, other in (("a list", listed), ("lengths", with_lengths), ("NaN", with_nan)):
    print(f"{name:8} equal bit for bit to each alone: {np.array_equal(alone, other)}")
    assert np.array_equal(alone, other)

# %%
# Where the data cannot say how long they are, a ``Masking`` layer recognises the padding by its
# value: a step at which all features have it is skipped. Here it is -1, which no real point has.
# Padding may then be in front as well.

masked = cgru.Sequential(
    [
        cgru.Input((None, 3)),
        cgru.layers.Masking(-1.0),
        cgru.layers.GRU(64),
        cgru.layers.Dropout(0.3),
        cgru.layers.Dense(10, "softmax"),
    ]
)
masked.set_weights(model.get_weights())
for side in ("post", "pre"):
    filled = cgru.utils.pad_sequences(x_test, dtype="float32", padding=side, value=-1.0)
    assert np.array_equal(masked.predict(filled), alone)
    print(f"Masking, padding {side:4} equal bit for bit: True")

# %%
# What happens if one forgets
# ---------------------------
# Without lengths and without a mask the padding is read as more points. The network goes on
# rewriting its state, and forgets what it has read. We append more and more zeros:

extra = np.array([0, 1, 2, 4, 8, 16, 32])
as_data, as_padding = [], []
for more in extra:
    longer = np.pad(padded[test], ((0, 0), (0, more), (0, 0)))
    as_data.append(np.mean(model.predict(longer).argmax(axis=1) == y_test))
    found = model.predict(longer, lengths=lengths[test]).argmax(axis=1)
    as_padding.append(np.mean(found == y_test))

figure, ax = plt.subplots(figsize=(6.4, 3), layout="constrained")
ax.plot(extra, as_padding, "o-", color="#0072B2", label="with lengths: skipped")
ax.plot(extra, as_data, "s--", color="#D55E00", label="without: read as data")
ax.set(xlabel="zeros beyond the longest sequence", ylabel="right in the test", ylim=(0, 1))
ax.legend(frameon=False, loc="center right")
plt.show()
print("with lengths:", " ".join(f"{share:.0%}" for share in as_padding))
print("without:     ", " ".join(f"{share:.0%}" for share in as_data))
assert len(set(as_padding)) == 1

# %%
# When does it know?
# ------------------
# A sequence also tells when the decision falls. A stream reads point by point and gives the
# probabilities after each: the network's mind, as the reading moves to the right.

figure, axes = plt.subplots(1, 3, figsize=(6.4, 3), sharey=True, layout="constrained")
for ax, digit in zip(axes, (1, 4, 9), strict=True):
    sample = np.flatnonzero(y_test == digit)[0]
    probability = model.stream().run(x_test[sample][np.newaxis])[0]  # [point, digit]
    others = np.delete(probability, digit, axis=1).max(axis=1)
    ax.plot(1 + np.arange(len(others)), probability[:, digit], color="#0072B2", label="the truth")
    ax.plot(1 + np.arange(len(others)), others, "--", color="#D55E00", label="the best other digit")
    ax.set(xlabel="points read", title=f"a {digit}")
axes[0].set_ylabel("probability")
axes[0].legend(frameon=False, fontsize="small")
plt.show()
