"""A recurrent layer and Dense(1) on its last state, in cgru and in what it is compared with.

Each class makes the model of a `Problem` and has `predict`, which returns [B, 1], and `train`, one
step of Adam on the mean squared error, which returns the loss before it (None: inference only).
Both return when the result is there.  Peers are used as they are fastest: they keep the data as
their own tensors, time first where they may choose.
"""

import os
import sys
from dataclasses import dataclass

import numpy as np


@dataclass
class Problem:
    """Data, and weights in the order and layout of Keras.

    The gates in columns are z, r, n (GRU) or i, f, g, o (LSTM), or there is one (SimpleRNN): G.
    """

    cell: str  # GRU, LSTM or SimpleRNN
    x: np.ndarray  # [B, T, I]
    y: np.ndarray  # [B, 1]
    weights: list  # kernel [I, GH], recurrent kernel [H, GH], bias [GH], head [H, 1] and [1]
    learning_rate: float
    threads: int

    @property
    def biases(self):
        """Those of inputs and of states: of the GRU, whose bias is [2, 3H], both are trained."""
        bias = self.weights[2]
        return bias if self.cell == "GRU" else np.stack([bias, np.zeros_like(bias)])

    @property
    def time_major(self):
        return np.ascontiguousarray(self.x.swapaxes(0, 1))

    @property
    def units(self):
        return len(self.weights[1])


class Cgru:
    name = "cgru"

    def __init__(self, problem):
        import cgru

        self.data = problem.x, problem.y
        layer = getattr(cgru.layers, problem.cell)(problem.units)
        self.model = cgru.Sequential([layer, cgru.layers.Dense(1)])
        self.model.compile(cgru.optimizers.Adam(problem.learning_rate), "mse")
        self.model.build(problem.x.shape)
        self.model.set_weights(problem.weights)

    def train(self):
        return self.model.train_on_batch(*self.data)

    def predict(self):
        return self.model.predict_on_batch(self.data[0])


class PyTorch:
    name, packages = "PyTorch", ["torch"]

    def __init__(self, problem):
        import torch

        self.torch = torch
        torch.set_num_threads(problem.threads)
        self.x, self.y = torch.from_numpy(problem.time_major), torch.from_numpy(problem.y)
        cell = {"SimpleRNN": "RNN"}.get(problem.cell, problem.cell)
        self.rnn = getattr(torch.nn, cell)(problem.x.shape[2], problem.units)
        self.head = torch.nn.Linear(problem.units, 1)
        self.has_cell = cell == "LSTM"
        parameters = [*self.rnn.parameters(), *self.head.parameters()]
        kernel, recurrent, _, *head = problem.weights
        weights = [kernel.T, recurrent.T, *problem.biases]
        if cell == "GRU":
            weights = [self.gates(w) for w in weights]
        with torch.no_grad():
            for parameter, weight in zip(parameters, [*weights, *(w.T for w in head)], strict=True):
                parameter.copy_(torch.tensor(weight))
        if cell != "GRU":
            parameters.pop(3).requires_grad_(False)  # others have one bias to train
        self.optimizer = torch.optim.Adam(parameters, problem.learning_rate, fused=True)

    @staticmethod
    def gates(weight):
        z, r, n = np.split(weight, 3)
        return np.concatenate([r, z, n])

    def forward(self):
        last = self.rnn(self.x)[1]
        return self.head((last[0] if self.has_cell else last)[0])

    def train(self):
        self.optimizer.zero_grad()
        loss = self.torch.nn.functional.mse_loss(self.forward(), self.y)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def predict(self):
        with self.torch.inference_mode():
            return self.forward()


class Keras:
    name, packages = "Keras on JAX", ["keras", "jax"]

    def __init__(self, problem):
        os.environ["KERAS_BACKEND"] = "jax"
        import jax.numpy as jnp
        import keras

        self.x, self.y = jnp.asarray(problem.x), jnp.asarray(problem.y)
        self.model = keras.Sequential(
            [
                keras.Input(problem.x.shape[1:]),
                getattr(keras.layers, problem.cell)(problem.units),
                keras.layers.Dense(1),
            ]
        )
        self.model.compile(keras.optimizers.Adam(problem.learning_rate), "mse")
        self.model.set_weights(problem.weights)

    def train(self):
        return self.model.train_on_batch(self.x, self.y)

    def predict(self):
        return self.model.predict_on_batch(self.x)


class Jax:
    name, packages = "JAX", ["jax", "optax"]

    def __init__(self, problem):
        import jax
        import jax.numpy as jnp
        import optax

        units, optimizer = problem.units, optax.adam(problem.learning_rate)

        def gru(h, projected, product, c):
            u = product + c
            z, r = jnp.split(jax.nn.sigmoid((projected + u)[:, : 2 * units]), 2, axis=1)
            n = jnp.tanh(projected[:, 2 * units :] + r * u[:, 2 * units :])
            return (z * h[0] + (1 - z) * n,)

        def lstm(states, projected, product, _):
            i, f, g, o = jnp.split(projected + product, 4, axis=1)
            c = jax.nn.sigmoid(f) * states[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
            return jax.nn.sigmoid(o) * jnp.tanh(c), c

        def simple(_, projected, product, __):
            return (jnp.tanh(projected + product),)

        cell = {"GRU": gru, "LSTM": lstm, "SimpleRNN": simple}[problem.cell]

        def forward(weights, x):
            kernel, recurrent, bias, head, head_bias = weights
            b, c = bias if problem.cell == "GRU" else (bias, None)

            def step(states, projected):
                return cell(states, projected, states[0] @ recurrent, c), None

            zeros = jnp.zeros((x.shape[1], units), x.dtype)
            start = (zeros, zeros) if problem.cell == "LSTM" else (zeros,)
            (last, *_), _ = jax.lax.scan(step, start, x @ kernel + b)
            return last @ head + head_bias

        def loss(weights, x, y):
            return jnp.mean((forward(weights, x) - y) ** 2)

        def train(state, x, y):
            weights, moments = state
            value, gradient = jax.value_and_grad(loss)(weights, x, y)
            updates, moments = optimizer.update(gradient, moments)
            return (optax.apply_updates(weights, updates), moments), value

        self.jax = jax
        self.compiled_train = jax.jit(train, donate_argnums=0)
        self.compiled_predict = jax.jit(forward)
        self.x, self.y = jnp.asarray(problem.time_major), jnp.asarray(problem.y)
        weights = [jnp.array(weight) for weight in problem.weights]
        self.state = weights, optimizer.init(weights)

    def train(self):
        self.state, loss = self.jax.block_until_ready(
            self.compiled_train(self.state, self.x, self.y)
        )
        return loss

    def predict(self):
        return self.compiled_predict(self.state[0], self.x).block_until_ready()


def onnx_graph(problem):
    """The model as an ONNX file in memory, reading [T, B, I]."""
    from onnx import TensorProto, checker, helper, numpy_helper

    kernel, recurrent, _, head, head_bias = problem.weights
    weights = [kernel.T, recurrent.T, *problem.biases]
    if problem.cell == "LSTM":  # those of ONNX are i, o, f, g; of the others as here
        weights = [np.concatenate([np.split(w, 4)[g] for g in (0, 3, 1, 2)]) for w in weights]
    constants = {
        "kernel": weights[0][np.newaxis],
        "recurrent": weights[1][np.newaxis],
        "biases": np.concatenate(weights[2:])[np.newaxis],
        "head": head,
        "head_bias": head_bias,
        "directions": np.array([0]),
    }
    kind = {"SimpleRNN": "RNN"}.get(problem.cell, problem.cell)
    options = {"linear_before_reset": 1} if kind == "GRU" else {}
    options["hidden_size"] = problem.units
    nodes = [
        helper.make_node(kind, ["x", "kernel", "recurrent", "biases"], ["", "states"], **options),
        helper.make_node("Squeeze", ["states", "directions"], ["last"]),
        helper.make_node("Gemm", ["last", "head", "head_bias"], ["y"]),
    ]
    shapes = {"x": problem.time_major.shape, "y": problem.y.shape}
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items())
    values = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "model", [x], [y], values)
    # Not the newest version of the format, so that runtimes older than `onnx` read it.
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    checker.check_model(model)
    return model.SerializeToString()


class OnnxRuntime:
    name, packages, train = "ONNX Runtime", ["onnxruntime", "onnx"], None

    def __init__(self, problem):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = problem.threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            onnx_graph(problem), options, providers=["CPUExecutionProvider"]
        )
        x = onnxruntime.OrtValue.ortvalue_from_numpy(problem.time_major)
        self.binding = self.session.io_binding()
        self.binding.bind_ortvalue_input("x", x)
        self.binding.bind_output("y", "cpu")

    def predict(self):
        self.session.run_with_iobinding(self.binding)
        return self.binding.get_outputs()[0].numpy()


class OpenVino:
    name, packages, train = "OpenVINO", ["openvino", "onnx"], None

    def __init__(self, problem):
        sys.modules["openvino_telemetry"] = None  # or each import reports itself over the network
        import openvino

        core = openvino.Core()
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": problem.threads,
            "INFERENCE_PRECISION_HINT": "f32",  # bfloat16 otherwise, where the CPU has it
        }
        model = core.compile_model(core.read_model(onnx_graph(problem)), "CPU", options)
        self.request = model.create_infer_request()
        self.request.set_input_tensor(openvino.Tensor(problem.time_major))

    def predict(self):
        self.request.infer()
        return self.request.get_output_tensor().data


PEERS = {
    "torch": PyTorch,
    "keras": Keras,
    "jax": Jax,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
}
