"""An ONNX graph in the making."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from cgru.layers.symbolic import Shape

OPSET, IR_VERSION = 18, 8  # not the newest ones, so that older runtimes read them
MAX_BYTES = 2**31 - 2**20  # a protobuf message has no more than 2 GB
OPTIONAL = ("GRU", "LSTM", "RNN")  # operators that need not compute outputs that nobody reads


class Value(NamedTuple):
    """A tensor of the graph: its name, its shape (None for what is free), and its mask."""

    name: str
    shape: Shape
    mask: Value | None = None


class Builder:
    """Nodes, constants, inputs and outputs of a graph.

    A node is made by a method of its operator's name, ``g.Add(x, 1.0)``, which returns the name of
    its output.  Inputs are names of tensors, or numbers and arrays: constants.

    Attributes
    ----------
    dtype : dtype
        Of numbers in the graph.
    scope : str
        What the names of nodes begin with: that of a layer.
    carries : bool
        Whether recurrent layers read their states from inputs and return them.
    """

    def __init__(self, dtype: np.dtype, carries: bool = False) -> None:
        self.dtype = dtype
        self.carries = carries
        self.scope = ""
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self._known: dict[Any, str] = {}
        self._taken: set[str] = set()

    def __getattr__(self, operator: str) -> Callable[..., Any]:
        if not operator[0].isupper():
            raise AttributeError(operator)
        return functools.partial(self.node, operator)

    def node(self, operator: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
        """The output of a new node, or a list of so many."""
        from onnx import helper

        read = [item if isinstance(item, str) else self.constant(item) for item in inputs]
        written = [self.unique(f"{self.scope}/{operator}") for _ in range(outputs)]
        self.nodes.append(helper.make_node(operator, read, written, written[0], **attributes))
        return written if outputs > 1 else written[0]

    def constant(self, value: Any) -> str:
        """A number or an array; integers are int64, other numbers of the graph's dtype."""
        array = np.asarray(value)
        if array.dtype.kind == "f":
            array = array.astype(self.dtype)
        key = array.shape, array.dtype, array.tobytes()
        if key not in self._known:
            self._known[key] = self.unique(f"{self.scope}/constant")
            self.constants[self._known[key]] = array
        return self._known[key]

    def unique(self, name: str) -> str:
        """The name, with a number if it is taken."""
        names: Iterator[str] = (f"{name}_{number}" for number in itertools.count(1))
        found = next(item for item in itertools.chain([name], names) if item not in self._taken)
        self._taken.add(found)
        return found

    def cast(self, x: str, dtype: Any) -> str:
        """X as another dtype."""
        return self.Cast(x, to=_type(dtype))

    def scan(
        self,
        step: Callable[[Builder, list[str], str], list[str]],
        states: Sequence[str],
        x: str,
    ) -> tuple[list[str], list[str]]:
        """The last states, and those after every step along the first axis of x.

        ``step(g, states, x)`` makes the nodes of one step in g, and returns the new states.
        """
        from onnx import helper

        body = Builder(self.dtype)
        body.scope, body._taken = f"{self.scope}/step", self._taken
        body.constants, body._known = self.constants, self._known  # seen from inside
        read = [body.unique(f"{body.scope}/state") for _ in states]
        row = body.unique(f"{body.scope}/x")
        written = step(body, read, row)
        kept = [body.Identity(name) for name in written]
        kind = _type(self.dtype)
        inputs = [helper.make_tensor_value_info(name, kind, None) for name in [*read, row]]
        outputs = [helper.make_tensor_value_info(name, kind, None) for name in [*written, *kept]]
        graph = helper.make_graph(body.nodes, body.scope, inputs, outputs)
        count = len(states)
        found = self.node("Scan", *states, x, outputs=2 * count, body=graph, num_scan_inputs=1)
        return found[:count], found[count:]

    def add_input(self, name: str, shape: Sequence[Any], dtype: Any) -> str:
        """A new input; strings in the shape are names of free sizes."""
        from onnx import helper

        name = self.unique(name)
        self.inputs.append(helper.make_tensor_value_info(name, _type(dtype), shape))
        return name

    def add_output(self, x: str, name: str, shape: Sequence[Any]) -> None:
        """Return a tensor from the graph."""
        from onnx import helper

        self.scope = ""
        name = self.unique(name)
        self.nodes.append(helper.make_node("Identity", [x], [name], f"{name}/Identity"))
        self.outputs.append(helper.make_tensor_value_info(name, _type(self.dtype), shape))

    def serialized(self, name: str) -> bytes:
        """The file, checked."""
        from onnx import checker, helper, numpy_helper

        nodes, used = self._used()
        constants = {key: array for key, array in self.constants.items() if key in used}
        size = sum(array.nbytes for array in constants.values())
        if size > MAX_BYTES:
            raise ValueError(
                f"model: expected at most {MAX_BYTES} bytes of weights, which an ONNX file holds, "
                f"got {size}"
            )
        values = [numpy_helper.from_array(array, key) for key, array in constants.items()]
        graph = helper.make_graph(nodes, name, self.inputs, self.outputs, values)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(
            graph, producer_name="cgru", ir_version=IR_VERSION, opset_imports=opsets
        )
        checker.check_model(model, full_check=True)
        return model.SerializeToString()

    def _used(self) -> tuple[list[Any], set[str]]:
        """The nodes on which outputs depend, and the names that they read."""
        used = {output.name for output in self.outputs}
        nodes = []
        for node in reversed(self.nodes):
            if used.isdisjoint(node.output):
                continue
            if node.op_type in OPTIONAL:
                node.output[:] = [name if name in used else "" for name in node.output]
            nodes.append(node)
            used.update(node.input)
            for attribute in node.attribute:
                for inner in attribute.g.node:
                    used.update(inner.input)
        return nodes[::-1], used


def _type(dtype: Any) -> int:
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
