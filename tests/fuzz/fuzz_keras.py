"""Feeds spoilt files of Keras to cgru: python tests/fuzz/fuzz_keras.py -max_total_time=600.

The first byte of an input chooses what is spoilt: the zip, its configuration, or the weights.
Only LoadError is a way out, and within a second.
"""

import contextlib
import copy
import io
import json
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["cgru.saving", "cgru._configs"]):
    import cgru
    from cgru.saving import LoadError

GOLDEN = Path(__file__).parents[1] / "golden"
MODEL = cgru.load_model(GOLDEN / "keras_sequential.keras")
FOLDER = tempfile.mkdtemp()
PARTS = {}
for name in ("sequential", "functional"):
    with zipfile.ZipFile(GOLDEN / f"keras_{name}.keras") as archive:
        PARTS[name] = {part: archive.read(part) for part in archive.namelist()}


def spliced(content, data):
    """Content with a few places overwritten by pieces of the data."""
    spoilt, provider = bytearray(content), atheris.FuzzedDataProvider(data)
    for _ in range(provider.ConsumeIntInRange(1, 8)):
        place = provider.ConsumeIntInRange(0, len(content))
        piece = provider.ConsumeBytes(provider.ConsumeIntInRange(0, 16))
        spoilt[place : place + provider.ConsumeIntInRange(0, 16)] = piece
    return bytes(spoilt)


VALUES = [None, True, -1, 0, 3, 10**9, 10**30, 1e308, float("nan"), "", "x", "Dense", [], {}]
VALUES += [[[]], [None, 3], [10**9, 10**9], "a" * 1000, {"class_name": "GRU", "config": {}}]


def altered(content, data):
    """JSON with a few of its values replaced: by others, by parts of itself, or left out."""
    config, provider = json.loads(content), atheris.FuzzedDataProvider(data)
    for _ in range(provider.ConsumeIntInRange(1, 3)):
        holders = list(nodes(config))
        holder = provider.PickValueInList(holders)
        if not holder:
            continue
        key = provider.PickValueInList(list(holder) if isinstance(holder, dict) else [0, -1])
        choice = provider.ConsumeIntInRange(0, 3)
        if choice == 0:
            del holder[key]
        elif choice == 1:
            holder[key] = copy.deepcopy(provider.PickValueInList(holders))
        else:
            holder[key] = copy.deepcopy(provider.PickValueInList(VALUES))
    return json.dumps(config).encode()


def nodes(value):
    if isinstance(value, (dict, list)):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from nodes(item)


def one_input(data):
    if len(data) < 2:
        return
    kind, data = data[0] % 9, data[1:]
    parts = dict(PARTS[("sequential", "functional")[kind % 2]])
    if kind < 2:
        parts["config.json"] = spliced(parts["config.json"], data)
    elif kind == 2:
        parts["config.json"] = data
    elif kind == 3:
        parts["model.weights.h5"] = spliced(parts["model.weights.h5"], data)
    elif kind > 4:
        parts["config.json"] = altered(parts["config.json"], data)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    content = stream.getvalue() if kind != 4 else spliced(stream.getvalue(), data)
    load = cgru.load_model
    if kind == 3 and data[0] % 2:
        content, load = parts["model.weights.h5"], MODEL.load_weights
    path = Path(FOLDER, "m.keras")
    path.write_bytes(content)
    start = time.process_time()
    with contextlib.suppress(LoadError):
        load(path)
    if time.process_time() - start > 1:
        raise RuntimeError("it takes more than a second")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
