"""State dicts in damaged safetensors files: from_torch refuses them, or takes them whole.

Run by hand, where atheris is: ``python tests/fuzz/fuzz_torch.py -max_total_time=600``.
"""

import sys
import tempfile
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["cgru.saving"]):
    import numpy as np
    from safetensors.numpy import save

    import cgru
    from cgru.saving import LoadError, from_torch, to_torch

MODEL = cgru.Sequential(
    [
        cgru.Input((None,), dtype="int64"),
        cgru.layers.Embedding(3, 2, name="table"),
        cgru.layers.Bidirectional(cgru.layers.GRU(2, return_sequences=True), name="both"),
        cgru.layers.LSTM(2, return_sequences=True, name="lstm"),
        cgru.layers.SimpleRNN(2, return_sequences=True, name="rnn"),
        cgru.layers.GRU(2, name="gru"),
        cgru.layers.LayerNormalization(name="norm"),
        cgru.layers.Dense(1, name="dense"),
    ]
)
STATE = to_torch(MODEL)
NAMES = {
    "table": "table",
    "x.both": ["both"],
    "": "gru",
    "lstm": "lstm",
    "rnn": "rnn",
    "norm": "norm",
    "dense": "dense",
}
SHIFTED = to_torch(MODEL, names=NAMES)
PATH = Path(tempfile.mkdtemp()) / "state.safetensors"
DTYPES = ["float32", "float64", "float16", "int8", "uint64", "bool"]


def mutated(data, state):
    """The bytes of a file: other arrays, or other bytes, or both."""
    for _ in range(data.ConsumeIntInRange(0, 4)):
        name = data.PickValueInList(list(state) or ["new"])
        match data.ConsumeIntInRange(0, 4):
            case 0:
                state.pop(name, None)
            case 1:
                state[data.ConsumeUnicodeNoSurrogates(40)] = np.ones(2, "float32")
            case 2:
                state[f"{name.partition('.')[0]}.weight_ih_l{data.ConsumeInt(8)}"] = np.ones(2)
            case 3:
                shape = [data.ConsumeIntInRange(0, 5) for _ in range(data.ConsumeIntInRange(0, 4))]
                state[name] = np.ones(shape, data.PickValueInList(DTYPES))
            case _:
                state[name] = np.full_like(state.get(name, np.ones(1)), data.ConsumeFloat())
    content = bytearray(save(state))
    damage = data.ConsumeIntInRange(0, 5)
    if damage == 1:
        for _ in range(data.ConsumeIntInRange(1, 8)):
            content[data.ConsumeIntInRange(0, len(content) - 1)] = data.ConsumeIntInRange(0, 255)
    elif damage == 2:
        content = content[: data.ConsumeIntInRange(0, len(content))]
    elif damage == 3:
        content += data.ConsumeBytes(20)
    return bytes(content)


def one_input(raw):
    """Only LoadError or OSError, in less than a second of CPU time, and nothing is half done."""
    data = atheris.FuzzedDataProvider(raw)
    names, state = data.PickValueInList([(None, STATE), (NAMES, SHIFTED), (None, SHIFTED)])
    PATH.write_bytes(mutated(data, dict(state)) if data.ConsumeIntInRange(0, 20) else raw)
    before, start = MODEL.get_weights(), time.process_time()
    try:
        from_torch(PATH, MODEL, names=names)
    except (LoadError, OSError):
        assert all(map(np.array_equal, MODEL.get_weights(), before))
    else:
        assert all(np.isfinite(weight).all() for weight in MODEL.get_weights())
    assert time.process_time() - start < 1


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
