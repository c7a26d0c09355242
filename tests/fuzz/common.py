"""What fuzzing of a loader has in common: `run(load, seeds, mutate)`.

A loader is given a file of any content.  It returns, or raises a `cgru.saving.LoadError` or an
OSError, within a second of CPU time; everything else is a finding.
"""

import atexit
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["cgru"]):
    import cgru

LIMIT = 1.0  # seconds of CPU time
MEMORY = 2048  # megabytes, of the whole process


def check(load, path):
    """Load a file; return whether it was accepted."""
    start = time.process_time()
    try:
        load(path)
        accepted = True
    except (cgru.saving.LoadError, OSError):
        accepted = False
    seconds = time.process_time() - start
    assert seconds < LIMIT, f"it took {seconds:.1f} s"
    return accepted


def run(load, seeds, mutate=None):
    """Fuzz a loader with the options of libFuzzer in `sys.argv`; do not return.

    Parameters
    ----------
    load : callable
        Given a path.
    seeds : dict of bytes
        Valid files by name, which the corpus begins with.
    mutate : callable, optional
        Given a file's bytes and a `random.Random`, returns other bytes.
    """
    warnings.simplefilter("ignore")
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    corpus = Path(folder.name, "corpus")
    corpus.mkdir()
    for name, data in seeds.items():
        Path(corpus, name).write_bytes(data)
    path = Path(folder.name, "file")
    counts = {"accepted": 0, "refused": 0}

    def one(data):
        path.write_bytes(data)
        counts["accepted" if check(load, path) else "refused"] += 1
        if sum(counts.values()) % 10_000 == 0:
            print(counts, file=sys.stderr, flush=True)

    def custom(data, size, seed):
        if mutate is None or seed % 4 == 0:
            return atheris.Mutate(data, size)
        # Every other time from a valid file: of the corpus most are refused early.
        base = bytes(data) if seed % 2 else Random(seed).choice(list(seeds.values()))
        return mutate(base, Random(seed))[:size]

    options = [
        "-max_len=65536",
        f"-rss_limit_mb={MEMORY}",
        f"-malloc_limit_mb={MEMORY}",
        "-timeout=5",
    ]
    arguments = [sys.argv[0], *options, *sys.argv[1:]]
    if not any(os.path.exists(argument) for argument in sys.argv[1:]):
        arguments.append(str(corpus))
    atheris.Setup(arguments, one, custom_mutator=custom)
    atheris.Fuzz()


# ---- JSON ----

ODD = [
    None,
    True,
    -1,
    0,
    1,
    2**31,
    10**12,
    10**30,
    -(10**30),
    0.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "a",
    "linear",
    "float16",
    [],
    {},
    [[]],
    {"class_name": "Dense", "config": {}, "module": "cgru.layers"},
    {"class_name": [], "config": "x"},
    [0, 0],
    [None],
    [10**12],
]


def edited_json(value, random):
    """A JSON value with one thing in it removed, doubled, moved or replaced."""
    places = []
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, (dict, list)):
            keys = item if isinstance(item, dict) else range(len(item))
            places += [(item, key) for key in keys]
            stack += item.values() if isinstance(item, dict) else item
    if not places:
        return random.choice(ODD)
    (holder, key), (source, other) = random.choice(places), random.choice(places)
    kind = random.randrange(5)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder.insert(key, holder[key])
    elif kind == 2:
        holder[key] = _copy(source[other])
    elif kind == 3 and isinstance(holder[key], (int, float)):
        holder[key] = holder[key] * random.choice([-1, 2, 10**6]) + random.choice([-1, 0, 1])
    else:
        holder[key] = _copy(random.choice(ODD))
    return value


def _copy(value):
    return json.loads(json.dumps(value))
