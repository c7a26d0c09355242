"""A model of several inputs and outputs, by name."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(1)
title = keras.Input(shape=(None,), name="title")
tags = keras.Input(shape=(12,), name="tags")
h = layers.GRU(32)(layers.Embedding(100, 16)(title))
h = layers.concatenate([h, tags])
priority = layers.Dense(1, name="priority")(h)
department = layers.Dense(4, name="department")(h)
model = keras.Model(inputs=[title, tags], outputs={"priority": priority, "department": department})
model.compile(
    optimizer=keras.optimizers.RMSprop(1e-3),
    loss={
        "priority": keras.losses.BinaryCrossentropy(from_logits=True),
        "department": keras.losses.CategoricalCrossentropy(from_logits=True),
    },
    loss_weights={"priority": 1.0, "department": 0.2},
)
model.fit(
    {"title": np.random.randint(0, 100, (64, 10)), "tags": np.random.randint(2, size=(64, 12))},
    {
        "priority": np.random.randint(2, size=(64, 1)),
        "department": np.eye(4)[np.random.randint(4, size=64)],
    },
    epochs=2,
    batch_size=32,
    verbose=0,
)
found = model.predict({"title": np.ones((3, 5)), "tags": np.zeros((3, 12))}, verbose=0)
assert found["priority"].shape == (3, 1)
assert found["department"].shape == (3, 4)
