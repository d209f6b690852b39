"""An ONNX graph as a torch module with trainable, named parameters.

Only `onnx` is needed, and only to read the file; the operators run in torch, so gradients flow.
What a graph asks for and we do not have is refused when it is loaded, never approximated.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Inputs = Sequence[Any]
"""Tensors, or None where an optional input was left out."""

Attributes = Mapping[str, Any]
"""Of a node: numbers, lists of them, or bytes."""


@dataclass(frozen=True)
class Node:
    """One operator of a graph and the names of what it reads and writes."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Attributes


class OnnxGraph(nn.Module):
    """Runs a graph; initializers under `prefix` are parameters, with the names they have there.

    Every other initializer is a constant. Gradients reach the inputs too. Integers, which are
    shapes and axes, stay on the CPU whatever the module's device.
    """

    def __init__(self, path: Path, prefix: str = "") -> None:
        super().__init__()
        graph = read(path)
        self.inputs = tuple(i.name for i in graph.input)
        self.outputs = tuple(o.name for o in graph.output)
        self.nodes = tuple(node_of(n) for n in graph.node)
        for node in self.nodes:
            check(node)
        self._constants: list[str] = []  # in the order of the buffers `constant_0`, …
        self._integers: dict[str, Tensor] = {}
        for name, value in initializers(graph):
            if not value.is_floating_point():
                self._integers[name] = value
            elif name.startswith(prefix):
                plant(self, name, nn.Parameter(value))
            else:
                self.register_buffer(f"constant_{len(self._constants)}", value, persistent=False)
                self._constants.append(name)
        self._finished = last_uses(self.nodes, self.outputs)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The outputs in the graph's order; a tuple if there are several."""
        if len(inputs) != len(self.inputs):
            raise ValueError(
                f"the graph takes {len(self.inputs)} inputs ({', '.join(self.inputs)}), "
                f"got {len(inputs)}"
            )
        values: dict[str, Any] = {"": None, **self._integers, **dict(zip(self.inputs, inputs))}
        values |= dict(zip(self._constants, self.buffers()))
        values |= dict(self.named_parameters(remove_duplicate=False))
        for node, finished in zip(self.nodes, self._finished):
            answer = OPERATORS[node.op]([values[name] for name in node.inputs], node.attributes)
            values |= zip(node.outputs, answer if isinstance(answer, tuple) else (answer,))
            for name in finished:
                del values[name]
        outputs = tuple(values[name] for name in self.outputs)
        return outputs[0] if len(outputs) == 1 else outputs


def read(path: Path) -> Any:
    """The graph of an ONNX file.  Raises ImportError without `onnx`."""
    try:
        import onnx
    except ImportError:
        raise ImportError(
            "reading an ONNX graph needs onnx; install it with pip install onnx"
        ) from None
    return onnx.load(path).graph


def node_of(node: Any) -> Node:
    """A node of the file as plain Python."""
    from onnx import helper

    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return Node(node.op_type, tuple(node.input), tuple(node.output), attributes)


def initializers(graph: Any) -> list[tuple[str, Tensor]]:
    """The stored tensors of a graph by name."""
    from onnx import numpy_helper

    arrays = [(t.name, numpy_helper.to_array(t)) for t in graph.initializer]
    return [(name, torch.from_numpy(array.copy())) for name, array in arrays]


def plant(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
    """Register a parameter under a dotted name, with empty modules on the way."""
    *path, last = name.split(".")
    for part in path:
        if part not in dict(module.named_children()):
            module.add_module(part, nn.Module())
        module = module.get_submodule(part)
    module.register_parameter(last, parameter)


def last_uses(nodes: Sequence[Node], outputs: Sequence[str]) -> list[list[str]]:
    """For each node the intermediate values that nobody reads after it."""
    made = {name for node in nodes for name in node.outputs if name} - set(outputs)
    last = {name: i for i, node in enumerate(nodes) for name in (*node.inputs, *node.outputs)}
    return [sorted(n for n in made if last[n] == i) for i in range(len(nodes))]


def check(node: Node) -> None:
    """Raise ValueError for an operator, or a way of using one, that this file does not have."""
    if node.op not in OPERATORS:
        raise ValueError(
            f"the graph uses the operator {node.op}, which scoreward does not run; it has "
            f"{', '.join(OPERATORS)} (add a function to scoreward/models/onnx.py)"
        )
    for name, (default, allowed) in ALLOWED.get(node.op, {}).items():
        value = node.attributes.get(name, default)
        if value not in allowed:
            raise ValueError(
                f"the graph uses {node.op} with {name}={value!r}; scoreward runs it with "
                f"{' or '.join(repr(a) for a in allowed)} only"
            )
    pads = list(node.attributes.get("pads", ()))
    if pads[: len(pads) // 2] != pads[len(pads) // 2 :]:
        raise ValueError(f"the graph uses {node.op} with pads={pads}; both sides must be equal")


ALLOWED: Mapping[str, Mapping[str, tuple[Any, Sequence[Any]]]] = {
    "Conv": {"auto_pad": (b"NOTSET", [b"NOTSET"])},
    "AveragePool": {
        "auto_pad": (b"NOTSET", [b"NOTSET"]),
        "ceil_mode": (0, [0]),
        "pads": (None, [None, [0, 0, 0, 0]]),
    },
    "Resize": {
        "mode": (b"nearest", [b"nearest"]),
        "nearest_mode": (b"round_prefer_floor", [b"floor"]),
        "coordinate_transformation_mode": (b"half_pixel", [b"asymmetric"]),
    },
}
"""Attributes we run with some of their values only: (value where it is left out, those values)."""


# Operators


def integers(value: Tensor) -> list[int]:
    return [int(v) for v in value.flatten().tolist()]


def given(x: Inputs, place: int) -> Any:
    """An optional input, None where it was left out."""
    return x[place] if len(x) > place else None


def reshape(x: Inputs, a: Attributes) -> Tensor:
    """A size of 0 keeps the input's, unless `allowzero`."""
    sizes = integers(x[1])
    if not a.get("allowzero", 0):
        sizes = [x[0].shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return x[0].reshape(sizes)


def shape(x: Inputs, a: Attributes) -> Tensor:
    return torch.tensor(x[0].shape)[a.get("start", 0) : a.get("end")]


def unsqueeze(x: Inputs, a: Attributes) -> Tensor:
    rank = x[0].dim() + x[1].numel()
    value = x[0]
    for axis in sorted(i % rank for i in integers(x[1])):
        value = value.unsqueeze(axis)
    return value


def squeeze(x: Inputs, a: Attributes) -> Tensor:
    axes = given(x, 1)
    return x[0].squeeze() if axes is None else x[0].squeeze(tuple(integers(axes)))


def split(x: Inputs, a: Attributes) -> tuple[Tensor, ...]:
    axis, sizes = a.get("axis", 0), given(x, 1)
    if sizes is not None:
        return x[0].split(integers(sizes), axis)
    return x[0].split(-(-x[0].shape[axis] // a["num_outputs"]), axis)


def gemm(x: Inputs, a: Attributes) -> Tensor:
    left = x[0].T if a.get("transA", 0) else x[0]
    right = x[1].T if a.get("transB", 0) else x[1]
    product = a.get("alpha", 1.0) * (left @ right)
    bias = given(x, 2)
    return product if bias is None else product + a.get("beta", 1.0) * bias


def conv(x: Inputs, a: Attributes) -> Tensor:
    rank = x[1].dim() - 2
    run: Callable[..., Tensor] = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
    pads, one = a.get("pads", [0] * 2 * rank)[:rank], [1] * rank
    strides, dilations = a.get("strides", one), a.get("dilations", one)
    return run(x[0], x[1], given(x, 2), strides, pads, dilations, a.get("group", 1))


def average_pool(x: Inputs, a: Attributes) -> Tensor:
    size = a["kernel_shape"]
    return F.avg_pool2d(x[0], size, a.get("strides", [1] * len(size)))


def resize(x: Inputs, a: Attributes) -> Tensor:
    """Nearest neighbour by whole factors; inputs are (x, roi, scales, sizes)."""
    factors = x[2].tolist() if given(x, 2) is not None else None
    if factors is None or any(f < 1 or f != int(f) for f in factors):
        raise ValueError(
            f"the graph resizes by {factors}; scoreward enlarges by whole factors only"
        )
    value = x[0]
    for axis, factor in enumerate(factors):
        value = value.repeat_interleave(int(factor), axis) if factor > 1 else value
    return value


OPERATORS: Mapping[str, Callable[[Inputs, Attributes], Tensor | tuple[Tensor, ...]]] = {
    "Add": lambda x, a: x[0] + x[1],
    "AveragePool": average_pool,
    "Clip": lambda x, a: x[0].clamp(given(x, 1), given(x, 2)),
    "Concat": lambda x, a: torch.cat(list(x), a["axis"]),
    "Conv": conv,
    "Cos": lambda x, a: x[0].cos(),
    "Div": lambda x, a: x[0] / x[1],
    "Einsum": lambda x, a: torch.einsum(a["equation"].decode(), *x),
    "Gemm": gemm,
    "InstanceNormalization": lambda x, a: F.instance_norm(
        x[0], weight=x[1], bias=x[2], eps=a.get("epsilon", 1e-5)
    ),
    "Log": lambda x, a: x[0].log(),
    "Mul": lambda x, a: x[0] * x[1],
    "Pow": lambda x, a: x[0] ** x[1],
    "Reciprocal": lambda x, a: x[0].reciprocal(),
    "Reshape": reshape,
    "Resize": resize,
    "Shape": shape,
    "Sigmoid": lambda x, a: x[0].sigmoid(),
    "Sin": lambda x, a: x[0].sin(),
    "Softmax": lambda x, a: x[0].softmax(a.get("axis", -1)),
    "Split": split,
    "Sqrt": lambda x, a: x[0].sqrt(),
    "Squeeze": squeeze,
    "Sub": lambda x, a: x[0] - x[1],
    "Unsqueeze": unsqueeze,
}
