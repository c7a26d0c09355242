"""Forecast a series some steps ahead from a window of its past."""

import keras
import numpy as np

keras.utils.set_random_seed(1)
time = np.arange(3000)
series = np.sin(time / 20) + 0.5 * np.sin(time / 7) + 0.1 * np.random.randn(3000)
features = np.stack([series, np.cos(time / 20)], axis=1).astype("float32")
split, past, future = 2000, 60, 10

mean, std = features[:split].mean(axis=0), features[:split].std(axis=0)
features = (features - mean) / std


def windows(first, last):
    return keras.utils.timeseries_dataset_from_array(
        features[first:last],
        features[first + past + future : last, 0],
        sequence_length=past,
        sampling_rate=2,
        batch_size=64,
    )


train, valid = windows(0, split), windows(split, 3000)
for batch in train:
    inputs, targets = batch
    break
print("input", inputs.shape, "target", targets.shape)

inputs = keras.layers.Input(shape=(inputs.shape[1], inputs.shape[2]))
outputs = keras.layers.Dense(1)(keras.layers.GRU(16)(inputs))
model = keras.Model(inputs=inputs, outputs=outputs)
model.compile(optimizer=keras.optimizers.Adam(learning_rate=0.005), loss="mse")
model.summary()

history = model.fit(
    train,
    epochs=4,
    validation_data=valid,
    verbose=0,
    callbacks=[
        keras.callbacks.EarlyStopping(monitor="val_loss", min_delta=0, patience=3),
        keras.callbacks.ReduceLROnPlateau(monitor="val_loss", patience=2),
    ],
)
print("validation loss", history.history["val_loss"][-1])
assert history.history["val_loss"][-1] < 0.2
