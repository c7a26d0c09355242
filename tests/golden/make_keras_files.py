"""Makes the files of Keras that tests/test_saving_keras.py loads: python make_keras_files.py."""

import os
import pathlib

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

HERE = pathlib.Path(__file__).parent
L = keras.layers


def sequential():
    return keras.Sequential(
        [
            keras.Input((None, 3)),
            L.Masking(),
            L.Bidirectional(L.GRU(4, return_sequences=True, dropout=0.1, reset_after=False)),
            L.TimeDistributed(L.Dense(4, activation="relu", kernel_regularizer="l2")),
            L.LayerNormalization(),
            L.Dropout(0.1),
            L.GRU(4, recurrent_activation="hard_sigmoid"),
            L.BatchNormalization(),
            L.Dense(2),
        ]
    )


def functional():
    tokens, other = keras.Input((None,), dtype="int32", name="tokens"), keras.Input((5, 3))
    embedded = L.Embedding(7, 3, mask_zero=True)(tokens)
    sequence, state = L.GRU(4, return_sequences=True, return_state=True)(embedded)
    shared = L.GRU(4)
    head = keras.Sequential([keras.Input((4,)), L.Dense(3, activation="tanh"), L.PReLU()])
    # The mask of the decoder's input is dropped, as Keras does for a call with a state.
    decoded = L.GRU(4)(L.Embedding(7, 4, mask_zero=True)(tokens), initial_state=state)
    parts = [head(shared(embedded)), head(shared(other)), head(decoded), head(state)]
    pooled = L.GlobalAveragePooling1D()(L.Conv1D(3, 2, padding="causal")(sequence))
    total = L.Concatenate()([L.Add()(parts), pooled])
    return keras.Model(
        [tokens, other], [L.Dense(1, name="a")(total), L.Dense(2, "softmax", name="b")(total)]
    )


def main():
    rng = np.random.default_rng(0)
    arrays = {}
    for name, make in {"sequential": sequential, "functional": functional}.items():
        model = make()
        for weight in model.weights:
            low = 0.5 if "variance" in weight.path else -0.8
            weight.assign(rng.uniform(low, 0.8, weight.shape))
        if name == "sequential":
            x = [rng.standard_normal((4, 5, 3)).astype("f4")]
            x[0][1, 3:] = 0
            y = [rng.standard_normal((4, 2)).astype("f4")]
            model.compile(keras.optimizers.Adam(0.01, amsgrad=True), "mse", metrics=["mae"])
        else:
            x = [rng.integers(0, 7, (4, 5)), rng.standard_normal((4, 5, 3)).astype("f4")]
            y = [rng.standard_normal((4, 1)).astype("f4"), np.eye(2)[[0, 1, 1, 0]]]
            model.compile(
                keras.optimizers.RMSprop(
                    keras.optimizers.schedules.ExponentialDecay(0.01, 2, 0.5), momentum=0.5
                ),
                ["mse", keras.losses.CategoricalCrossentropy(label_smoothing=0.1)],
                loss_weights=[1.0, 0.5],
            )
        one = {"x": x[0] if len(x) == 1 else x, "y": y[0] if len(y) == 1 else y}
        if name == "functional":
            for _ in range(2):
                model.train_on_batch(**one)
        model.save(HERE / f"keras_{name}.keras")
        model.save_weights(HERE / f"keras_{name}.weights.h5")
        predicted = model.predict(one["x"], verbose=0)
        arrays |= {f"{name}_x{i}": part for i, part in enumerate(x)}
        arrays |= {f"{name}_y{i}": part for i, part in enumerate(y)}
        predicted = predicted if isinstance(predicted, list) else [predicted]
        arrays |= {f"{name}_p{i}": part for i, part in enumerate(predicted)}
        if name == "functional":
            model.train_on_batch(**one)
            predicted = model.predict(one["x"], verbose=0)
            arrays |= {f"{name}_trained{i}": part for i, part in enumerate(predicted)}
    np.savez_compressed(HERE / "keras_files.npz", **arrays)


if __name__ == "__main__":
    main()
