"""What Keras's pad_sequences and to_categorical give, into utils.json.

Run by hand, where Keras and JAX are: ``KERAS_BACKEND=jax python tests/golden/make_utils.py``.
"""

import itertools
import json
from pathlib import Path

PATH = Path(__file__).with_name("utils.json")
SEQUENCES = [[1, 2, 3], [], [4], [5, 6, 7, 8, 9]]
PADDING = [
    {"maxlen": maxlen, "padding": padding, "truncating": truncating, "value": -1}
    for maxlen, padding, truncating in itertools.product(
        (None, 2, 7), ("pre", "post"), ("pre", "post")
    )
]
LABELS = [([0, 2, 1], None), ([[1], [3]], 5), ([[0, 1], [2, 2]], None)]


def main():
    import keras

    stored = {
        "padded": [keras.utils.pad_sequences(SEQUENCES, **case).tolist() for case in PADDING],
        "categorical": [keras.utils.to_categorical(x, n).tolist() for x, n in LABELS],
    }
    PATH.write_text(json.dumps(stored))


if __name__ == "__main__":
    main()
