"""Classify padded token sequences, with masks and in both directions."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(1)
vocabulary, length = 200, 30
texts = [np.random.randint(2, vocabulary, np.random.randint(5, 50)) for _ in range(800)]
x = keras.utils.pad_sequences(texts, maxlen=length, padding="post", truncating="post")
labels = np.array([int((text[:length] < 40).sum() * 5 > len(text[:length])) for text in texts])

# Recurrent, in both directions; what is padded is masked.
inputs = keras.Input(shape=(None,), dtype="int32")
h = layers.Embedding(vocabulary, 16, mask_zero=True)(inputs)
h = layers.Bidirectional(layers.GRU(8, return_sequences=True))(h)
h = layers.Bidirectional(layers.GRU(8))(h)
outputs = layers.Dense(1, activation="sigmoid")(h)
model = keras.Model(inputs, outputs)
model.summary()
model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
model.fit(
    x[:600],
    labels[:600],
    batch_size=32,
    epochs=8,
    validation_data=(x[600:], labels[600:]),
    verbose=0,
)
recurrent = model.evaluate(x[600:], labels[600:], verbose=0)[1]

# Convolutional.
inputs = keras.Input(shape=(length,), dtype="int64")
h = layers.Embedding(vocabulary, 16)(inputs)
h = layers.Dropout(0.2)(h)
h = layers.Conv1D(32, 3, padding="valid", activation="relu", strides=2)(h)
h = layers.GlobalMaxPooling1D()(h)
h = layers.Dense(16, activation="relu")(h)
predictions = layers.Dense(1, activation="sigmoid", name="predictions")(layers.Dropout(0.2)(h))
model = keras.Model(inputs, predictions)
model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
model.fit(x[:600], labels[:600], epochs=8, verbose=0)
convolutional = model.evaluate(x[600:], labels[600:], verbose=0)[1]
print("accuracy: recurrent", recurrent, "convolutional", convolutional)
assert recurrent > 0.8
