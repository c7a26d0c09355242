"""
Writing text a character at a time
==================================

A network that has learned which character comes next can write: it draws a character from its
probabilities, reads it, and goes on. What it has learned can be measured, too: in bits for each
character of a text that it has never seen.

The text comes with Python itself: the topics of its help. It is what ``help("for")`` shows.
"""

import pydoc_data.topics
import textwrap
from collections import Counter, defaultdict

import matplotlib.pyplot as plt
import numpy as np

import cgru

# %%
# The text
# --------
# Every tenth topic is kept aside, to measure with. Each character is a number; number 0 is for any
# that the training text does not have.

topics = list(pydoc_data.topics.topics.values())
held = [topic[:3000] for topic in topics[::10]]
text = "".join(topic for i, topic in enumerate(topics) if i % 10)
alphabet = ["\ufffd", *sorted(set(text))]
number = {character: i for i, character in enumerate(alphabet)}
print(f"{len(text)} characters to train on, {sum(map(len, held))} to measure with")
print(f"{len(alphabet)} different ones: {''.join(alphabet[33:60])} ...")


def encode(string):
    """The numbers of characters."""
    return np.array([number.get(character, 0) for character in string])


# %%
# What counting can do
# --------------------
# To judge the network, we first count: how often did each character follow the last n - 1? Such an
# *n-gram* model has been the thing to beat since Shannon 1948. Where the context is rare, it is
# mixed with that of a shorter one, in proportion to how often something new came (Witten and Bell
# 1991).


class NGrams:
    """Probabilities of the next character, given the n - 1 before it."""

    def __init__(self, n):
        self.counts = [defaultdict(Counter) for _ in range(n)]
        for size, counts in enumerate(self.counts):
            for i in range(size, len(text)):
                counts[text[i - size : i]][text[i]] += 1

    def probability(self, before, character):
        p = 1 / len(alphabet)
        for size, counts in enumerate(self.counts):
            seen = counts.get(before[len(before) - size :])
            if size > len(before) or not seen:
                break
            p = (seen[character] + len(seen) * p) / (seen.total() + len(seen))
        return p

    def bits(self, string):
        """How surprising each character of a text is, but for the first one."""
        longest = len(self.counts) - 1
        places = range(1, len(string))
        p = [self.probability(string[max(0, i - longest) : i], string[i]) for i in places]
        return -np.log2(p)


# %%
# A character that was given the probability p costs -log2 p bits: that is how long it would be in a
# file compressed with these probabilities.

orders = range(1, 7)
counted = {n: np.concatenate([NGrams(n).bits(topic) for topic in held]).mean() for n in orders}
for n, bits in counted.items():
    print(f"{n}-grams: {bits:.3f} bits per character")

# %%
# More context helps, until there is too little text to count it in.
#
# The network
# -----------
# An ``Embedding`` gives each character a vector, the GRU reads them and keeps what it needs to
# know, and a ``Dense`` layer says at every step how probable each next character is. The text is
# cut into pieces; the target of a piece is the piece, one character on.

cgru.utils.set_random_seed(1)
size, batch, epochs = 50, 32, 4
numbers = encode(text)
count = (len(numbers) - 1) // size
x = numbers[: count * size].reshape(count, size)
y = numbers[1 : count * size + 1].reshape(count, size)

model = cgru.Sequential(
    [
        cgru.Input((None,), dtype="int32"),
        cgru.layers.Embedding(len(alphabet), 32),
        cgru.layers.GRU(128, return_sequences=True),
        cgru.layers.Dense(len(alphabet), "softmax"),
    ]
)
rate = cgru.optimizers.schedules.CosineDecay(0.01, epochs * -(-count // batch))
model.compile(
    cgru.optimizers.Adam(rate, global_clipnorm=1.0), loss="sparse_categorical_crossentropy"
)
history = model.fit(x, y, batch_size=batch, epochs=epochs, verbose=0)
for epoch, loss in enumerate(history.history["loss"]):
    print(f"epoch {epoch + 1}: {loss / np.log(2):.3f} bits per character in training")

# %%
# The loss is in natural units; divided by log 2 it is in bits. Now the topics that were kept aside,
# each read from its beginning to its end:


def surprise(string):
    """The bits of each character of a text, but for the first one."""
    code = encode(string)
    p = model.predict(code[np.newaxis, :-1])[0]  # [character, alphabet]
    return -np.log2(p[np.arange(len(p)), code[1:]])


network = np.concatenate([surprise(topic) for topic in held]).mean()
print(f"GRU:          {network:.3f} bits per character")
print(f"best n-grams: {min(counted.values()):.3f}")

figure, ax = plt.subplots(figsize=(6.4, 3), layout="constrained")
ax.bar(list(counted), list(counted.values()), color="#56B4E9", label="counted")
ax.axhline(network, color="#D55E00", linestyle="--", label="GRU")
ax.axhline(np.log2(len(alphabet)), color="0.5", linestyle=":", label="knowing nothing")
ax.set(xlabel="n: characters of context, and the next one", ylabel="bits per character")
ax.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.9))
plt.show()

# %%
# Where it is surprised
# ---------------------
# Bits for each character of a piece of a topic that it has not seen. The beginnings of words are
# hard to foresee; once begun, most words go on as they must.

first = max(0, held[0].find(" ", 200) + 1)
piece = held[0][first : first + 54]
bits = surprise(held[0])[first - 1 : first + 53]
figure, ax = plt.subplots(figsize=(6.4, 2.4), layout="constrained")
ax.bar(np.arange(len(piece)), bits, color=["#D55E00" if b > 3 else "#0072B2" for b in bits])
ax.set_xticks(np.arange(len(piece)), [c if c > " " else "" for c in piece], family="monospace")
ax.tick_params(axis="x", length=0)
ax.set(ylabel="bits", title="Surprise; orange: more than 3 bits", xlim=(-1, len(piece)))
plt.show()

# %%
# Writing
# -------
# A stream reads one character at a time, and keeps the state of the GRU in between. Each step gives
# the probabilities of the next character. Raised to the power 1 / *temperature* and made to sum to
# 1 again, they become sharper (below 1: the probable gets more probable) or flatter (above 1).


def heated(p, temperature):
    """Probabilities at another temperature."""
    p = np.exp(np.log(np.maximum(p.astype(np.float64), 1e-30)) / temperature)
    return p / p.sum()


def write(start, temperature, length=300, seed=1):
    """Go on with a text."""
    random = np.random.default_rng(seed)
    stream = model.stream()
    for code in encode(start):
        p = stream.step(np.array([code]))[0]
    written = start
    for _ in range(length):
        code = random.choice(len(alphabet), p=heated(p, temperature))
        written += alphabet[code]
        p = stream.step(np.array([code]))[0]
    return written


stream = model.stream()
for code in encode("The for statement "):
    p = stream.step(np.array([code]))[0]
likely = np.argsort(-p)[:8]
figure, ax = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
colors = {0.3: "#0072B2", 1.0: "#56B4E9", 2.0: "#E69F00"}
for place, (temperature, color) in enumerate(colors.items()):
    heights = heated(p, temperature)[likely]
    ax.bar(np.arange(8) + 0.27 * (place - 1), heights, 0.25, color=color, label=f"{temperature}")
ax.set_xticks(np.arange(8), [repr(alphabet[code]) for code in likely], family="monospace")
ax.set(title="What follows “The for statement ”", ylabel="probability")
ax.legend(frameon=False, title="temperature")
plt.show()

# %%
# Cautious, it repeats itself; as it has learned, it sounds like the manual; too hot, it loses its
# spelling. After so short a training it knows words and the look of the page, and no Python.

for temperature in (0.3, 0.8, 1.3):
    written = write("The statement", temperature)
    print(f"---- temperature {temperature} ----")
    print(textwrap.fill(written, 72, replace_whitespace=False), "\n")

# %%
# More text, more units and more epochs make it better; this page is to be built in a minute or so.
# What a stream is otherwise good for is in :doc:`/streaming`.
