"""The page that bench.py writes: what was measured, as text and tables in Markdown."""

import statistics
from statistics import median

import floor
from floor import FLOPS

TASKS = {"train": "Training step", "predict": "Prediction"}

PAGE = """\
# Benchmarks

All of this was measured and written by one command (`make bench` runs it with its defaults):

```sh
{command}
```

{facts}
## What is measured

`GRU(H)`, then `LSTM(H)` and `SimpleRNN(H)`, on sequences [B, T, I] and `Dense(1)` on the last
state, float32, the GRU with `reset_after=True`; where no layer is named, it is the GRU. A training
step is forward, backward and Adam on the mean squared error; a prediction is forward alone. cgru is
called with `train_on_batch` and `predict_on_batch` and NumPy arrays; each peer has the data in its
own tensors already, time first where it may choose:

- PyTorch: `nn.GRU`, `nn.LSTM` (by oneDNN) or `nn.RNN`, `nn.Linear` and the fused Adam
- Keras on JAX: `train_on_batch` and `predict_on_batch`
- JAX: a hand-written `lax.scan` in one compiled step, with optax's Adam
- ONNX Runtime, OpenVINO: prediction only, an ONNX graph with the standard operator

All are given the same weights, and nothing is timed unless predictions and losses agree. The
learning rate is next to nothing, so that no model comes near a loss of zero, where gradients are
denormal numbers, which CPUs are slow with.

All run in one process, bound to as many cores as they have threads, and take turns: in each of
{repeats} rounds each is called for about 30 ms, or once if that takes longer. A time is the median
over the rounds; the spread, in brackets, is their interquartile range in percent of it. A ratio is
the time of a peer over that of cgru in the same round, the median again: above 1, cgru is faster.
"""

RATE = """\
### Rate

Operations in the matrix products of the gates (a multiplication and an addition are two), in
GFLOP/s, and their share of what one product of two large float32 matrices reaches in the same
rounds with the same BLAS: {rate:.0f} GFLOP/s, the median. All other work counts as lost time.
"""

FLOOR = """\
### Floor

An estimate, in microseconds, of the work that cannot be left out: the products of the gates at the
rate above; for a single sequence, whose steps each read all recurrent weights again, that reading,
at the rate of a dot product of vectors as large; in training, Adam's reads and writes, at the rate
of a sum of vectors as large. The limit is the time of the fastest peer over it: the ratio of
something that spends no time on anything else. (Weights that stay in a nearer cache than the
vectors of the dot product are read in less.)
"""

MASKED = """\
## Masks and dropout

The time of cgru with a `Masking` layer before the GRU that finds three steps in ten masked (these
are left out of the work), with `dropout=0.2`, and with `recurrent_dropout=0.2`, over its time
without, in turns; training steps.
"""

SCALING = """\
## Scaling

Microseconds per time step of cgru as B, T and H change. The floor is the time of the matrix
products of the gates at the rate that one large product reaches in the same rounds.
"""

GAIN = """\
## Threads

The time of cgru on one thread over that on {threads}, both in one process, in turns: less than 1
where cgru should have left the others alone.
"""

SUBNORMAL = """\
## Subnormal numbers

The time of cgru with subnormal inputs, or with subnormal weights and therefore subnormal states
and gradients, over its time with ordinary numbers, in turns.
"""

COLD_START = """\
## Cold start

Seconds of a script that imports the library, builds a small model (`GRU(32)`, `Dense(1)` on
sequences of [20, 8]) and fits 16 batches of 32.
"""

SIZE = """\
## Installed size

Megabytes of the package's own files, and together with all that it requires. Keras requires a
backend besides, which is not counted.
"""

MEMORY = """\
## Peak memory

Megabytes that two training steps at B, T, I, H = {shape} add,
at their peak, to what the process holds once model and data are there; those of JAX include its
compiler. The floor is what a backward pass reads: five numbers for each unit, time step and
sequence.
"""


# ---- What follows from the measurements ----


def ratio(times, peer, base="cgru"):
    """How many times as long as cgru, or another base, a peer takes."""
    return median(b / a for a, b in zip(times[base], times[peer], strict=True))


def fastest_peer(times):
    return min((name for name in times if name != "cgru"), key=lambda name: ratio(times, name))


def spread(times):
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    return 100 * (high - low) / median(times)


def share(result, task):
    """The part of the machine's rate at which cgru does the products of the gates."""
    rounds = zip(result[task]["cgru"], result["rates"][task], strict=True)
    flops = FLOPS[task](result["cell"], result["shape"])
    return median(flops / seconds / rate for seconds, rate in rounds)


def worst_training_ratio(grid):
    """The least, over the grid, to the fastest peer."""
    return min(ratio(r["train"], fastest_peer(r["train"])) for r in grid)


# ---- Text ----


def label(shape):
    return ", ".join(map(str, shape))


def count(threads):
    return f"{threads} thread{'s' if threads > 1 else ''}"


def microseconds(seconds):
    return f"{seconds * 1e6:.1f}" if seconds < 1e-4 else f"{seconds * 1e6:.0f}"


def megabytes(size):
    return f"{size / 1e6:.1f}" if size < 1e7 else f"{size / 1e6:.0f}"


def summary(result):
    """The results for one shape in one line."""
    parts = [f"{result['cell']:<9} {label(result['shape']):>18}"]
    for task in TASKS:
        times = result[task]
        parts.append(f"{task} {microseconds(median(times['cgru'])):>8} us")
        if len(times) > 1:
            peer = fastest_peer(times)
            parts[-1] += f", {ratio(times, peer):5.2f} x as fast as {peer:<12}"
    return "  ".join(parts)


def table(header, rows):
    """A Markdown table; all columns but the first are aligned to the right."""
    rows = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    lines = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


# ---- Sections ----


def head(command, repeats, facts):
    facts = "".join(f"- {name}: {fact}\n" for name, fact in facts)
    return [PAGE.format(command=command, repeats=repeats, facts=facts)]


def speed(found):
    """All about one number of threads."""
    for cell in floor.GATES:
        grid = [result for result in found["grid"] if result["cell"] == cell]
        if grid:
            yield f"## {cell}, {count(found['threads'])}\n"
            yield from speed_of(grid)


def speed_of(grid):
    """Of one cell."""
    for task, title in TASKS.items():
        yield f"### {title}\n"
        if len(grid[0][task]) > 1:
            yield "Time over that of cgru:\n"
            yield ratio_table(grid, task)
        yield "Microseconds and spread:\n"
        yield time_table(grid, task)
    rate = median(rate for r in grid for rates in r["rates"].values() for rate in rates)
    yield RATE.format(rate=rate / 1e9)
    yield rate_table(grid)
    if len(grid[0]["train"]) > 1:
        yield FLOOR
        yield floor_table(grid)


def ratio_table(grid, task):
    peers = [name for name in grid[0][task] if name != "cgru"]
    rows, values = [], []
    for result in grid:
        times = result[task]
        best = fastest_peer(times)
        values.append([ratio(times, peer) for peer in (best, *peers)])
        rows.append([label(result["shape"]), best, *(f"{value:.2f}" for value in values[-1])])
    means = map(statistics.geometric_mean, zip(*values, strict=True))
    rows.append(["geometric mean", "", *(f"{mean:.2f}" for mean in means)])
    return table(["B, T, I, H", "fastest peer", "its ratio", *peers], rows)


def time_table(grid, task):
    rows = []
    for result in grid:
        cells = (f"{microseconds(median(t))} ({spread(t):.0f} %)" for t in result[task].values())
        rows.append([label(result["shape"]), *cells])
    return table(["B, T, I, H", *grid[0][task]], rows)


def rate_table(grid):
    rows = []
    for result in grid:
        rows.append([label(result["shape"])])
        for task, flops in FLOPS.items():
            reached = flops(result["cell"], result["shape"]) / median(result[task]["cgru"])
            rows[-1] += [f"{reached / 1e9:.1f}", f"{100 * share(result, task):.0f} %"]
    return table(["B, T, I, H", "training", "share", "prediction", "share"], rows)


def floor_table(grid):
    rows, limits = [], []
    for result in grid:
        shape = result["shape"]
        rows.append([label(shape)])
        limits.append([])
        for task in TASKS:
            times, rate = result[task], median(result["rates"][task])
            least = floor.seconds(result["cell"], shape, task, rate, result["memory"])
            limits[-1].append(median(times[fastest_peer(times)]) / least)
            rows[-1] += [microseconds(least), f"{limits[-1][-1]:.2f}"]
    means = [statistics.geometric_mean(column) for column in zip(*limits, strict=True)]
    rows.append(["geometric mean", "", f"{means[0]:.2f}", "", f"{means[1]:.2f}"])
    return table(["B, T, I, H", "training", "limit", "prediction", "limit"], rows)


def masked(measured):
    yield MASKED
    for found in measured:
        kinds = list(found["masked"][0]["times"])[1:]
        rows = [
            [label(r["shape"]), *(f"{ratio(r['times'], kind, 'plain'):.2f}" for kind in kinds)]
            for r in found["masked"]
        ]
        yield f"### {count(found['threads'])}\n"
        yield table(["B, T, I, H", *kinds], rows)


def scaling(measured):
    yield SCALING
    for found in measured:
        rows = []
        for result in found["scaling"]:
            shape, steps = result["shape"], result["shape"][1]
            rows.append([label(shape)])
            for task in FLOPS:
                time, part = median(result[task]["cgru"]) / steps, share(result, task)
                rows[-1] += [f"{time * 1e6:.1f}", f"{time * part * 1e6:.1f}", f"{1 / part:.2f}"]
        yield f"### {count(found['threads'])}\n"
        heads = [cell for task in ("training", "prediction") for cell in (task, "floor", "ratio")]
        yield table(["B, T, I, H", *heads], rows)


def gain_of_threads(found):
    if found["threads"] > 1:
        yield GAIN.format(threads=found["threads"])
        rows = [
            [label(r["shape"]), *(f"{ratio(r[task], 'one', 'all'):.2f}" for task in TASKS)]
            for r in found["gain"]
        ]
        yield table(["B, T, I, H", "training", "prediction"], rows)


def subnormal(measured):
    yield SUBNORMAL
    cases = [(task, what) for task in TASKS for what in ("inputs", "weights")]
    for found in measured:
        rows = []
        for result in found["subnormal"]:
            cells = (f"{ratio(result[task], what, 'nothing'):.2f}" for task, what in cases)
            rows.append([label(result["shape"]), *cells])
        yield f"### {count(found['threads'])}\n"
        yield table(["B, T, I, H", *map(", ".join, cases)], rows)


def cold_start(seconds):
    rows = [[name, f"{value:.2f}"] for name, value in seconds.items()]
    return [COLD_START, table(["script", "seconds"], rows)]


def installed_size(sizes):
    rows = [[name, *map(megabytes, pair)] for name, pair in sizes.items()]
    return [SIZE, table(["package", "its own", "with requirements"], rows)]


def peak_memory(shape, peaks, floor):
    rows = [[name, megabytes(peak), f"{peak / floor:.2f}"] for name, peak in peaks.items()]
    rows.append(["floor", megabytes(floor), "1.00"])
    return [MEMORY.format(shape=label(shape)), table(["library", "MB", "over the floor"], rows)]
