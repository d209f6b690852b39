"""ONNX graphs in torch: every operator as onnxruntime runs it, gradients, names, refusals."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.models.onnx import OPERATORS, OnnxGraph

KEY = Key(("onnx",))


def normal(name: str, *sizes: int) -> Tensor:
    return (KEY / name).normal(*sizes)


def stored(folder: Path, nodes: Sequence[Any], outputs: Sequence[str], **constants: Any) -> Path:
    """A graph with one input `x` and the given nodes, written to a file."""
    kept = [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    ends = [helper.make_empty_tensor_value_info(n) for n in outputs]
    start = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    graph = helper.make_graph(list(nodes), "g", [start], ends, kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(folder / "graph.onnx"))
    return folder / "graph.onnx"


def node(op: str, *inputs: str, out: Sequence[str] = ("y",), **attributes: Any) -> Any:
    return helper.make_node(op, list(inputs), list(out), **attributes)


def theirs(path: Path, x: Tensor) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": x.numpy()}))  # pyright: ignore


def integer(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


X = normal("x", 2, 4, 6, 6)
FLAT = normal("flat", 3, 4)
W = normal("w", 6, 2, 3, 3).numpy()
B = normal("b", 6).numpy()
M = normal("m", 4, 5).numpy()
V = normal("v", 5).numpy()
NOTHING = np.array([], dtype=np.float32)

CASES: dict[str, tuple[list[Any], dict[str, Any], Tensor]] = {
    "Add": ([node("Add", "x", "c")], {"c": M[:, :1, None]}, X),
    "Sub": ([node("Sub", "c", "x")], {"c": M[:, :1, None]}, X),
    "Mul": ([node("Mul", "x", "c")], {"c": M[:, :1, None]}, X),
    "Div": ([node("Div", "c", "x")], {"c": np.float32(2)}, X),
    "Pow": ([node("Pow", "x", "c")], {"c": np.float32(2)}, X),
    "Sqrt": ([node("Sqrt", "x")], {}, X.abs()),
    "Log": ([node("Log", "x")], {}, X.abs() + 0.1),
    "Cos": ([node("Cos", "x")], {}, X),
    "Sin": ([node("Sin", "x")], {}, X),
    "Sigmoid": ([node("Sigmoid", "x")], {}, X),
    "Reciprocal": ([node("Reciprocal", "x")], {}, X.abs() + 0.1),
    "Softmax on axis 1": ([node("Softmax", "x", axis=1)], {}, X),
    "Softmax": ([node("Softmax", "x")], {}, X),
    "Clip below": ([node("Clip", "x", "low")], {"low": np.float32(-0.3)}, X),
    "Clip above": ([node("Clip", "x", "", "high")], {"high": np.float32(0.2)}, X),
    "Shape": ([node("Shape", "x", start=1, end=3)], {}, X),
    "Shape from the end": ([node("Shape", "x", start=-1)], {}, X),
    "Reshape": ([node("Reshape", "x", "s")], {"s": integer(0, 2, -1)}, X),
    "Reshape with zero": (
        [node("Reshape", "x", "s", allowzero=1)],
        {"s": integer(4, 0)},
        X[:, :, :, :0],
    ),
    "Unsqueeze": ([node("Unsqueeze", "x", "a")], {"a": integer(-1, 0)}, X),
    "Squeeze": ([node("Squeeze", "x", "a")], {"a": integer(0, -1)}, X[:1, :, :, :1]),
    "Squeeze all": ([node("Squeeze", "x")], {}, X[:1, :, :, :1]),
    "Concat": ([node("Concat", "x", "x", axis=-1)], {}, X),
    "Split": (
        [node("Split", "x", "s", out=("y", "z"), axis=1), node("Sub", "y", "c", out=("u",))],
        {"s": integer(1, 3), "c": np.float32(1)},
        X,
    ),
    "Split in uneven parts": (
        [node("Split", "x", out=("y", "z", "w"), axis=1, num_outputs=3)],
        {},
        X[:, [0, 1, 2, 3, 0, 1, 2, 3]],
    ),
    "Einsum": ([node("Einsum", "x", "x", equation="bchw,bdhw->bcd")], {}, X),
    "Gemm": ([node("Gemm", "x", "m", "v", alpha=0.5, beta=2.0)], {"m": M, "v": V}, FLAT),
    "Gemm turned": (
        [node("Gemm", "x", "m", transA=1, transB=1)],
        {"m": M.T},
        FLAT.T.contiguous(),
    ),
    "Conv": (
        [
            node(
                "Conv",
                *("x", "w", "b"),
                pads=[1, 2, 1, 2],
                strides=[2, 1],
                dilations=[1, 2],
                group=2,
            )
        ],
        {"w": W, "b": B},
        X,
    ),
    "Conv in one dimension": ([node("Conv", "x", "w")], {"w": W[:, :, 0]}, X[:, :2, 0]),
    "AveragePool": ([node("AveragePool", "x", kernel_shape=[2, 3], strides=[2, 3])], {}, X),
    "AveragePool of stride 1": ([node("AveragePool", "x", kernel_shape=[2, 2])], {}, X),
    "InstanceNormalization": (
        [node("InstanceNormalization", "x", "s", "t", epsilon=1e-2)],
        {"s": M[:, 0], "t": M[:, 1]},
        X,
    ),
    "Resize": (
        [
            node(
                "Resize",
                *("x", "", "f"),
                mode="nearest",
                nearest_mode="floor",
                coordinate_transformation_mode="asymmetric",
            )
        ],
        {"f": np.array([1, 1, 2, 3], dtype=np.float32)},
        X,
    ),
}


@pytest.mark.parametrize("name", list(CASES))
def test_an_operator_is_what_onnxruntime_runs(name: str, tmp_path: Path) -> None:
    nodes, constants, x = CASES[name]
    outputs = [n for part in nodes for n in part.output]
    path = stored(tmp_path, nodes, outputs, **constants)
    ours = OnnxGraph(path)(x)
    for mine, other in zip(ours if isinstance(ours, tuple) else (ours,), theirs(path, x)):
        torch.testing.assert_close(mine, torch.from_numpy(other), rtol=1e-5, atol=1e-5)
        assert mine.dtype == torch.from_numpy(other).dtype


def test_every_operator_has_a_case() -> None:
    assert {name.split()[0] for name in CASES} == set(OPERATORS)


def linear(folder: Path) -> Path:
    """y = x · weight + shift · scale, where only `net.…` are meant to be trained."""
    nodes = [
        node("Gemm", "x", "net.0.weight", "net.0.shift", out=("h",)),
        node("Mul", "h", "scale"),
    ]
    constants = {"net.0.weight": M, "net.0.shift": V, "scale": np.float32(3)}
    return stored(folder, nodes, ("y",), **constants)


def test_parameters_keep_their_names_and_the_rest_is_constant(tmp_path: Path) -> None:
    graph = OnnxGraph(linear(tmp_path), "net.")
    assert [n for n, _ in graph.named_parameters()] == ["net.0.weight", "net.0.shift"]
    assert [float(b) for b in graph.buffers()] == [3.0]
    assert "scale" in dict(OnnxGraph(linear(tmp_path)).named_parameters())


def test_gradients_reach_parameters_and_inputs(tmp_path: Path) -> None:
    """y = 3 (x W + b): dΣy/dx = 3 Σ_j W_j, dΣy/dW = 3 Σ_i x_i, dΣy/db = 3 · rows."""
    graph, x = OnnxGraph(linear(tmp_path), "net."), FLAT.clone().requires_grad_()
    graph(x).sum().backward()
    weight, shift = graph.parameters()
    torch.testing.assert_close(x.grad, 3 * torch.from_numpy(M).sum(1).expand(3, 4))
    torch.testing.assert_close(weight.grad, 3 * FLAT.sum(0)[:, None].expand(4, 5))
    torch.testing.assert_close(shift.grad, torch.full((5,), 9.0))


def test_a_changed_parameter_changes_the_answer(tmp_path: Path) -> None:
    """Nothing of the parameters is remembered from loading, also when they are swapped outside."""
    graph = OnnxGraph(linear(tmp_path), "net.")
    before = graph(FLAT)
    swapped = {n: p * 2 for n, p in graph.named_parameters()}
    torch.testing.assert_close(torch.func.functional_call(graph, swapped, (FLAT,)), 2 * before)
    torch.testing.assert_close(graph(FLAT), before)


def test_an_unknown_operator_is_named(tmp_path: Path) -> None:
    path = stored(tmp_path, [node("Erf", "x")], ("y",))
    with pytest.raises(ValueError, match="uses the operator Erf, which scoreward does not run"):
        OnnxGraph(path)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            node("AveragePool", "x", kernel_shape=[2, 2], ceil_mode=1),
            "AveragePool with ceil_mode=1",
        ),
        (node("Conv", "x", "w", auto_pad="SAME_UPPER"), "Conv with auto_pad=b'SAME_UPPER'"),
        (node("Conv", "x", "w", pads=[0, 0, 1, 1]), "Conv with pads=[0, 0, 1, 1]; both sides"),
        (node("Resize", "x", "", "f", mode="linear"), "Resize with mode=b'linear'"),
        (node("Resize", "x", "", "f"), "Resize with nearest_mode=b'round_prefer_floor'"),
    ],
)
def test_a_way_of_using_an_operator_that_we_lack_is_named(
    wrong: Any, sentence: str, tmp_path: Path
) -> None:
    constants = {"w": W, "f": np.array([1, 1, 2, 2], dtype=np.float32)}
    path = stored(tmp_path, [wrong], ("y",), **constants)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        OnnxGraph(path)


def test_a_factor_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    settings = {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    factors = np.array([1, 1, 1.5, 1], dtype=np.float32)
    path = stored(tmp_path, [node("Resize", "x", "", "f", **settings)], ("y",), f=factors)
    with pytest.raises(ValueError, match="enlarges by whole factors only"):
        OnnxGraph(path)(X)


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"takes 1 inputs \(x\), got 2"):
        OnnxGraph(linear(tmp_path))(FLAT, FLAT)


def test_without_onnx_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = linear(tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match="needs onnx; install it with pip install onnx"):
        OnnxGraph(path)
