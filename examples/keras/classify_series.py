"""Classify series by convolutions over time."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(1)
time = np.linspace(0, 1, 80)
labels = np.random.randint(0, 3, 600)
phase = np.random.rand(600, 1)
x = np.sin(2 * np.pi * (time * (2 + labels[:, None] * 2) + phase)) + 0.3 * np.random.randn(600, 80)
x = x[:, :, None].astype("float32")


def make_model(input_shape):
    inputs = layers.Input(input_shape)
    h = inputs
    for _ in range(2):
        h = layers.Conv1D(filters=16, kernel_size=5, padding="same")(h)
        h = layers.BatchNormalization()(h)
        h = layers.ReLU()(h)
    h = layers.GlobalAveragePooling1D()(h)
    return keras.models.Model(inputs=inputs, outputs=layers.Dense(3, activation="softmax")(h))


model = make_model(x.shape[1:])
model.compile(
    optimizer=keras.optimizers.Adam(0.01),
    loss="sparse_categorical_crossentropy",
    metrics=["sparse_categorical_accuracy"],
)
history = model.fit(
    x[:500],
    labels[:500],
    batch_size=32,
    epochs=30,
    validation_split=0.2,
    verbose=0,
    callbacks=[
        keras.callbacks.ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=5, min_lr=1e-4),
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=15),
    ],
)
loss, accuracy = model.evaluate(x[500:], labels[500:], verbose=0)
print("test accuracy", accuracy)
assert accuracy > 0.8
