"""Make tiny ONNX graphs with the inputs and ranges of published exports; each fills the hole with the known mean."""

from pathlib import Path
from typing import Any

import numpy as np


def save_graph(
    path: Path, *, form: str = "unit", size: int | None = None, mask_only: bool = False, nhwc: bool = False
) -> Path:
    """Write a graph.

    Args:
        path: the file.
        form: ``unit`` (image in [0, 1], mask 1 = hole, output in [0, 255], like Carve's LaMa), ``joined`` (one input of
            four channels, output in [0, 1]) or ``bytes`` (8 bits, mask 255 = known, like MI-GAN's pipeline).
        size: the side that its inputs fix; None for any.
        mask_only: whether its output depends on the mask only.
        nhwc: whether channels are the last axis.
    """
    import onnx
    from onnx import TensorProto, helper

    kind = TensorProto.UINT8 if form == "bytes" else TensorProto.FLOAT
    sides = [size or "h", size or "w"]

    def tensor(name: str, channels: int) -> Any:
        return helper.make_tensor_value_info(name, kind, [1, *sides, channels] if nhwc else [1, channels, *sides])

    scale = {"unit": 1.0, "joined": 1.0, "bytes": 255.0}[form]
    constants = {"axes": np.array([1, 2] if nhwc else [2, 3]), "one": np.float32(1), "scale": np.float32(scale)}
    constants |= {"out": np.float32(255 if form == "unit" else 1), "least": np.float32(1e-6)}
    constants |= {
        "channel": np.array([3 if nhwc else 1]),
        "zero": np.array([0]),
        "three": np.array([3]),
        "four": np.array([4]),
    }
    nodes = []

    def node(kind: str, inputs: list[str], output: str, **more: Any) -> None:
        nodes.append(helper.make_node(kind, inputs, [output], **more))

    if form == "joined":
        node("Slice", ["input", "zero", "three", "channel"], "pixels")
        node("Slice", ["input", "three", "four", "channel"], "marks")
    else:
        node("Cast", ["image"], "pixels", to=TensorProto.FLOAT)
        node("Cast", ["mask"], "marks", to=TensorProto.FLOAT)
    node("Div", ["marks", "scale"], "share")
    if form == "bytes":
        node("Identity", ["share"], "known")
    else:
        node("Sub", ["one", "share"], "known")
    node("Sub", ["one", "known"], "hole")
    node("Mul", ["pixels", "known"], "seen")
    node("ReduceSum", ["known" if mask_only else "seen", "axes"], "sum")
    node("ReduceSum", ["known", "axes"], "count")
    node("Add", ["count", "least"], "count1")
    node("Div", ["sum", "count1"], "mean")
    node("Mul", ["mean", "hole"], "filling")
    node("Add", ["seen", "filling"], "filled")
    node("Mul", ["filled", "out"], "scaled")
    if form == "bytes":
        node("Round", ["scaled"], "rounded")
        node("Cast", ["rounded"], "output", to=TensorProto.UINT8)
    else:
        node("Identity", ["scaled"], "output")
    inputs = [tensor("input", 4)] if form == "joined" else [tensor("image", 3), tensor("mask", 1)]
    values = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "fill", inputs, [tensor("output", 3)], values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path
