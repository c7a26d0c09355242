"""Classify texts by recurrent layers in both directions."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(1)
max_features = 20000  # Only consider the top 20k words
maxlen = 200  # Only consider the first 200 words of each review


def reviews(count):
    """Words by number; some are said more often of what is good, others of what is bad."""
    labels = np.random.randint(0, 2, count)
    texts = []
    for label in labels:
        words = np.random.randint(100, max_features, np.random.randint(50, 300))
        places = np.random.rand(len(words)) < 0.2
        words[places] = np.random.randint(1, 40, places.sum()) + 40 * label
        texts.append(words.tolist())
    return texts, labels


x_train, y_train = reviews(320)
x_val, y_val = reviews(64)
x_train = keras.utils.pad_sequences(x_train, maxlen=maxlen)
x_val = keras.utils.pad_sequences(x_val, maxlen=maxlen)
print(x_train.shape, "training sequences", x_val.shape, "validation sequences")

# Input for variable-length sequences of integers
inputs = keras.Input(shape=(None,), dtype="int32")
# Embed each integer in a 128-dimensional vector
x = layers.Embedding(max_features, 128)(inputs)
# Add 2 bidirectional GRUs
x = layers.Bidirectional(layers.GRU(64, return_sequences=True))(x)
x = layers.Bidirectional(layers.GRU(64))(x)
# Add a classifier
outputs = layers.Dense(1, activation="sigmoid")(x)
model = keras.Model(inputs, outputs)
model.summary()

model.compile(
    optimizer=keras.optimizers.Adam(0.003), loss="binary_crossentropy", metrics=["accuracy"]
)
history = model.fit(
    x_train, y_train, batch_size=32, epochs=2, validation_data=(x_val, y_val), verbose=0
)
print("validation accuracy", history.history["val_accuracy"][-1])
assert history.history["val_accuracy"][-1] > 0.8
