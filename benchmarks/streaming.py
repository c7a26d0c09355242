"""A live stream: time and memory of single steps of GRU(64) on 32 inputs with a Dense(1).

    python benchmarks/streaming.py [--steps 1000000] [--memory-steps 10000000]

ONNX Runtime, if it is installed with onnx, runs the same one-step model, state in and out, in
turns, and for a tenth of the steps.
"""

import argparse
import os
import time

import numpy as np

import cgru

TURNS = 10


def resident():
    """Resident memory, in kB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def timed(call, steps):
    """The microseconds of each of `steps` calls."""
    times, clock = np.empty(steps), time.perf_counter_ns
    for i in range(steps):
        start = clock()
        call()
        times[i] = clock() - start
    return times / 1000


def onnx_step(model, x):
    """A call of ONNX Runtime for one step, or None."""
    try:
        import onnx
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        return None
    w, u, b, v, c = model.get_weights()
    arrays = {
        "W": w.T[np.newaxis],
        "R": u.T[np.newaxis],
        "B": b.reshape(1, -1),
        "V": v,
        "c": c,
        "axis": np.array([0]),
    }
    nodes = [
        helper.make_node(
            "GRU",
            ["x", "W", "R", "B", "", "h"],
            ["", "h_out"],
            hidden_size=64,
            linear_before_reset=1,
        ),
        helper.make_node("Squeeze", ["h_out", "axis"], ["state"]),
        helper.make_node("MatMul", ["state", "V"], ["product"]),
        helper.make_node("Add", ["product", "c"], ["y"]),
    ]
    shapes = {"x": [1, 1, 32], "h": [1, 1, 64], "y": [1, 1], "h_out": [1, 1, 64]}
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    constants = [numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in arrays.items()]
    graph = helper.make_graph(nodes, "step", infos[:2], infos[2:], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feeds = {"x": x[np.newaxis], "h": np.zeros((1, 1, 64), "float32")}

    def step():
        y, feeds["h"] = session.run(None, feeds)
        return y

    return step


def report(name, times):
    print(
        f"{name:14} median {np.median(times):6.2f}  best {times.min():6.2f}  "
        f"worst {times.max():9.2f} us over {len(times)} steps"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--memory-steps", type=int, default=10_000_000)
    arguments = parser.parse_args()
    layers = [cgru.Input((None, 32)), cgru.layers.GRU(64), cgru.layers.Dense(1)]
    model = cgru.Sequential(layers)
    x = np.random.default_rng(0).normal(size=(1, 32)).astype("float32")
    stream, other = model.stream(), onnx_step(model, x)
    if other is not None:
        for _ in range(20):  # the two models are one
            np.testing.assert_allclose(stream.step(x), other(), rtol=1e-3, atol=1e-5)
    step = stream.step
    ours, theirs = [], []
    for _ in range(TURNS):
        ours.append(timed(lambda: step(x), arguments.steps // TURNS))
        if other is not None:
            theirs.append(timed(other, max(1, arguments.steps // TURNS // 10)))
    report("cgru", np.concatenate(ours))
    if other is not None:
        report("ONNX Runtime", np.concatenate(theirs))
        ratio = np.median(np.concatenate(theirs)) / np.median(np.concatenate(ours))
        print(f"ONNX Runtime takes {ratio:.1f} times as long")
    part = arguments.memory_steps // TURNS
    for turn in range(TURNS):
        print(f"resident after {turn * part:9} steps: {resident()} kB")
        for _ in range(part):
            step(x)
    print(f"resident after {TURNS * part:9} steps: {resident()} kB")


if __name__ == "__main__":
    main()
