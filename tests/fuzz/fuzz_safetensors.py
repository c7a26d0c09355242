"""Files in cgru's own format: `python tests/fuzz/fuzz_safetensors.py -max_total_time=600`.

Needs atheris (`pip install atheris`).
"""

import json
import tempfile
from pathlib import Path

import common
import numpy as np

import cgru
from cgru import layers


def models():
    """Small models that between them have all there is in a file."""
    x = cgru.Input((None, 2), name="x")
    gru, state = layers.GRU(2, return_state=True, return_sequences=True)(x)
    y = layers.GRU(2)(gru, initial_state=state)
    both = layers.Concatenate()([y, layers.GlobalMaxPooling1D()(x)])
    yield cgru.Model(x, {"a": layers.Dense(1)(both), "b": layers.Dense(1)(y)})
    yield cgru.Sequential(
        [
            cgru.Input((3,), dtype="int64"),
            layers.Embedding(4, 2, mask_zero=True),
            layers.Bidirectional(layers.GRU(1, dropout=0.1, kernel_regularizer="l2")),
            layers.BatchNormalization(),
            cgru.Sequential([cgru.Input((2,)), layers.Dense(2, "relu")]),
        ]
    )
    yield cgru.Sequential([cgru.Input(batch_shape=(1, 2, 1)), layers.GRU(1, stateful=True)])
    yield cgru.Sequential(
        [
            cgru.Input(batch_shape=(1, 2, 1)),
            layers.Bidirectional(layers.SimpleRNN(1, return_sequences=True)),
            layers.LSTM(2, stateful=True),
            layers.Dense(1),
        ]
    )


def seeds():
    rng = np.random.default_rng(0)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for i, model in enumerate(models()):
            schedule = cgru.optimizers.schedules.CosineDecay(0.1, 5)
            model.compile(
                cgru.optimizers.Adam(schedule, use_ema=True),
                "mse",
                metrics=None if i == 0 else [cgru.metrics.AUC(5), "mae"],
            )
            path = Path(folder, f"model{i}")
            checkpoint = cgru.callbacks.ModelCheckpoint(path)
            if i == 0:
                model.save(path)
            else:
                x = rng.integers(0, 4, (2, 3)) if i == 1 else rng.standard_normal((1, 2, 1))
                y = np.zeros((len(x), *model.output_shape[1:]))
                model.fit(x, y, len(x), callbacks=[checkpoint])
            found[path.name] = path.read_bytes()
    return found


def mutate(data, random):
    """Edit a note, the header, or a number."""
    size = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + size])
        notes = header["__metadata__"]
        if random.random() < 0.75:
            key = random.choice(sorted(notes))
            note = json.loads(notes[key])
            for _ in range(random.choice([1, 1, 1, 2, 4])):
                note = common.edited_json(note, random)
            notes[key] = json.dumps(note)
        else:
            header = common.edited_json(header, random)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError):
        return data[: random.randrange(len(data) + 1)]
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


if __name__ == "__main__":
    common.run(cgru.load_model, seeds(), mutate)
