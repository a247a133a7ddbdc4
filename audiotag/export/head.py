"""The last linear layer of a network file as outputs of its own, so that a device can learn another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from audiotag.engines.exported import HEAD_BIAS, HEAD_INPUT, HEAD_OUTPUTS, HEAD_WEIGHT, LOGITS
from audiotag.models.backbone import Backbone


def expose_head(backbone: Backbone, path: Path) -> tuple[str, ...]:
    """Add `HEAD_OUTPUTS` to the network in *path*, where the head is one linear layer over a clip.

    The numbers come out as the network has them, whatever they are kept as.

    Returns:
        The names of the new outputs; none where the head is something else.
    """
    import onnx
    from onnx import TensorProto, helper

    if not _is_linear(backbone.head_module()):
        return ()
    model = onnx.load(path)
    layer = _last_layer(model.graph)
    if layer is None:
        return ()
    sources = dict(zip((HEAD_INPUT, HEAD_WEIGHT, HEAD_BIAS), layer.input, strict=True))
    for name, source in sources.items():
        model.graph.node.append(helper.make_node("Identity", [source], [name]))
    shapes: dict[str, list[str | None]] = {HEAD_INPUT: ["batch", None], HEAD_WEIGHT: [None, None], HEAD_BIAS: [None]}
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in sources)
    path.write_bytes(model.SerializeToString())
    return HEAD_OUTPUTS


def _is_linear(head: nn.Module) -> bool:
    layers = list(head) if isinstance(head, nn.Sequential) else [head]
    return len(layers) == 1 and isinstance(layers[0], nn.Linear)


def _last_layer(graph: Any) -> Any:
    """The node that gives the logits, where it is v · weightᵀ + bias."""
    (node,) = (one for one in graph.node if LOGITS in one.output)
    attributes = {one.name: one.f if one.name in ("alpha", "beta") else one.i for one in node.attribute}
    plain = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0, **attributes} == {
        "alpha": 1.0,
        "beta": 1.0,
        "transA": 0,
        "transB": 1,
    }
    return node if node.op_type == "Gemm" and plain and len(node.input) == 3 else None
