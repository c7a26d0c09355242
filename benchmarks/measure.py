"""Measure with one number of threads; print what is found as lines of JSON.

bench.py starts this in a process whose cores and threads it has set: several libraries read them
once, when they are imported.  The argument is JSON: threads, repeats, shapes, peers, and whether to
measure also what concerns cgru alone.
"""

import collections
import dataclasses
import functools
import json
import sys
import time

import floor
import numpy as np
from peers import PEERS, Cgru, Problem

SECONDS = 0.03  # that one measurement takes, or one call if that takes longer
PAUSE = 0.04  # before each: threads of the library before go on spinning for a while
TOLERANCE = 1e-4
PRODUCT = 2048  # rows and columns of the matrices whose product tells how fast the machine is

# At a loss of zero, gradients would be denormal numbers, which are slow: nothing is to be learned.
STANDSTILL = 1e-7

SUBNORMAL = 1e-40  # times a number near 1 is one that float32 stores with fewer digits

BASE = {"B": 32, "T": 100, "I": 32, "H": 128}
SCALING = {
    "B": [1, 4, 16, 32, 64, 128, 256],
    "T": [10, 30, 100, 300, 1000],
    "H": [16, 32, 64, 128, 256, 512, 1024],
}


def random_problem(shape, threads, learning_rate=STANDSTILL, cell="GRU"):
    B, T, I, H = shape
    G = floor.GATES[cell]
    rng = np.random.default_rng(1)
    scale = H**-0.5
    bias = (2, G * H) if cell == "GRU" else (G * H,)
    shapes = [(I, G * H), (H, G * H), bias, (H, 1), (1,)]
    return Problem(
        cell,
        rng.standard_normal((B, T, I), dtype=np.float32),
        rng.standard_normal((B, 1), dtype=np.float32),
        [rng.uniform(-scale, scale, shape).astype(np.float32) for shape in shapes],
        learning_rate,
        threads,
    )


def check_agreement(models, shape, steps=1):
    """Stop if a model predicts or trains otherwise than the first, which is cgru's."""
    for model in models:
        found = {"predictions": np.asarray(model.predict())}
        if model.train:
            found["losses"] = np.array([float(model.train()) for _ in range(steps)])
        if model is models[0]:
            wanted = found
        for what, value in found.items():
            if not np.allclose(value, wanted[what], TOLERANCE, TOLERANCE):
                difference = abs(value - wanted[what]).max()
                sys.exit(f"{model.name}: {what} differ from cgru's by {difference:.2g} at {shape}")


def count_calls(call):
    """How many calls make one measurement."""
    call()
    start = time.perf_counter()
    call()
    return max(1, round(SECONDS / (time.perf_counter() - start)))


def seconds(call, count):
    """The time of one call."""
    time.sleep(PAUSE)
    if count > 1:
        call()  # brings its data back into the caches
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def interleave(calls, repeats):
    """Times of each call, which take turns: whatever else the machine does meets all of them."""
    counts = {name: count_calls(call) for name, call in calls.items()}
    times = {name: [] for name in calls}
    order = collections.deque(calls)
    for _ in range(repeats):
        for name in order:
            times[name].append(seconds(calls[name], counts[name]))
        order.rotate()
    return times


def matrix_product():
    """A call of one large float32 product, of the BLAS that cgru uses."""
    from scipy.linalg.blas import sgemm

    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal((PRODUCT, PRODUCT), np.float32).T for _ in range(2))
    c = np.empty_like(a)
    return lambda: sgemm(1.0, a, b, c=c, overwrite_c=True)


def measure(models, product, repeats):
    """Times of the models by task, and the machine's operations per second in the same rounds."""
    result = {"rates": {}}
    for task in ("train", "predict"):
        calls = {model.name: getattr(model, task) for model in models if getattr(model, task)}
        times = interleave(calls | {"product": product}, repeats)
        result["rates"][task] = [2 * PRODUCT**3 / seconds for seconds in times.pop("product")]
        result[task] = times
    return result


def gain_of_threads(model, threads, repeats):
    """Times of one model on one thread and on all, by task."""
    import cgru

    def on(count, call):
        def run():
            cgru.set_num_threads(count)
            call()

        return run

    found = {}
    for task in ("train", "predict"):
        call = getattr(model, task)
        found[task] = interleave({"one": on(1, call), "all": on(threads, call)}, repeats)
    return found


def subnormal(shape, threads, repeats):
    """Times of models that differ in what is subnormal: states and gradients are with weights."""
    problem = random_problem(shape, threads)
    models = {"nothing": Cgru(problem)}
    tiny = np.float32(SUBNORMAL)
    models["inputs"] = Cgru(dataclasses.replace(problem, x=problem.x * tiny))
    weights = [weight * tiny for weight in problem.weights]
    models["weights"] = Cgru(dataclasses.replace(problem, weights=weights, learning_rate=0.0))
    return {
        task: interleave({what: getattr(model, task) for what, model in models.items()}, repeats)
        for task in ("train", "predict")
    }


def masked(shape, repeats):
    """Times of training steps with masks and dropout."""
    import cgru

    B, T, _, H = shape
    rng = np.random.default_rng(1)
    problem = random_problem(shape, 1)
    x = problem.x.copy()
    x[rng.random((B, T)) < 0.3] = 0
    masking = cgru.layers.Masking()
    kinds = {
        "plain": ([], {}, problem.x),
        "masked": ([masking], {}, x),
        "dropout": ([], {"dropout": 0.2}, problem.x),
        "recurrent_dropout": ([], {"recurrent_dropout": 0.2}, problem.x),
    }
    calls = {}
    for kind, (before, options, data) in kinds.items():
        model = cgru.Sequential([*before, cgru.layers.GRU(H, **options), cgru.layers.Dense(1)])
        model.compile(cgru.optimizers.Adam(STANDSTILL), "mse")
        calls[kind] = functools.partial(model.train_on_batch, data, problem.y)
    return interleave(calls, repeats)


def main():
    options = json.loads(sys.argv[1])
    threads, repeats = options["threads"], options["repeats"]

    def report(what, result):
        print(json.dumps([what, result]), flush=True)

    import cgru

    report("config", cgru.show_config("dicts"))
    product = matrix_product()
    for axis, sizes in SCALING.items() if options["alone"] else ():
        for size in sizes:
            shape = list((BASE | {axis: size}).values())
            model = Cgru(random_problem(shape, threads))
            report("scaling", {"cell": "GRU", "shape": shape} | measure([model], product, repeats))

    for shape in options["shapes"]["GRU"] if options["alone"] else ():
        if threads > 1:
            model = Cgru(random_problem(shape, threads))
            report("gain", {"shape": shape} | gain_of_threads(model, threads, repeats))
        report("subnormal", {"shape": shape} | subnormal(shape, threads, repeats))
        if shape[1] > 1:
            report("masked", {"shape": shape, "times": masked(shape, repeats)})

    # Before peers have threads, some of which go on spinning after a call.
    cases = [(cell, shape) for cell, shapes in options["shapes"].items() for shape in shapes]
    memory = [floor.memory(*case, threads) for case in cases]
    classes = [Cgru, *(PEERS[peer] for peer in options["peers"])]
    small = (4, 7, 3, 5)
    for cell in options["shapes"]:
        problem = random_problem(small, threads, learning_rate=0.01, cell=cell)
        check_agreement([make(problem) for make in classes], small, steps=5)
    for (cell, shape), found in zip(cases, memory, strict=True):
        problem = random_problem(shape, threads, cell=cell)
        models = [make(problem) for make in classes]
        check_agreement(models, shape)
        result = measure(models, product, repeats)
        report("grid", {"cell": cell, "shape": shape, "memory": found} | result)


if __name__ == "__main__":
    main()
