"""GRU(H) and Dense(1) on the last state, in cgru and in what it is compared with.

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
    """Data, and weights in the order and layout of Keras: gates z, r, n in columns."""

    x: np.ndarray  # [B, T, I]
    y: np.ndarray  # [B, 1]
    weights: list  # kernel [I, 3H], recurrent kernel [H, 3H], biases [2, 3H], head [H, 1], [1]
    learning_rate: float
    threads: int

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
        self.model = cgru.Sequential([cgru.layers.GRU(problem.units), cgru.layers.Dense(1)])
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
        self.gru = torch.nn.GRU(problem.x.shape[2], problem.units)
        self.head = torch.nn.Linear(problem.units, 1)
        parameters = [*self.gru.parameters(), *self.head.parameters()]
        kernel, recurrent, biases, *head = problem.weights
        weights = [self.gates(w) for w in (kernel, recurrent, *biases)] + [w.T for w in head]
        with torch.no_grad():
            for parameter, weight in zip(parameters, weights, strict=True):
                parameter.copy_(torch.tensor(weight))
        self.optimizer = torch.optim.Adam(parameters, problem.learning_rate, fused=True)

    @staticmethod
    def gates(weight):
        z, r, n = np.split(weight, 3, axis=-1)
        return np.concatenate([r, z, n], axis=-1).T

    def forward(self):
        return self.head(self.gru(self.x)[1][0])

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
                keras.layers.GRU(problem.units),
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

        def forward(weights, x):
            kernel, recurrent, (b, c), head, head_bias = weights

            def step(h, projected):
                u = h @ recurrent + c
                z, r = jnp.split(jax.nn.sigmoid((projected + u)[:, : 2 * units]), 2, axis=1)
                n = jnp.tanh(projected[:, 2 * units :] + r * u[:, 2 * units :])
                return z * h + (1 - z) * n, None

            start = jnp.zeros((x.shape[1], units), x.dtype)
            last, _ = jax.lax.scan(step, start, x @ kernel + b)
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

    kernel, recurrent, biases, head, head_bias = problem.weights
    constants = {
        "kernel": kernel.T[np.newaxis],
        "recurrent": recurrent.T[np.newaxis],
        "biases": biases.reshape(1, -1),
        "head": head,
        "head_bias": head_bias,
        "directions": np.array([0]),
    }
    gru = dict(hidden_size=problem.units, linear_before_reset=1)  # its gates are z, r, n as well
    nodes = [
        helper.make_node("GRU", ["x", "kernel", "recurrent", "biases"], ["", "states"], **gru),
        helper.make_node("Squeeze", ["states", "directions"], ["last"]),
        helper.make_node("Gemm", ["last", "head", "head_bias"], ["y"]),
    ]
    shapes = {"x": problem.time_major.shape, "y": problem.y.shape}
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items())
    values = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "gru", [x], [y], values)
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
