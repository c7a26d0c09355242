"""Learn to add two numbers, read and written a character at a time."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(1)
DIGITS = 1
MAXLEN = DIGITS + 1 + DIGITS
chars = "0123456789+ "
table = {char: place for place, char in enumerate(chars)}


def encode(text, rows):
    x = np.zeros((rows, len(chars)), "float32")
    for place, char in enumerate(text):
        x[place, table[char]] = 1
    return x


pairs = [(a, b) for a in range(10) for b in range(10)] * 20
np.random.shuffle(pairs)
x = np.array([encode(f"{a}+{b}".ljust(MAXLEN)[::-1], MAXLEN) for a, b in pairs])
y = np.array([encode(str(a + b).ljust(DIGITS + 1), DIGITS + 1) for a, b in pairs])

model = keras.Sequential()
model.add(layers.Input((MAXLEN, len(chars))))
model.add(layers.GRU(64))
model.add(layers.RepeatVector(DIGITS + 1))
for _ in range(1):
    model.add(layers.GRU(64, return_sequences=True))
model.add(layers.Dense(len(chars), activation="softmax"))
model.compile(
    loss="categorical_crossentropy", optimizer=keras.optimizers.Adam(0.01), metrics=["accuracy"]
)
model.summary()
model.fit(
    x[:1800], y[:1800], batch_size=32, epochs=12, validation_data=(x[1800:], y[1800:]), verbose=0
)
right = (model.predict(x[1800:], verbose=0).argmax(-1) == y[1800:].argmax(-1)).all(axis=1).mean()
print("right sums", right)
assert right > 0.7
