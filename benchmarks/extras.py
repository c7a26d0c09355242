"""What bench.py measures besides speed: cold start, installed size, and memory of training."""

import re
import statistics
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

MEMORY_SHAPE = (64, 1000, 64, 256)

COLD_START = {
    "NumPy and SciPy alone": "import numpy, scipy.linalg",
    "cgru": """
import numpy as np, cgru
x, y = np.ones((512, 20, 8), "f4"), np.ones((512, 1), "f4")
model = cgru.Sequential([cgru.layers.GRU(32), cgru.layers.Dense(1)])
model.compile("adam", "mse")
model.fit(x, y, batch_size=32, verbose=0)
""",
    "PyTorch": """
import torch
x, y = torch.ones((512, 20, 8)), torch.ones((512, 1))
gru, head = torch.nn.GRU(8, 32, batch_first=True), torch.nn.Linear(32, 1)
optimizer = torch.optim.Adam([*gru.parameters(), *head.parameters()], fused=True)
for inputs, targets in zip(x.split(32), y.split(32)):
    optimizer.zero_grad()
    torch.nn.functional.mse_loss(head(gru(inputs)[0][:, -1]), targets).backward()
    optimizer.step()
""",
    "Keras on JAX": """
import os
os.environ["KERAS_BACKEND"] = "jax"
import numpy as np, keras
x, y = np.ones((512, 20, 8), "f4"), np.ones((512, 1), "f4")
model = keras.Sequential([keras.layers.GRU(32), keras.layers.Dense(1)])
model.compile("adam", "mse")
model.fit(x, y, batch_size=32, verbose=0)
""",
}

MEMORY = """
import resource
from measure import random_problem
from peers import {model}

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

model = {model}(random_problem({shape}, {threads}))
before = resident()
model.train(), model.train()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)
"""


def run(code):
    """Standard output of a fresh interpreter, which finds the modules beside this one."""
    command, folder = [sys.executable, "-c", code], Path(__file__).parent
    result = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return result.stdout


def cold_start(names, runs=5):
    """Median seconds of the scripts; a first run of each fills the caches and does not count."""
    times = {name: [] for name in COLD_START if name in names}
    for _ in range(runs + 1):
        for name, seconds in times.items():
            start = time.perf_counter()
            run(COLD_START[name])
            seconds.append(time.perf_counter() - start)
    return {name: statistics.median(seconds[1:]) for name, seconds in times.items()}


def installed_size(package):
    """Bytes of a package's own files, and of those of all packages that it brings along."""
    sizes, waiting = {}, [package]
    while waiting:
        name = waiting.pop()
        try:
            found = distribution(name)
        except PackageNotFoundError:  # required on other systems or Pythons
            continue
        if found.name in sizes:
            continue
        paths = (file.locate() for file in found.files or ())
        sizes[found.name] = sum(path.stat().st_size for path in paths if path.exists())
        required = [text for text in found.requires or () if "extra ==" not in text]
        waiting += [re.match(r"[\w.-]+", text)[0] for text in required]
    return sizes[distribution(package).name], sum(sizes.values())


def peak_memory(model, threads):
    """Bytes that two training steps add to the peak; `model` is the name of a class of peers.py."""
    return int(run(MEMORY.format(model=model, shape=MEMORY_SHAPE, threads=threads)))


def memory_floor():
    """Bytes of what the backward pass reads: a state, three gates, the candidate's product."""
    B, T, _, H = MEMORY_SHAPE
    return 5 * 4 * B * T * H
